//! Turns for guests that compute long, so that short ones always find a thread.

use std::future::Future;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::PollSemaphore;

/// Decides who may be on a thread. A guest that has computed longer than the slice is a long one,
/// and so is from its beginning one that usually does. Long ones need a permit whenever they are on
/// a thread, and there is one permit fewer than threads. They get permits in the order of asking,
/// for one tick at a time.
#[derive(Clone)]
pub(crate) struct Fairness {
    long: Arc<Semaphore>,
    slice: Duration,
    habits: Habits,
}

/// How long guests compute as a rule, in nanoseconds. Two that share a slot by chance are taken
/// for one.
#[derive(Clone)]
struct Habits {
    slots: Arc<[AtomicU64]>,
    hasher: RandomState,
}

/// How many habits are kept.
const HABITS: usize = 4096;

/// A guest's future that keeps to the rule.
pub(crate) struct Fair<F> {
    guest: F,
    long: PollSemaphore,
    is_long: bool,
    slice: Duration,
    computed: Duration,
    habits: Habits,
    slot: usize,
}

impl Fairness {
    /// For so many threads.
    pub(crate) fn new(threads: usize, slice: Duration) -> Self {
        let slots = std::iter::repeat_with(AtomicU64::default).take(HABITS).collect();
        let habits = Habits { slots, hasher: RandomState::new() };
        Self { long: Arc::new(Semaphore::new(threads.saturating_sub(1).max(1))), slice, habits }
    }

    /// Lets `guest` run by the rule. It must be pending at least once a tick, which wasmtime's
    /// epochs see to. Guests of the same `kind` are expected to compute as long as each other.
    pub(crate) fn apply<F: Future + Unpin>(&self, kind: impl Hash, guest: F) -> Fair<F> {
        let slot = self.habits.slot(kind);
        Fair {
            guest,
            long: PollSemaphore::new(Arc::clone(&self.long)),
            is_long: self.habits.usual(slot) > self.slice,
            slice: self.slice,
            computed: Duration::ZERO,
            habits: self.habits.clone(),
            slot,
        }
    }
}

impl Habits {
    fn slot(&self, kind: impl Hash) -> usize {
        // The remainder is smaller than the number of slots.
        (self.hasher.hash_one(kind) % HABITS as u64) as usize
    }

    fn usual(&self, slot: usize) -> Duration {
        Duration::from_nanos(self.slots[slot].load(Ordering::Relaxed))
    }

    /// Moves the habit a quarter of the way to what was seen. That another thread may do so at the
    /// same time is of no consequence.
    fn note(&self, slot: usize, seen: Duration) {
        let usual = self.slots[slot].load(Ordering::Relaxed);
        let seen = u64::try_from(seen.as_nanos()).unwrap_or(u64::MAX);
        self.slots[slot].store(usual - usual / 4 + seen / 4, Ordering::Relaxed);
    }
}

impl<F: Future + Unpin> Future for Fair<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        // Given back at the end of every poll: between two polls the guest is on no thread, whether
        // it was interrupted or waits for something.
        let _permit = if this.is_long { ready!(this.long.poll_acquire(cx)) } else { None };
        let start = Instant::now();
        let result = Pin::new(&mut this.guest).poll(cx);
        this.computed += start.elapsed();
        this.is_long |= this.computed > this.slice;
        result
    }
}

impl<F> Drop for Fair<F> {
    fn drop(&mut self) {
        self.habits.note(self.slot, self.computed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Computes for `ticks` times 2 ms, and is interrupted in between.
    async fn compute(ticks: usize, at_once: &AtomicUsize, most: &AtomicUsize) {
        for tick in 0..ticks {
            let now = at_once.fetch_add(1, Ordering::SeqCst) + 1;
            // In its first tick a guest is not a long one yet.
            if tick > 0 {
                most.fetch_max(now, Ordering::SeqCst);
            }
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(2) {
                std::hint::spin_loop();
            }
            at_once.fetch_sub(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn long_guests_leave_a_thread_free() {
        static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let fairness = Fairness::new(3, Duration::ZERO);
        let guests: Vec<_> = (0..8)
            .map(|_| {
                let fairness = fairness.clone();
                tokio::spawn(async move {
                    fairness.apply((), std::pin::pin!(compute(10, &AT_ONCE, &MOST))).await;
                })
            })
            .collect();
        for guest in guests {
            guest.await.unwrap();
        }
        // A first tick that runs beside two others is seen by them: it counts, and is on the third
        // thread.
        assert!((1..=3).contains(&MOST.load(Ordering::SeqCst)));
        assert_eq!(fairness.long.available_permits(), 2);
    }

    #[test]
    fn long_guests_take_turns_in_the_order_of_asking() {
        let fairness = Fairness::new(1, Duration::ZERO);
        let polled = std::cell::RefCell::new(String::new());
        let guest = |name: char| {
            let polled = &polled;
            std::future::poll_fn(move |_| -> Poll<()> {
                polled.borrow_mut().push(name);
                Poll::Pending
            })
        };
        let mut guests: Vec<_> =
            ['a', 'b', 'c'].map(|name| fairness.apply(name, guest(name))).into_iter().collect();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut poll = |which: usize| {
            let _ = Pin::new(&mut guests[which]).poll(&mut cx);
        };
        (0..3).for_each(&mut poll);
        let busy = Arc::clone(&fairness.long).try_acquire_owned().unwrap();
        for waits in [1, 2, 0] {
            poll(waits);
        }
        drop(busy);
        for guest in [0, 2, 1, 0, 2, 0] {
            poll(guest);
        }
        assert_eq!(*polled.borrow(), "abcbca");
    }

    #[tokio::test]
    async fn who_was_long_is_long_from_the_beginning() {
        // Far from what a short run takes, even where the machine lets it wait in between.
        let fairness = Fairness::new(2, Duration::from_millis(40));
        let run = async |ticks| {
            let (at_once, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            fairness.apply("guest", std::pin::pin!(compute(ticks, &at_once, &most))).await;
        };
        let is_long = || fairness.apply("guest", std::future::ready(())).is_long;
        run(100).await;
        assert!(is_long());
        // What was only asked about counts as well: it computed nothing, over and over.
        while is_long() {}
        run(1).await;
        assert!(!is_long());
    }

    #[tokio::test]
    async fn a_guest_that_waits_holds_no_permit() {
        let fairness = Fairness::new(2, Duration::ZERO);
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let waiting = std::pin::pin!(async {
            compute(2, &AtomicUsize::new(0), &AtomicUsize::new(0)).await;
            receiver.await.unwrap();
        });
        let other = std::pin::pin!(async {
            compute(5, &AtomicUsize::new(0), &AtomicUsize::new(0)).await;
            sender.send(()).unwrap();
        });
        tokio::join!(fairness.apply(1, waiting), fairness.apply(2, other));
    }
}
