//! Versions made ready, refused and kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use wasmill_component::{Preflight as _, PreflightError};
use wasmill_domain::{Digest, Outcome, TenantName};

use super::guests::{OK, SPIN, component, component_of_version, counter};
use super::{dispatch, event, invoke, manifest};
use crate::{Capabilities, Engine, EngineSettings};

fn engine_with_cache(dir: &std::path::Path) -> Arc<Engine> {
    let settings = EngineSettings {
        slots: 4,
        cache_dir: Some(dir.join("compiled")),
        ..EngineSettings::default()
    };
    Engine::new(settings, Capabilities::default()).unwrap()
}

async fn check(component: &[u8], sections: &str) -> Result<(), PreflightError> {
    let bytes = Bytes::copy_from_slice(component);
    super::engine()
        .check(&TenantName::default(), Digest::of(component), &bytes, &manifest(sections))
        .await
}

#[tokio::test]
async fn a_version_is_compiled_once_for_everybody() {
    let engine = super::engine();
    let artifact = Bytes::from(component(OK));
    let fetched = Arc::new(AtomicUsize::new(0));
    let all: Vec<_> = (0..8)
        .map(|_| {
            let (engine, artifact, fetched) =
                (Arc::clone(&engine), artifact.clone(), Arc::clone(&fetched));
            tokio::spawn(async move {
                let fetch = async {
                    fetched.fetch_add(1, Ordering::SeqCst);
                    Ok(artifact.clone())
                };
                engine.prepare(Digest::of(&artifact), fetch).await.unwrap()
            })
        })
        .collect();
    for prepared in all {
        assert_eq!(prepared.await.unwrap().digest(), Digest::of(&artifact));
    }
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_was_compiled_is_found_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let artifact = component(OK);
    super::prepare(&engine_with_cache(dir.path()), &artifact).await;
    let engine = engine_with_cache(dir.path());
    let never = async { Err(PreflightError::Unavailable("the artifact was asked for".into())) };
    let prepared = engine.prepare(Digest::of(&artifact), never).await.unwrap();
    let attempt =
        invoke(&engine, &prepared, &manifest(""), dispatch(event("test.event", "{}"))).await;
    assert_eq!(attempt.report.outcome, Outcome::Success);
}

#[tokio::test]
async fn a_damaged_file_is_compiled_again() {
    let dir = tempfile::tempdir().unwrap();
    let artifact = component(OK);
    super::prepare(&engine_with_cache(dir.path()), &artifact).await;
    let folder =
        std::fs::read_dir(dir.path().join("compiled")).unwrap().next().unwrap().unwrap().path();
    let compiled = folder.join(format!("{}.cwasm", Digest::of(&artifact).to_hex()));
    let mut bytes = std::fs::read(&compiled).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&compiled, &bytes).unwrap();
    let engine = engine_with_cache(dir.path());
    let prepared = super::prepare(&engine, &artifact).await;
    let attempt =
        invoke(&engine, &prepared, &manifest(""), dispatch(event("test.event", "{}"))).await;
    assert_eq!(attempt.report.outcome, Outcome::Success);
    assert_ne!(std::fs::read(&compiled).unwrap(), bytes, "the sound one is kept instead");
}

#[tokio::test]
async fn the_memory_is_bounded() {
    let settings = EngineSettings { slots: 4, cache_components: 2, ..EngineSettings::default() };
    let engine = Engine::new(settings, Capabilities::default()).unwrap();
    let artifacts = [component(OK), component(SPIN), component(&counter(1))];
    for artifact in &artifacts {
        super::prepare(&engine, artifact).await;
    }
    assert!(engine.ready(Digest::of(&artifacts[0])).is_none());
    assert!(engine.ready(Digest::of(&artifacts[1])).is_some());
    assert!(engine.ready(Digest::of(&artifacts[2])).is_some());
    let smallest = EngineSettings { slots: 4, cache_memory_bytes: 1, ..EngineSettings::default() };
    let engine = Engine::new(smallest, Capabilities::default()).unwrap();
    super::prepare(&engine, &artifacts[0]).await;
    super::prepare(&engine, &artifacts[1]).await;
    assert!(
        engine.ready(Digest::of(&artifacts[0])).is_none()
            && engine.ready(Digest::of(&artifacts[1])).is_some()
    );
}

#[tokio::test]
async fn a_good_version_passes() {
    check(&component(OK), "").await.unwrap();
    check(include_bytes!("../../../functions/hello/hello.wasm"), "").await.unwrap();
}

#[tokio::test]
async fn what_cannot_run_is_refused_in_words() {
    let refused = async |component: &[u8], sections: &str| {
        check(component, sections).await.unwrap_err().to_string()
    };
    assert!(refused(b"(component)", "").await.contains("WAT"));
    assert!(refused(&wat::parse_str("(module)").unwrap(), "").await.contains("core module"));
    let other_version = refused(&component_of_version(OK, "0.2.0"), "").await;
    assert!(other_version.contains("0.1 is what is known here"), "{other_version}");
    let memory = refused(&component(OK), "[limits]\nmemory = '64KiB'").await;
    assert_eq!(memory, "limits.memory: is 64KiB, and the component begins with 128KiB");
    let wrong_type =
        r#"(component (instance $i) (export "wasmill:function/handler@0.1.0" (instance $i)))"#;
    let wrong_type = refused(&wat::parse_str(wrong_type).unwrap(), "").await;
    assert!(
        wrong_type.contains("does not fit its host") && wrong_type.contains("handle"),
        "{wrong_type}"
    );
    let missing = r#"(component
        (import "wasi:cli/exit@0.2.0" (instance (export "leave" (func))))
        (instance $i) (export "wasmill:function/handler@0.1.0" (instance $i)))"#;
    let missing = refused(&wat::parse_str(missing).unwrap(), "").await;
    assert!(missing.contains("wasi:cli/exit@0.2.0") && missing.contains("leave"), "{missing}");
}

#[tokio::test]
async fn a_version_is_tried_before_it_is_taken() {
    let refused = async |guest: &str, sections: &str| {
        check(&component(guest), sections).await.unwrap_err().to_string()
    };
    let start = |body: &str| format!("(start $begin) (func $begin {body}) {OK}");
    let trap = refused(&start("unreachable"), "").await;
    assert!(
        trap.contains("no instance of it can be made") && trap.contains("unreachable"),
        "{trap}"
    );
    let spin = refused(&start("(loop $again (br $again))"), "[limits]\nfuel = 100000").await;
    assert!(spin.contains("limits.fuel"), "{spin}");
    let slow = "[limits]\nfuel = 1_000_000_000_000\ntimeout = '20ms'";
    let slow = refused(&start("(loop $again (br $again))"), slow).await;
    assert!(slow.contains("limits.timeout"), "{slow}");
    let text = include_bytes!("../../../functions/hostile/wrong-types/wrong-types.wasm");
    let wrong_types = check(text, "").await.unwrap_err().to_string();
    assert!(wrong_types.contains("does not fit its host"), "{wrong_types}");
}

#[tokio::test]
async fn bytes_that_are_not_the_digest_s_are_refused() {
    let engine = super::engine();
    let error = engine
        .check(
            &TenantName::default(),
            Digest::of(b"other"),
            &Bytes::from(component(OK)),
            &manifest(""),
        )
        .await;
    let error = error.unwrap_err();
    assert!(matches!(error, PreflightError::Mismatch(_)), "{error}");
    let damaged = engine
        .prepare(Digest::of(b"other"), async { Ok(component(OK).into()) })
        .await
        .err()
        .unwrap();
    assert!(matches!(damaged, PreflightError::Unavailable(_)), "{damaged}");
}
