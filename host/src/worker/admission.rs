//! Who may have the next place among the executions in hand: tenants in turn, and within a tenant its functions.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use wasmill_domain::{FunctionName, TenantName};

/// A number of places, given out fairly.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Mutex<State>>);

/// A place; given on when dropped.
pub(crate) struct Place(Option<Admission>);

struct State {
    free: usize,
    waiting: Turns<TenantName, Turns<FunctionName, VecDeque<oneshot::Sender<Place>>>>,
}

/// Groups that take turns; a group without members is not in it.
struct Turns<K, G> {
    order: VecDeque<K>,
    groups: HashMap<K, G>,
}

impl<K: Clone + Eq + Hash, G: Default> Turns<K, G> {
    fn group(&mut self, key: &K) -> &mut G {
        match self.groups.entry(key.clone()) {
            Entry::Occupied(group) => group.into_mut(),
            Entry::Vacant(place) => {
                self.order.push_back(key.clone());
                place.insert(G::default())
            }
        }
    }

    /// Takes something out of the group whose turn it is; the group goes to the end, or away if `is_empty`.
    fn next<T>(&mut self, take: impl FnOnce(&mut G) -> Option<T>, is_empty: impl FnOnce(&G) -> bool) -> Option<T> {
        let key = self.order.pop_front()?;
        let group = self.groups.get_mut(&key)?;
        let taken = take(group);
        if is_empty(group) {
            self.groups.remove(&key);
        } else {
            self.order.push_back(key);
        }
        taken
    }
}

impl<K, G> Default for Turns<K, G> {
    fn default() -> Self {
        Self { order: VecDeque::new(), groups: HashMap::new() }
    }
}

impl Admission {
    /// With so many places.
    pub(crate) fn new(places: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: places, waiting: Turns::default() })))
    }

    /// Waits for a place.
    pub(crate) async fn acquire(&self, tenant: &TenantName, function: &FunctionName) -> Place {
        loop {
            let place = {
                let mut state = self.lock();
                if state.free > 0 {
                    state.free -= 1;
                    return Place(Some(self.clone()));
                }
                let (sender, place) = oneshot::channel();
                state.waiting.group(tenant).group(function).push_back(sender);
                place
            };
            // The sender is used or lives in the list; the loop is for the compiler.
            if let Ok(place) = place.await {
                return place;
            }
        }
    }

    fn release(&self) {
        loop {
            let next = {
                let mut state = self.lock();
                let next = state.waiting.next(
                    |functions| functions.next(VecDeque::pop_front, VecDeque::is_empty),
                    |functions| functions.order.is_empty(),
                );
                match next {
                    Some(next) => next,
                    None => {
                        state.free += 1;
                        return;
                    }
                }
            };
            match next.send(Place(Some(self.clone()))) {
                Ok(()) => return,
                // Whoever asked does not wait any more. Not dropped, which would come back here.
                Err(mut place) => place.0 = None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Never held across an await, and nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(admission) = self.0.take() {
            admission.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Queues one waiter for each `tenant/function`, with the only place taken; gives the order in which they get it.
    async fn order(asked: &[&str]) -> Vec<String> {
        let admission = Admission::new(1);
        let busy = admission.acquire(&"a".parse().unwrap(), &"x".parse().unwrap()).await;
        let (sender, mut got) = tokio::sync::mpsc::unbounded_channel();
        let mut waiting = tokio::task::JoinSet::new();
        for name in asked {
            let (tenant, function) = name.split_once('/').unwrap();
            let (tenant, function) = (tenant.parse().unwrap(), function.parse().unwrap());
            let (of_task, sender, name) = (admission.clone(), sender.clone(), (*name).to_owned());
            waiting.spawn(async move {
                let place = of_task.acquire(&tenant, &function).await;
                sender.send(name).unwrap();
                drop(place);
            });
            // One thread: the task runs until it waits.
            tokio::task::yield_now().await;
        }
        drop((busy, sender));
        let mut order = Vec::new();
        while let Some(name) = got.recv().await {
            order.push(name);
        }
        order
    }

    #[tokio::test]
    async fn tenants_and_functions_take_turns() {
        let order = order(&["a/x", "a/x", "a/x", "a/y", "a/y", "b/z", "b/z"]).await;
        assert_eq!(order, ["a/x", "b/z", "a/y", "b/z", "a/x", "a/y", "a/x"]);
    }

    #[tokio::test]
    async fn who_gave_up_is_passed_over() {
        let (tenant, function) = (TenantName::default(), "x".parse().unwrap());
        let admission = Admission::new(1);
        let busy = admission.acquire(&tenant, &function).await;
        let (of_task, t, f) = (admission.clone(), tenant.clone(), FunctionName::clone(&function));
        let gives_up = tokio::spawn(async move { drop(of_task.acquire(&t, &f).await) });
        tokio::task::yield_now().await;
        gives_up.abort();
        assert!(gives_up.await.unwrap_err().is_cancelled());
        drop(busy);
        drop(admission.acquire(&tenant, &function).await);
        assert_eq!(admission.lock().free, 1);
        assert!(admission.lock().waiting.order.is_empty());
    }
}
