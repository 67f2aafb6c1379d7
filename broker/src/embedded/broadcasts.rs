//! Broadcasts within the process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::watch;

use crate::broadcasts::{BroadcastReceiver, Subscription};
use crate::port::{BrokerError, Result};

/// Everybody who listens.
#[derive(Default)]
pub(super) struct Listeners {
    state: Mutex<BroadcastState>,
}

#[derive(Default)]
struct BroadcastState {
    /// Each with what its subscription ends with.
    all: Vec<(Weak<Kept>, watch::Sender<()>)>,
    closed: bool,
}

/// A listener, as long as its subscription has it.
struct Kept(BroadcastReceiver);

impl Listeners {
    /// Tells everybody, here and now.
    pub(super) fn tell(&self, body: &Bytes) -> Result<()> {
        let listeners: Vec<Arc<Kept>> = {
            let mut state = self.open()?;
            state.all.retain(|(listener, _)| listener.strong_count() > 0);
            state.all.iter().filter_map(|(listener, _)| listener.upgrade()).collect()
        };
        for listener in listeners {
            (listener.0)(body.clone());
        }
        Ok(())
    }

    pub(super) fn add(&self, listener: BroadcastReceiver) -> Result<Subscription> {
        let (end, alive) = watch::channel(());
        let kept = Arc::new(Kept(listener));
        self.open()?.all.push((Arc::downgrade(&kept), end));
        Ok(Subscription::new(alive, kept))
    }

    /// Ends all subscriptions.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.all.clear();
    }

    fn open(&self) -> Result<MutexGuard<'_, BroadcastState>> {
        let state = self.lock();
        if state.closed {
            return Err(BrokerError::Unavailable("the broker is closed".into()));
        }
        Ok(state)
    }

    fn lock(&self) -> MutexGuard<'_, BroadcastState> {
        // Nothing panics while it is locked: listeners are called without it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
