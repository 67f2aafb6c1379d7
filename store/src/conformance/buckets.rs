//! What functions keep.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use wasmill_domain::TenantName;

use super::sample::{deploy, name, tenant};
use crate::buckets::{
    Bucket, BucketQuota, BucketSummary, MAX_BATCH_KEYS, MAX_KEY_BYTES, Swap, ValueVersion,
};
use crate::conformance::Store;
use crate::port::{Change, StoreError};

const QUOTA: BucketQuota = BucketQuota { value_bytes: 4 << 20, keys: 10_000, bytes: 64 << 20 };

fn shared(bucket: &str) -> Bucket {
    Bucket { tenant: tenant(), function: None, name: bucket.parse().unwrap() }
}

fn own(bucket: &str, function: &str) -> Bucket {
    Bucket { function: Some(name(function)), ..shared(bucket) }
}

async fn set(store: &dyn Store, bucket: &Bucket, key: &str, value: &[u8]) {
    let entry = (key.to_owned(), Bytes::copy_from_slice(value));
    store.set_values(bucket, &[entry], &QUOTA).await.unwrap();
}

async fn get(store: &dyn Store, bucket: &Bucket, key: &str) -> Option<Bytes> {
    store.values(bucket, &[key.to_owned()]).await.unwrap().remove(0)
}

async fn version(store: &dyn Store, bucket: &Bucket, key: &str) -> Option<ValueVersion> {
    store.value_version(bucket, key).await.unwrap()
}

/// The bucket's counts, which must be what is in it.
async fn counts(store: &dyn Store, bucket: &Bucket) -> (u64, u64) {
    let all = store.buckets(&bucket.tenant).await.unwrap();
    let counted =
        all.iter().find(|summary| summary.bucket == *bucket).map_or((0, 0), |s| (s.keys, s.bytes));
    let keys = store.keys(bucket, None, 100_000).await.unwrap().keys;
    let mut bytes = 0;
    for chunk in keys.chunks(MAX_BATCH_KEYS) {
        let values = store.values(bucket, chunk).await.unwrap();
        bytes += chunk.iter().map(String::len).sum::<usize>();
        bytes += values.iter().map(|value| value.as_ref().unwrap().len()).sum::<usize>();
    }
    assert_eq!(counted, (keys.len() as u64, bytes as u64));
    counted
}

pub(crate) async fn values_are_kept(store: Arc<dyn Store>) {
    let (store, bucket) = (&*store, shared("b"));
    assert_eq!((get(store, &bucket, "k").await, version(store, &bucket, "k").await), (None, None));
    assert_eq!(store.delete_values(&bucket, &["k".into()]).await.unwrap(), 0);
    assert_eq!(store.keys(&bucket, None, 10).await.unwrap().keys, Vec::<String>::new());
    assert!(store.buckets(&tenant()).await.unwrap().is_empty(), "reading makes no bucket");
    let everything: Vec<u8> = (0..=255).collect();
    for (key, value) in
        [("k", &b""[..]), ("k", &everything), ("ü\0'\"/", b"odd"), ("k", b"again"), ("K", b"other")]
    {
        set(store, &bucket, key, value).await;
        assert_eq!(get(store, &bucket, key).await.as_deref(), Some(value), "{key}");
    }
    assert_eq!(counts(store, &bucket).await, (3, 1 + 5 + 6 + 3 + 1 + 5));
    assert_eq!(store.delete_values(&bucket, &["K".into(), "none".into()]).await.unwrap(), 1);
    assert_eq!((get(store, &bucket, "K").await, version(store, &bucket, "K").await), (None, None));
    assert_eq!(get(store, &bucket, "k").await.as_deref(), Some(&b"again"[..]));
    counts(store, &bucket).await;
    let large = vec![0xa5; 1 << 20];
    set(store, &bucket, "large", &large).await;
    assert_eq!(get(store, &bucket, "large").await.as_deref(), Some(&*large));
}

pub(crate) async fn batches_are_whole(store: Arc<dyn Store>) {
    let (store, bucket) = (&*store, shared("b"));
    let entry =
        |key: &str, value: &'static str| (key.to_owned(), Bytes::from_static(value.as_bytes()));
    store.set_values(&bucket, &[], &QUOTA).await.unwrap();
    store
        .set_values(&bucket, &[entry("a", "1"), entry("b", "2"), entry("a", "3")], &QUOTA)
        .await
        .unwrap();
    let keys = ["b", "none", "a", "b"].map(str::to_owned);
    let values = store.values(&bucket, &keys).await.unwrap();
    let two = Some(Bytes::from_static(b"2"));
    assert_eq!(values, [two.clone(), None, Some(Bytes::from_static(b"3")), two]);
    let versions = [version(store, &bucket, "a").await, version(store, &bucket, "b").await];
    assert!(versions[0].is_some() && versions[0] != versions[1]);
    // More rows than any statement takes, and not one more than a call takes.
    let many: Vec<_> = (0..MAX_BATCH_KEYS).map(|i| entry(&format!("many-{i}"), "x")).collect();
    store.set_values(&bucket, &many, &QUOTA).await.unwrap();
    assert_eq!(counts(store, &bucket).await.0, MAX_BATCH_KEYS as u64 + 2);
    let keys: Vec<String> = many.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(store.delete_values(&bucket, &keys).await.unwrap(), MAX_BATCH_KEYS as u64);
    assert_eq!(counts(store, &bucket).await, (2, 4));
    let too_many = [keys, vec!["one more".into()]].concat();
    assert!(matches!(store.values(&bucket, &too_many).await, Err(StoreError::Rejected(_))));
    assert!(matches!(store.delete_values(&bucket, &too_many).await, Err(StoreError::Rejected(_))));
    // A refused entry takes the others with it.
    let refused = [entry("c", "1"), ("d".into(), Bytes::from(vec![0; 10]))];
    let quota = BucketQuota { value_bytes: 9, ..QUOTA };
    assert!(matches!(
        store.set_values(&bucket, &refused, &quota).await,
        Err(StoreError::Rejected(_))
    ));
    assert_eq!(get(store, &bucket, "c").await, None);
}

pub(crate) async fn answers_are_bounded(store: Arc<dyn Store>) {
    let (store, bucket) = (&*store, shared("b"));
    let large = vec![1; 3 << 20];
    set(store, &bucket, "one", &large).await;
    set(store, &bucket, "two", &large).await;
    let error = store.values(&bucket, &["one".into(), "two".into()]).await.unwrap_err().to_string();
    assert!(error.contains("4MiB") && error.contains("fewer"), "{error}");
    assert_eq!(get(store, &bucket, "two").await.unwrap().len(), large.len());
}

pub(crate) async fn keys_have_bounds(store: Arc<dyn Store>) {
    let (store, bucket) = (&*store, shared("b"));
    let longest = "ü".repeat(MAX_KEY_BYTES / 2);
    set(store, &bucket, &longest, b"v").await;
    assert_eq!(get(store, &bucket, &longest).await.as_deref(), Some(&b"v"[..]));
    for key in [String::new(), format!("{longest}x")] {
        let value = Bytes::from_static(b"v");
        let refusals = [
            store.values(&bucket, std::slice::from_ref(&key)).await.map(drop),
            store.value_version(&bucket, &key).await.map(drop),
            store.set_values(&bucket, &[(key.clone(), value.clone())], &QUOTA).await,
            store.swap_value(&bucket, &key, None, &value, &QUOTA).await.map(drop),
            store.increment(&bucket, &key, 1, &QUOTA).await.map(drop),
            store.delete_values(&bucket, std::slice::from_ref(&key)).await.map(drop),
        ];
        for refusal in refusals {
            assert!(
                matches!(&refusal, Err(StoreError::Rejected(why)) if why.contains("1 to 512")),
                "{refusal:?}"
            );
        }
    }
    assert_eq!(counts(store, &bucket).await.0, 1);
}

pub(crate) async fn keys_are_listed_once(store: Arc<dyn Store>) {
    let (store, bucket) = (&*store, shared("b"));
    for i in 0..10 {
        set(store, &bucket, &format!("k{i}"), b"1").await;
    }
    let first = store.keys(&bucket, None, 4).await.unwrap();
    assert_eq!(first.keys, ["k0", "k1", "k2", "k3"]);
    // What was listed goes and what was not changes: nothing that stays is left out or comes twice.
    store.delete_values(&bucket, &first.keys).await.unwrap();
    set(store, &bucket, "k5", b"longer").await;
    let second = store.keys(&bucket, first.next, 4).await.unwrap();
    assert_eq!(second.keys, ["k4", "k5", "k6", "k7"]);
    let last = store.keys(&bucket, second.next, 2).await.unwrap();
    assert_eq!((last.keys, last.next), (vec!["k8".to_owned(), "k9".to_owned()], None));
    assert_eq!(store.keys(&bucket, Some(u64::MAX), 2).await.unwrap().keys, Vec::<String>::new());
    // One that was deleted and set again is a new one, at the end.
    set(store, &bucket, "k0", b"1").await;
    assert_eq!(store.keys(&bucket, None, 10).await.unwrap().keys.last().unwrap(), "k0");
}

pub(crate) async fn a_swap_needs_the_value_that_was_seen(store: Arc<dyn Store>) {
    let (store, bucket) = (&*store, shared("b"));
    let swap = async |expected, value: &'static str| {
        store
            .swap_value(&bucket, "k", expected, &Bytes::from_static(value.as_bytes()), &QUOTA)
            .await
            .unwrap()
    };
    assert_eq!(swap(None, "1").await, Swap::Done);
    let first = version(store, &bucket, "k").await;
    assert!(first.is_some());
    assert_eq!(swap(None, "2").await, Swap::Changed(first));
    assert_eq!(swap(first, "2").await, Swap::Done);
    let second = version(store, &bucket, "k").await;
    assert_ne!(first, second);
    assert_eq!(swap(first, "3").await, Swap::Changed(second));
    assert_eq!(get(store, &bucket, "k").await.as_deref(), Some(&b"2"[..]));
    // The same value set again, or deleted and set again, is another one.
    set(store, &bucket, "k", b"2").await;
    let third = version(store, &bucket, "k").await;
    assert_eq!(swap(second, "4").await, Swap::Changed(third));
    store.delete_values(&bucket, &["k".into()]).await.unwrap();
    assert_eq!(swap(third, "4").await, Swap::Changed(None));
    set(store, &bucket, "k", b"2").await;
    assert!(matches!(swap(third, "4").await, Swap::Changed(Some(_))));
    store.increment(&bucket, "k", 0, &QUOTA).await.unwrap();
    assert_eq!(counts(store, &bucket).await, (1, 2));
}

pub(crate) async fn numbers_are_counted(store: Arc<dyn Store>) {
    let (store, bucket) = (&*store, shared("b"));
    for (delta, sum) in [(7, 7), (-10, -3), (0, -3), (1_000_003, 1_000_000)] {
        assert_eq!(store.increment(&bucket, "n", delta, &QUOTA).await.unwrap(), sum);
        assert_eq!(get(store, &bucket, "n").await.unwrap(), sum.to_string());
        counts(store, &bucket).await;
    }
    set(store, &bucket, "n", b"41").await;
    assert_eq!(store.increment(&bucket, "n", 1, &QUOTA).await.unwrap(), 42);
    set(store, &bucket, "n", b"many").await;
    assert!(matches!(store.increment(&bucket, "n", 1, &QUOTA).await, Err(StoreError::Conflict(_))));
    set(store, &bucket, "n", i64::MAX.to_string().as_bytes()).await;
    assert!(matches!(store.increment(&bucket, "n", 1, &QUOTA).await, Err(StoreError::Conflict(_))));
    assert_eq!(get(store, &bucket, "n").await.unwrap(), i64::MAX.to_string());
}

pub(crate) async fn writers_to_a_bucket_take_turns(store: Arc<dyn Store>) {
    let bucket = shared("b");
    let writers: Vec<_> = (0..8)
        .map(|i| {
            let (store, bucket) = (Arc::clone(&store), bucket.clone());
            tokio::spawn(async move {
                let mut swapped = 0;
                for j in 0..5 {
                    store.increment(&bucket, "n", 1, &QUOTA).await.unwrap();
                    set(&*store, &bucket, &format!("own-{i}-{j}"), b"x").await;
                    let seen = version(&*store, &bucket, "cas").await;
                    let swap = store
                        .swap_value(&bucket, "cas", seen, &Bytes::from(vec![i; 3]), &QUOTA)
                        .await
                        .unwrap();
                    swapped += i32::from(swap == Swap::Done);
                }
                swapped
            })
        })
        .collect();
    let mut swapped = 0;
    for writer in writers {
        swapped += writer.await.unwrap();
    }
    assert!(swapped >= 1);
    assert_eq!(get(&*store, &bucket, "n").await.unwrap(), "40");
    assert_eq!(counts(&*store, &bucket).await.0, 42);
}

pub(crate) async fn of_swaps_at_once_one_is_done(store: Arc<dyn Store>) {
    let bucket = shared("b");
    set(&*store, &bucket, "k", b"0").await;
    for _ in 0..5 {
        let seen = version(&*store, &bucket, "k").await;
        let swaps: Vec<_> = (0..6)
            .map(|i| {
                let (store, bucket) = (Arc::clone(&store), bucket.clone());
                tokio::spawn(async move {
                    store
                        .swap_value(&bucket, "k", seen, &Bytes::from(vec![i]), &QUOTA)
                        .await
                        .unwrap()
                })
            })
            .collect();
        let mut done = 0;
        for swap in swaps {
            done += i32::from(swap.await.unwrap() == Swap::Done);
        }
        assert_eq!(done, 1);
    }
}

pub(crate) async fn quotas_hold(store: Arc<dyn Store>) {
    let (store, bucket) = (&*store, shared("b"));
    let quota = BucketQuota { value_bytes: 8, keys: 3, bytes: 20 };
    let set = async |key: &str, length: usize| {
        store
            .set_values(&bucket, &[(key.to_owned(), Bytes::from(vec![b'x'; length]))], &quota)
            .await
    };
    let refused = |result: Result<(), StoreError>, setting: &str| {
        assert!(
            matches!(&result, Err(error) if error.to_string().contains(setting)),
            "{setting}: {result:?}"
        );
    };
    refused(set("a", 9).await, "keyvalue.max_value_bytes");
    set("a", 8).await.unwrap();
    set("b", 8).await.unwrap();
    refused(set("c", 2).await, "keyvalue.max_bucket_bytes");
    set("c", 1).await.unwrap();
    refused(store.increment(&bucket, "d", 1, &quota).await.map(drop), "keyvalue.max_keys");
    refused(
        store.swap_value(&bucket, "d", None, &Bytes::new(), &quota).await.map(drop),
        "keyvalue.max_keys",
    );
    // What makes room is welcome.
    set("a", 0).await.unwrap();
    store.delete_values(&bucket, &["c".into()]).await.unwrap();
    assert_eq!(store.increment(&bucket, "d", 1, &quota).await.unwrap(), 1);
    assert_eq!(counts(store, &bucket).await, (3, 1 + 9 + 2));
}

pub(crate) async fn buckets_are_apart(store: Arc<dyn Store>) {
    let store = &*store;
    deploy(store, json!({"name": "total"}), b"one").await;
    deploy(store, json!({"name": "audit"}), b"one").await;
    let other = Bucket { tenant: "other".parse::<TenantName>().unwrap(), ..shared("b") };
    let all = [shared("b"), own("b", "audit"), own("b", "total"), shared("c"), other.clone()];
    for (i, bucket) in all.iter().enumerate() {
        set(store, bucket, "k", i.to_string().as_bytes()).await;
    }
    for (i, bucket) in all.iter().enumerate() {
        assert_eq!(get(store, bucket, "k").await.unwrap(), i.to_string(), "{bucket:?}");
    }
    let summary = |bucket: &Bucket| BucketSummary { bucket: bucket.clone(), keys: 1, bytes: 2 };
    assert_eq!(
        store.buckets(&tenant()).await.unwrap(),
        all[..4].iter().map(summary).collect::<Vec<_>>()
    );
    assert_eq!(store.buckets(&other.tenant).await.unwrap(), [summary(&other)]);
}

pub(crate) async fn own_buckets_go_with_their_function(store: Arc<dyn Store>) {
    let store = &*store;
    let (mine, ours) = (own("b", "total"), shared("b"));
    let entry = [("k".to_owned(), Bytes::from_static(b"v"))];
    let nobody = store.set_values(&mine, &entry, &QUOTA).await;
    assert!(matches!(&nobody, Err(StoreError::NotFound(_))), "{nobody:?}");
    deploy(store, json!({"name": "total"}), b"one").await;
    set(store, &mine, "k", b"v").await;
    set(store, &ours, "k", b"v").await;
    let first = version(store, &mine, "k").await;
    let (tenant, function) = (tenant(), name("total"));
    let delete = Change::DeleteFunction { tenant: tenant.clone(), function: function.clone() };
    let forget = Change::ForgetFunction { tenant, function };
    // Deployed again before it is forgotten, it has what it had.
    store.define(&delete).await.unwrap();
    set(store, &mine, "late", b"v").await;
    deploy(store, json!({"name": "total"}), b"one").await;
    store.define(&forget).await.unwrap();
    assert_eq!(counts(store, &mine).await.0, 2);
    store.define(&delete).await.unwrap();
    store.define(&forget).await.unwrap();
    assert_eq!(get(store, &mine, "k").await, None);
    let nobody = store.increment(&mine, "n", 1, &QUOTA).await;
    assert!(matches!(&nobody, Err(StoreError::NotFound(_))), "{nobody:?}");
    assert_eq!(store.buckets(&ours.tenant).await.unwrap().len(), 1);
    assert_eq!(counts(store, &ours).await.0, 1);
    // A later function of that name begins with nothing, and with versions that nobody has seen.
    deploy(store, json!({"name": "total"}), b"one").await;
    assert_eq!(get(store, &mine, "k").await, None);
    set(store, &mine, "k", b"v").await;
    assert!(version(store, &mine, "k").await > first);
}
