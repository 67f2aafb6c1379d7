//! Secrets, of which a store sees nothing but the names.

use std::sync::Arc;

use bytes::Bytes;
use wasmill_domain::{Revision, SealedSecret, SecretSummary, Timestamp};

use super::sample::{now, tenant};
use crate::conformance::Store;
use crate::port::{Change, Changed, Result, SealingKeyUse, StoreError};

fn sealed(name: &str, version: u32, bytes: &'static [u8]) -> SealedSecret {
    SealedSecret {
        tenant: tenant(),
        name: name.parse().unwrap(),
        version,
        key: "key-1".parse().unwrap(),
        sealed: Bytes::from_static(bytes),
        at: now(),
    }
}

async fn put(store: &dyn Store, secret: &SealedSecret) -> Result<Changed> {
    store.define(&Change::PutSecret(secret.clone())).await
}

pub(crate) async fn secrets_are_kept_sealed(store: Arc<dyn Store>) {
    let name = |name: &str| name.parse().unwrap();
    assert_eq!(store.secret(&tenant(), &name("token")).await.unwrap(), None);
    let first = sealed("token", 1, b"\0\xffone");
    assert_eq!(
        put(&*store, &first).await.unwrap(),
        Changed { revision: Revision(1), version: 1, changed: true }
    );
    assert_eq!(store.secret(&tenant(), &name("token")).await.unwrap(), Some(first.clone()));
    let second = SealedSecret {
        key: "key-2".parse().unwrap(),
        at: Timestamp::from_micros(first.at.as_micros() + 1),
        ..sealed("token", 2, b"two")
    };
    assert_eq!(
        put(&*store, &second).await.unwrap(),
        Changed { revision: Revision(2), version: 2, changed: true }
    );
    assert_eq!(store.secret(&tenant(), &name("token")).await.unwrap(), Some(second.clone()));
    let other = SealedSecret { tenant: "other".parse().unwrap(), ..sealed("token", 1, b"theirs") };
    put(&*store, &other).await.unwrap();
    assert_eq!(store.secret(&other.tenant, &name("token")).await.unwrap(), Some(other.clone()));
    let early = sealed("a-token", 1, b"a");
    put(&*store, &early).await.unwrap();
    let summary = |of: &SealedSecret, created_at| SecretSummary {
        name: of.name.clone(),
        version: of.version,
        key: of.key.clone(),
        created_at,
        updated_at: of.at,
    };
    let listed = store.secrets(&tenant()).await.unwrap();
    assert_eq!(listed, [summary(&early, early.at), summary(&second, first.at)]);
}

pub(crate) async fn a_secret_has_one_next_version(store: Arc<dyn Store>) {
    for version in [0, 2] {
        let error = put(&*store, &sealed("token", version, b"x")).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict(_)), "{error}");
    }
    put(&*store, &sealed("token", 1, b"x")).await.unwrap();
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { put(&*store, &sealed("token", 2, b"y")).await })
        })
        .collect();
    let mut won = 0;
    for writer in writers {
        match writer.await.unwrap() {
            Ok(changed) => {
                assert_eq!(changed.version, 2);
                won += 1;
            }
            Err(error) => assert!(matches!(error, StoreError::Conflict(_)), "{error}"),
        }
    }
    assert_eq!(won, 1);
    assert!(
        store.definitions(Revision(2)).await.unwrap().is_none(),
        "what is refused keeps the revision"
    );
}

pub(crate) async fn a_deleted_secret_begins_anew(store: Arc<dyn Store>) {
    let delete = Change::DeleteSecret { tenant: tenant(), name: "token".parse().unwrap() };
    assert!(matches!(store.define(&delete).await, Err(StoreError::NotFound(_))));
    put(&*store, &sealed("token", 1, b"x")).await.unwrap();
    put(&*store, &sealed("token", 2, b"y")).await.unwrap();
    let other =
        Change::DeleteSecret { tenant: "other".parse().unwrap(), name: "token".parse().unwrap() };
    assert!(matches!(store.define(&other).await, Err(StoreError::NotFound(_))));
    assert_eq!(
        store.define(&delete).await.unwrap(),
        Changed { revision: Revision(3), version: 0, changed: true }
    );
    assert_eq!(store.secret(&tenant(), &"token".parse().unwrap()).await.unwrap(), None);
    assert!(store.secrets(&tenant()).await.unwrap().is_empty());
    put(&*store, &sealed("token", 1, b"z")).await.unwrap();
}

pub(crate) async fn sealing_keys_are_told_with_an_example(store: Arc<dyn Store>) {
    assert!(store.sealing_keys().await.unwrap().is_empty());
    let second = SealedSecret { key: "key-2".parse().unwrap(), ..sealed("b", 1, b"second") };
    let elsewhere =
        SealedSecret { tenant: "another".parse().unwrap(), ..sealed("z", 1, b"elsewhere") };
    for secret in [&sealed("a", 1, b"first"), &second, &sealed("c", 1, b"third"), &elsewhere] {
        put(&*store, secret).await.unwrap();
    }
    let used = store.sealing_keys().await.unwrap();
    let expected = [
        SealingKeyUse { key: "key-1".parse().unwrap(), secrets: 3, example: elsewhere },
        SealingKeyUse { key: "key-2".parse().unwrap(), secrets: 1, example: second },
    ];
    assert_eq!(used, expected);
}
