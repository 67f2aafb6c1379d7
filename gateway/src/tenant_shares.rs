//! Permits for requests, which are there at once or not at all, with a share for each tenant: by
//! the same rule as a host's executions in flight.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmill_domain::TenantName;

/// A tenant may have so many times as many permits as are free then: alone it gets three quarters,
/// two get three sevenths each, and some are always free for the next one.
const TIMES_FREE: usize = 3;

/// So many permits, shared by tenants.
pub(crate) struct TenantShares {
    total: usize,
    taken: Mutex<TakenShares>,
}

#[derive(Default)]
struct TakenShares {
    all: usize,
    of_tenants: HashMap<TenantName, usize>,
}

/// One of the permits.
pub(crate) struct SharePermit {
    shares: Arc<TenantShares>,
    tenant: TenantName,
}

impl TenantShares {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { total, taken: Mutex::default() })
    }

    /// A permit for a tenant, if it may have one more. Where there are no others, it may have all.
    pub(crate) fn try_acquire(
        self: &Arc<Self>,
        tenant: &TenantName,
        has_others: impl FnOnce() -> bool,
    ) -> Option<SharePermit> {
        let mut taken = self.taken();
        let left = self.total.checked_sub(taken.all + 1)?;
        let own = taken.of_tenants.get(tenant).copied().unwrap_or_default();
        let is_within_share = own == 0 || own < left.saturating_mul(TIMES_FREE);
        if !is_within_share && has_others() {
            return None;
        }
        taken.all += 1;
        taken.of_tenants.insert(tenant.clone(), own + 1);
        Some(SharePermit { shares: Arc::clone(self), tenant: tenant.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, TakenShares> {
        // Nothing panics while it is locked.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SharePermit {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        taken.all -= 1;
        if let Some(own) = taken.of_tenants.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                taken.of_tenants.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of(
        shares: &Arc<TenantShares>,
        tenant: &str,
        has_others: fn() -> bool,
    ) -> Vec<SharePermit> {
        let tenant = tenant.parse().unwrap();
        std::iter::from_fn(|| shares.try_acquire(&tenant, has_others)).collect()
    }

    #[test]
    fn a_tenant_leaves_some_to_others() {
        let shares = TenantShares::new(8);
        let mut of_a = all_of(&shares, "a", || true);
        assert_eq!(of_a.len(), 6);
        let of_b = all_of(&shares, "b", || true);
        assert_eq!(of_b.len(), 1);
        assert_eq!(all_of(&shares, "c", || true).len(), 1);
        drop(of_b);
        of_a.pop();
        assert_eq!(all_of(&shares, "b", || true).len(), 2);
        drop(of_a);
        assert!(shares.taken().of_tenants.is_empty() && shares.taken().all == 0);
    }

    #[test]
    fn who_is_alone_has_all_and_one_is_enough_for_one() {
        let shares = TenantShares::new(8);
        assert_eq!(all_of(&shares, "a", || false).len(), 8);
        assert_eq!(all_of(&TenantShares::new(1), "a", || true).len(), 1);
        assert!(all_of(&TenantShares::new(0), "a", || false).is_empty());
    }
}
