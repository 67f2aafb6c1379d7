//! The executions that run, so that long ones can be announced.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wasmill_domain::{Digest, Dispatch, Timestamp};
use wasmill_store::{Ledger, Started};

/// Everything that runs now.
#[derive(Default)]
pub(crate) struct Running {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    entries: HashMap<u64, Entry>,
}

struct Entry {
    dispatch: Dispatch,
    version: Digest,
    at: Timestamp,
    since: Instant,
    announced: bool,
}

/// One that runs, until it is dropped.
pub(crate) struct Guard {
    running: Arc<Running>,
    key: u64,
}

impl Running {
    /// Notes that an attempt begins.
    pub(crate) fn begin(self: &Arc<Self>, dispatch: &Dispatch, version: Digest) -> Guard {
        let (at, since) = (Timestamp::now(), Instant::now());
        let entry = Entry { dispatch: dispatch.clone(), version, at, since, announced: false };
        let mut state = self.lock();
        let key = state.next;
        state.next += 1;
        state.entries.insert(key, entry);
        Guard { running: Arc::clone(self), key }
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

    fn lock(&self) -> MutexGuard<'_, State> {
        // Never held across an await, and nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn started(&self, host: &str) -> Started {
        Started {
            dispatch: self.dispatch.clone(),
            version: self.version,
            host: host.to_owned(),
            at: self.at,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.running.lock().entries.remove(&self.key);
    }
}

/// Announces, for ever, what has run for longer than `after`. It is news for operators: when the
/// store is away, nobody waits for it.
pub(crate) async fn announce(
    running: Arc<Running>,
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
