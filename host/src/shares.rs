//! A semaphore whose permits many tenants need at once, and each for as long as its own work takes:
//! executions in flight, memory, connections. Whoever waits is served by turns, tenants one after
//! the other and within a tenant its functions, and no tenant gets so many that nothing is left for
//! the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use wasmill_domain::{FunctionName, TenantName};

use crate::fair_queue::FairQueue;

/// A tenant may have so many times as many permits as are free then: alone it gets three quarters,
/// two get three sevenths each, and some are always free for the next one.
const TIMES_FREE: u64 = 3;

/// A weighted semaphore with shares for tenants.
#[derive(Clone)]
pub(crate) struct TenantShares(Arc<SharesInner>);

struct SharesInner {
    total: u64,
    state: Mutex<SharesState>,
}

struct SharesState {
    /// Whether there is more than one tenant. Otherwise the only one may have everything.
    is_shared: bool,
    taken: u64,
    of_tenants: HashMap<TenantName, u64>,
    waiting: FairQueue<Waiter>,
    /// The one that waits until enough is free, while others that need less pass it.
    passed: Option<PassedWaiter>,
    next_id: u64,
}

struct Waiter {
    id: u64,
    permits: u64,
    sender: oneshot::Sender<SharePermit>,
}

struct PassedWaiter {
    id: u64,
    tenant: TenantName,
    permits: u64,
    /// What those got that passed it. Once that is as much as there is of permits, only those pass
    /// that leave it what it needs.
    passed_by: u64,
}

/// Some of the permits. They are given back, and those who wait are looked at, when it is dropped.
pub(crate) struct SharePermit {
    shares: TenantShares,
    tenant: TenantName,
    permits: u64,
}

/// Those who just got permits, which they are sent when nothing is locked any more.
type Granted = Vec<(oneshot::Sender<SharePermit>, SharePermit)>;

impl TenantShares {
    /// With so many permits, for more than one tenant until [`Self::set_shared`] says otherwise.
    pub(crate) fn new(total: u64) -> Self {
        let state = SharesState {
            is_shared: true,
            taken: 0,
            of_tenants: HashMap::new(),
            waiting: FairQueue::default(),
            passed: None,
            next_id: 0,
        };
        Self(Arc::new(SharesInner { total: total.max(1), state: Mutex::new(state) }))
    }

    /// Says whether there is more than one tenant. What the only one has stays its own for as long
    /// as its work takes.
    pub(crate) fn set_shared(&self, is_shared: bool) {
        let mut state = self.lock();
        if state.is_shared == is_shared {
            return;
        }
        state.is_shared = is_shared;
        let granted = self.grant(&mut state);
        drop(state);
        send(granted);
    }

    /// Waits for so many permits; for all of them where that is more than there are.
    pub(crate) async fn acquire(
        &self,
        tenant: &TenantName,
        function: &FunctionName,
        permits: u64,
    ) -> SharePermit {
        let permits = permits.clamp(1, self.0.total);
        loop {
            let (mut waiting, receiver) = {
                let mut state = self.lock();
                if state.waiting.len() == 0 && state.admits(self.0.total, tenant, permits) {
                    return self.take(&mut state, tenant, permits);
                }
                let (sender, receiver) = oneshot::channel();
                let id = state.next_id;
                state.next_id += 1;
                state.waiting.push(tenant, function, Waiter { id, permits, sender });
                let granted = self.grant(&mut state);
                drop(state);
                send(granted);
                (Waiting { shares: self, id, gave_up: true }, receiver)
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
        let permits = permits.clamp(1, self.0.total);
        let mut state = self.lock();
        let is_admitted = state.waiting.len() == 0 && state.admits(self.0.total, tenant, permits);
        is_admitted.then(|| self.take(&mut state, tenant, permits))
    }

    /// Whether somebody waits.
    pub(crate) fn has_waiters(&self) -> bool {
        self.lock().waiting.len() > 0
    }

    /// How many permits nobody has.
    #[cfg(test)]
    pub(crate) fn available(&self) -> u64 {
        self.0.total - self.lock().taken
    }

    fn take(&self, state: &mut SharesState, tenant: &TenantName, permits: u64) -> SharePermit {
        state.taken += permits;
        *state.of_tenants.entry(tenant.clone()).or_default() += permits;
        SharePermit { shares: self.clone(), tenant: tenant.clone(), permits }
    }

    /// Gives permits to those who wait, as far as they go.
    fn grant(&self, state: &mut SharesState) -> Granted {
        let total = self.0.total;
        let mut granted = Vec::new();
        loop {
            let mut waiting = std::mem::take(&mut state.waiting);
            let next = waiting.pop_where(|tenant, waiter| {
                waiter.sender.is_closed() || state.admits_waiter(total, tenant, waiter)
            });
            state.waiting = waiting;
            let Some((tenant, Waiter { id, permits, sender })) = next else { return granted };
            if state.passed.as_ref().is_some_and(|passed| passed.id == id) {
                state.passed = None;
            }
            // Whoever asked may not wait any more.
            if sender.is_closed() {
                continue;
            }
            if let Some(passed) = &mut state.passed {
                passed.passed_by = passed.passed_by.saturating_add(permits);
            }
            granted.push((sender, self.take(state, &tenant, permits)));
        }
    }

    fn release(&self, tenant: &TenantName, permits: u64) {
        let mut state = self.lock();
        state.taken -= permits;
        if let Some(own) = state.of_tenants.get_mut(tenant) {
            *own -= permits;
            if *own == 0 {
                state.of_tenants.remove(tenant);
            }
        }
        let granted = self.grant(&mut state);
        drop(state);
        send(granted);
    }

    fn lock(&self) -> MutexGuard<'_, SharesState> {
        // Never held across an await, and nothing panics while it is held.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one tenant may have of `total` permits while others need none.
fn share_of(total: u64) -> u64 {
    (total.saturating_mul(TIMES_FREE) / (TIMES_FREE + 1)).max(1)
}

impl SharesState {
    /// Whether one who waits may have what it asks for. The first that must wait until more is free
    /// is noted as the one that others pass.
    fn admits_waiter(&mut self, total: u64, tenant: &TenantName, waiter: &Waiter) -> bool {
        let Waiter { id, permits, .. } = *waiter;
        if let Some(passed) = &self.passed
            && passed.id == id
        {
            // Others have left it what it needs, if they had to, so the share is what it is alone.
            return permits <= total - self.taken && self.is_within_share(total, tenant, permits);
        }
        // Whoever asks for one gets it as soon as any is free, if it may have one more.
        if permits > total - self.taken
            && permits > 1
            && self.passed.is_none()
            && self.is_within_share(total, tenant, permits)
        {
            self.passed = Some(PassedWaiter { id, tenant: tenant.clone(), permits, passed_by: 0 });
        }
        self.admits(total, tenant, permits)
    }

    /// Whether a tenant may have so many permits more, now.
    fn admits(&self, total: u64, tenant: &TenantName, permits: u64) -> bool {
        let Some(left) = (total - self.taken).checked_sub(permits) else { return false };
        if let Some(passed) = &self.passed
            && passed.passed_by >= total
        {
            if self.is_shared && passed.tenant == *tenant {
                return false;
            }
            // What is more than a tenant's share is not kept for it: others do not wait for that.
            let most = if self.is_shared { share_of(total) } else { total };
            if left < passed.permits.min(most) {
                return false;
            }
        }
        let own = self.own(tenant);
        !self.is_shared || own == 0 || own + permits <= left.saturating_mul(TIMES_FREE)
    }

    /// Whether a tenant would have its share at most with so many permits more, if no other had
    /// any. One permit, or one large request, is within it always.
    fn is_within_share(&self, total: u64, tenant: &TenantName, permits: u64) -> bool {
        let own = self.own(tenant);
        !self.is_shared || own == 0 || own + permits <= share_of(total)
    }

    fn own(&self, tenant: &TenantName) -> u64 {
        self.of_tenants.get(tenant).copied().unwrap_or_default()
    }
}

fn send(granted: Granted) {
    for (sender, permit) in granted {
        // One that nobody waits for any more is given back as it is dropped.
        drop(sender.send(permit));
    }
}

impl Drop for SharePermit {
    fn drop(&mut self) {
        self.shares.release(&self.tenant, self.permits);
    }
}

/// One who waits, until it has its permits or gives up.
struct Waiting<'a> {
    shares: &'a TenantShares,
    id: u64,
    gave_up: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.gave_up {
            return;
        }
        let mut state = self.shares.lock();
        // Nothing is kept for it any more.
        state.passed.take_if(|passed| passed.id == self.id);
        let granted = self.shares.grant(&mut state);
        drop(state);
        send(granted);
    }
}

#[cfg(test)]
mod tests;
