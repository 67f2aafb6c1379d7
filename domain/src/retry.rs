//! When a failed attempt is followed by another one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::execution::Outcome;
use crate::units::Span;

/// The longest pause that a guest may ask for.
pub const MAX_ADVISED_DELAY: Duration = Duration::from_secs(86_400);

/// The `[retry]` section of a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// How many attempts there are at most, the first included: 1 to 100.
    pub max_attempts: u32,
    /// How the pause grows.
    pub backoff: Backoff,
    /// The pause after the first attempt.
    pub delay: Span,
    /// No computed pause is longer.
    pub max_delay: Span,
    /// How much of a pause is random, 0 to 1: with 0.2, it is shortened by up to a fifth, so that
    /// what failed together does not come back together.
    pub jitter: f64,
    /// The outcomes that are tried again.
    pub on: Vec<Outcome>,
}

/// How pauses grow from attempt to attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// Always `delay`.
    Fixed,
    /// `delay`, then twice as long each time.
    Exponential,
}

impl Default for RetryPolicy {
    /// Three attempts, after what may pass: the guest's own wish to retry, and a time-out. A trap,
    /// a spent fuel budget or too little memory would come out the same again.
    fn default() -> Self {
        Self {
            max_attempts: 3,
            backoff: Backoff::Exponential,
            delay: Span(Duration::from_secs(1)),
            max_delay: Span(Duration::from_secs(300)),
            jitter: 0.2,
            on: vec![Outcome::Error, Outcome::TimedOut],
        }
    }
}

impl RetryPolicy {
    /// The pause before the next attempt, or `None` where there is none.
    ///
    /// `attempt` is the one that just ended, the first being 1; `max_attempts` is the execution's
    /// own, fixed when it was accepted; `advice` is the pause that the guest asked for; `random` is
    /// a number from 0 to 1.
    pub fn next_delay(
        &self,
        outcome: Outcome,
        attempt: u32,
        max_attempts: u32,
        advice: Option<Duration>,
        random: f64,
    ) -> Option<Duration> {
        if attempt >= max_attempts || !self.on.contains(&outcome) {
            return None;
        }
        if let Some(advice) = advice {
            return Some(advice.min(MAX_ADVISED_DELAY));
        }
        let doublings = match self.backoff {
            Backoff::Fixed => 0,
            Backoff::Exponential => attempt.saturating_sub(1).min(31),
        };
        let full = self.delay.0.saturating_mul(1 << doublings).min(self.max_delay.0);
        Some(full.mul_f64(1.0 - self.jitter.clamp(0.0, 1.0) * random.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn exponential_up_to_the_bound() {
        let policy = RetryPolicy { max_attempts: 100, jitter: 0.0, ..RetryPolicy::default() };
        let pause =
            |attempt| policy.next_delay(Outcome::Error, attempt, 100, None, 0.5).unwrap().as_secs();
        assert_eq!([pause(1), pause(2), pause(3), pause(20)], [1, 2, 4, 300]);
    }

    #[test]
    fn the_guest_knows_better() {
        let policy = RetryPolicy::default();
        let advised = |pause| policy.next_delay(Outcome::Error, 1, 3, Some(pause), 0.0);
        assert_eq!(advised(Duration::from_secs(7)), Some(Duration::from_secs(7)));
        assert_eq!(advised(Duration::MAX), Some(MAX_ADVISED_DELAY));
    }

    #[test]
    fn deterministic_ends_are_not_retried() {
        for outcome in [
            Outcome::Trap,
            Outcome::OutOfFuel,
            Outcome::OutOfMemory,
            Outcome::Rejected,
            Outcome::Success,
        ] {
            assert_eq!(RetryPolicy::default().next_delay(outcome, 1, 3, None, 0.0), None);
        }
    }

    proptest! {
        #[test]
        fn pauses_stay_in_bounds(attempt in 1u32.., max in 1u32..=100, random in 0.0..=1.0, jitter in 0.0..=1.0) {
            let policy = RetryPolicy { jitter, ..RetryPolicy::default() };
            match policy.next_delay(Outcome::Error, attempt, max, None, random) {
                Some(pause) => prop_assert!(attempt < max && pause <= policy.max_delay.0),
                None => prop_assert!(attempt >= max),
            }
        }
    }
}
