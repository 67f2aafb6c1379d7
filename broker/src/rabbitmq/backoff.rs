//! Waits between attempts.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Waits that double up to a bound. Each is shortened at random, by up to a half, so that processes
/// that lost RabbitMQ together do not come back together.
pub(super) struct Backoff {
    first: Duration,
    at_most: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, at_most: Duration) -> Self {
        Self { first, at_most, next: first }
    }

    /// The next wait is the first again.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }

    pub(super) fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.at_most);
        // Its keys are random, which is enough.
        let random = RandomState::new().hash_one(()) as u32;
        whole - whole / 2 * (random >> 16) / (1 << 16)
    }

    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(500));
        for whole in [100, 200, 400, 500, 500] {
            let wait = backoff.next();
            assert!(
                wait > Duration::from_millis(whole / 2 - 1) && wait <= Duration::from_millis(whole),
                "{wait:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }
}
