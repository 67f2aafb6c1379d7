//! Who gets how many permits, and who waits for whom: the rules of `TenantShares`, without anything
//! that waits.

use std::collections::HashMap;

use wasmill_domain::{FunctionName, TenantName};

use crate::fair_queue::{Chooser, FairQueue};

/// A tenant may have so many times as many permits as are free then: alone it gets three quarters,
/// two get three sevenths each, and some are always free for the next one.
const TIMES_FREE: u64 = 3;

/// Permits, who has them, and who waits for some; `W` is what is kept of one who waits.
pub(super) struct ShareRules<W> {
    total: u64,
    /// Whether there is more than one tenant. Otherwise the only one may have everything.
    is_shared: bool,
    taken: u64,
    /// Those that have permits or wait for some.
    tenants: HashMap<TenantName, TenantState>,
    waiting: FairQueue<Waiter<W>>,
    /// The one request that room is kept for.
    reservation: Option<Reservation>,
    reservations: u64,
    /// All permits that were ever granted.
    granted: u64,
    next_id: u64,
}

struct Waiter<W> {
    id: u64,
    permits: u64,
    waiter: W,
}

#[derive(Default)]
struct TenantState {
    own: u64,
    waiting: usize,
    /// No function's first request is for less, and all were asked since one of them was another
    /// one; 0 where they were not. They need not be asked while that is too much.
    least: u64,
    /// The first request that others pass, and that is within a tenant's share.
    passed: Option<Passed>,
    /// The first that is not.
    passed_large: Option<Passed>,
}

/// A request that was not granted when it was asked, while others may be.
#[derive(Clone, Copy)]
struct Passed {
    id: u64,
    permits: u64,
    /// What was granted before it was passed first.
    since: u64,
}

/// Room that is kept for a request.
struct Reservation {
    number: u64,
    tenant: TenantName,
    passed: Passed,
    /// What its tenant has when it is granted.
    part: u64,
    /// What others have that they got since it was made.
    taken_since: u64,
}

/// Permits that were granted, until they are [released](ShareRules::release).
pub(super) struct Grant {
    tenant: TenantName,
    permits: u64,
    /// The reservation that there was for somebody else, by its number; 0 where there was none.
    beside: u64,
}

impl<W> ShareRules<W> {
    /// So many permits, for more than one tenant.
    pub(super) fn new(total: u64) -> Self {
        Self {
            // So that nothing overflows that is computed of it.
            total: total.clamp(1, u64::MAX / 8),
            is_shared: true,
            taken: 0,
            tenants: HashMap::new(),
            waiting: FairQueue::default(),
            reservation: None,
            reservations: 0,
            granted: 0,
            next_id: 0,
        }
    }

    /// Says whether there is more than one tenant.
    pub(super) fn set_shared(&mut self, is_shared: bool) {
        if self.is_shared == is_shared {
            return;
        }
        self.is_shared = is_shared;
        let share = self.share();
        // Made by the other rule; it is made again where this one has it too.
        self.reservation = None;
        for tenant in self.tenants.values_mut() {
            let mut both = [tenant.passed.take(), tenant.passed_large.take()];
            both.sort_by_key(|passed| passed.map(|passed| passed.since));
            // What was passed first stays so: who comes and goes does not make it begin anew.
            for passed in both.into_iter().flatten() {
                tenant.note(passed, share);
            }
        }
    }

    /// As many as can be asked for at once: not more than there are.
    pub(super) fn clamp(&self, permits: u64) -> u64 {
        permits.clamp(1, self.total)
    }

    /// So many permits, if the tenant may have them at once.
    pub(super) fn try_take(&mut self, tenant: &TenantName, permits: u64) -> Option<Grant> {
        let may = self.waiting.len() == 0 && permits <= self.most(self.own(tenant));
        may.then(|| self.take(tenant, permits))
    }

    /// Adds one who waits; its number is for [`Self::give_up`].
    pub(super) fn wait(
        &mut self,
        tenant: &TenantName,
        function: &FunctionName,
        permits: u64,
        waiter: W,
    ) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let is_first = self.waiting.push(tenant, function, Waiter { id, permits, waiter }) == 1;
        let (share, since) = (self.share(), self.granted);
        let state = self.tenants.entry(tenant.clone()).or_default();
        state.waiting += 1;
        // Where all were asked, this is the first of its kind if none is noted. Otherwise those
        // before it are asked first.
        if is_first && state.least > 0 {
            state.note(Passed { id, permits, since }, share);
        }
        state.least = state.least.min(permits);
        id
    }

    /// Removes one who waits no more, if it waits still.
    pub(super) fn give_up(&mut self, tenant: &TenantName, function: &FunctionName, id: u64) {
        // Numbers rise, so that a function's are in order.
        if self.waiting.remove(tenant, function, |waiter| waiter.id.cmp(&id)).is_some() {
            self.waits_no_more(tenant, id);
        }
    }

    /// Gives permits to the next who may have them, if any may.
    pub(super) fn next(&mut self) -> Option<(W, Grant)> {
        if self.waiting.len() == 0 || self.taken == self.total {
            return None;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        let next = waiting.pop_where(&mut Asking { rules: self, most: 0, only: None });
        self.waiting = waiting;
        let (tenant, Waiter { id, permits, waiter }) = next?;
        self.waits_no_more(&tenant, id);
        Some((waiter, self.take(&tenant, permits)))
    }

    /// Takes permits back.
    pub(super) fn release(&mut self, grant: &Grant) {
        self.taken -= grant.permits;
        if let Some(reservation) = &mut self.reservation
            && reservation.number == grant.beside
        {
            reservation.taken_since -= grant.permits;
        }
        if let Some(state) = self.tenants.get_mut(&grant.tenant) {
            state.own -= grant.permits;
        }
        self.remove_if_idle(&grant.tenant);
    }

    /// Whether what a tenant has and does not work with is needed: by itself, or by another one
    /// that waits and has less than its part. One that waits as it has its share already is helped
    /// by nothing that others give back.
    pub(super) fn is_needed(&self, of: &TenantName) -> bool {
        self.waiting.tenants().any(|tenant| {
            let is_entitled = |state: &TenantState| self.is_entitled(state.own, state.least.max(1));
            tenant == of || self.tenants.get(tenant).is_some_and(is_entitled)
        })
    }

    /// How many permits nobody has.
    #[cfg(test)]
    pub(super) fn available(&self) -> u64 {
        self.total - self.taken
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn own(&self, tenant: &TenantName) -> u64 {
        self.tenants.get(tenant).map_or(0, |state| state.own)
    }

    fn take(&mut self, tenant: &TenantName, permits: u64) -> Grant {
        self.taken += permits;
        self.granted = self.granted.wrapping_add(permits);
        self.tenants.entry(tenant.clone()).or_default().own += permits;
        let beside = self.reservation.as_mut().map_or(0, |reservation| {
            reservation.taken_since += permits;
            reservation.number
        });
        Grant { tenant: tenant.clone(), permits, beside }
    }

    /// Takes down that one less waits: it has its permits, or gave up.
    fn waits_no_more(&mut self, tenant: &TenantName, id: u64) {
        self.reservation.take_if(|reservation| reservation.passed.id == id);
        if let Some(state) = self.tenants.get_mut(tenant) {
            state.passed.take_if(|passed| passed.id == id);
            state.passed_large.take_if(|passed| passed.id == id);
            state.waiting -= 1;
            // Another is its function's first now.
            state.least = 0;
        }
        self.remove_if_idle(tenant);
    }

    fn remove_if_idle(&mut self, tenant: &TenantName) {
        if self.tenants.get(tenant).is_some_and(|state| state.own == 0 && state.waiting == 0) {
            self.tenants.remove(tenant);
        }
    }

    /// What one tenant may have while others need none.
    fn share(&self) -> u64 {
        if !self.is_shared {
            return self.total;
        }
        (self.total * TIMES_FREE / (TIMES_FREE + 1)).max(1)
    }

    /// What each tenant may have while all that are here want as much.
    fn part(&self) -> u64 {
        if !self.is_shared {
            return self.total;
        }
        self.total * TIMES_FREE / (TIMES_FREE * self.tenants.len() as u64 + 1)
    }

    /// How many permits a tenant that has `own` may have more at once. What is kept for somebody
    /// else is not free, nor what that one is about to get.
    fn most(&self, own: u64) -> u64 {
        let mut free = self.total - self.taken;
        if let Some(Reservation { passed, part, taken_since, .. }) = &self.reservation {
            if passed.permits <= free {
                return 0;
            }
            free = free.min((self.total - part).saturating_sub(*taken_since));
        }
        if !self.is_shared || own == 0 {
            return free;
        }
        // With as many more, it has as many as are left free times three.
        (free * TIMES_FREE).saturating_sub(own) / (TIMES_FREE + 1)
    }

    /// Whether others are to leave a tenant that has `own` room for so many permits more: where it
    /// has nothing else, or has no more than its part with them.
    fn is_entitled(&self, own: u64, permits: u64) -> bool {
        own == 0 || own + permits <= self.part()
    }

    /// Whether as much as there is in all has passed a request.
    fn is_due(&self, passed: &Passed) -> bool {
        self.granted.wrapping_sub(passed.since) >= self.total
    }

    /// The one request of a tenant's that may be granted, where it is one that others have passed
    /// for long enough; of two, the one that was passed first.
    fn due(&self, state: &TenantState) -> Option<Passed> {
        // Nothing is kept for one that is larger than a share, so its tenant's others would wait
        // for it in vain as long as other tenants are in its way.
        let free = self.total - self.taken;
        let large = state.passed_large.filter(|large| large.permits <= free + state.own);
        let both = [state.passed, large].into_iter().flatten();
        both.filter(|passed| self.is_due(passed)).min_by_key(|passed| passed.since)
    }

    /// Keeps room for a tenant's request, unless there is one already that room is kept for. One
    /// that is larger than a share has it already, as nobody else was in its way.
    fn reserve(&mut self, tenant: &TenantName) {
        if self.reservation.is_some() {
            return;
        }
        let Some(state) = self.tenants.get(tenant) else { return };
        let is_entitled = |passed: &Passed| self.is_entitled(state.own, passed.permits);
        let Some(passed) = self.due(state).filter(is_entitled) else { return };
        self.reservations += 1;
        self.reservation = Some(Reservation {
            number: self.reservations,
            tenant: tenant.clone(),
            passed,
            part: (state.own + passed.permits).min(self.total),
            taken_since: 0,
        });
    }
}

impl TenantState {
    /// Notes a request that others may pass, if it is the first of its kind.
    fn note(&mut self, passed: Passed, share: u64) {
        let is_large = passed.permits > share;
        let noted = if is_large { &mut self.passed_large } else { &mut self.passed };
        noted.get_or_insert(passed);
    }
}

/// Asks those who wait, tenants one after the other.
struct Asking<'a, W> {
    rules: &'a mut ShareRules<W>,
    /// What the tenant may have that is asked now.
    most: u64,
    /// The only one of its requests that may be granted, where there is one.
    only: Option<u64>,
}

impl<W> Chooser<Waiter<W>> for Asking<'_, W> {
    /// A tenant costs one look where none of its requests can be granted, however many there are.
    fn considers(&mut self, tenant: &TenantName) -> bool {
        self.rules.reserve(tenant);
        let rules = &mut *self.rules;
        if let Some(Reservation { tenant: of, passed, .. }) = &rules.reservation
            && of == tenant
        {
            self.only = Some(passed.id);
            return passed.permits <= rules.total - rules.taken;
        }
        let Some(state) = rules.tenants.get(tenant) else { return false };
        let due = rules.due(state);
        self.most = rules.most(state.own);
        self.only = due.map(|due| due.id);
        let is_enough = due.map_or(state.least, |due| due.permits) <= self.most;
        if is_enough
            && self.only.is_none()
            && let Some(state) = rules.tenants.get_mut(tenant)
        {
            // Found out by asking all of them.
            state.least = u64::MAX;
        }
        is_enough
    }

    fn chooses(&mut self, tenant: &TenantName, waiter: &Waiter<W>) -> bool {
        let Waiter { id, permits, .. } = *waiter;
        if let Some(only) = self.only {
            return id == only;
        }
        if permits <= self.most {
            return true;
        }
        let (share, since) = (self.rules.share(), self.rules.granted);
        if let Some(state) = self.rules.tenants.get_mut(tenant) {
            state.least = state.least.min(permits);
            state.note(Passed { id, permits, since }, share);
        }
        false
    }
}

#[cfg(test)]
mod tests;
