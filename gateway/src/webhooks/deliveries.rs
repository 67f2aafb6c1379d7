//! Deliveries that were accepted a short while ago, so that one that comes again is not run again.
//!
//! In this gateway's memory only. Senders mean a delivery to be processed at least once, and a
//! function that must not process one twice keeps its id; this stops the usual repetition, and
//! whoever sends again what was listened in on.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wasmill_domain::Digest;

use super::target::WebhookTrigger;

/// Names a delivery.
pub(super) type DeliveryKey = Digest;

/// The deliveries that are known.
pub(super) struct Deliveries(Arc<Known>);

struct Known {
    most: usize,
    state: Mutex<KnownState>,
}

#[derive(Default)]
struct KnownState {
    /// Until when an accepted delivery is known; nothing while it is at work.
    deliveries: HashMap<DeliveryKey, Option<Instant>>,
    /// Those that were accepted, in order.
    accepted: VecDeque<DeliveryKey>,
}

/// What is known of a delivery.
pub(super) enum Claimed {
    /// Nothing, until now.
    New(Claim),
    /// It is being answered.
    AtWork,
    /// It was accepted.
    Accepted,
}

/// A delivery at work. Dropped, it is forgotten, so that the sender can try again.
pub(super) struct Claim {
    known: Arc<Known>,
    key: DeliveryKey,
    is_accepted: bool,
}

/// The key of a delivery to a trigger.
pub(super) fn delivery_key(target: WebhookTrigger<'_>, id: &str) -> DeliveryKey {
    let WebhookTrigger { tenant, function, trigger } = target;
    let host = trigger.host.as_ref().map(ToString::to_string).unwrap_or_default();
    // None of the names holds a NUL, so no two deliveries are written alike.
    Digest::of(format!("{tenant}\0{function}\0{host}\0{}\0{id}", trigger.http).as_bytes())
}

impl Deliveries {
    /// Remembers at most `most` accepted ones.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Known { most, state: Mutex::default() }))
    }

    /// Claims a delivery, if nobody has.
    pub(super) fn claim(&self, key: DeliveryKey) -> Claimed {
        let now = Instant::now();
        let mut state = self.0.lock();
        state.forget(now);
        match state.deliveries.get(&key) {
            Some(None) => Claimed::AtWork,
            Some(Some(until)) if *until > now => Claimed::Accepted,
            // One that is forgotten in a moment is put back at the end of the row when it is
            // accepted again.
            _ => {
                state.deliveries.insert(key, None);
                Claimed::New(Claim { known: Arc::clone(&self.0), key, is_accepted: false })
            }
        }
    }
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, KnownState> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownState {
    /// Forgets what is at the front of the row and over.
    fn forget(&mut self, now: Instant) {
        while let Some(key) = self.accepted.front() {
            match self.deliveries.get(key) {
                Some(Some(until)) if *until > now => return,
                Some(Some(_)) => {
                    self.deliveries.remove(key);
                }
                // Claimed again since, or forgotten.
                _ => {}
            }
            self.accepted.pop_front();
        }
    }
}

impl Claim {
    /// Remembers the delivery for `span`.
    pub(super) fn accepted(mut self, span: Duration) {
        self.is_accepted = true;
        let mut state = self.known.lock();
        while state.accepted.len() >= self.known.most {
            let Some(oldest) = state.accepted.pop_front() else { break };
            if state.deliveries.get(&oldest).is_some_and(Option::is_some) {
                state.deliveries.remove(&oldest);
            }
        }
        state.deliveries.insert(self.key, Some(Instant::now() + span));
        state.accepted.push_back(self.key);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_accepted {
            self.known.lock().deliveries.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn key(id: u32) -> DeliveryKey {
        Digest::of(&id.to_be_bytes())
    }

    #[track_caller]
    fn new(deliveries: &Deliveries, id: u32) -> Claim {
        match deliveries.claim(key(id)) {
            Claimed::New(claim) => claim,
            _ => panic!("delivery {id} is known"),
        }
    }

    #[test]
    fn an_accepted_delivery_is_known() {
        let deliveries = Deliveries::new(10);
        let claim = new(&deliveries, 1);
        assert!(matches!(deliveries.claim(key(1)), Claimed::AtWork));
        claim.accepted(LONG);
        assert!(matches!(deliveries.claim(key(1)), Claimed::Accepted));
        new(&deliveries, 2);
    }

    #[test]
    fn what_was_not_accepted_may_come_again() {
        let deliveries = Deliveries::new(10);
        drop(new(&deliveries, 1));
        new(&deliveries, 1).accepted(Duration::ZERO);
        new(&deliveries, 1).accepted(LONG);
        assert!(matches!(deliveries.claim(key(1)), Claimed::Accepted));
    }

    #[test]
    fn the_oldest_makes_room() {
        let deliveries = Deliveries::new(3);
        for id in 0..10 {
            new(&deliveries, id).accepted(LONG);
        }
        assert!((7..10).all(|id| matches!(deliveries.claim(key(id)), Claimed::Accepted)));
        drop(new(&deliveries, 6));
        let state = deliveries.0.lock();
        assert_eq!((state.deliveries.len(), state.accepted.len()), (3, 3));
    }
}
