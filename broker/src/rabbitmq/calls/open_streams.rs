//! The streams of this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use uuid::Uuid;

use super::control_message::Control;

/// The open streams, by the ids of this process's ends. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct OpenStreams(Arc<Mutex<HashMap<Uuid, mpsc::Sender<Control>>>>);

impl OpenStreams {
    /// Begins to pass control messages on to an end.
    pub(super) fn insert(&self, id: Uuid, to: mpsc::Sender<Control>) {
        self.lock().insert(id, to);
    }

    /// Where control messages for an end go.
    pub(super) fn get(&self, id: Uuid) -> Option<mpsc::Sender<Control>> {
        self.lock().get(&id).cloned()
    }

    /// Ends a stream, if it is there: its end finds that nothing comes any more.
    pub(super) fn remove(&self, id: Uuid) {
        self.lock().remove(&id);
    }

    /// Ends all streams.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, mpsc::Sender<Control>>> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
