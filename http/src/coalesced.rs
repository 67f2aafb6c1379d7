//! One look for all who ask at the same time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// What costs something to look at and that anybody may ask for: whoever asks while a look goes on
/// gets its result, and so does who asks in the moment after it. So there is one look at a time,
/// whatever the number of those who ask.
pub struct Coalesced<T> {
    last: Arc<Mutex<Option<(Instant, T)>>>,
    good_for: Duration,
}

impl<T: Clone + Send + 'static> Coalesced<T> {
    /// Nothing has been looked at yet. What comes of a look is good for so long.
    pub fn new(good_for: Duration) -> Self {
        Self { last: Arc::default(), good_for }
    }

    /// What came of the last look, or of this one. It goes on to its end where who asked for it
    /// goes away, and must bound itself in time.
    pub async fn get(&self, look: impl Future<Output = T> + Send + 'static) -> T {
        // Who holds this looks; the others wait here for the result.
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some((at, value)) = &*last
            && at.elapsed() < self.good_for
        {
            return value.clone();
        }
        let looking = tokio::spawn(async move {
            let value = look.await;
            *last = Some((Instant::now(), value.clone()));
            value
        });
        match looking.await.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(value) => value,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime ends, and with it who asks.
            Err(Err(_)) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[derive(Clone)]
    struct Looks {
        count: Arc<AtomicUsize>,
        open: Arc<Semaphore>,
    }

    impl Looks {
        async fn look(self) -> usize {
            let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
            self.open.acquire().await.unwrap().forget();
            number
        }
    }

    #[tokio::test]
    async fn there_is_one_look_for_all() {
        let looks = Looks { count: Arc::default(), open: Arc::new(Semaphore::new(0)) };
        let coalesced = Coalesced::new(HOUR);
        let ask = || coalesced.get(looks.clone().look());
        // The first goes away before there is a result.
        let mut first = Box::pin(ask());
        assert!(first.as_mut().now_or_never().is_none());
        drop(first);
        let mut all = Box::pin(join_all((0..100).map(|_| ask())));
        assert!(all.as_mut().now_or_never().is_none());
        looks.open.add_permits(1);
        assert_eq!(all.await, [1; 100]);
        assert_eq!(ask().await, 1);
        // Where it is good for no time, it is another one.
        let coalesced = Coalesced::new(Duration::ZERO);
        looks.open.add_permits(2);
        for number in [2, 3] {
            assert_eq!(coalesced.get(looks.clone().look()).await, number);
        }
    }

    #[tokio::test]
    async fn a_look_that_panics_is_that_of_who_asked() {
        let coalesced = Coalesced::<u32>::new(HOUR);
        let asked = std::panic::AssertUnwindSafe(coalesced.get(async { panic!("no") }));
        assert!(asked.catch_unwind().await.is_err());
        assert_eq!(coalesced.get(async { 7 }).await, 7);
    }
}
