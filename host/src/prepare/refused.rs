//! What takes too much to compile is not tried again and again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use wasmill_component::PreflightError;
use wasmill_domain::Digest;
use wasmill_domain::units::Span;

/// Artifacts that are remembered. With more, the one goes that would be tried again first.
const MOST: usize = 1_024;

/// Artifacts that were refused for what their compilation takes. Each refusal in a row makes the
/// pause twice as long.
pub(super) struct Refused {
    entries: HashMap<Digest, RefusedComponent>,
    pause: Duration,
    longest: Duration,
}

struct RefusedComponent {
    message: String,
    pause: Duration,
    until: Instant,
}

impl Refused {
    pub(super) fn new(pause: Duration, longest: Duration) -> Self {
        Self { entries: HashMap::new(), pause, longest }
    }

    /// The refusal that still counts, if there is one.
    pub(super) fn at(&self, now: Instant, digest: Digest) -> Option<PreflightError> {
        let entry = self.entries.get(&digest).filter(|entry| now < entry.until)?;
        Some(PreflightError::TooCostly(format!(
            "{}; the same component is not tried again for {}",
            entry.message,
            Span(whole_seconds(entry.until.saturating_duration_since(now)))
        )))
    }

    /// When an artifact that was refused may be tried again.
    pub(super) fn until(&self, digest: Digest) -> Option<Instant> {
        Some(self.entries.get(&digest)?.until)
    }

    /// Notes what became of a compilation.
    pub(super) fn note<T>(
        &mut self,
        now: Instant,
        digest: Digest,
        result: &Result<T, PreflightError>,
    ) {
        match result {
            Err(PreflightError::TooCostly(message)) => {
                let before = self.entries.remove(&digest);
                let pause = before.map_or(self.pause, |entry| (entry.pause * 2).min(self.longest));
                if self.entries.len() >= MOST
                    && let Some(first) =
                        self.entries.iter().min_by_key(|(_, entry)| entry.until).map(|(d, _)| *d)
                {
                    self.entries.remove(&first);
                }
                let until = now + pause;
                self.entries
                    .insert(digest, RefusedComponent { message: message.clone(), pause, until });
            }
            // It says nothing of the costs.
            Err(error) if error.is_transient() => {}
            // A refusal of another kind is one for good: a time to try again that is past would have
            // it tried without a pause.
            Ok(_) | Err(_) => {
                self.entries.remove(&digest);
            }
        }
    }
}

fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_makes_the_pause_longer() {
        let second = Duration::from_secs(1);
        let mut refused = Refused::new(second * 30, second * 100);
        let digest = Digest::of(b"slow");
        let costly: Result<(), _> =
            Err(PreflightError::TooCostly("compiling took longer than 1s".into()));
        let mut now = Instant::now();
        assert!(refused.at(now, digest).is_none() && refused.until(digest).is_none());
        for pause in [30, 60, 100, 100] {
            refused.note(now, digest, &costly);
            let said = refused.at(now, digest).unwrap().to_string();
            assert!(
                said.contains("longer than 1s; the same component is not tried again for"),
                "{said}"
            );
            now += second * pause;
            assert_eq!(refused.until(digest), Some(now));
            assert!(refused.at(now, digest).is_none());
        }
        // That something is away says nothing of the costs.
        refused.note::<()>(now, digest, &Err(PreflightError::Unavailable("away".into())));
        assert!(refused.until(digest).is_some());
        refused.note(now, digest, &Ok(()));
        assert!(refused.until(digest).is_none());
    }

    #[test]
    fn what_is_refused_for_good_has_no_time_to_try_again() {
        let mut refused = Refused::new(Duration::from_secs(30), Duration::from_secs(60));
        let (now, digest) = (Instant::now(), Digest::of(b"slow and wrong"));
        refused.note::<()>(now, digest, &Err(PreflightError::TooCostly("x".into())));
        assert!(refused.until(digest).is_some());
        refused.note::<()>(now, digest, &Err(PreflightError::Compile("no".into())));
        assert!(refused.until(digest).is_none());
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut refused = Refused::new(Duration::from_secs(30), Duration::from_secs(60));
        let costly: Result<(), _> = Err(PreflightError::TooCostly("x".into()));
        let (start, digest) = (Instant::now(), |i: usize| Digest::of(&i.to_le_bytes()));
        for i in 0..=MOST {
            refused.note(start + Duration::from_millis(i as u64), digest(i), &costly);
        }
        assert_eq!(refused.entries.len(), MOST);
        assert!(
            refused.at(start, digest(0)).is_none() && refused.at(start, digest(MOST)).is_some()
        );
    }
}
