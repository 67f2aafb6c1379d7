//! What tenants may have, and what they are told of each other's artifacts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;
use wasmill_domain::{ApiKey, Digest, KeyDefinition, KeyRole, Manifest, Revision, TenantName};

use super::sample::{deploy, name, now, prune, soon, tenant};
use crate::conformance::Store;
use crate::port::{Change, Changed, Result, StoreError};
use crate::quota::{Quotas, TenantQuota};

/// What these tests want a store to be made with: `default` may have little, and the tenant `large`
/// one function more.
pub(crate) fn small() -> Quotas {
    let default = TenantQuota {
        artifacts: 4,
        artifact_bytes: 100,
        versions: 3,
        functions: 2,
        schemas: 2,
        keys: 2,
        early_rows: 2,
    };
    let large = TenantQuota { functions: 3, ..default.clone() };
    Quotas {
        default,
        tenants: BTreeMap::from([("large".parse().unwrap(), large)]),
        ..Quotas::default()
    }
}

fn other() -> TenantName {
    "other".parse().unwrap()
}

async fn put(store: &dyn Store, tenant: &TenantName, bytes: &str) -> Result<bool> {
    store
        .put_artifact(
            tenant,
            Digest::of(bytes.as_bytes()),
            Bytes::copy_from_slice(bytes.as_bytes()),
        )
        .await
}

async fn deploy_as(
    store: &dyn Store,
    tenant: &TenantName,
    function: &str,
    bytes: &str,
) -> Result<Changed> {
    let manifest = Manifest::from_json(json!({"name": function})).unwrap();
    let digest = Digest::of(bytes.as_bytes());
    store
        .define(&Change::Deploy {
            tenant: tenant.clone(),
            digest,
            manifest,
            hostnames: Arc::default(),
            at: now(),
        })
        .await
}

async fn has(store: &dyn Store, tenant: &TenantName, bytes: &str) -> bool {
    let found = store.tenant_artifact(tenant, Digest::of(bytes.as_bytes())).await.unwrap();
    assert!(found.as_ref().is_none_or(|found| found == bytes.as_bytes()));
    found.is_some()
}

fn key(tenant: &TenantName, role: KeyRole) -> KeyDefinition {
    let hash = ApiKey::hash_of(&Uuid::now_v7().to_string());
    KeyDefinition {
        id: Uuid::now_v7(),
        tenant: tenant.clone(),
        role,
        label: "a key".into(),
        hash,
        created_at: now(),
    }
}

/// The quota that stood in the way.
#[track_caller]
fn exceeded<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    match result {
        Err(StoreError::QuotaExceeded { quota, why }) => {
            assert!(why.contains(&format!("quota '{quota}'")), "{why}");
            quota
        }
        other => panic!("nothing stood in the way: {other:?}"),
    }
}

pub(crate) async fn an_artifact_is_its_tenants_secret(store: Arc<dyn Store>) {
    assert!(put(&*store, &tenant(), "wasm").await.unwrap());
    assert!(has(&*store, &tenant(), "wasm").await && !has(&*store, &other(), "wasm").await);
    // As if it was not there at all.
    let unknown = deploy_as(&*store, &other(), "total", "none").await.unwrap_err();
    let hidden = deploy_as(&*store, &other(), "total", "wasm").await.unwrap_err();
    assert!(
        matches!((&unknown, &hidden), (StoreError::NotFound(_), StoreError::NotFound(_))),
        "{unknown} {hidden}"
    );
    let digests = ["none", "wasm"].map(|text| Digest::of(text.as_bytes()).to_string());
    assert_eq!(
        unknown.to_string().replace(&digests[0], ""),
        hidden.to_string().replace(&digests[1], "")
    );
    assert!(put(&*store, &other(), "wasm").await.unwrap(), "it is new to this tenant");
    assert!(!put(&*store, &other(), "wasm").await.unwrap());
    assert!(has(&*store, &other(), "wasm").await);
    deploy_as(&*store, &other(), "total", "wasm").await.unwrap();
    assert_eq!(
        store.artifact(Digest::of(b"wasm")).await.unwrap(),
        Some(Bytes::from_static(b"wasm"))
    );
    // It goes where nobody uses it, and stays with whoever does.
    prune(&*store, soon(), 10).await;
    assert!(!has(&*store, &tenant(), "wasm").await && has(&*store, &other(), "wasm").await);
}

pub(crate) async fn artifacts_have_a_quota(store: Arc<dyn Store>) {
    for bytes in ["a", "b", "c", "d"] {
        put(&*store, &tenant(), bytes).await.unwrap();
    }
    assert_eq!(exceeded(put(&*store, &tenant(), "e").await), "artifacts");
    assert!(!put(&*store, &tenant(), "a").await.unwrap(), "one that it has can be put again");
    put(&*store, &other(), &"x".repeat(60)).await.unwrap();
    assert_eq!(exceeded(put(&*store, &other(), &"y".repeat(41)).await), "artifact_bytes");
    assert_eq!(store.artifact(Digest::of("y".repeat(41).as_bytes())).await.unwrap(), None);
    put(&*store, &other(), &"z".repeat(40)).await.unwrap();
    // What is not used goes, and there is room again.
    deploy_as(&*store, &tenant(), "total", "a").await.unwrap();
    prune(&*store, now().minus(Duration::from_secs(86_400)), 10).await;
    assert_eq!(exceeded(put(&*store, &tenant(), "e").await), "artifacts");
    prune(&*store, soon(), 10).await;
    for bytes in ["e", "f", "g"] {
        put(&*store, &tenant(), bytes).await.unwrap();
    }
    assert_eq!(exceeded(put(&*store, &tenant(), "h").await), "artifacts");
}

pub(crate) async fn what_is_defined_has_quotas(store: Arc<dyn Store>) {
    let large: TenantName = "large".parse().unwrap();
    for tenant in [tenant(), large.clone()] {
        put(&*store, &tenant, "wasm").await.unwrap();
        for function in ["a", "b"] {
            deploy_as(&*store, &tenant, function, "wasm").await.unwrap();
        }
    }
    assert_eq!(exceeded(deploy_as(&*store, &tenant(), "c", "wasm").await), "functions");
    put(&*store, &tenant(), "more").await.unwrap();
    deploy_as(&*store, &tenant(), "a", "more").await.unwrap();
    deploy_as(&*store, &large, "c", "wasm").await.unwrap();
    assert_eq!(exceeded(deploy_as(&*store, &large, "d", "wasm").await), "functions");
    store.define(&Change::DeleteFunction { tenant: tenant(), function: name("b") }).await.unwrap();
    deploy_as(&*store, &tenant(), "c", "wasm").await.unwrap();

    let schema = async |event_type: &str, schema| {
        let event_type = event_type.parse().unwrap();
        store.define(&Change::PutSchema { tenant: tenant(), event_type, schema, at: now() }).await
    };
    schema("a", json!(true)).await.unwrap();
    schema("b", json!(true)).await.unwrap();
    assert_eq!(exceeded(schema("c", json!(true)).await), "schemas");
    schema("b", json!({})).await.unwrap();

    store.define(&Change::PutFirstKey(key(&tenant(), KeyRole::Operator))).await.unwrap();
    store.define(&Change::PutKey(key(&tenant(), KeyRole::Tenant))).await.unwrap();
    let before = store.definitions(Revision(-1)).await.unwrap().unwrap();
    assert_eq!(
        exceeded(store.define(&Change::PutKey(key(&tenant(), KeyRole::Tenant))).await),
        "keys"
    );
    assert!(
        store.definitions(before.revision).await.unwrap().is_none(),
        "what is refused changes nothing"
    );
    store.define(&Change::PutKey(key(&other(), KeyRole::Tenant))).await.unwrap();
}

pub(crate) async fn old_versions_go(store: Arc<dyn Store>) {
    let numbers = async || {
        let versions = store.versions(&tenant(), &name("total")).await.unwrap();
        versions.iter().map(|version| (version.number, version.current)).collect::<Vec<_>>()
    };
    let manifest = |number: u32| json!({"name": "total", "description": number.to_string(), "trigger": [{"event": "a"}]});
    for number in 1..=4 {
        assert_eq!(deploy(&*store, manifest(number), b"wasm").await.version, number);
    }
    assert_eq!(numbers().await, [(4, true), (3, false), (2, false)]);
    let rollback = |to| Change::Rollback {
        tenant: tenant(),
        function: name("total"),
        to: Some(to),
        hostnames: Arc::default(),
    };
    assert!(matches!(store.define(&rollback(1)).await, Err(StoreError::NotFound(_))));
    // The same again is no deploy, so that what was rolled back from stays.
    store.define(&rollback(2)).await.unwrap();
    assert!(!deploy(&*store, manifest(2), b"wasm").await.changed);
    assert_eq!(numbers().await, [(4, false), (3, false), (2, true)]);
    assert_eq!(deploy(&*store, manifest(5), b"other").await.version, 5);
    assert_eq!(numbers().await, [(5, true), (4, false), (3, false)]);
    store.define(&rollback(3)).await.unwrap();
    assert_eq!(deploy(&*store, manifest(6), b"last").await.version, 6, "numbers are given once");
    // What the versions that went have named goes after them, and not before its time.
    for number in 7..=8 {
        deploy(&*store, manifest(number), b"last").await;
    }
    assert!(has(&*store, &tenant(), "wasm").await);
    prune(&*store, soon(), 10).await;
    let kept = ["wasm", "other", "last"].map(|bytes| store.artifact(Digest::of(bytes.as_bytes())));
    let kept = futures_util::future::join_all(kept).await;
    assert_eq!(
        kept.iter().map(|found| found.as_ref().unwrap().is_some()).collect::<Vec<_>>(),
        [false, false, true]
    );
    // Files go with the last version that has them.
    put(&*store, &tenant(), "data").await.unwrap();
    let mut with_file = manifest(9);
    with_file["files"] = json!([{"path": "a", "digest": Digest::of(b"data"), "size": 4}]);
    deploy(&*store, with_file, b"last").await;
    for (number, is_kept) in [(10, true), (11, true), (12, false)] {
        deploy(&*store, manifest(number), b"last").await;
        prune(&*store, soon(), 10).await;
        assert_eq!(has(&*store, &tenant(), "data").await, is_kept, "{number}");
    }
}

pub(crate) async fn requests_at_once_keep_within_quotas(store: Arc<dyn Store>) {
    for round in ["artifacts", "functions", "schemas"] {
        if round == "functions" {
            for text in 0..4 {
                put(&*store, &other(), &format!("artifact {text}")).await.unwrap();
            }
        }
        let adders: Vec<_> = (0..12)
            .map(|number| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    match round {
                        "artifacts" => {
                            put(&*store, &tenant(), &format!("artifact {number}")).await.map(drop)
                        }
                        "functions" => {
                            let bytes = format!("artifact {}", number % 4);
                            deploy_as(&*store, &other(), &format!("f{number}"), &bytes)
                                .await
                                .map(drop)
                        }
                        _ => {
                            let event_type = format!("type.{number}").parse().unwrap();
                            let (schema, at) = (json!(true), now());
                            let change =
                                Change::PutSchema { tenant: tenant(), event_type, schema, at };
                            store.define(&change).await.map(drop)
                        }
                    }
                })
            })
            .collect();
        let mut added = 0;
        for adder in adders {
            match adder.await.unwrap() {
                Ok(()) => added += 1,
                refused => assert_eq!(exceeded(refused), round),
            }
        }
        assert_eq!(added, if round == "artifacts" { 4 } else { 2 }, "{round}");
    }
}
