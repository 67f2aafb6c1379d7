//! The executions that run, so that long ones can be announced, and any be stopped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wasmill_domain::lifecycle::cancellation;
use wasmill_domain::{AttemptKey, Digest, Dispatch, Order, OrderKind, TenantName, Timestamp};
use wasmill_store::{Ledger, Started};

/// Everything that runs now.
#[derive(Default)]
pub(crate) struct RunningAttempts {
    state: Mutex<RunningState>,
}

#[derive(Default)]
struct RunningState {
    next: u64,
    entries: HashMap<u64, RunningAttempt>,
}

struct RunningAttempt {
    dispatch: Dispatch,
    version: Digest,
    at: Timestamp,
    since: Instant,
    announced: bool,
    stop: Arc<Stop>,
}

/// What one that runs is stopped by: the first order about it.
#[derive(Default)]
struct Stop {
    order: OnceLock<Order>,
    token: CancellationToken,
}

/// One that runs, until it is dropped.
pub(crate) struct RunningGuard {
    running: Arc<RunningAttempts>,
    key: u64,
    stop: Arc<Stop>,
}

impl RunningAttempts {
    /// Notes that an attempt begins.
    pub(crate) fn begin(self: &Arc<Self>, dispatch: &Dispatch, version: Digest) -> RunningGuard {
        let (at, since) = (Timestamp::now(), Instant::now());
        let stop = Arc::new(Stop::default());
        let of_entry = Arc::clone(&stop);
        let entry = RunningAttempt {
            dispatch: dispatch.clone(),
            version,
            at,
            since,
            announced: false,
            stop: of_entry,
        };
        let mut state = self.lock();
        let key = state.next;
        state.next += 1;
        state.entries.insert(key, entry);
        RunningGuard { running: Arc::clone(self), key, stop }
    }

    /// Stops what an order that was broadcast is about.
    pub(crate) fn stop(&self, order: &Order) {
        self.stop_where(order, |tenant, key| order.is_about(tenant, key));
    }

    /// Stops the one attempt that the store has given an order for. Another one of the same
    /// execution may run beside it, and be valid.
    pub(crate) fn stop_attempt(&self, attempt: &AttemptKey, order: &Order) {
        self.stop_where(order, |tenant, key| {
            order.tenant.as_ref() == Some(tenant) && key == attempt
        });
    }

    fn stop_where(&self, order: &Order, is_meant: impl Fn(&TenantName, &AttemptKey) -> bool) {
        let state = self.lock();
        for entry in state.entries.values() {
            if is_meant(&entry.dispatch.tenant, &entry.dispatch.key()) {
                // The first one stands.
                let _ = entry.stop.order.set(order.clone());
                entry.stop.token.cancel();
            }
        }
    }

    /// What has run for longer than that, and whose it is.
    pub(crate) fn longer_than(&self, age: Duration) -> Vec<(TenantName, AttemptKey)> {
        let state = self.lock();
        let long = state.entries.values().filter(|entry| entry.since.elapsed() >= age);
        long.map(|entry| (entry.dispatch.tenant.clone(), entry.dispatch.key())).collect()
    }

    /// What has run longer than `after` and was not announced, with its key.
    fn long(&self, after: Duration, host: &str) -> (Vec<u64>, Vec<Started>) {
        let state = self.lock();
        let long = state
            .entries
            .iter()
            .filter(|(_, entry)| !entry.announced && entry.since.elapsed() >= after);
        long.map(|(key, entry)| (*key, entry.started(host))).unzip()
    }

    fn announced(&self, keys: &[u64]) {
        let mut state = self.lock();
        for key in keys {
            if let Some(entry) = state.entries.get_mut(key) {
                entry.announced = true;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, RunningState> {
        // Never held across an await, and nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunningAttempt {
    fn started(&self, host: &str) -> Started {
        Started {
            dispatch: self.dispatch.clone(),
            version: self.version,
            host: host.to_owned(),
            at: self.at,
        }
    }
}

impl RunningGuard {
    /// Waits until it is to be stopped, and says why.
    pub(crate) async fn stopped(&self) -> String {
        self.stop.token.cancelled().await;
        match self.order() {
            Some(Order { kind: OrderKind::Cancel, reason, .. }) => cancellation(reason.as_deref()),
            Some(Order { kind: OrderKind::Suspend, .. }) => "suspended by an operator".to_owned(),
            _ => "its execution went on without it".to_owned(),
        }
    }

    /// The order by which it was stopped, if it was.
    pub(crate) fn order(&self) -> Option<Order> {
        self.stop.order.get().cloned()
    }
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        self.running.lock().entries.remove(&self.key);
    }
}

/// Announces, for ever, what has run for longer than `after`. It informs operators: when the
/// store is away, nobody waits for it.
pub(crate) async fn announce(
    running: Arc<RunningAttempts>,
    ledger: Arc<dyn Ledger>,
    after: Duration,
    host: String,
) {
    let mut ticks = tokio::time::interval(after.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (keys, started) = running.long(after, &host);
        if started.is_empty() {
            continue;
        }
        match ledger.start(&started).await {
            Ok(()) => running.announced(&keys),
            Err(error) => tracing::debug!(%error, "running executions are not announced"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(of: &Dispatch, kind: OrderKind) -> Order {
        let tenant = Some(of.tenant.clone());
        Order { tenant, execution: of.execution, epoch: of.epoch, kind, reason: None }
    }

    #[test]
    fn an_order_for_one_attempt_leaves_the_next_one() {
        let running = Arc::new(RunningAttempts::default());
        let first = crate::tests::dispatch(crate::tests::event("a", "{}"));
        let second = Dispatch { attempt: first.attempt + 1, ..first.clone() };
        let others = Dispatch { tenant: "other".parse().unwrap(), ..first.clone() };
        let [of_first, of_second, of_others] =
            [&first, &second, &others].map(|it| running.begin(it, Digest::of(b"version")));
        let abandon = order(&first, OrderKind::Abandon);
        running.stop_attempt(&first.key(), &abandon);
        assert_eq!(of_first.order(), Some(abandon.clone()));
        assert!(of_first.stop.token.is_cancelled());
        assert!(of_second.order().is_none() && !of_second.stop.token.is_cancelled());
        assert!(of_others.order().is_none() && !of_others.stop.token.is_cancelled());
        // Nor is the valid one stopped by such an order that comes by a broadcast.
        running.stop(&abandon);
        assert!(of_second.order().is_none());
        running.stop(&Order { epoch: first.epoch + 1, ..abandon });
        assert!(of_second.stop.token.is_cancelled() && of_others.order().is_none());
    }
}
