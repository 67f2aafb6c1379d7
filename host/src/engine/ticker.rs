//! The clock that guests are interrupted by: one thread that counts wasmtime's epochs up while
//! guests run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Ticks without a running guest before the thread goes to sleep. Waking it is a system call: not
/// for every pause.
const IDLE_TICKS: u32 = 100;

/// Counts epochs until it is dropped.
pub(crate) struct Ticker {
    shared: Arc<TickerState>,
    thread: Option<JoinHandle<()>>,
}

struct TickerState {
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// A guest that runs; the clock ticks as long as there is one.
pub(crate) struct TickingGuard(Arc<TickerState>);

impl Ticker {
    /// Starts the thread, which calls `tick` at every `interval`.
    pub(crate) fn start(
        interval: Duration,
        tick: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(TickerState {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("wasmill-ticker".into())
            .spawn(move || of_thread.count(interval, &tick))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Makes sure that the clock ticks until the guard is dropped.
    pub(crate) fn running(&self) -> TickingGuard {
        // Sequentially consistent, as is the thread's store of `asleep` followed by its load of
        // `running`: at least one of the two sides sees the other.
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
        TickingGuard(Arc::clone(&self.shared))
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl TickerState {
    fn count(&self, interval: Duration, tick: &dyn Fn()) {
        let mut idle = 0;
        while !self.stop.load(Ordering::SeqCst) {
            if self.running.load(Ordering::Relaxed) > 0 {
                idle = 0;
            } else if idle < IDLE_TICKS {
                idle += 1;
            } else {
                self.sleep();
                idle = 0;
            }
            std::thread::sleep(interval);
            tick();
        }
    }

    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        // Parking may end for no reason, so the reason is looked at.
        while self.running.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

impl Drop for TickingGuard {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // It does nothing that could panic but `tick`; nobody is left to tell.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn it_sleeps_without_guests_and_wakes_for_one() {
        let (sender, ticks) = mpsc::channel();
        let ticker =
            Ticker::start(Duration::from_micros(50), move || sender.send(()).unwrap_or_default())
                .unwrap();
        while !ticker.shared.asleep.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        // What was sent before it fell asleep.
        while ticks.try_recv().is_ok() {}
        let running = ticker.running();
        for _ in 0..3 * IDLE_TICKS {
            ticks.recv().unwrap();
        }
        drop(running);
        while !ticker.shared.asleep.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn dropping_it_ends_the_thread() {
        let (sender, ticks) = mpsc::channel();
        drop(
            Ticker::start(Duration::from_micros(50), move || sender.send(()).unwrap_or_default())
                .unwrap(),
        );
        while ticks.try_recv().is_ok() {}
        assert_eq!(ticks.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }
}
