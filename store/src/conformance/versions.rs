//! Functions and their versions.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use wasmill_domain::{
    Digest, FunctionDefinition, FunctionName, Manifest, Revision, State, TenantName,
};

use super::sample::{deploy, execution_in, name, now, state_of, tenant};
use crate::conformance::Store;
use crate::port::{Change, Changed, StoreError};

fn manifest() -> serde_json::Value {
    json!({
        "name": "total", "description": "adds up", "env": {"A": "1"},
        "trigger": [
            {"event": "order.*", "schema": {"type": "object", "required": ["total"]}},
            {"event": "a.b"},
            {"event": "order.created", "schema": false},
        ],
    })
}

async fn functions(store: &dyn Store) -> Vec<FunctionDefinition> {
    store.definitions(Revision(-1)).await.unwrap().unwrap().functions
}

async fn deleted_functions(store: &dyn Store) -> Vec<(TenantName, FunctionName)> {
    store.definitions(Revision(-1)).await.unwrap().unwrap().deleted
}

async fn rollback(
    store: &dyn Store,
    function: &str,
    to: Option<u32>,
) -> Result<Changed, StoreError> {
    store
        .define(&Change::Rollback {
            tenant: tenant(),
            function: name(function),
            to,
            hostnames: Arc::default(),
        })
        .await
}

pub(crate) async fn an_empty_store_is_at_revision_zero(store: Arc<dyn Store>) {
    assert!(store.definitions(Revision(0)).await.unwrap().is_none());
    let all = store.definitions(Revision(1)).await.unwrap().unwrap();
    assert_eq!(all.revision, Revision(0));
    assert!(all.functions.is_empty() && all.schemas.is_empty() && all.keys.is_empty());
    assert!(store.versions(&tenant(), &name("total")).await.unwrap().is_empty());
}

pub(crate) async fn a_deploy_is_defined(store: Arc<dyn Store>) {
    let digest = Digest::of(b"wasm");
    store.put_artifact(&tenant(), digest, Bytes::from_static(b"wasm")).await.unwrap();
    let (manifest, at) = (Manifest::from_json(manifest()).unwrap(), now());
    let change = Change::Deploy {
        tenant: tenant(),
        digest,
        manifest: manifest.clone(),
        hostnames: Arc::default(),
        at,
    };
    let changed = store.define(&change).await.unwrap();
    assert_eq!(changed, Changed { revision: Revision(1), version: 1, changed: true });
    let expected = FunctionDefinition {
        tenant: tenant(),
        name: name("total"),
        version: 1,
        digest,
        manifest: Arc::new(manifest),
        deployed_at: at,
    };
    assert_eq!(functions(&*store).await, [expected]);
    assert!(store.definitions(Revision(1)).await.unwrap().is_none());
    assert_eq!(store.definitions(Revision(0)).await.unwrap().unwrap().revision, Revision(1));
}

pub(crate) async fn the_same_deploy_changes_nothing(store: Arc<dyn Store>) {
    let first = deploy(&*store, manifest(), b"wasm").await;
    let before = functions(&*store).await;
    let again = deploy(&*store, manifest(), b"wasm").await;
    assert_eq!(again, Changed { changed: false, ..first });
    assert_eq!(functions(&*store).await, before);
    assert_eq!(store.versions(&tenant(), &name("total")).await.unwrap().len(), 1);
}

pub(crate) async fn another_deploy_is_another_version(store: Arc<dyn Store>) {
    deploy(&*store, manifest(), b"wasm").await;
    assert_eq!(deploy(&*store, manifest(), b"other").await.version, 2);
    let mut other_schema = manifest();
    other_schema["trigger"][0]["schema"] = json!({"type": "array"});
    assert_eq!(deploy(&*store, other_schema.clone(), b"other").await.version, 3);
    let mut no_trigger = manifest();
    no_trigger["trigger"] = json!([]);
    let last = deploy(&*store, no_trigger, b"other").await;
    assert_eq!(last, Changed { revision: Revision(4), version: 4, changed: true });
    let versions = store.versions(&tenant(), &name("total")).await.unwrap();
    let reported: Vec<_> =
        versions.iter().map(|v| (v.number, v.size, v.current, v.digest)).collect();
    let (wasm, other) = (Digest::of(b"wasm"), Digest::of(b"other"));
    assert_eq!(
        reported,
        [(4, 5, true, other), (3, 5, false, other), (2, 5, false, other), (1, 4, false, wasm)]
    );
    assert_eq!(versions[1].manifest, Ok(Manifest::from_json(other_schema).unwrap()));
    assert_eq!(versions[3].manifest, Ok(Manifest::from_json(manifest()).unwrap()));
    let current = functions(&*store).await;
    assert_eq!((current.len(), current[0].version, current[0].manifest.triggers.len()), (1, 4, 0));
}

pub(crate) async fn a_deploy_needs_its_artifact(store: Arc<dyn Store>) {
    let manifest = Manifest::from_json(manifest()).unwrap();
    let change = Change::Deploy {
        tenant: tenant(),
        digest: Digest::of(b"unknown"),
        manifest,
        hostnames: Arc::default(),
        at: now(),
    };
    let error = store.define(&change).await.unwrap_err();
    assert!(matches!(&error, StoreError::NotFound(what) if what.contains("sha256:")), "{error}");
    assert!(store.definitions(Revision(0)).await.unwrap().is_none());
}

pub(crate) async fn a_rollback_moves_a_pointer(store: Arc<dyn Store>) {
    let not_found =
        |result: Result<Changed, StoreError>| matches!(result, Err(StoreError::NotFound(_)));
    assert!(not_found(rollback(&*store, "total", None).await));
    for bytes in [b"one".as_slice(), b"two", b"three"] {
        deploy(&*store, manifest(), bytes).await;
    }
    let back = rollback(&*store, "total", None).await.unwrap();
    assert_eq!(back, Changed { revision: Revision(4), version: 2, changed: true });
    assert_eq!(functions(&*store).await[0].digest, Digest::of(b"two"));
    assert_eq!(rollback(&*store, "total", None).await.unwrap().version, 1);
    assert!(not_found(rollback(&*store, "total", None).await));
    assert!(not_found(rollback(&*store, "total", Some(4)).await));
    assert!(not_found(rollback(&*store, "other", Some(1)).await));
    let same = rollback(&*store, "total", Some(1)).await.unwrap();
    assert_eq!(same, Changed { revision: Revision(5), version: 1, changed: false });
    assert_eq!(rollback(&*store, "total", Some(3)).await.unwrap().version, 3);
    rollback(&*store, "total", Some(2)).await.unwrap();
    assert_eq!(deploy(&*store, manifest(), b"four").await.version, 4);
    let current: Vec<bool> = store
        .versions(&tenant(), &name("total"))
        .await
        .unwrap()
        .iter()
        .map(|version| version.current)
        .collect();
    assert_eq!(current, [true, false, false, false]);
}

pub(crate) async fn a_function_is_deleted_with_its_versions(store: Arc<dyn Store>) {
    let delete = Change::DeleteFunction { tenant: tenant(), function: name("total") };
    assert!(matches!(store.define(&delete).await, Err(StoreError::NotFound(_))));
    deploy(&*store, manifest(), b"one").await;
    deploy(&*store, manifest(), b"two").await;
    let execution = execution_in(&*store, State::Succeeded).await;
    let deleted = store.define(&delete).await.unwrap();
    assert_eq!(deleted, Changed { revision: Revision(3), version: 0, changed: true });
    assert!(functions(&*store).await.is_empty());
    assert!(store.versions(&tenant(), &name("total")).await.unwrap().is_empty());
    assert_eq!(state_of(&*store, &execution).await.0, State::Succeeded);
    assert_eq!(deleted_functions(&*store).await, [(tenant(), name("total"))]);
    // No trigger of the deleted ones comes back.
    let fresh = deploy(&*store, json!({"name": "total"}), b"one").await;
    assert_eq!(fresh.version, 1);
    assert!(functions(&*store).await[0].manifest.triggers.is_empty());
    assert_eq!(deleted_functions(&*store).await, []);
}

pub(crate) async fn a_deleted_function_is_forgotten_once(store: Arc<dyn Store>) {
    deploy(&*store, manifest(), b"one").await;
    store
        .define(&Change::DeleteFunction { tenant: tenant(), function: name("total") })
        .await
        .unwrap();
    let forget = Change::ForgetFunction { tenant: tenant(), function: name("total") };
    let forgotten = store.define(&forget).await.unwrap();
    assert_eq!(forgotten, Changed { revision: Revision(3), version: 0, changed: true });
    assert_eq!(deleted_functions(&*store).await, []);
    assert!(!store.define(&forget).await.unwrap().changed);
    // One that exists is not touched.
    deploy(&*store, manifest(), b"one").await;
    assert!(!store.define(&forget).await.unwrap().changed);
    assert_eq!(functions(&*store).await.len(), 1);
}

pub(crate) async fn functions_of_tenants_are_apart(store: Arc<dyn Store>) {
    deploy(&*store, manifest(), b"one").await;
    let other: TenantName = "other".parse().unwrap();
    let manifest = Manifest::from_json(json!({"name": "total"})).unwrap();
    store.put_artifact(&other, Digest::of(b"one"), Bytes::from_static(b"one")).await.unwrap();
    let change = Change::Deploy {
        tenant: other.clone(),
        digest: Digest::of(b"one"),
        manifest,
        hostnames: Arc::default(),
        at: now(),
    };
    assert_eq!(store.define(&change).await.unwrap().version, 1);
    assert_eq!(functions(&*store).await.len(), 2);
    store
        .define(&Change::DeleteFunction { tenant: other.clone(), function: name("total") })
        .await
        .unwrap();
    assert!(store.versions(&other, &name("total")).await.unwrap().is_empty());
    let left = functions(&*store).await;
    assert_eq!((left.len(), left[0].manifest.triggers.len()), (1, 3));
}
