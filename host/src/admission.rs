//!
//! The permits of running executions, given fairly: to tenants one after the other, and within a
//! tenant to its functions.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use wasmill_domain::{FunctionName, TenantName};

use crate::fair_queue::FairQueue;

/// A semaphore that is fair between tenants and functions.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Mutex<AdmissionState>>);

/// A permit; the next who waits gets it when it is dropped.
pub(crate) struct AttemptPermit(Option<Admission>);

struct AdmissionState {
    free: usize,
    waiting: FairQueue<oneshot::Sender<AttemptPermit>>,
}

impl Admission {
    /// With so many permits.
    pub(crate) fn new(permits: usize) -> Self {
        Self(Arc::new(Mutex::new(AdmissionState { free: permits, waiting: FairQueue::default() })))
    }

    /// Waits for a permit.
    pub(crate) async fn acquire(
        &self,
        tenant: &TenantName,
        function: &FunctionName,
    ) -> AttemptPermit {
        loop {
            let permit = {
                let mut state = self.lock();
                if state.free > 0 {
                    state.free -= 1;
                    return AttemptPermit(Some(self.clone()));
                }
                let (sender, permit) = oneshot::channel();
                state.waiting.push(tenant, function, sender);
                permit
            };
            // The sender is used or lives in the list; the loop is for the compiler.
            if let Ok(permit) = permit.await {
                return permit;
            }
        }
    }

    fn release(&self) {
        loop {
            let next = {
                let mut state = self.lock();
                let next = state.waiting.pop();
                match next {
                    Some(next) => next,
                    None => {
                        state.free += 1;
                        return;
                    }
                }
            };
            match next.send(AttemptPermit(Some(self.clone()))) {
                Ok(()) => return,
                // Whoever asked does not wait any more. Not dropped, which would come back here.
                Err(mut permit) => permit.0 = None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, AdmissionState> {
        // Never held across an await, and nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AttemptPermit {
    fn drop(&mut self) {
        if let Some(admission) = self.0.take() {
            admission.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Queues one waiter for each `tenant/function`, with the only permit taken; gives the order in
    /// which they get it.
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
                let permit = of_task.acquire(&tenant, &function).await;
                sender.send(name).unwrap();
                drop(permit);
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
        assert_eq!(admission.lock().waiting.len(), 0);
    }
}
