//! What the broker's handles, its consumers and its writer share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::replies::Replies;
use super::state::BrokerState;

/// The state under its lock, and the way to wake the writer.
pub(super) struct SharedState {
    state: Mutex<BrokerState>,
    work: Condvar,
    pub(super) replies: Replies,
    /// Becomes true when the writer has ended.
    ended: watch::Sender<bool>,
}

impl SharedState {
    pub(super) fn new(state: BrokerState, replies: Replies) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            replies,
            ended: watch::Sender::new(false),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BrokerState> {
        // A panic while it is locked is a bug; the state that it leaves is used all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the writer where that made work for it.
    pub(super) fn update<R>(&self, act: impl FnOnce(&mut BrokerState) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state);
        let wake = state.writer_sleeps && (state.has_work() || state.closing);
        if wake {
            state.writer_sleeps = false;
        }
        drop(state);
        if wake {
            self.work.notify_one();
        }
        result
    }

    /// For the writer: sleeps until there is work, the broker is closed, or `at_most` has passed.
    pub(super) fn sleep(&self, at_most: Option<Duration>) {
        let mut state = self.lock();
        if state.has_work() || state.closing {
            return;
        }
        state.writer_sleeps = true;
        #[cfg(test)]
        {
            state.writer_rests = at_most.is_none();
        }
        let awake = |state: &mut BrokerState| state.writer_sleeps;
        // Whoever wakes the writer resets the flag.
        let mut state = match at_most {
            None => self.work.wait_while(state, awake).unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                self.work
                    .wait_timeout_while(state, time, awake)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        state.writer_sleeps = false;
    }

    /// Whether the writer sleeps until somebody has work for it: nothing is left to be written, or
    /// moved, by itself.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        let state = self.lock();
        state.writer_sleeps && state.writer_rests && !state.has_work()
    }

    /// Refuses everything new from here on and ends the consumers.
    pub(super) fn close(&self) {
        self.update(|state| {
            state.closing = true;
            state.end_consumers();
        });
    }

    /// For the writer: it has ended.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.end_consumers();
        state.drop_pending();
        drop(state);
        self.ended.send_replace(true);
    }

    /// Waits until the writer has ended.
    pub(super) async fn wait_ended(&self) {
        // An error means that the sender is gone, which lives as long as `self`.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }
}
