//! What is released when nobody waits for it any more.

use std::future;
use std::path::Path;
use std::sync::mpsc;

use futures_util::FutureExt as _;

use super::*;
use crate::imports;
use crate::settings::CompileSettings;

const HELLO: &[u8] = include_bytes!("../../../functions/hello/hello.wasm");

fn versions(cache: &Path) -> Arc<Versions> {
    let settings = EngineSettings {
        threads: 1,
        slots: 4,
        cache_dir: Some(cache.to_owned()),
        compile: CompileSettings { at_once: 1, ..CompileSettings::default() },
        ..EngineSettings::default()
    };
    let engine = crate::engine::config::base(&settings);
    let wasmtime = wasmtime::Engine::new(&engine).unwrap();
    let linker = imports::linker(&wasmtime, false).unwrap();
    Versions::new(wasmtime, linker, false, 8, &settings)
}

fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

/// Whether something of that ending is in one of the folders below `root`.
fn is_there(root: &Path, ending: &str) -> bool {
    let folders = std::fs::read_dir(root).unwrap().map(|folder| folder.unwrap().path());
    let mut files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    files.any(|file| file.unwrap().path().extension().is_some_and(|found| found == ending))
}

/// Keeps the components in memory locked, as if it took long to add one, until it is told.
fn lock_memory(versions: &Arc<Versions>) -> mpsc::Sender<()> {
    let (unlock, unlocked) = mpsc::channel();
    let (locked, is_locked) = mpsc::channel();
    let versions = Arc::clone(versions);
    std::thread::spawn(move || {
        let _memory = versions.memory.lock().unwrap();
        locked.send(()).unwrap();
        let _ = unlocked.recv();
    });
    is_locked.recv().unwrap();
    unlock
}

#[tokio::test]
async fn a_permit_is_kept_until_what_was_compiled_is_loaded() {
    let cache = tempfile::tempdir().unwrap();
    let versions = versions(cache.path());
    let digest = Digest::of(HELLO);
    let (unlock, unlocked) = mpsc::channel();
    let fetch = {
        let versions = Arc::clone(&versions);
        async move {
            unlock.send(lock_memory(&versions)).unwrap();
            Ok(Bytes::from_static(HELLO))
        }
    };
    let preparing = {
        let versions = Arc::clone(&versions);
        tokio::spawn(async move { versions.prepare(&tenant("a"), digest, fetch).await })
    };
    while !is_there(cache.path(), "sum") {
        tokio::task::yield_now().await;
    }
    // It is compiled and being loaded.
    let (a, b) = (tenant("a"), tenant("b"));
    let mut next = Box::pin(versions.queue.acquire(&b));
    assert!((&mut next).now_or_never().is_none(), "another is compiled beside it");
    preparing.abort();
    assert!(preparing.await.is_err());
    assert!((&mut next).now_or_never().is_none(), "nobody waits for it, and it goes on");
    let mut locked = Box::pin(versions.under_way.lock(digest));
    assert!((&mut locked).now_or_never().is_none(), "it would be loaded twice");
    drop(unlocked.recv().unwrap());
    drop((next.await.unwrap(), locked.await));
    assert!(versions.ready(digest).is_some());
    let nothing = future::ready(Err(PreflightError::Unavailable("it is not asked for".into())));
    versions.prepare(&a, digest, nothing).await.unwrap();
}

#[tokio::test]
async fn reading_what_is_on_disk_takes_a_permit() {
    let cache = tempfile::tempdir().unwrap();
    let digest = Digest::of(HELLO);
    let fetch = async { Ok(Bytes::from_static(HELLO)) };
    versions(cache.path()).prepare(&tenant("a"), digest, fetch).await.unwrap();
    let versions = versions(cache.path());
    let permit = versions.loads.acquire(&tenant("b")).await.unwrap();
    let nothing = future::ready(Err(PreflightError::Unavailable("it is not asked for".into())));
    let of_a = tenant("a");
    let mut preparing = Box::pin(versions.prepare(&of_a, digest, nothing));
    assert!((&mut preparing).now_or_never().is_none());
    assert_eq!(versions.loads.waiting(), 1);
    drop(permit);
    preparing.await.unwrap();
}
