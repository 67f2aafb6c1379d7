//! Host names and routes have one owner each.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use wasmill_domain::{Digest, HostnameRules, Manifest, Revision, TenantName};

use super::sample::{name, now, tenant};
use crate::conformance::Store;
use crate::port::{Change, Changed, StoreError};

fn other() -> TenantName {
    "other".parse().unwrap()
}

async fn deploy(
    store: &dyn Store,
    tenant: TenantName,
    function: &str,
    triggers: Value,
) -> Result<Changed, StoreError> {
    deploy_by(store, &Arc::default(), tenant, function, triggers).await
}

async fn deploy_by(
    store: &dyn Store,
    rules: &Arc<HostnameRules>,
    tenant: TenantName,
    function: &str,
    triggers: Value,
) -> Result<Changed, StoreError> {
    let digest = Digest::of(b"wasm");
    store.put_artifact(&tenant, digest, Bytes::from_static(b"wasm")).await.unwrap();
    let manifest = Manifest::from_json(json!({"name": function, "trigger": triggers})).unwrap();
    store
        .define(&Change::Deploy {
            tenant,
            digest,
            manifest,
            hostnames: Arc::clone(rules),
            at: now(),
        })
        .await
}

async fn rollback(store: &dyn Store, function: &str) -> Result<Changed, StoreError> {
    rollback_of(store, tenant(), function).await
}

async fn rollback_of(
    store: &dyn Store,
    tenant: TenantName,
    function: &str,
) -> Result<Changed, StoreError> {
    let change =
        Change::Rollback { tenant, function: name(function), to: None, hostnames: Arc::default() };
    store.define(&change).await
}

async fn grant(
    store: &dyn Store,
    pattern: &str,
    tenant: TenantName,
) -> Result<Changed, StoreError> {
    store
        .define(&Change::GrantHostname { pattern: pattern.parse().unwrap(), tenant, at: now() })
        .await
}

async fn revoke(store: &dyn Store, pattern: &str) -> Result<Changed, StoreError> {
    store.define(&Change::RevokeHostname { pattern: pattern.parse().unwrap() }).await
}

/// The message of a conflict.
#[track_caller]
fn refused(result: Result<Changed, StoreError>) -> String {
    match result {
        Err(StoreError::Conflict(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// The version that each function is at.
async fn current(store: &dyn Store) -> Vec<(String, u32)> {
    let definitions = store.definitions(Revision(-1)).await.unwrap().unwrap();
    definitions
        .functions
        .iter()
        .map(|function| (function.name.to_string(), function.version))
        .collect()
}

fn on(host: &str) -> Value {
    json!([{"event": "a"}, {"http": "/", "host": host}])
}

pub(crate) async fn a_host_name_must_be_granted(store: Arc<dyn Store>) {
    let store = &*store;
    let why = refused(deploy(store, tenant(), "f", on("shop.example.com")).await);
    assert!(
        why.contains("trigger[1].host") && why.contains("hostnames grant shop.example.com"),
        "{why}"
    );
    assert_eq!(current(store).await, []);
    assert!(grant(store, "shop.example.com", tenant()).await.unwrap().changed);
    assert!(deploy(store, tenant(), "f", on("shop.example.com")).await.unwrap().changed);
    let why = refused(deploy(store, other(), "f", on("shop.example.com")).await);
    assert!(why.contains("another tenant's"), "{why}");
    // Not even one that was granted.
    for never in ["localhost", "127.0.0.1", "gateway"] {
        grant(store, never, tenant()).await.unwrap();
        let why = refused(deploy(store, tenant(), "g", on(never)).await);
        assert!(why.contains("no function can have"), "{why}");
    }
    assert_eq!(current(store).await, [("f".into(), 1)]);
}

pub(crate) async fn grants_are_kept_and_taken_back(store: Arc<dyn Store>) {
    let store = &*store;
    assert!(grant(store, "*.example.com", tenant()).await.unwrap().changed);
    assert!(!grant(store, "*.example.com", tenant()).await.unwrap().changed);
    let why = refused(grant(store, "*.example.com", other()).await);
    assert!(why.contains("'default'") && why.contains("revoke"), "{why}");
    grant(store, "a.example.com", other()).await.unwrap();
    let reported = store.definitions(Revision(-1)).await.unwrap().unwrap().hostnames;
    let reported: Vec<_> = reported
        .iter()
        .map(|granted| (granted.pattern.as_str(), granted.tenant.as_str()))
        .collect();
    assert_eq!(reported, [("*.example.com", "default"), ("a.example.com", "other")]);
    // The more exact one decides.
    refused(deploy(store, tenant(), "f", on("a.example.com")).await);
    deploy(store, other(), "f", on("a.example.com")).await.unwrap();
    deploy(store, tenant(), "f", on("b.example.com")).await.unwrap();
    assert!(revoke(store, "*.example.com").await.unwrap().changed);
    assert!(matches!(revoke(store, "*.example.com").await, Err(StoreError::NotFound(_))));
    // What is live stays defined, though it answers no more; the same again is not "no change".
    refused(deploy(store, tenant(), "f", on("b.example.com")).await);
    assert_eq!(current(store).await.len(), 2);
}

pub(crate) async fn the_configuration_grants_names_too(store: Arc<dyn Store>) {
    let store = &*store;
    let rules = Arc::new(HostnameRules {
        own: ["api.example.com".parse().unwrap()].into(),
        granted: [("*.example.com".parse().unwrap(), tenant())].into(),
    });
    deploy_by(store, &rules, tenant(), "f", on("shop.example.com")).await.unwrap();
    refused(deploy_by(store, &rules, other(), "f", on("shop.example.com")).await);
    let why = refused(deploy_by(store, &rules, tenant(), "g", on("api.example.com")).await);
    assert!(why.contains("the gateway's own"), "{why}");
    grant(store, "api.example.com", tenant()).await.unwrap();
    refused(deploy_by(store, &rules, tenant(), "g", on("api.example.com")).await);
}

pub(crate) async fn a_route_is_one_functions(store: Arc<dyn Store>) {
    let store = &*store;
    deploy(store, tenant(), "first", json!([{"http": "/orders/{id}", "methods": ["GET"]}]))
        .await
        .unwrap();
    for taken in [
        json!({"http": "/orders/{number}", "methods": ["PUT", "GET"]}),
        json!({"http": "/orders/{number}"}),
    ] {
        let why = refused(deploy(store, tenant(), "second", json!([taken])).await);
        assert!(why.contains("'first'") && why.contains("/orders/{}"), "{why}");
    }
    let free = json!([
        {"http": "/orders/{id}", "methods": ["PUT"]}, {"http": "/orders"}, {"http": "/orders/{*rest}"},
    ]);
    deploy(store, tenant(), "second", free).await.unwrap();
    // Its own it may have again, and other tenants have their own.
    deploy(
        store,
        tenant(),
        "first",
        json!([{"event": "a"}, {"http": "/orders/{id}", "methods": ["GET"]}]),
    )
    .await
    .unwrap();
    deploy(store, other(), "first", json!([{"http": "/orders/{id}"}])).await.unwrap();
    // What takes every method is in the way of each.
    deploy(store, tenant(), "every", json!([{"http": "/every"}])).await.unwrap();
    refused(deploy(store, tenant(), "one", json!([{"http": "/every", "methods": ["GET"]}])).await);
    // A refused deploy gives nothing back, a deleted function all.
    refused(deploy(store, tenant(), "every", json!([{"http": "/orders"}])).await);
    refused(deploy(store, tenant(), "one", json!([{"http": "/every"}])).await);
    store
        .define(&Change::DeleteFunction { tenant: tenant(), function: name("every") })
        .await
        .unwrap();
    deploy(store, tenant(), "one", json!([{"http": "/every"}])).await.unwrap();
}

pub(crate) async fn a_rollback_claims_as_a_deploy_does(store: Arc<dyn Store>) {
    let store = &*store;
    grant(store, "shop.example.com", tenant()).await.unwrap();
    deploy(
        store,
        tenant(),
        "f",
        json!([{"http": "/a"}, {"http": "/a", "host": "shop.example.com"}]),
    )
    .await
    .unwrap();
    deploy(store, tenant(), "f", json!([{"http": "/b"}])).await.unwrap();
    deploy(store, tenant(), "g", json!([{"http": "/a"}])).await.unwrap();
    let why = refused(rollback(store, "f").await);
    assert!(why.contains("'g'") && why.contains("'/a'"), "{why}");
    assert_eq!(current(store).await, [("f".into(), 2), ("g".into(), 1)]);
    refused(deploy(store, tenant(), "h", json!([{"http": "/b"}])).await);
    deploy(store, tenant(), "g", json!([])).await.unwrap();
    revoke(store, "shop.example.com").await.unwrap();
    let why = refused(rollback(store, "f").await);
    assert!(why.contains("hostnames grant"), "{why}");
    grant(store, "*.example.com", tenant()).await.unwrap();
    assert_eq!(rollback(store, "f").await.unwrap().version, 1);
    deploy(store, tenant(), "h", json!([{"http": "/b"}])).await.unwrap();
    refused(deploy(store, tenant(), "i", json!([{"http": "/a"}])).await);
}

pub(crate) async fn of_claims_at_once_one_stands(store: Arc<dyn Store>) {
    // Two have had the route before and go back to it, four claim it anew.
    for function in ["a", "b"] {
        deploy(&*store, tenant(), function, json!([{"http": "/x"}])).await.unwrap();
        deploy(&*store, tenant(), function, json!([])).await.unwrap();
    }
    let mut tasks = tokio::task::JoinSet::new();
    for function in ["a", "b", "c", "d", "e", "f"] {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            match function {
                "a" | "b" => rollback(&*store, function).await,
                _ => deploy(&*store, tenant(), function, json!([{"http": "/x"}])).await,
            }
        });
    }
    let ends = tasks.join_all().await;
    assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1, "{ends:?}");
    assert!(ends.iter().all(|end| matches!(end, Ok(_) | Err(StoreError::Conflict(_)))), "{ends:?}");
}

/// How a tenant claims what is under a host name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Claim {
    Deploy,
    Rollback,
}

/// Takes the host name for a tenant, and then a route under it by the function `f`.
async fn take(
    store: &dyn Store,
    tenant: TenantName,
    host: &str,
    claim: Claim,
) -> [Result<Changed, StoreError>; 2] {
    let granted = grant(store, host, tenant.clone()).await;
    let claimed = match claim {
        Claim::Deploy => deploy(store, tenant, "f", on(host)).await,
        Claim::Rollback => rollback_of(store, tenant, "f").await,
    };
    [granted, claimed]
}

pub(crate) async fn of_tenants_at_once_one_has_a_host_name(store: Arc<dyn Store>) {
    use Claim::{Deploy, Rollback};

    let claims = [[Deploy, Deploy], [Rollback, Rollback], [Deploy, Rollback], [Rollback, Deploy]];
    for (round, claims) in claims.into_iter().cycle().take(12).enumerate() {
        let (host, tenants) = (format!("h{round}.example.com"), [tenant(), other()]);
        // Each has had the name before, and has a version with it to go back to.
        for tenant in &tenants {
            grant(&*store, &host, tenant.clone()).await.unwrap();
            deploy(&*store, tenant.clone(), "f", on(&host)).await.unwrap();
            deploy(&*store, tenant.clone(), "f", json!([])).await.unwrap();
            revoke(&*store, &host).await.unwrap();
        }
        let tasks = [0, 1].map(|i| {
            let (store, tenant, host) = (Arc::clone(&store), tenants[i].clone(), host.clone());
            tokio::spawn(async move { take(&*store, tenant, &host, claims[i]).await })
        });
        let mut ends = Vec::new();
        for task in tasks {
            ends.push(task.await.unwrap());
        }
        let won = ends.iter().position(|[granted, _]| granted.is_ok()).expect("one has it");
        let [[_, claimed], lost] = [&ends[won], &ends[1 - won]];
        assert!(claimed.is_ok(), "{claims:?}: {ends:?}");
        let [not_granted, not_claimed] = lost.each_ref().map(|end| match end {
            Err(StoreError::Conflict(why)) => why,
            other => panic!("{claims:?}: {other:?}"),
        });
        let winner = format!("'{}'", tenants[won]);
        assert!(not_granted.contains(&winner) && not_granted.contains("revoke"), "{not_granted}");
        assert!(not_claimed.contains("another tenant's"), "{not_claimed}");
        let definitions = store.definitions(Revision(-1)).await.unwrap().unwrap();
        let answering = definitions.functions.iter().filter(|f| !f.manifest.triggers.is_empty());
        let answering: Vec<_> = answering.map(|function| &function.tenant).collect();
        assert_eq!(answering, [&tenants[won]], "{claims:?}");
    }
}
