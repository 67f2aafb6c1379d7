//! Artifacts that versions have among their files.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use wasmill_domain::{Digest, Manifest, TenantName};

use super::sample::{name, now, prune, soon, tenant};
use crate::conformance::Store;
use crate::port::{Change, Changed, Result, StoreError};

fn other() -> TenantName {
    "other".parse().unwrap()
}

async fn put(store: &dyn Store, tenant: &TenantName, content: &str) {
    let digest = Digest::of(content.as_bytes());
    store.put_artifact(tenant, digest, Bytes::copy_from_slice(content.as_bytes())).await.unwrap();
}

fn file(path: &str, content: &str) -> Value {
    json!({"path": path, "digest": Digest::of(content.as_bytes()), "size": content.len()})
}

async fn deploy(
    store: &dyn Store,
    tenant: &TenantName,
    function: &str,
    files: &[Value],
) -> Result<Changed> {
    put(store, tenant, "wasm").await;
    let manifest = Manifest::from_json(json!({"name": function, "files": files})).unwrap();
    let digest = Digest::of(b"wasm");
    let change = Change::Deploy {
        tenant: tenant.clone(),
        digest,
        manifest,
        hostnames: Arc::default(),
        at: now(),
    };
    store.define(&change).await
}

async fn sizes(store: &dyn Store, tenant: &TenantName, contents: &[&str]) -> Vec<Option<u64>> {
    let digests: Vec<Digest> =
        contents.iter().map(|content| Digest::of(content.as_bytes())).collect();
    store.artifact_sizes(tenant, &digests).await.unwrap()
}

async fn delete(store: &dyn Store, tenant: &TenantName, function: &str) {
    store
        .define(&Change::DeleteFunction { tenant: tenant.clone(), function: name(function) })
        .await
        .unwrap();
}

pub(crate) async fn a_deploy_needs_its_files(store: Arc<dyn Store>) {
    let store = &*store;
    put(store, &tenant(), "one").await;
    let refused = |result: Result<Changed>| match result {
        Err(StoreError::NotFound(what)) => what,
        other => panic!("{other:?}"),
    };
    let what =
        refused(deploy(store, &tenant(), "f", &[file("a", "one"), file("b/c", "none")]).await);
    assert!(what.contains("the file 'b/c'"), "{what}");
    // Its size is what bounds count.
    let mut smaller = file("a", "one");
    smaller["size"] = json!(1);
    refused(deploy(store, &tenant(), "f", &[smaller]).await);
    put(store, &other(), "others").await;
    refused(deploy(store, &tenant(), "f", &[file("a", "others")]).await);
    assert_eq!(sizes(store, &tenant(), &["one", "none", "others"]).await, [Some(3), None, None]);
    assert!(store.versions(&tenant(), &name("f")).await.unwrap().is_empty());

    // One content in two places is one artifact.
    let files = [file("a", "one"), file("b", "one")];
    assert!(deploy(store, &tenant(), "f", &files).await.unwrap().changed);
    assert!(!deploy(store, &tenant(), "f", &files).await.unwrap().changed);
    assert!(deploy(store, &tenant(), "f", &files[..1]).await.unwrap().changed);
    let versions = store.versions(&tenant(), &name("f")).await.unwrap();
    assert_eq!(
        versions
            .iter()
            .map(|v| v.manifest.as_ref().unwrap().file_parts().count())
            .collect::<Vec<_>>(),
        [1, 2]
    );
}

pub(crate) async fn files_are_kept_while_a_version_has_them(store: Arc<dyn Store>) {
    let store = &*store;
    for content in ["one", "two", "never used"] {
        put(store, &tenant(), content).await;
    }
    deploy(store, &tenant(), "f", &[file("a", "one")]).await.unwrap();
    deploy(store, &tenant(), "f", &[file("a", "two")]).await.unwrap();
    deploy(store, &tenant(), "g", &[file("x", "two")]).await.unwrap();
    // That it is put again changes nothing.
    put(store, &tenant(), "one").await;
    prune(store, soon(), 10).await;
    assert_eq!(
        sizes(store, &tenant(), &["one", "two", "never used"]).await,
        [Some(3), Some(3), None]
    );
    assert!(store.artifact(Digest::of(b"never used")).await.unwrap().is_none());
    delete(store, &tenant(), "f").await;
    // A host that is behind may still want them.
    prune(store, now().minus(std::time::Duration::from_secs(86_400)), 10).await;
    assert_eq!(store.artifact(Digest::of(b"one")).await.unwrap().as_deref(), Some(&b"one"[..]));
    prune(store, soon(), 10).await;
    assert_eq!(sizes(store, &tenant(), &["one", "two"]).await, [None, Some(3)]);
    delete(store, &tenant(), "g").await;
    prune(store, soon(), 10).await;
    for content in ["one", "two"] {
        assert_eq!(
            store.artifact(Digest::of(content.as_bytes())).await.unwrap(),
            None,
            "{content}"
        );
    }
}

pub(crate) async fn files_of_tenants_are_apart(store: Arc<dyn Store>) {
    let store = &*store;
    for tenant in [tenant(), other()] {
        put(store, &tenant, "shared").await;
        deploy(store, &tenant, "f", &[file("a", "shared")]).await.unwrap();
    }
    delete(store, &tenant(), "f").await;
    prune(store, soon(), 10).await;
    assert_eq!(sizes(store, &tenant(), &["shared"]).await, [None]);
    assert_eq!(sizes(store, &other(), &["shared"]).await, [Some(6)]);
    let found = store.tenant_artifact(&other(), Digest::of(b"shared")).await.unwrap();
    assert_eq!(found.as_deref(), Some(&b"shared"[..]));
    assert_eq!(store.tenant_artifact(&tenant(), Digest::of(b"shared")).await.unwrap(), None);
}

pub(crate) async fn a_rollback_has_its_files(store: Arc<dyn Store>) {
    let store = &*store;
    for content in ["old", "new"] {
        put(store, &tenant(), content).await;
        deploy(store, &tenant(), "f", &[file("a", content)]).await.unwrap();
    }
    prune(store, soon(), 10).await;
    let (function, hostnames) = (name("f"), Arc::default());
    store
        .define(&Change::Rollback { tenant: tenant(), function, to: None, hostnames })
        .await
        .unwrap();
    let versions = store.versions(&tenant(), &name("f")).await.unwrap();
    let current = versions.iter().find(|version| version.current).unwrap();
    let digest = current.manifest.as_ref().unwrap().file_parts().next().unwrap().digest;
    assert_eq!(store.artifact(digest).await.unwrap().as_deref(), Some(&b"old"[..]));
}
