//! Requests that wait for the ends of executions: they are notified when an operator moves one, as
//! nothing replies to what does not run. Whichever gateway the operator has asked broadcasts an
//! order, which is for hosts, and received here as well.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use wasmill_broker::Broadcasts;
use wasmill_domain::backoff::Backoff;
use wasmill_domain::wire::Broadcast;
use wasmill_domain::{Dispatch, ExecutionId, TenantName};

/// The first and the longest pause before broadcasts are subscribed to again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The requests that wait, and the task that receives broadcasts for them.
pub(crate) struct WaiterTask {
    waiters: Arc<Waiters>,
    _receiving: AbortOnDropHandle<()>,
}

/// The requests that wait. Each has minted its execution, so an id stands for one of them.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<HashMap<ExecutionId, (TenantName, Arc<Notify>)>>);

/// A request that waits, until it is dropped.
pub(crate) struct Waiter {
    waiters: Arc<Waiters>,
    execution: ExecutionId,
    notification: Arc<Notify>,
}

impl WaiterTask {
    pub(crate) fn start(broadcasts: Arc<dyn Broadcasts>) -> Self {
        let waiters: Arc<Waiters> = Arc::default();
        let receiving = tokio::spawn(receive(Arc::clone(&waiters), broadcasts));
        Self { waiters, _receiving: AbortOnDropHandle::new(receiving) }
    }
}

impl Deref for WaiterTask {
    type Target = Arc<Waiters>;

    fn deref(&self) -> &Arc<Waiters> {
        &self.waiters
    }
}

impl Waiters {
    /// Waits for an execution that is to be published.
    pub(crate) fn add(self: &Arc<Self>, dispatch: &Dispatch) -> Waiter {
        let (execution, notification) = (dispatch.execution, Arc::new(Notify::new()));
        let entry = (dispatch.tenant.clone(), Arc::clone(&notification));
        self.lock().insert(execution, entry);
        Waiter { waiters: Arc::clone(self), execution, notification }
    }

    /// Notifies who waits for a tenant's execution that it was moved.
    pub(crate) fn notify(&self, tenant: &TenantName, execution: ExecutionId) {
        if let Some((of, notification)) = self.lock().get(&execution)
            && of == tenant
        {
            notification.notify_one();
        }
    }

    /// Notifies all: they look for themselves.
    fn notify_all(&self) {
        self.lock().values().for_each(|(_, notification)| notification.notify_one());
    }

    fn receive(&self, body: &Bytes) {
        match Broadcast::decode(body) {
            Ok(broadcast) => {
                for order in broadcast.orders {
                    if let Some(tenant) = &order.tenant {
                        self.notify(tenant, order.execution);
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "a broadcast is passed over"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecutionId, (TenantName, Arc<Notify>)>> {
        // Never held across an await, and nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Waits until the execution may have been moved, also if that was before.
    pub(crate) async fn notified(&self) {
        self.notification.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.lock().remove(&self.execution);
    }
}

/// Receives broadcasts, for ever.
async fn receive(waiters: Arc<Waiters>, broadcasts: Arc<dyn Broadcasts>) {
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    loop {
        let receiver = Arc::clone(&waiters);
        match broadcasts.subscribe(Arc::new(move |body| receiver.receive(&body))).await {
            Ok(mut subscription) => {
                backoff.reset();
                // What was broadcast before was missed.
                waiters.notify_all();
                subscription.ended().await;
            }
            Err(error) => tracing::debug!(%error, "broadcasts cannot be received yet"),
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}
