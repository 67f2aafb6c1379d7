//! What is counted at each trigger that asks for signatures.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::target::WebhookTrigger;

/// How many triggers are counted for. Deployed ones are fewer; where there are more, those of older
/// versions are among them, and all begin anew.
const MAX_TRIGGERS: usize = 16_384;

/// The counts of all triggers.
#[derive(Default)]
pub(super) struct Counts(Mutex<HashMap<Name, Arc<TriggerCounts>>>);

/// Tenant, function, host and path.
type Name = (String, String, Option<String>, String);

/// What was counted at a trigger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Requests that were let through.
    pub(crate) accepted: u64,
    /// Requests of deliveries that had been accepted before.
    pub(crate) repeated: u64,
    /// Requests that were refused: not signed, not with one of the secrets, or too long ago.
    pub(crate) refused: u64,
    /// Requests that could not be checked, for want of a secret.
    pub(crate) unverifiable: u64,
}

/// The counts of one trigger.
#[derive(Default)]
pub(super) struct TriggerCounts {
    accepted: AtomicU64,
    repeated: AtomicU64,
    refused: AtomicU64,
    unverifiable: AtomicU64,
}

impl Counts {
    /// The counts of a trigger.
    pub(super) fn of(&self, target: WebhookTrigger<'_>) -> Arc<TriggerCounts> {
        let WebhookTrigger { tenant, function, trigger } = target;
        let host = trigger.host.as_ref().map(ToString::to_string);
        let name = (tenant.to_string(), function.to_string(), host, trigger.http.to_string());
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MAX_TRIGGERS && !counts.contains_key(&name) {
            counts.clear();
        }
        Arc::clone(counts.entry(name).or_default())
    }
}

impl TriggerCounts {
    pub(super) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn repeated(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    /// Says whether it should be logged.
    pub(super) fn refused(&self) -> bool {
        add(&self.refused)
    }

    /// Says whether it should be logged.
    pub(super) fn unverifiable(&self) -> bool {
        add(&self.unverifiable)
    }

    pub(super) fn read(&self) -> Counted {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counted {
            accepted: read(&self.accepted),
            repeated: read(&self.repeated),
            refused: read(&self.refused),
            unverifiable: read(&self.unverifiable),
        }
    }
}

/// Counts one, and says whether it should be logged: the first, second, fourth, eighth, … is.
/// Anybody can send what is refused, and none of them is to fill the log.
fn add(count: &AtomicU64) -> bool {
    count.fetch_add(1, Ordering::Relaxed).wrapping_add(1).is_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_and_fewer_are_logged() {
        let counts = TriggerCounts::default();
        let logged: Vec<u64> = (1..=100).filter(|_| counts.refused()).collect();
        assert_eq!(logged, [1, 2, 4, 8, 16, 32, 64]);
        assert_eq!(counts.read(), Counted { refused: 100, ..Counted::default() });
    }
}
