//! Guests of the draft of wasi:keyvalue that was released, in WebAssembly text.

use std::sync::Arc;

use bytes::Bytes;
use wasmill_component::Preflight as _;
use wasmill_domain::{Digest, Outcome, TenantName};
use wasmill_store::{Bucket, BucketQuota, Buckets};

use super::fuel::one_call_takes;
use super::guests::{MODULE, types};
use super::keyvalue::{engine_on, store};
use super::{dispatch, event, invoke, manifest, prepare};

/// All that the draft has, so that linking a guest compares all of its types.
const KEYVALUE: &str = r#"
  (import "wasi:keyvalue/store@0.2.0-draft" (instance $store
    (export "bucket" (type $bucket (sub resource)))
    (type $error (variant (case "no-such-store") (case "access-denied") (case "other" string)))
    (export "error" (type $error' (eq $error)))
    (type $response (record (field "keys" (list string)) (field "cursor" (option u64))))
    (export "key-response" (type $response' (eq $response)))
    (export "open" (func (param "identifier" string) (result (result (own $bucket) (error $error')))))
    (export "[method]bucket.get" (func
      (param "self" (borrow $bucket)) (param "key" string) (result (result (option (list u8)) (error $error')))))
    (export "[method]bucket.set" (func
      (param "self" (borrow $bucket)) (param "key" string) (param "value" (list u8)) (result (result (error $error')))))
    (export "[method]bucket.delete" (func
      (param "self" (borrow $bucket)) (param "key" string) (result (result (error $error')))))
    (export "[method]bucket.exists" (func
      (param "self" (borrow $bucket)) (param "key" string) (result (result bool (error $error')))))
    (export "[method]bucket.list-keys" (func
      (param "self" (borrow $bucket)) (param "cursor" (option u64)) (result (result $response' (error $error')))))))
  (alias export $store "bucket" (type $bucket))
  (alias export $store "error" (type $error))
  (import "wasi:keyvalue/atomics@0.2.0-draft" (instance $atomics
    (alias outer 1 $bucket (type $outer-bucket))
    (export "bucket" (type $bucket' (eq $outer-bucket)))
    (alias outer 1 $error (type $outer-error))
    (export "error" (type $error' (eq $outer-error)))
    (export "increment" (func
      (param "bucket" (borrow $bucket')) (param "key" string) (param "delta" u64)
      (result (result u64 (error $error')))))))
  (import "wasi:keyvalue/batch@0.2.0-draft" (instance $batch
    (alias outer 1 $bucket (type $outer-bucket))
    (export "bucket" (type $bucket' (eq $outer-bucket)))
    (alias outer 1 $error (type $outer-error))
    (export "error" (type $error' (eq $outer-error)))
    (export "get-many" (func
      (param "bucket" (borrow $bucket')) (param "keys" (list string))
      (result (result (list (option (tuple string (list u8)))) (error $error')))))
    (export "set-many" (func
      (param "bucket" (borrow $bucket')) (param "key-values" (list (tuple string (list u8))))
      (result (result (error $error')))))
    (export "delete-many" (func
      (param "bucket" (borrow $bucket')) (param "keys" (list string)) (result (result (error $error')))))))
  (alias export $store "open" (func $open))
  (alias export $store "[method]bucket.get" (func $get))
  (alias export $store "[method]bucket.exists" (func $exists))
  (alias export $store "[method]bucket.set" (func $set))
  (alias export $store "[method]bucket.list-keys" (func $list))
  (alias export $atomics "increment" (func $increment))
"#;

/// A component around `handle`, a core function's text. It may call `$open` (a name, its length,
/// where the outcome is to be), `$get` and `$exists` (bucket, key, its length, outcome), `$set` (bucket, key,
/// its length, value, its length, outcome), `$list` (bucket, whether there is a cursor, the cursor,
/// outcome) and `$increment` (bucket, key, its length, what to add, outcome). An outcome is 0, or 1
/// for an error, and 4 or 8 bytes further what it is. The name `visits` is at 1024, the key `n` at
/// 1040.
fn component(handle: &str) -> Vec<u8> {
    let types = types("0.1.0");
    let lowered = ["open", "get", "exists", "set", "list", "increment"].map(|name| {
        format!(
            r#"(core func ${name} (canon lower (func ${name})
              (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))"#
        )
    });
    let lowered = lowered.concat();
    let text = format!(
        r#"(component
  {types}
  {KEYVALUE}
  (core module $memory {MODULE} (export "ok" (func $ok)))
  (core module $main
    (import "memory" "memory" (memory 2))
    (import "memory" "ok" (func $ok (param i32 i32) (result i32)))
    (import "keyvalue" "open" (func $open (param i32 i32 i32)))
    (import "keyvalue" "get" (func $get (param i32 i32 i32 i32)))
    (import "keyvalue" "exists" (func $exists (param i32 i32 i32 i32)))
    (import "keyvalue" "set" (func $set (param i32 i32 i32 i32 i32 i32)))
    (import "keyvalue" "list" (func $list (param i32 i32 i64 i32)))
    (import "keyvalue" "increment" (func $increment (param i32 i32 i32 i64 i32)))
    (data (i32.const 1024) "visits")
    (data (i32.const 1040) "n")
    (func $visits (result i32)
      (call $open (i32.const 1024) (i32.const 6) (i32.const 256))
      (if (i32.load8_u (i32.const 256)) (then unreachable))
      (i32.load (i32.const 260)))
    {handle}
    (export "handle" (func $handle)))
  (core instance $memory (instantiate $memory))
  {lowered}
  (core instance $main (instantiate $main (with "memory" (instance $memory)) (with "keyvalue" (instance
    (export "open" (func $open)) (export "get" (func $get)) (export "exists" (func $exists)) (export "set" (func $set))
    (export "list" (func $list)) (export "increment" (func $increment))))))
  (alias export $types "event" (type $event))
  (alias export $types "output" (type $output))
  (alias export $types "failure" (type $failure))
  (func $handle (param "event" $event) (result (result $output (error $failure)))
    (canon lift (core func $main "handle") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $handler (export "handle" (func $handle)))
  (export "wasmill:function/handler@0.1.0" (instance $handler))
)"#
    );
    wat::parse_str(text).unwrap()
}

const OWN: &str = "[keyvalue]\nvisits = 'function'";

fn visits() -> Bucket {
    Bucket {
        tenant: TenantName::default(),
        function: Some("test".parse().unwrap()),
        name: "visits".parse().unwrap(),
    }
}

#[tokio::test]
async fn numbers_are_unsigned() {
    let (_folder, store) = store().await;
    let engine = engine_on(Arc::clone(&store) as _, BucketQuota::default());
    // Gives the sum's eight bytes, or the error's case.
    let adding = |delta: u64| {
        component(&format!(
            "(func $handle (param i32) (result i32)
                (call $increment (call $visits) (i32.const 1040) (i32.const 1) (i64.const {delta}) (i32.const 512))
                (if (i32.load8_u (i32.const 512)) (then (return (call $ok (i32.const 520) (i32.const 1)))))
                (call $ok (i32.const 520) (i32.const 8)))"
        ))
    };
    let sum = async |delta: u64| {
        let prepared = prepare(&engine, &adding(delta)).await;
        let attempt =
            invoke(&engine, &prepared, &manifest(OWN), dispatch(event("test.event", "{}"))).await;
        assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report.message);
        attempt.report.output.unwrap().data
    };
    assert_eq!(
        (&*sum(3).await, &*sum(4).await),
        (&3_u64.to_le_bytes()[..], &7_u64.to_le_bytes()[..])
    );
    assert_eq!(&*sum(u64::MAX).await, [2], "other");
    store.increment(&visits(), "n", -100, &BucketQuota::default()).await.unwrap();
    assert_eq!(&*sum(1).await, [2], "other");
}

#[tokio::test]
async fn cursors_are_numbers() {
    const KEYS: usize = 1_500;
    let (_folder, store) = store().await;
    let entries: Vec<_> = (0..KEYS).map(|i| (format!("key {i}"), Bytes::new())).collect();
    for chunk in entries.chunks(1_000) {
        store.set_values(&visits(), chunk, &BucketQuota::default()).await.unwrap();
    }
    let engine = engine_on(Arc::clone(&store) as _, BucketQuota::default());
    // Two pages, and how many keys are on each, in four bytes.
    let guest = component(
        "(func $handle (param i32) (result i32)
            (call $list (call $visits) (i32.const 0) (i64.const 0) (i32.const 512))
            (if (i32.load8_u (i32.const 512)) (then unreachable))
            (i32.store (i32.const 2048) (i32.load (i32.const 524)))
            (if (i32.eqz (i32.load8_u (i32.const 528))) (then unreachable))
            (call $list (call $visits) (i32.const 1) (i64.load (i32.const 536)) (i32.const 512))
            (if (i32.load8_u (i32.const 512)) (then unreachable))
            (i32.store (i32.const 2052) (i32.load (i32.const 524)))
            (if (i32.load8_u (i32.const 528)) (then unreachable))
            (call $ok (i32.const 2048) (i32.const 8)))",
    );
    let prepared = prepare(&engine, &guest).await;
    let attempt =
        invoke(&engine, &prepared, &manifest(OWN), dispatch(event("test.event", "{}"))).await;
    let pages =
        attempt.report.output.unwrap_or_else(|| panic!("{:?}", attempt.report.message)).data;
    assert_eq!(&*pages, [1_000_u32.to_le_bytes(), 500_u32.to_le_bytes()].concat());
}

#[tokio::test]
async fn a_value_of_the_longest_kind_gets_through() {
    const LENGTH: usize = 4 << 20;
    let (_folder, store) = store().await;
    let quota = BucketQuota { value_bytes: LENGTH as u64, ..BucketQuota::default() };
    let engine = engine_on(Arc::clone(&store) as _, quota);
    let guest = component(&format!(
        "(func $handle (param i32) (result i32)
            (drop (memory.grow (i32.const 80)))
            (call $set (call $visits) (i32.const 1040) (i32.const 1) (i32.const 65536) (i32.const {LENGTH}) (i32.const 512))
            (if (i32.load8_u (i32.const 512)) (then unreachable))
            (call $ok (i32.const 0) (i32.const 0)))"
    ));
    let prepared = prepare(&engine, &guest).await;
    let attempt =
        invoke(&engine, &prepared, &manifest(OWN), dispatch(event("test.event", "{}"))).await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report.message);
    let kept = store.values(&visits(), &["n".to_owned()]).await.unwrap().remove(0).unwrap();
    assert_eq!(kept.len(), LENGTH);
}

#[tokio::test]
async fn calls_are_counted() {
    let (_folder, store) = store().await;
    let engine = engine_on(store, BucketQuota::default());
    let guest = component(
        "(func $handle (param i32) (result i32)
            (local $bucket i32)
            (local.set $bucket (call $visits))
            (loop $again
                (call $exists (local.get $bucket) (i32.const 1040) (i32.const 1) (i32.const 512))
                (br $again))
            unreachable)",
    );
    let prepared = prepare(&engine, &guest).await;
    let manifest = manifest(&format!("{OWN}\n[limits]\nhost_calls = 100"));
    let attempt = invoke(&engine, &prepared, &manifest, dispatch(event("test.event", "{}"))).await;
    assert_eq!(attempt.report.outcome, Outcome::Trap);
    assert!(
        attempt.report.message.as_ref().unwrap().contains("limits.host_calls"),
        "{:?}",
        attempt.report.message
    );
}

/// What a guest does at its start is done in every attempt, and before a deploy, when it must not
/// reach anything.
#[tokio::test]
async fn the_trial_before_a_deploy_reaches_nothing() {
    let (_folder, store) = store().await;
    let engine = engine_on(Arc::clone(&store) as _, BucketQuota::default());
    let guest = component(
        "(func $begin
            (call $open (i32.const 1024) (i32.const 6) (i32.const 256))
            (if (i32.load8_u (i32.const 256)) (then return))
            (call $increment (i32.load (i32.const 260)) (i32.const 1040) (i32.const 1) (i64.const 1) (i32.const 512)))
        (start $begin)
        (func $handle (param i32) (result i32) (call $ok (i32.const 512) (i32.const 1)))",
    );
    engine
        .check(
            &TenantName::default(),
            Digest::of(&guest),
            &Bytes::from(guest.clone()),
            &manifest(OWN),
        )
        .await
        .unwrap();
    assert!(store.buckets(&TenantName::default()).await.unwrap().is_empty());
    let prepared = prepare(&engine, &guest).await;
    let attempt =
        invoke(&engine, &prepared, &manifest(OWN), dispatch(event("test.event", "{}"))).await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report.message);
    assert_eq!(store.values(&visits(), &["n".to_owned()]).await.unwrap().remove(0).unwrap(), "1");
}

/// Reads a value of a MiB again and again, each time into memory of its own, of which it makes room
/// for as much before.
const HOARDS: &str = "(func $handle (param i32) (result i32)
    (local $bucket i32)
    (local.set $bucket (call $visits))
    (loop $again
        (drop (memory.grow (i32.const 17)))
        (call $get (local.get $bucket) (i32.const 1040) (i32.const 1) (i32.const 512))
        (if (i32.load8_u (i32.const 512)) (then unreachable))
        (br $again))
    unreachable)";

#[tokio::test]
async fn what_a_guest_reads_counts_as_its_memory() {
    let (_folder, store) = store().await;
    let value = Bytes::from(vec![b'v'; 1 << 20]);
    store.set_values(&visits(), &[("n".to_owned(), value)], &BucketQuota::default()).await.unwrap();
    let engine = engine_on(store, BucketQuota::default());
    let all = engine.free_memory();
    let hoards = prepare(&engine, &component(HOARDS)).await;
    let manifest = manifest(&format!("{OWN}\n[limits]\nmemory = '16MiB'"));
    let attempt = invoke(&engine, &hoards, &manifest, dispatch(event("test.event", "{}"))).await;
    let message = attempt.report.message.clone().unwrap_or_default();
    assert_eq!(attempt.report.outcome, Outcome::OutOfMemory, "{message}");
    assert!(message.contains("limits.memory"), "{message}");
    let peak = attempt.report.peak_memory;
    assert!((14 << 20..18 << 20).contains(&peak), "{peak}");
    // What the host holds between the store and the guest was promised with the instance, and is
    // given back with it.
    assert_eq!(engine.free_memory(), all);
    let instance = engine.instance(&TenantName::default(), &hoards, &manifest, None).await;
    let taken = all - engine.free_memory();
    assert!(taken >= 16 + 4, "{taken} MiB, and a call may bring 4 MiB of values");
    drop(instance);
}

#[tokio::test]
async fn a_call_takes_the_fuel_that_is_said() {
    let (_folder, store) = store().await;
    let engine = engine_on(store, BucketQuota::default());
    let exists =
        "(call $exists (local.get $bucket) (i32.const 1040) (i32.const 1) (i32.const 512))";
    let add = "(call $increment (local.get $bucket) (i32.const 1040) (i32.const 1) (i64.const 1) (i32.const 512))";
    for call in [exists, add] {
        let mut taken = Vec::new();
        for calls in 1..=3 {
            let guest = component(&format!(
                "(func $handle (param i32) (result i32)
                    (local $bucket i32)
                    (local.set $bucket (call $visits))
                    {}
                    (call $ok (i32.const 0) (i32.const 0)))",
                call.repeat(calls)
            ));
            let prepared = prepare(&engine, &guest).await;
            let event = event("test.event", "{}");
            let ended = invoke(&engine, &prepared, &manifest(OWN), dispatch(event)).await.report;
            assert_eq!(ended.outcome, Outcome::Success, "{:?}", ended.message);
            taken.push(ended.fuel_used);
        }
        one_call_takes(call, &taken);
    }
}
