//! A semaphore whose permits many tenants need at once, and each for as long as its own work takes:
//! executions in flight, memory, connections. The rules ([`rules`]):
//!
//! 1. A tenant that has no permits gets what it asks for, if that is free. One that has some gets
//!    more as long as it has three times what is left free then, at most. Where there is one tenant
//!    only, it gets what is free.
//! 2. Who waits is asked by turns: tenants one after the other, within a tenant its functions, and
//!    each function's requests in the order in which they came. Who cannot be granted what it asks
//!    for keeps its place in the order, and others pass it.
//! 3. A request that others have passed until they got as much as there is in all is *due*: its
//!    tenant gets nothing else before it. This counts for one of a tenant's functions at a time, by
//!    turns.
//! 4. For one request that is due, tenants by turns, room is kept, if its tenant has nothing else,
//!    or no more than its part with it: what all tenants that are here could have at once. What
//!    others get from then on is no more than what is left besides that part; a quarter of all at
//!    least. So it has what it needs when what ran at that time has ended.
//! 5. For a request for more than a share (three quarters) no room is kept while there are other
//!    tenants: to empty nearly everything takes as long as the longest attempt, and then it would
//!    be held as long again. It is granted when nobody else is in its way. Its own tenant's work
//!    makes way for it, as it does by rule 3, whenever that alone is in its way.
//!
//! What follows, as long as all work ends: a request for no more than a share waits until others
//! got as much as there is, its own tenant's work has ended, and room was kept for one request of
//! each other tenant; as often as its tenant has functions that were passed before it. What others
//! get in the meantime is bounded by rule 4 from below only.

mod rules;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use wasmill_domain::{FunctionName, TenantName};

use self::rules::{Grant, ShareRules};

/// A weighted semaphore with shares for tenants.
#[derive(Clone)]
pub(crate) struct TenantShares(Arc<Mutex<ShareRules<Waiter>>>);

type Waiter = oneshot::Sender<SharePermit>;

/// Some of the permits. They are given back, and those who wait are looked at, when it is dropped.
pub(crate) struct SharePermit {
    shares: TenantShares,
    grant: Grant,
}

/// Those who just got permits, which they are sent when nothing is locked any more.
type Granted = Vec<(Waiter, SharePermit)>;

impl TenantShares {
    /// With so many permits, for more than one tenant until [`Self::set_shared`] says otherwise.
    pub(crate) fn new(total: u64) -> Self {
        Self(Arc::new(Mutex::new(ShareRules::new(total))))
    }

    /// Says whether there is more than one tenant. What the only one has stays its own for as long
    /// as its work takes.
    pub(crate) fn set_shared(&self, is_shared: bool) {
        self.change(|rules| rules.set_shared(is_shared));
    }

    /// Waits for so many permits; for all of them where that is more than there are.
    pub(crate) async fn acquire(
        &self,
        tenant: &TenantName,
        function: &FunctionName,
        permits: u64,
    ) -> SharePermit {
        loop {
            let (mut waiting, receiver) = {
                let mut rules = self.lock();
                let permits = rules.clamp(permits);
                if let Some(grant) = rules.try_take(tenant, permits) {
                    return self.permit(grant);
                }
                let (sender, receiver) = oneshot::channel();
                let id = rules.wait(tenant, function, permits, sender);
                let granted = self.grant(&mut rules);
                drop(rules);
                send(granted);
                (Waiting { shares: self, tenant, function, id, gave_up: true }, receiver)
            };
            // The sender is used or is in the queue; the loop is for the compiler.
            if let Ok(permit) = receiver.await {
                waiting.gave_up = false;
                return permit;
            }
        }
    }

    /// So many permits if the tenant may have them at once.
    pub(crate) fn try_acquire(&self, tenant: &TenantName, permits: u64) -> Option<SharePermit> {
        let mut rules = self.lock();
        let permits = rules.clamp(permits);
        rules.try_take(tenant, permits).map(|grant| self.permit(grant))
    }

    /// Whether permits that a tenant has and does not work with are needed: by itself, or by
    /// another one that waits and has less than its part.
    pub(crate) fn is_needed(&self, of: &TenantName) -> bool {
        self.lock().is_needed(of)
    }

    /// How many permits nobody has.
    #[cfg(test)]
    pub(crate) fn available(&self) -> u64 {
        self.lock().available()
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting()
    }

    /// Changes something, and gives permits to those who wait as far as they go then.
    fn change(&self, change: impl FnOnce(&mut ShareRules<Waiter>)) {
        let mut rules = self.lock();
        change(&mut rules);
        let granted = self.grant(&mut rules);
        drop(rules);
        send(granted);
    }

    fn grant(&self, rules: &mut ShareRules<Waiter>) -> Granted {
        let next = || rules.next().map(|(waiter, grant)| (waiter, self.permit(grant)));
        std::iter::from_fn(next).collect()
    }

    fn permit(&self, grant: Grant) -> SharePermit {
        SharePermit { shares: self.clone(), grant }
    }

    fn lock(&self) -> MutexGuard<'_, ShareRules<Waiter>> {
        // Never held across an await, and nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn send(granted: Granted) {
    for (waiter, permit) in granted {
        // One that nobody waits for any more is given back as it is dropped.
        drop(waiter.send(permit));
    }
}

impl Drop for SharePermit {
    fn drop(&mut self) {
        self.shares.change(|rules| rules.release(&self.grant));
    }
}

/// One who waits, until it has its permits or gives up.
struct Waiting<'a> {
    shares: &'a TenantShares,
    tenant: &'a TenantName,
    function: &'a FunctionName,
    id: u64,
    gave_up: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.gave_up {
            // Nothing is kept for it any more.
            self.shares.change(|rules| rules.give_up(self.tenant, self.function, self.id));
        }
    }
}

#[cfg(test)]
mod tests;
