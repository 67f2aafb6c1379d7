//! Budgets: so much of something for all requests together, and of that no more for one tenant or
//! address than it leaves free for others.
//!
//! An owner that is alone may so have half of a budget, two that want as much as they can get a
//! third each, and so on: whoever comes next always finds something. Nothing waits here and nothing
//! is set aside for anybody who does not come.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use http::Extensions;
use wasmill_domain::TenantName;
use wasmill_http::ClientAddress;

use crate::error::{ApiError, Result};

/// How many owners are remembered at least before those are forgotten that have nothing.
const REMEMBERED: usize = 1_024;

/// On whose account a request is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// The tenant whose key it has, or whose function answers it.
    Tenant(TenantName),
    /// Whoever sends it without a key.
    Address(IpAddr),
}

impl Owner {
    /// Of a request without a key: its address, or where that is a proxy's, the tenant that the
    /// request is for.
    pub(crate) fn without_key(extensions: &Extensions, tenant: &TenantName) -> Self {
        match extensions.get::<ClientAddress>() {
            Some(ClientAddress(address)) => Self::Address(*address),
            None => Self::Tenant(tenant.clone()),
        }
    }
}

/// So much of something.
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// What is answered where there is too little of it, or too little for the owner.
    refusals: Refusals,
    owners: Mutex<Owners>,
}

/// What is answered where there is nothing left.
pub(crate) struct Refusals {
    /// Where all together have it.
    pub(crate) all: &'static str,
    /// Where the owner has its share.
    pub(crate) owner: &'static str,
}

#[derive(Default)]
struct Owners {
    /// How much each of them has.
    used: HashMap<Owner, Weak<AtomicUsize>>,
    /// With how many owners those are looked for that have nothing.
    sweep_at: usize,
}

/// What one request has of a budget, until it is dropped.
pub(crate) struct Share {
    budget: Arc<Budget>,
    of_owner: Arc<AtomicUsize>,
    amount: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize, refusals: Refusals) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), refusals, owners: Mutex::default() })
    }

    /// The share of a request of `owner`, with nothing in it yet.
    pub(crate) fn share(self: &Arc<Self>, owner: &Owner) -> Share {
        Share { budget: Arc::clone(self), of_owner: self.used_by(owner), amount: 0 }
    }

    /// A share of `amount`.
    ///
    /// # Errors
    /// As [`Share::grow`].
    pub(crate) fn take(self: &Arc<Self>, owner: &Owner, amount: usize) -> Result<Share> {
        let mut share = self.share(owner);
        share.grow(amount)?;
        Ok(share)
    }

    fn used_by(&self, owner: &Owner) -> Arc<AtomicUsize> {
        // Nothing panics while it is held.
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = owners.used.get(owner).and_then(Weak::upgrade) {
            return used;
        }
        if owners.used.len() >= owners.sweep_at.max(REMEMBERED) {
            owners.used.retain(|_, used| used.strong_count() > 0);
            owners.sweep_at = owners.used.len() * 2;
        }
        let used = Arc::default();
        owners.used.insert(owner.clone(), Arc::downgrade(&used));
        used
    }

    /// Whether an owner that has `before` may have `amount` more while all together have `used`.
    /// The first of an owner is taken wherever there is room.
    fn fits(&self, before: usize, amount: usize, used: usize) -> bool {
        let Some(after) = used.checked_add(amount) else { return false };
        let free = self.limit.checked_sub(after);
        free.is_some_and(|free| before == 0 || before.saturating_add(amount) <= free)
    }

    fn refusal(&self, amount: usize, used: usize) -> ApiError {
        let is_full = self.limit.saturating_sub(used) < amount;
        ApiError::Overloaded(if is_full { self.refusals.all } else { self.refusals.owner })
    }
}

impl Share {
    /// How much it is.
    pub(crate) fn amount(&self) -> usize {
        self.amount
    }

    /// Takes `more`.
    ///
    /// # Errors
    /// Where there is not so much, or the owner would have more than it leaves free.
    pub(crate) fn grow(&mut self, more: usize) -> Result<()> {
        let budget = &self.budget;
        // First, so that what the owner's other requests take meanwhile counts.
        let before = self.of_owner.fetch_add(more, Ordering::Relaxed);
        let taken = budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            budget.fits(before, more, used).then(|| used + more)
        });
        match taken {
            Ok(_) => {
                self.amount += more;
                Ok(())
            }
            Err(used) => {
                self.of_owner.fetch_sub(more, Ordering::Relaxed);
                Err(budget.refusal(more, used))
            }
        }
    }

    /// Gives back all but `amount`.
    pub(crate) fn shrink(&mut self, amount: usize) {
        let back = self.amount.saturating_sub(amount);
        self.of_owner.fetch_sub(back, Ordering::Relaxed);
        self.budget.used.fetch_sub(back, Ordering::Relaxed);
        self.amount -= back;
    }

    /// Whether `more` could be taken now, step by step; takes nothing.
    ///
    /// # Errors
    /// As [`Self::grow`].
    pub(crate) fn check(&self, more: usize) -> Result<()> {
        let budget = &self.budget;
        let used = budget.used.load(Ordering::Relaxed);
        let of_owner = self.of_owner.load(Ordering::Relaxed).saturating_add(more);
        let free = used.checked_add(more).and_then(|after| budget.limit.checked_sub(after));
        if free.is_some_and(|free| of_owner <= free) {
            Ok(())
        } else {
            Err(budget.refusal(more, used))
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(limit: usize) -> Arc<Budget> {
        Budget::new(limit, Refusals { all: "all", owner: "owner" })
    }

    fn address(last: u8) -> Owner {
        Owner::Address([192, 0, 2, last].into())
    }

    /// Takes one after another until no more is to be had.
    fn take_all(budget: &Arc<Budget>, owner: &Owner) -> (Vec<Share>, &'static str) {
        let mut taken = Vec::new();
        loop {
            match budget.take(owner, 1) {
                Ok(share) => taken.push(share),
                Err(ApiError::Overloaded(why)) => return (taken, why),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn whoever_comes_next_finds_something() {
        let budget = budget(120);
        let (first, why) = take_all(&budget, &address(1));
        assert_eq!((first.len(), why), (60, "owner"));
        let (second, why) = take_all(&budget, &Owner::Tenant(TenantName::default()));
        assert_eq!((second.len(), why), (30, "owner"));
        let (third, _) = take_all(&budget, &address(3));
        assert_eq!(third.len(), 15);
        // Who has more than its share by now gets nothing until it is less, the others do.
        assert!(budget.take(&address(1), 1).is_err());
        drop((first, third));
        let (more, _) = take_all(&budget, &Owner::Tenant(TenantName::default()));
        assert_eq!(second.len() + more.len(), 60);
        drop((second, more));
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_first_is_taken_where_there_is_any() {
        let budget = budget(2);
        let _one = budget.take(&address(1), 1).unwrap();
        assert!(matches!(budget.take(&address(1), 1), Err(ApiError::Overloaded("owner"))));
        let two = budget.take(&address(2), 1).unwrap();
        assert!(matches!(budget.take(&address(3), 1), Err(ApiError::Overloaded("all"))));
        drop(two);
        assert!(budget.take(&address(3), 1).is_ok());
    }

    #[test]
    fn a_share_grows_and_shrinks() {
        let budget = budget(100);
        let mut share = budget.share(&address(1));
        assert!(share.check(50).is_ok() && share.check(51).is_err());
        share.grow(10).unwrap();
        share.grow(40).unwrap();
        assert!(share.grow(1).is_err() && share.amount() == 50);
        share.shrink(20);
        assert!(share.check(30).is_ok() && share.check(31).is_err());
        assert!(share.grow(usize::MAX).is_err());
        assert_eq!(budget.used.load(Ordering::Relaxed), 20);
    }

    #[test]
    fn owners_that_have_nothing_are_forgotten() {
        let budget = budget(1 << 20);
        let _stays = budget.take(&address(0), 1).unwrap();
        for i in 0..u32::try_from(3 * REMEMBERED).unwrap() {
            drop(budget.take(&Owner::Address(std::net::Ipv4Addr::from_bits(i).into()), 1).unwrap());
        }
        let owners = budget.owners.lock().unwrap();
        assert!(owners.used.len() <= REMEMBERED && owners.used.contains_key(&address(0)));
    }
}
