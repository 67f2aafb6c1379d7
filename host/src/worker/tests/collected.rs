//! What was compiled goes with its artifact.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmill_domain::{Digest, State, Timestamp};
use wasmill_store::Retention as _;

use super::emissions::emitter;
use super::{System, WAIT_TIMEOUT};
use crate::{Capabilities, Engine, EngineSettings, HostSettings};

/// Versions of a function that are kept, by default.
const KEPT: usize = 20;

fn engine(cache: &Path) -> Arc<Engine> {
    let cache_dir = Some(cache.to_owned());
    let settings = EngineSettings { slots: 32, threads: 2, cache_dir, ..EngineSettings::default() };
    Engine::new(settings, Capabilities::default()).unwrap()
}

/// The names of all files that are kept.
fn files(cache: &Path) -> BTreeSet<String> {
    let folders = std::fs::read_dir(cache).unwrap().flatten();
    let files = folders.filter_map(|folder| std::fs::read_dir(folder.path()).ok());
    files.flatten().flatten().map(|file| file.file_name().into_string().unwrap()).collect()
}

fn of(digests: &[Digest]) -> BTreeSet<String> {
    let names =
        |digest: &Digest| ["cwasm", "sum"].map(|kind| format!("{}.{kind}", digest.to_hex()));
    digests.iter().flat_map(names).collect()
}

#[tokio::test]
async fn the_code_of_versions_that_are_kept_is_left() {
    let mut system = System::new().await;
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    system.engine = engine(&cache);
    let mut digests = Vec::new();
    for count in 1..=36 {
        let component = emitter("a.b", count);
        system.deploy(&component, "name = 'says'").await;
        let digest = Digest::of(&component);
        let bytes = async { Ok(Bytes::from(component)) };
        system.engine.prepare(digest, bytes).await.unwrap();
        digests.push(digest);
    }
    assert_eq!(files(&cache), of(&digests));
    // What another engine compiled, and what a process left that ended while it wrote.
    let other = cache.join("0123456789abcdef");
    std::fs::create_dir(&other).unwrap();
    for name in of(&digests[..1]) {
        std::fs::write(other.join(name), "").unwrap();
    }
    std::fs::write(other.join(".1-0.tmp"), "half").unwrap();
    let (old, kept) = digests.split_at(digests.len() - KEPT);

    // While their artifacts are there, a host leaves them; it deletes no more than is of no use.
    let collect_every = Duration::from_millis(5);
    let settings = || HostSettings { collect_every, ..HostSettings::default() };
    let host = system.start_with(settings());
    eventually(|| !files(&cache).contains(".1-0.tmp")).await;
    assert_eq!(files(&cache), of(&digests));
    host.stop().await;

    // The store lets artifacts go a while after the last version that names them. Whoever starts
    // then deletes what is left of them.
    system.store.inner().prune_artifacts(Timestamp::now().plus(WAIT_TIMEOUT), 100).await.unwrap();
    system.engine = engine(&cache);
    let host = system.start_with(settings());
    eventually(|| files(&cache).is_disjoint(&of(old))).await;
    assert_eq!(files(&cache), of(kept));
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0, "whichever engine's");
    // What is kept runs, without being compiled.
    let id = system.publish("says", "a.b", "{}").await;
    assert_eq!(system.ended(id).await.summary.state, State::Succeeded);
    host.stop().await;
}

#[tokio::test]
async fn code_in_memory_goes_too() {
    let system = System::new().await;
    let component = emitter("a.b", 1);
    let digest = Digest::of(&component);
    // Of an artifact that the store does not have any more.
    let bytes = async { Ok(Bytes::from(component)) };
    let running = system.engine.prepare(digest, bytes).await.unwrap();
    let host = system.start();
    eventually(|| system.engine.ready(digest).is_none()).await;
    assert_eq!(running.digest(), digest, "whoever has it keeps it");
    host.stop().await;
}

async fn eventually(mut is: impl FnMut() -> bool) {
    let waiting = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, waiting).await.expect("it comes in time");
}
