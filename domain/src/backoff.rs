//! Pauses between tries at something that is away.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Pauses that double up to a bound.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    is_jittered: bool,
}

impl Backoff {
    /// Pauses from `first` to `longest`; all of them `longest` where that is shorter.
    pub fn new(first: Duration, longest: Duration) -> Self {
        let first = first.min(longest);
        Self { first, longest, next: first, is_jittered: false }
    }

    /// The same, each shortened at random by up to a half: so that processes which lost something
    /// together do not come back together.
    #[must_use]
    pub fn jittered(self) -> Self {
        Self { is_jittered: true, ..self }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.longest);
        if !self.is_jittered {
            return whole;
        }
        // Its keys are random, which is enough.
        let random = RandomState::new().hash_one(()) as u32;
        whole - whole / 2 * (random >> 16) / (1 << 16)
    }

    /// The next pause is the first again: it was there.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_millis(500);

    #[test]
    fn pauses_double_up_to_the_bound_and_start_over() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        for pause in [100, 200, 400, 500, 500] {
            assert_eq!(backoff.pause(), Duration::from_millis(pause));
        }
        backoff.reset();
        assert_eq!(backoff.pause(), FIRST);
        assert_eq!(Backoff::new(LONGEST, FIRST).pause(), FIRST);
        let mut endless = Backoff::new(FIRST, Duration::MAX);
        for _ in 0..200 {
            endless.pause();
        }
        assert_eq!(endless.pause(), Duration::MAX);
    }

    #[test]
    fn jitter_takes_up_to_a_half() {
        let mut backoff = Backoff::new(FIRST, LONGEST).jittered();
        for whole in [100, 200, 400, 500, 500] {
            let pause = backoff.pause();
            assert!(
                pause >= Duration::from_millis(whole / 2) && pause <= Duration::from_millis(whole),
                "{pause:?}"
            );
        }
    }
}
