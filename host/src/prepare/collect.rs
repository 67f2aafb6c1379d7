//! Deletes what was compiled of artifacts that the store does not keep any more: it keeps each for as
//! long as a version names it, and a while after. Instances that still run keep their code.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::sleep;
use wasmill_domain::Digest;
use wasmill_store::{Artifacts, StoreError};

use super::Versions;

/// Artifacts that the store is asked about at once.
const AT_ONCE: usize = 500;

/// Deletes what is of no use any more, at once and then every so often, for ever. What was used
/// since the time before last stays: whoever compiles may be ahead of the store that is asked.
pub(crate) async fn collect(
    versions: Arc<Versions>,
    artifacts: Arc<dyn Artifacts>,
    every: Duration,
) {
    loop {
        match collect_once(&versions, &*artifacts, every).await {
            Ok(0) => {}
            Ok(deleted) => {
                tracing::info!(
                    deleted,
                    "compiled components of artifacts that are gone were deleted"
                );
            }
            Err(error) => tracing::debug!(%error, "compiled components are not looked through"),
        }
        sleep(every).await;
    }
}

async fn collect_once(
    versions: &Arc<Versions>,
    artifacts: &dyn Artifacts,
    unused_for: Duration,
) -> Result<usize, StoreError> {
    let before = SystemTime::now().checked_sub(unused_for).unwrap_or(SystemTime::UNIX_EPOCH);
    let kept = on_disk(versions, move |versions| {
        versions.disk.as_ref().map(|disk| disk.unused_since(before)).unwrap_or_default()
    });
    let mut kept = kept.await?;
    kept.extend(versions.memory.lock().unwrap_or_else(PoisonError::into_inner).digests());
    let kept: Vec<Digest> = kept.into_iter().collect();
    let mut missing = HashSet::new();
    for digests in kept.chunks(AT_ONCE) {
        missing.extend(artifacts.missing_artifacts(digests).await?);
    }
    if missing.is_empty() {
        return Ok(0);
    }
    let delete = move |versions: &Versions| {
        let mut memory = versions.memory.lock().unwrap_or_else(PoisonError::into_inner);
        missing.iter().for_each(|digest| memory.remove(*digest));
        drop(memory);
        versions.disk.as_ref().map_or(0, |disk| disk.delete_unused(&missing, before))
    };
    on_disk(versions, delete).await
}

/// Works on files, behind what everybody waits for.
async fn on_disk<T: Send + 'static>(
    versions: &Arc<Versions>,
    work: impl FnOnce(&Versions) -> T + Send + 'static,
) -> Result<T, StoreError> {
    let shared = Arc::clone(versions);
    let done = versions.background.run(move || work(&shared)).await;
    done.map_err(|e| StoreError::Unavailable(format!("the work on files broke down: {e}")))
}
