//! Schemas, keys, artifacts, and the revision that counts all changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;
use wasmill_domain::{ApiKey, Digest, KeyDefinition, KeyRole, Revision, SchemaDefinition};

use super::sample::{deploy, now, tenant};
use crate::conformance::Store;
use crate::port::{Change, Changed, Installation, StoreError};

async fn put_schema(store: &dyn Store, event_type: &str, schema: Value) -> Changed {
    let event_type = event_type.parse().unwrap();
    store
        .define(&Change::PutSchema { tenant: tenant(), event_type, schema, at: now() })
        .await
        .unwrap()
}

fn key(role: KeyRole) -> KeyDefinition {
    KeyDefinition {
        id: Uuid::now_v7(),
        tenant: tenant(),
        role,
        label: "for\0 tests, ünd more".into(),
        hash: ApiKey::hash_of(&Uuid::now_v7().to_string()),
        created_at: now(),
    }
}

pub(crate) async fn schemas_count_their_changes(store: Arc<dyn Store>) {
    let put = put_schema(&*store, "a.b", json!({"type": "object"})).await;
    assert_eq!(put, Changed { revision: Revision(1), version: 1, changed: true });
    let same = put_schema(&*store, "a.b", json!({"type": "object"})).await;
    assert_eq!(same, Changed { changed: false, ..put });
    let at = now();
    let change = Change::PutSchema {
        tenant: tenant(),
        event_type: "a.b".parse().unwrap(),
        schema: json!(true),
        at,
    };
    assert_eq!(
        store.define(&change).await.unwrap(),
        Changed { revision: Revision(2), version: 2, changed: true }
    );
    put_schema(&*store, "c", json!({})).await;
    let schemas = store.definitions(Revision(0)).await.unwrap().unwrap().schemas;
    let expected = SchemaDefinition {
        tenant: tenant(),
        event_type: "a.b".parse().unwrap(),
        version: 2,
        schema: Arc::new(json!(true)),
        updated_at: at,
    };
    assert_eq!((schemas.len(), &schemas[0]), (2, &expected));
    let delete = Change::DeleteSchema { tenant: tenant(), event_type: "a.b".parse().unwrap() };
    assert_eq!(
        store.define(&delete).await.unwrap(),
        Changed { revision: Revision(4), version: 0, changed: true }
    );
    assert!(matches!(store.define(&delete).await, Err(StoreError::NotFound(_))));
    assert_eq!(store.definitions(Revision(0)).await.unwrap().unwrap().schemas.len(), 1);
}

pub(crate) async fn keys_are_kept(store: Arc<dyn Store>) {
    let (operator, other) = (key(KeyRole::Operator), key(KeyRole::Tenant));
    let error = store.define(&Change::PutKey(other.clone())).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error}");
    let put = store.define(&Change::PutKey(operator.clone())).await.unwrap();
    assert_eq!(put, Changed { revision: Revision(1), version: 0, changed: true });
    store.define(&Change::PutKey(other.clone())).await.unwrap();
    let keys = store.definitions(Revision(0)).await.unwrap().unwrap().keys;
    assert_eq!(keys, [operator.clone(), other]);
    // A key's id and its text are its own.
    for twice in [
        KeyDefinition { id: operator.id, ..key(KeyRole::Tenant) },
        KeyDefinition { hash: operator.hash, ..key(KeyRole::Tenant) },
    ] {
        assert!(matches!(store.define(&Change::PutKey(twice)).await, Err(StoreError::Conflict(_))));
    }
    assert!(store.definitions(Revision(2)).await.unwrap().is_none());
}

pub(crate) async fn of_first_keys_at_once_one_is_made(store: Arc<dyn Store>) {
    let error = store.define(&Change::PutFirstKey(key(KeyRole::Tenant))).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error}");
    let makers: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let key = key(KeyRole::Operator);
                (key.id, store.define(&Change::PutFirstKey(key)).await.unwrap())
            })
        })
        .collect();
    let mut made = Vec::new();
    for maker in makers {
        let (id, changed) = maker.await.unwrap();
        assert_eq!((changed.revision, changed.version), (Revision(1), 0));
        made.extend(changed.changed.then_some(id));
    }
    let keys = store.definitions(Revision(0)).await.unwrap().unwrap().keys;
    assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), made);
    assert_eq!(made.len(), 1);
}

pub(crate) async fn the_last_operator_stays(store: Arc<dyn Store>) {
    let (operator, other) = (key(KeyRole::Operator), key(KeyRole::Tenant));
    let delete = async |key: &KeyDefinition| store.define(&Change::DeleteKey { id: key.id }).await;
    assert!(matches!(delete(&operator).await, Err(StoreError::NotFound(_))));
    store.define(&Change::PutKey(operator.clone())).await.unwrap();
    store.define(&Change::PutKey(other.clone())).await.unwrap();
    assert!(matches!(delete(&operator).await, Err(StoreError::Conflict(_))));
    let second = key(KeyRole::Operator);
    store.define(&Change::PutKey(second.clone())).await.unwrap();
    delete(&operator).await.unwrap();
    assert!(matches!(delete(&second).await, Err(StoreError::Conflict(_))));
    delete(&other).await.unwrap();
    let last = delete(&second).await.unwrap();
    assert_eq!(last, Changed { revision: Revision(6), version: 0, changed: true });
    assert!(store.definitions(Revision(0)).await.unwrap().unwrap().keys.is_empty());
}

pub(crate) async fn artifacts_are_kept_by_content(store: Arc<dyn Store>) {
    for bytes in [Bytes::new(), Bytes::from_static(b"\0asm\x01"), Bytes::from(vec![0xa5; 3 << 20])]
    {
        let digest = Digest::of(&bytes);
        assert_eq!(store.artifact(digest).await.unwrap(), None);
        assert!(store.put_artifact(&tenant(), digest, bytes.clone()).await.unwrap());
        assert!(!store.put_artifact(&tenant(), digest, bytes.clone()).await.unwrap());
        assert_eq!(store.artifact(digest).await.unwrap(), Some(bytes));
    }
    let error = store
        .put_artifact(&tenant(), Digest::of(b"these"), Bytes::from_static(b"those"))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Rejected(_)), "{error}");
    assert_eq!(store.artifact(Digest::of(b"these")).await.unwrap(), None);
    assert!(
        store.definitions(Revision(0)).await.unwrap().is_none(),
        "an artifact alone defines nothing"
    );
}

pub(crate) async fn changes_at_once_have_revisions_of_their_own(store: Arc<dyn Store>) {
    let changes: Vec<_> = (0..20)
        .map(|i| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                put_schema(&*store, &format!("type.{i}"), json!({})).await.revision.0
            })
        })
        .collect();
    let mut revisions = BTreeSet::new();
    for change in changes {
        revisions.insert(change.await.unwrap());
    }
    assert_eq!(revisions, (1..=20).collect());
    let all = store.definitions(Revision(0)).await.unwrap().unwrap();
    assert_eq!((all.revision, all.schemas.len()), (Revision(20), 20));
}

pub(crate) async fn a_refused_change_leaves_no_trace(store: Arc<dyn Store>) {
    deploy(&*store, json!({"name": "total"}), b"one").await;
    let delete = Change::DeleteSchema { tenant: tenant(), event_type: "none".parse().unwrap() };
    for _ in 0..3 {
        assert!(store.define(&delete).await.is_err());
    }
    assert!(store.definitions(Revision(1)).await.unwrap().is_none());
    assert_eq!(put_schema(&*store, "a", json!({})).await.revision, Revision(2));
}

pub(crate) async fn any_text_is_kept(store: Arc<dyn Store>) {
    let manifest = json!({
        "name": "total", "description": "'\"; DROP TABLE functions; -- ü 🦀",
        "trigger": [{"event": "a", "schema": {"const": "nul \0, 'quoted', \u{2028}", "maximum": 0.1}}],
    });
    deploy(&*store, manifest.clone(), b"one").await;
    let stored = store.definitions(Revision(0)).await.unwrap().unwrap().functions.remove(0);
    assert_eq!(*stored.manifest, wasmill_domain::Manifest::from_json(manifest).unwrap());
}

pub(crate) async fn an_installation_has_one_id(store: Arc<dyn Store>) {
    let first = store.installation().await.unwrap();
    assert!(!first.id.is_nil());
    assert_eq!(first.broker_since, None);
    let at = now();
    store.broker_marked(at).await.unwrap();
    assert_eq!(
        store.installation().await.unwrap(),
        Installation { broker_since: Some(at), ..first }
    );
    assert!(
        store.definitions(Revision(0)).await.unwrap().is_none(),
        "it is nothing that users define"
    );
}
