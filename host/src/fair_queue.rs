//! A fair queue: tenants are served one after the other, and within a tenant its functions, so that
//! who has much to do delays only itself.

use std::cmp::Ordering;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use wasmill_domain::{FunctionName, TenantName};

/// Decides what is taken next out of a [`FairQueue`].
pub(crate) trait Chooser<T> {
    /// Whether any of a tenant's items may be taken: asked once, before its items are.
    fn considers(&mut self, tenant: &TenantName) -> bool;

    /// Whether this one is to be taken.
    fn chooses(&mut self, tenant: &TenantName, item: &T) -> bool;
}

/// Looks at items only.
impl<T, F: FnMut(&TenantName, &T) -> bool> Chooser<T> for F {
    fn considers(&mut self, _: &TenantName) -> bool {
        true
    }

    fn chooses(&mut self, tenant: &TenantName, item: &T) -> bool {
        self(tenant, item)
    }
}

/// Items that wait, fair between tenants and functions. Those of one function keep their order.
pub(crate) struct FairQueue<T> {
    len: usize,
    tenants: Groups<TenantName, Groups<FunctionName, VecDeque<T>>>,
}

impl<T> FairQueue<T> {
    /// Adds an item, behind its function's others, and gives how many these are with it.
    pub(crate) fn push(&mut self, tenant: &TenantName, function: &FunctionName, item: T) -> usize {
        self.len += 1;
        let items = self.tenants.group(tenant).group(function);
        items.push_back(item);
        items.len()
    }

    /// Takes the next item.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.pop_where(&mut |_: &TenantName, _: &T| true).map(|(_, item)| item)
    }

    /// Takes the next item that `chooser` chooses, and gives its tenant with it. Each function's
    /// first item is asked about, in their order; who is passed over keeps its place in the order.
    pub(crate) fn pop_where(&mut self, chooser: &mut impl Chooser<T>) -> Option<(TenantName, T)> {
        let taken = self.tenants.next_where(
            |tenant, functions| {
                if !chooser.considers(tenant) {
                    return None;
                }
                let next = functions.next_where(
                    |_, items| items.pop_front_if(|item| chooser.chooses(tenant, item)),
                    VecDeque::is_empty,
                );
                next.map(|item| (tenant.clone(), item))
            },
            |functions| functions.order.is_empty(),
        );
        self.len -= usize::from(taken.is_some());
        taken
    }

    /// Takes one of a function's items, wherever in its line that is: the one for which `compare`
    /// gives [`Ordering::Equal`]. Items are in the order by which it compares.
    pub(crate) fn remove(
        &mut self,
        tenant: &TenantName,
        function: &FunctionName,
        compare: impl FnMut(&T) -> Ordering,
    ) -> Option<T> {
        let functions = self.tenants.groups.get_mut(tenant)?;
        let items = functions.groups.get_mut(function)?;
        let item = items.binary_search_by(compare).ok().and_then(|index| items.remove(index))?;
        if items.is_empty() {
            functions.leave(function);
        }
        if functions.order.is_empty() {
            self.tenants.leave(tenant);
        }
        self.len -= 1;
        Some(item)
    }

    /// The tenants that have items here, in their order.
    pub(crate) fn tenants(&self) -> impl Iterator<Item = &TenantName> {
        self.tenants.order.iter()
    }

    /// Takes everything of those functions that have at most `few` items waiting.
    pub(crate) fn take_of_small(&mut self, few: usize) -> Vec<T> {
        let mut taken = Vec::new();
        self.tenants.retain(|functions| {
            functions.retain(|items| {
                let is_small = items.len() <= few;
                if is_small {
                    taken.extend(items.drain(..));
                }
                !is_small
            });
            !functions.order.is_empty()
        });
        self.len -= taken.len();
        taken
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { len: 0, tenants: Groups::default() }
    }
}

/// The same where a tenant's items have one line, whatever functions they are of.
pub(crate) struct TenantFairQueue<T>(Groups<TenantName, VecDeque<T>>);

impl<T> TenantFairQueue<T> {
    /// Adds an item, behind its tenant's others.
    pub(crate) fn push(&mut self, tenant: &TenantName, item: T) {
        self.0.group(tenant).push_back(item);
    }

    /// Takes the next item.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.0.next_where(|_, items| items.pop_front(), VecDeque::is_empty)
    }
}

impl<T> Default for TenantFairQueue<T> {
    fn default() -> Self {
        Self(Groups::default())
    }
}

/// Groups that are served round robin; a group without members is not in it.
struct Groups<K, G> {
    order: VecDeque<K>,
    groups: HashMap<K, G>,
}

impl<K: Clone + Eq + Hash, G: Default> Groups<K, G> {
    fn group(&mut self, key: &K) -> &mut G {
        match self.groups.entry(key.clone()) {
            Entry::Occupied(group) => group.into_mut(),
            Entry::Vacant(position) => {
                self.order.push_back(key.clone());
                position.insert(G::default())
            }
        }
    }

    /// Removes a group.
    fn leave(&mut self, key: &K) {
        self.groups.remove(key);
        self.order.retain(|of_group| of_group != key);
    }

    /// Keeps the groups that `keep` says.
    fn retain(&mut self, mut keep: impl FnMut(&mut G) -> bool) {
        let groups = &mut self.groups;
        self.order.retain(|key| {
            let is_kept = groups.get_mut(key).is_some_and(&mut keep);
            if !is_kept {
                groups.remove(key);
            }
            is_kept
        });
    }

    /// Takes something out of the next group that `take` gives something of; the group goes to
    /// the end, or away if `is_empty`.
    fn next_where<T>(
        &mut self,
        mut take: impl FnMut(&K, &mut G) -> Option<T>,
        is_empty: impl FnOnce(&G) -> bool,
    ) -> Option<T> {
        let groups = &mut self.groups;
        let (index, taken) = self.order.iter().enumerate().find_map(|(index, key)| {
            groups.get_mut(key).and_then(|group| take(key, group)).map(|taken| (index, taken))
        })?;
        let key = self.order.remove(index)?;
        if self.groups.get(&key).is_none_or(is_empty) {
            self.groups.remove(&key);
        } else {
            self.order.push_back(key);
        }
        Some(taken)
    }
}

impl<K, G> Default for Groups<K, G> {
    fn default() -> Self {
        Self { order: VecDeque::new(), groups: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_and_functions_are_served_fairly() {
        let mut queue = FairQueue::default();
        for (position, name) in ["a/x", "a/x", "a/x", "a/y", "a/y", "b/z", "b/z"].iter().enumerate()
        {
            let (tenant, function) = name.split_once('/').unwrap();
            queue.push(&tenant.parse().unwrap(), &function.parse().unwrap(), (*name, position));
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(
            order,
            [("a/x", 0), ("b/z", 5), ("a/y", 3), ("b/z", 6), ("a/x", 1), ("a/y", 4), ("a/x", 2)]
        );
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn who_is_passed_over_keeps_its_place_in_the_order() {
        let mut queue = FairQueue::default();
        for name in ["a/x", "a/y", "b/z", "c/z", "c/z"] {
            let (tenant, function) = name.split_once('/').unwrap();
            queue.push(&tenant.parse().unwrap(), &function.parse().unwrap(), name);
        }
        let next = |queue: &mut FairQueue<&str>, not: &str| {
            let mut wanted = |_: &TenantName, item: &&str| !not.contains(*item);
            queue.pop_where(&mut wanted).map(|(tenant, item)| {
                assert!(item.starts_with(tenant.as_str()));
                item.to_owned()
            })
        };
        assert_eq!(next(&mut queue, "a/x a/y b/z").as_deref(), Some("c/z"));
        assert_eq!(next(&mut queue, "a/x b/z").as_deref(), Some("a/y"));
        assert_eq!(next(&mut queue, "a/x b/z c/z"), None);
        assert_eq!(queue.len(), 3);
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), ["b/z", "c/z", "a/x"]);
    }

    #[test]
    fn an_item_can_be_taken_out_of_the_middle() {
        let mut queue = FairQueue::default();
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let (x, y) = ("x".parse().unwrap(), "y".parse().unwrap());
        for (tenant, function, item) in [(&a, &x, 1), (&a, &y, 2), (&b, &x, 3), (&a, &x, 4)] {
            queue.push(tenant, function, item);
        }
        assert_eq!(queue.remove(&a, &x, |item| item.cmp(&4)), Some(4));
        assert_eq!(queue.remove(&a, &x, |item| item.cmp(&4)), None);
        assert_eq!(queue.remove(&b, &y, |item| item.cmp(&3)), None);
        assert_eq!(queue.remove(&b, &x, |item| item.cmp(&3)), Some(3));
        assert_eq!(queue.tenants().collect::<Vec<_>>(), [&a]);
        assert_eq!(queue.remove(&a, &x, |item| item.cmp(&1)), Some(1));
        assert_eq!((queue.len(), queue.pop(), queue.pop()), (1, Some(2), None));
    }

    #[test]
    fn tenants_alone_are_served_fairly() {
        let mut queue = TenantFairQueue::default();
        for (tenant, item) in [("a", 1), ("a", 2), ("b", 3), ("a", 4), ("b", 5)] {
            queue.push(&tenant.parse().unwrap(), item);
        }
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), [1, 3, 2, 5, 4]);
    }

    #[test]
    fn what_is_of_small_groups_can_be_taken_at_once() {
        let mut queue = FairQueue::default();
        for name in ["a/x", "a/x", "a/x", "a/y", "b/z", "b/z", "c/z"] {
            let (tenant, function) = name.split_once('/').unwrap();
            queue.push(&tenant.parse().unwrap(), &function.parse().unwrap(), name);
        }
        assert_eq!(queue.take_of_small(1), ["a/y", "c/z"]);
        assert_eq!(queue.len(), 5);
        assert_eq!(queue.take_of_small(2), ["b/z", "b/z"]);
        assert!(queue.take_of_small(2).is_empty());
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), ["a/x"; 3]);
        assert_eq!(queue.len(), 0);
    }
}
