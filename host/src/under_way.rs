//! What is being prepared, so that it is prepared once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;
use wasmill_domain::Digest;

/// A digest's lock, until it is dropped.
pub(crate) type DigestLock = OwnedMutexGuard<()>;

/// One lock for each digest that somebody is preparing. A lock is forgotten when nobody holds or
/// waits for it.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>);

impl UnderWay {
    /// Waits for the lock of a digest: the same one for everybody who asks while it is in use. Who
    /// has it moves it to where the work is done, which may go on where nobody waits for it.
    pub(crate) async fn lock(&self, digest: Digest) -> DigestLock {
        self.lock_of(digest).lock_owned().await
    }

    fn lock_of(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        // After a panic the map is still a map.
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(&digest).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        locks.insert(digest, Arc::downgrade(&lock));
        lock
    }
}
