//! Budgets: so much of something for all requests together, and of that no more for one tenant or
//! address than it leaves free for others.
//!
//! An owner that is alone may so have half of a budget, two that want as much as they can get a
//! third each, and so on: whoever comes next always finds something. Addresses are cheap (whoever
//! has a network of IPv6 has as many as they like), so all of them together have half of a budget,
//! and share that in the same way: tenants always find the other half. Nothing waits here, and
//! nothing else is set aside for anybody who does not come.

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
    /// What of it addresses have together.
    of_addresses: AtomicUsize,
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
    is_address: bool,
    amount: usize,
}

/// Whether an owner that has `before` may have `amount` more of `limit` while all together have
/// `used`. The first of an owner is taken wherever there is room.
fn fits(limit: usize, before: usize, amount: usize, used: usize) -> bool {
    let is_first = before == 0 && used.checked_add(amount).is_some_and(|after| after <= limit);
    is_first || leaves_as_much(limit, before, amount, used)
}

/// Whether an owner that has `before` leaves as much of `limit` as it has, with `amount` more.
fn leaves_as_much(limit: usize, before: usize, amount: usize, used: usize) -> bool {
    let free = used.checked_add(amount).and_then(|after| limit.checked_sub(after));
    free.is_some_and(|free| before.saturating_add(amount) <= free)
}

impl Budget {
    pub(crate) fn new(limit: usize, refusals: Refusals) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            of_addresses: AtomicUsize::new(0),
            refusals,
            owners: Mutex::default(),
        })
    }

    /// The share of a request of `owner`, with nothing in it yet.
    pub(crate) fn share(self: &Arc<Self>, owner: &Owner) -> Share {
        Share {
            budget: Arc::clone(self),
            of_owner: self.used_by(owner),
            is_address: matches!(owner, Owner::Address(_)),
            amount: 0,
        }
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

    /// How much of it all addresses may have together.
    fn limit_of_addresses(&self) -> usize {
        self.limit.div_ceil(2)
    }

    /// Takes `amount` more of it for an owner that has `before`.
    fn try_take(&self, is_address: bool, before: usize, amount: usize) -> Result<()> {
        let take = |of: &AtomicUsize, limit: usize| {
            let taken = of.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                fits(limit, before, amount, used).then(|| used + amount)
            });
            taken.map(drop).map_err(|used| self.refusal(limit, amount, used))
        };
        if is_address {
            take(&self.of_addresses, self.limit_of_addresses())?;
        }
        let taken = take(&self.used, self.limit);
        if taken.is_err() && is_address {
            self.of_addresses.fetch_sub(amount, Ordering::Relaxed);
        }
        taken
    }

    fn give_back(&self, is_address: bool, amount: usize) {
        self.used.fetch_sub(amount, Ordering::Relaxed);
        if is_address {
            self.of_addresses.fetch_sub(amount, Ordering::Relaxed);
        }
    }

    fn refusal(&self, limit: usize, amount: usize, used: usize) -> ApiError {
        let is_full = limit.saturating_sub(used) < amount;
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
        // First, so that what the owner's other requests take meanwhile counts.
        let before = self.of_owner.fetch_add(more, Ordering::Relaxed);
        let taken = self.budget.try_take(self.is_address, before, more);
        if taken.is_ok() {
            self.amount += more;
        } else {
            self.of_owner.fetch_sub(more, Ordering::Relaxed);
        }
        taken
    }

    /// Gives back all but `amount`.
    pub(crate) fn shrink(&mut self, amount: usize) {
        let back = self.amount.saturating_sub(amount);
        self.of_owner.fetch_sub(back, Ordering::Relaxed);
        self.budget.give_back(self.is_address, back);
        self.amount -= back;
    }

    /// The most that its owner can have step by step, where nobody else has anything.
    pub(crate) fn most(&self) -> usize {
        let budget = &self.budget;
        if self.is_address { budget.limit_of_addresses() / 2 } else { budget.limit / 2 }
    }

    /// Whether `more` could be taken now, step by step; takes nothing.
    ///
    /// # Errors
    /// As [`Self::grow`].
    pub(crate) fn check(&self, more: usize) -> Result<()> {
        let budget = &self.budget;
        let before = self.of_owner.load(Ordering::Relaxed);
        let check = |of: &AtomicUsize, limit: usize| {
            let used = of.load(Ordering::Relaxed);
            // Only the first step is the owner's first.
            let is_left = leaves_as_much(limit, before, more, used);
            is_left.then_some(()).ok_or_else(|| budget.refusal(limit, more, used))
        };
        if self.is_address {
            check(&budget.of_addresses, budget.limit_of_addresses())?;
        }
        check(&budget.used, budget.limit)
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

    fn tenant(name: &str) -> Owner {
        Owner::Tenant(name.parse().unwrap())
    }

    #[test]
    fn whoever_comes_next_finds_something() {
        let budget = budget(120);
        let (first, why) = take_all(&budget, &tenant("one"));
        assert_eq!((first.len(), why), (60, "owner"));
        let (second, why) = take_all(&budget, &tenant("two"));
        assert_eq!((second.len(), why), (30, "owner"));
        let (third, _) = take_all(&budget, &tenant("three"));
        assert_eq!(third.len(), 15);
        // Who has more than its share by now gets nothing until it is less, the others do.
        assert!(budget.take(&tenant("one"), 1).is_err());
        drop((first, third));
        let (more, _) = take_all(&budget, &tenant("two"));
        assert_eq!(second.len() + more.len(), 60);
        drop((second, more));
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    /// The first of each is taken, which is all that whoever has many addresses needs.
    #[test]
    fn however_many_addresses_leave_tenants_half() {
        let budget = budget(120);
        let many: Vec<_> = (0..120).map(|last| budget.take(&address(last), 1)).collect();
        assert_eq!(many.iter().filter(|taken| taken.is_ok()).count(), 60);
        assert!(matches!(many[119], Err(ApiError::Overloaded("all"))));
        let (of_tenant, _) = take_all(&budget, &tenant("one"));
        assert_eq!(of_tenant.len(), 30);
        drop(many);
        assert_eq!(budget.of_addresses.load(Ordering::Relaxed), 0);
        assert_eq!(budget.used.load(Ordering::Relaxed), 30);
    }

    #[test]
    fn addresses_share_their_half() {
        let budget = budget(120);
        let (first, why) = take_all(&budget, &address(1));
        assert_eq!((first.len(), why), (30, "owner"));
        let (second, _) = take_all(&budget, &address(2));
        assert_eq!(second.len(), 15);
        let (of_tenant, _) = take_all(&budget, &tenant("one"));
        assert_eq!(of_tenant.len(), 37);
        drop(second);
        let (third, _) = take_all(&budget, &address(3));
        assert_eq!(third.len(), 15);
        drop((first, third, of_tenant));
        assert_eq!(budget.of_addresses.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_first_is_taken_where_there_is_any() {
        let budget = budget(4);
        let _one = budget.take(&address(1), 1).unwrap();
        assert!(matches!(budget.take(&address(1), 1), Err(ApiError::Overloaded("owner"))));
        let two = budget.take(&address(2), 1).unwrap();
        assert!(matches!(budget.take(&address(3), 1), Err(ApiError::Overloaded("all"))));
        drop(two);
        assert!(budget.take(&address(3), 1).is_ok());
    }

    #[test]
    fn the_smallest_budget_serves_whoever_is_alone() {
        for owner in [address(1), tenant("one")] {
            assert!(budget(1).take(&owner, 1).is_ok());
        }
    }

    #[test]
    fn a_share_grows_and_shrinks() {
        for (owner, limit) in [(tenant("one"), 100), (address(1), 200)] {
            let budget = budget(limit);
            let mut share = budget.share(&owner);
            assert!(share.check(50).is_ok() && share.check(51).is_err());
            assert_eq!(share.most(), 50);
            share.grow(10).unwrap();
            share.grow(40).unwrap();
            assert!(share.grow(1).is_err() && share.amount() == 50);
            share.shrink(20);
            assert!(share.check(30).is_ok() && share.check(31).is_err());
            assert!(share.grow(usize::MAX).is_err());
            assert_eq!(budget.used.load(Ordering::Relaxed), 20);
        }
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
