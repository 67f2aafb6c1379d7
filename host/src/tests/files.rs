//! Functions that read the files of their version, and try to do more.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use wasmill_component::{FileSource, PreflightError};
use wasmill_domain::{Digest, Event, Manifest, Outcome};

use super::kinds::{message, request};
use super::{dispatch, engine, event, prepare};
use crate::{Attempt, Capabilities, Engine, EngineSettings, Invocation};

/// Takes events and answers requests, both by trying its files: see its source.
const BY_HAND: &[u8] = include_bytes!("../../../functions/hostile/by-hand/by-hand.wasm");

/// Where files come from.
struct Source(HashMap<Digest, Bytes>);

#[async_trait]
impl FileSource for Source {
    async fn file(&self, digest: Digest) -> Result<Bytes, PreflightError> {
        Ok(self.0[&digest].clone())
    }
}

/// A manifest with these files, and the files.
fn with_files(files: &[(&str, &str)]) -> (Arc<Manifest>, Source) {
    with_files_and(files, json!({}))
}

/// The same with more in the manifest.
fn with_files_and(files: &[(&str, &str)], more: Value) -> (Arc<Manifest>, Source) {
    let contents = files.iter().map(|(_, content)| Bytes::copy_from_slice(content.as_bytes()));
    let source = Source(contents.map(|content| (Digest::of(&content), content)).collect());
    let part = |(path, content): &(&str, &str)| json!({"path": path, "digest": Digest::of(content.as_bytes()), "size": content.len()});
    let mut manifest = more;
    manifest["name"] = json!("test");
    manifest["files"] = files.iter().map(part).collect();
    (Arc::new(Manifest::from_json(manifest).unwrap()), source)
}

/// A program whose `_start` does this, with these texts in its memory: the first at 4096, each 256
/// bytes after the one before.
fn guest(body: &str, texts: &[&str]) -> Vec<u8> {
    let mut at = 4096;
    let mut data = String::new();
    for text in texts {
        data += &format!("(data (i32.const {at}) \"{text}\")");
        at += 256;
    }
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_open"
                (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_rename"
                (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_filestat_set_times"
                (func $touch (param i32 i32 i32 i32 i64 i64 i32) (result i32)))
            (memory (export "memory") 2)
            {data}
            (func $say (param i32 i32)
                (i32.store (i32.const 0) (local.get 0))
                (i32.store (i32.const 4) (local.get 1))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
            ;; 'A' for an error, '@' for none.
            (func $tell (param i32)
                (i32.store8 (i32.const 64) (i32.add (i32.const 64) (i32.ne (local.get 0) (i32.const 0))))
                (call $say (i32.const 64) (i32.const 1)))
            ;; Shows a file, or '!'.
            (func $cat (param i32 i32)
                (if (call $open (i32.const 3) (i32.const 0) (local.get 0) (local.get 1) (i32.const 0)
                        (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16))
                    (then (i32.store8 (i32.const 64) (i32.const 33)) (call $say (i32.const 64) (i32.const 1)))
                    (else
                        (i32.store (i32.const 0) (i32.const 1024))
                        (i32.store (i32.const 4) (i32.const 1024))
                        (drop (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
                        (call $say (i32.const 1024) (i32.load (i32.const 8))))))
            (func $try_open (param i32 i32 i32 i64) (result i32)
                (call $open (i32.const 3) (i32.const 0) (local.get 0) (local.get 1) (local.get 2)
                    (local.get 3) (i64.const 0) (i32.const 0) (i32.const 16)))
            (func (export "_start") {body}))"#
    );
    wat::parse_str(text).unwrap()
}

async fn run(engine: &Arc<Engine>, guest: &[u8], files: &[(&str, &str)]) -> Attempt {
    run_on(engine, guest, with_files(files), event("a", "{}")).await
}

async fn run_on(
    engine: &Arc<Engine>,
    guest: &[u8],
    (manifest, source): (Arc<Manifest>, Source),
    event: Event,
) -> Attempt {
    let prepared = prepare(engine, guest).await;
    let files = engine.files(&manifest, &source).await.unwrap();
    let (engine, dispatch) = (Arc::clone(engine), dispatch(event));
    let attempt = Arc::clone(&engine).spawn(async move {
        let invocation = Invocation {
            prepared: &prepared,
            manifest: &manifest,
            dispatch: &dispatch,
            host: "test",
            files,
        };
        engine.run(invocation).await
    });
    attempt.await.unwrap()
}

fn shown(attempt: &Attempt) -> String {
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
    String::from_utf8_lossy(&attempt.report.output.as_ref().unwrap().data).into_owned()
}

#[tokio::test]
async fn a_command_reads_its_files() {
    let engine = engine();
    let paths = ["a.txt", "data/b", "./data/../a.txt", "data/none"];
    let body: String = paths
        .iter()
        .enumerate()
        .map(|(i, p)| format!("(call $cat (i32.const {}) (i32.const {}))", 4096 + 256 * i, p.len()))
        .collect();
    let cat = guest(&body, &paths);
    let files = [("a.txt", "one,"), ("data/b", "two,")];
    assert_eq!(shown(&run(&engine, &cat, &files).await), "one,two,one,!");
    // Of another version, other files, and no other folders; of a version without, none.
    assert_eq!(shown(&run(&engine, &cat, &[("a.txt", "new,")]).await), "new,!!!");
    assert_eq!(shown(&run(&engine, &cat, &[]).await), "!!!!");
}

/// Neither of what lies beside its folder nor anywhere else.
#[tokio::test]
async fn nothing_outside_of_the_folder_is_read() {
    let cache = tempfile::tempdir().unwrap();
    let settings = EngineSettings {
        slots: 16,
        cache_dir: Some(cache.path().join("c")),
        ..EngineSettings::default()
    };
    let engine = Engine::new(settings, Capabilities::default()).unwrap();
    let (other, source) = with_files(&[("secret", "another's")]);
    let others = engine.files(&other, &source).await.unwrap().unwrap();
    let digest = other.files_digest().unwrap().to_hex();
    let beside = format!("../{digest}/secret");
    let paths = [
        beside.as_str(),
        "/etc/hostname",
        "../../../../../../etc/hostname",
        "..",
        others.folder().to_str().unwrap(),
    ];
    let body: String = paths
        .iter()
        .enumerate()
        .map(|(i, p)| format!("(call $cat (i32.const {}) (i32.const {}))", 4096 + 256 * i, p.len()))
        .collect();
    assert_eq!(shown(&run(&engine, &guest(&body, &paths), &[("a", "own")]).await), "!!!!!");
}

#[tokio::test]
async fn nothing_is_changed() {
    let engine = engine();
    let files = [("a", "one"), ("d/b", "two")];
    let (a, new) = ("(i32.const 4096) (i32.const 1)", "(i32.const 4352) (i32.const 3)");
    let attempts = [
        // To write, to create, to truncate.
        format!("(call $try_open {a} (i32.const 0) (i64.const 64))"),
        format!("(call $try_open {new} (i32.const 1) (i64.const 66))"),
        format!("(call $try_open {a} (i32.const 8) (i64.const 66))"),
        format!("(call $unlink (i32.const 3) {a})"),
        format!("(call $mkdir (i32.const 3) {new})"),
        format!("(call $rename (i32.const 3) {a} (i32.const 3) {new})"),
        format!("(call $symlink {a} (i32.const 3) {new})"),
        format!(
            "(call $touch (i32.const 3) (i32.const 0) {a} (i64.const 0) (i64.const 0) (i32.const 5))"
        ),
    ];
    let body: String = attempts.iter().map(|attempt| format!("(call $tell {attempt})")).collect();
    let guest = guest(&format!("{body} (call $cat {a})"), &["a", "new"]);
    assert_eq!(
        shown(&run(&engine, &guest, &files).await),
        format!("{}one", "A".repeat(attempts.len()))
    );
    let (manifest, source) = with_files(&files);
    let kept = engine.files(&manifest, &source).await.unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(kept.folder().join("a")).unwrap(), "one");
    assert_eq!(std::fs::read_dir(kept.folder()).unwrap().count(), 2);
}

/// Each is a file that the host has open.
#[tokio::test]
async fn open_files_are_bounded() {
    let body = "(loop $more (drop (call $try_open (i32.const 4096) (i32.const 1) (i32.const 0) (i64.const 2))) (br $more))";
    let attempt = run(&engine(), &guest(body, &["a"]), &[("a", "one")]).await;
    assert_eq!(attempt.report.outcome, Outcome::Trap, "{:?}", attempt.report);
    assert!(message(&attempt).contains("more host resources"), "{}", message(&attempt));
}

/// By a compiler's own library, in functions of the other kinds, and in an instance that is used
/// again as in a fresh one: they are read, and nothing is changed.
#[tokio::test]
async fn functions_of_every_kind_read_their_files() {
    let files = [("data/note.txt", "first"), ("data/other/a", "1")];
    let settings = EngineSettings { threads: 1, ..EngineSettings::default() };
    let engine = Engine::new(settings, Capabilities::default()).unwrap();
    for (kind, reuse) in [("event", 1), ("event", 3), ("http", 1), ("http", 3)] {
        let more = json!({"kind": kind, "instances": {"reuse": reuse}});
        for _ in 0..3 {
            let event = if kind == "http" { request("/files") } else { event("by-hand", "files") };
            let attempt = run_on(&engine, BY_HAND, with_files_and(&files, more.clone()), event);
            let said = shown(&attempt.await);
            let (note, tries) = said.lines().collect::<Vec<_>>().split_last().map_or_else(
                || panic!("{kind} says nothing"),
                |(note, tries)| (note.to_string(), tries.join("\n")),
            );
            assert_eq!(note, "note: first", "{kind}: {said}");
            assert_eq!(tries.lines().count(), 8, "{kind}: {said}");
            assert!(!tries.contains("done"), "{kind}: {said}");
            assert!(
                tries.contains("write: ") && tries.contains("read another's: NotFound"),
                "{kind}: {said}"
            );
        }
    }
    let (manifest, source) = with_files(&files);
    let kept = engine.files(&manifest, &source).await.unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(kept.folder().join("data/note.txt")).unwrap(), "first");
    assert_eq!(std::fs::read_dir(kept.folder().join("data")).unwrap().count(), 2);
}

/// Who has none finds nothing, not the host's.
#[tokio::test]
async fn functions_without_files_find_none() {
    let engine = engine();
    for (kind, event) in [("event", event("by-hand", "files")), ("http", request("/files"))] {
        let manifest = with_files_and(&[], json!({"kind": kind}));
        let said = shown(&run_on(&engine, BY_HAND, manifest, event).await);
        assert!(!said.contains("done") && said.lines().count() == 9, "{kind}: {said}");
    }
}
