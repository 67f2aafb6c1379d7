//! Whoever knows a revision reads what changed since, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;
use wasmill_domain::{
    ApiKey, DefinitionId, DefinitionKind, Definitions, Digest, KeyDefinition, KeyRole, Manifest,
    Registry, Revision, SealedSecret, TenantName,
};

use super::Store;
use super::sample::{name, now};
use crate::port::{Change, Changed};
use crate::watch::RegistryWatch;

/// The test asks when it wants to know.
const NEVER: Duration = Duration::from_secs(3600);

fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

async fn deploy(store: &dyn Store, of: &str, manifest: serde_json::Value) -> Changed {
    let (tenant, digest) = (tenant(of), Digest::of(b"wasm"));
    store.put_artifact(&tenant, digest, Bytes::from_static(b"wasm")).await.unwrap();
    let (manifest, hostnames) = (Manifest::from_json(manifest).unwrap(), Arc::default());
    store.define(&Change::Deploy { tenant, digest, manifest, hostnames, at: now() }).await.unwrap()
}

async fn put_schema(store: &dyn Store, of: &str, event_type: &str) -> Changed {
    let (event_type, schema) = (event_type.parse().unwrap(), json!({"type": "object"}));
    store
        .define(&Change::PutSchema { tenant: tenant(of), event_type, schema, at: now() })
        .await
        .unwrap()
}

fn key(of: &str, id: u128) -> KeyDefinition {
    KeyDefinition {
        id: Uuid::from_u128(id),
        tenant: tenant(of),
        role: KeyRole::Operator,
        label: format!("key {id}"),
        hash: ApiKey::hash_of(&format!("{of} {id}")),
        created_at: now(),
    }
}

fn secret(of: &str, version: u32) -> SealedSecret {
    let (tenant, name, key) = (tenant(of), "token".parse().unwrap(), "key-1".parse().unwrap());
    SealedSecret { tenant, name, version, key, sealed: "sealed".into(), at: now() }
}

fn id(kind: DefinitionKind, of: &str, name: &str) -> DefinitionId {
    DefinitionId { kind, tenant: of.into(), name: name.into() }
}

/// What a change makes whoever knows the revision before it read.
async fn delta_of(store: &dyn Store, changed: Changed) -> Definitions {
    assert!(changed.changed);
    let known = Revision(changed.revision.0 - 1);
    let delta = store.definitions(known).await.unwrap().unwrap();
    assert_eq!(delta.revision, changed.revision);
    delta
}

async fn define(store: &dyn Store, change: Change) -> Definitions {
    let changed = store.define(&change).await.unwrap();
    delta_of(store, changed).await
}

/// How many definitions were read.
fn count(delta: &Definitions) -> usize {
    let Definitions {
        revision: _, functions, schemas, keys, hostnames, deleted, unreadable, ..
    } = delta;
    functions.len()
        + schemas.len()
        + keys.len()
        + hostnames.len()
        + deleted.len()
        + unreadable.len()
}

/// Something of every kind, of two tenants.
async fn fill(store: &dyn Store) {
    for (i, of) in ["alpha", "beta"].into_iter().enumerate() {
        store.define(&Change::PutKey(key(of, i as u128 + 1))).await.unwrap();
        for function in ["one", "two"] {
            let triggers = json!([{"event": "a", "schema": {"type": "object"}}, {"http": format!("/{function}")}]);
            deploy(store, of, json!({"name": function, "trigger": triggers})).await;
        }
        put_schema(store, of, "a").await;
        store.define(&Change::PutSecret(secret(of, 1))).await.unwrap();
        let pattern = format!("{of}.example.com").parse().unwrap();
        let grant = Change::GrantHostname { pattern, tenant: tenant(of), at: now() };
        store.define(&grant).await.unwrap();
        deploy(store, of, json!({"name": "gone"})).await;
        let delete = Change::DeleteFunction { tenant: tenant(of), function: name("gone") };
        store.define(&delete).await.unwrap();
    }
}

pub(crate) async fn a_change_is_read_alone(store: Arc<dyn Store>) {
    let store = &*store;
    fill(store).await;
    let changed = deploy(store, "beta", json!({"name": "one", "trigger": [{"event": "b"}]})).await;
    let delta = delta_of(store, changed).await;
    assert_eq!(delta.changes, Some(vec![id(DefinitionKind::Function, "beta", "one")]));
    assert_eq!((count(&delta), delta.functions.len()), (1, 1));
    let function = &delta.functions[0];
    assert_eq!((function.tenant.as_str(), function.version), ("beta", 2));
    assert_eq!(function.manifest.triggers.len(), 1, "those of its current version");

    let delta = delta_of(store, put_schema(store, "beta", "b").await).await;
    assert_eq!(delta.changes, Some(vec![id(DefinitionKind::Schema, "beta", "b")]));
    assert_eq!((count(&delta), delta.schemas.len()), (1, 1));

    let delta = define(store, Change::PutKey(key("beta", 7))).await;
    assert_eq!(delta.changes, Some(vec![DefinitionId::of_key(Uuid::from_u128(7))]));
    assert_eq!((count(&delta), delta.keys[0].label.as_str()), (1, "key 7"));

    let pattern = "*.beta.example.com".parse().unwrap();
    let grant = Change::GrantHostname { pattern, tenant: tenant("beta"), at: now() };
    let delta = define(store, grant).await;
    assert_eq!(delta.changes, Some(vec![id(DefinitionKind::Hostname, "", "*.beta.example.com")]));
    assert_eq!((count(&delta), delta.hostnames[0].tenant.as_str()), (1, "beta"));

    // That a secret changed is told, and nothing of it.
    let delta = define(store, Change::PutSecret(secret("beta", 2))).await;
    assert_eq!(delta.changes, Some(vec![id(DefinitionKind::Secret, "beta", "token")]));
    assert_eq!(count(&delta), 0);
}

pub(crate) async fn what_is_gone_is_told(store: Arc<dyn Store>) {
    let store = &*store;
    fill(store).await;
    let of = || tenant("alpha");
    let delete = Change::DeleteFunction { tenant: of(), function: name("one") };
    let delta = define(store, delete).await;
    let changes = [DefinitionKind::Function, DefinitionKind::DeletedFunction];
    let reported: BTreeSet<_> = delta.changes.iter().flatten().cloned().collect();
    assert_eq!(reported, changes.map(|kind| id(kind, "alpha", "one")).into());
    assert_eq!((count(&delta), delta.deleted.len()), (1, 1));

    let forget = Change::ForgetFunction { tenant: of(), function: name("one") };
    let delta = define(store, forget).await;
    assert_eq!(delta.changes, Some(vec![id(DefinitionKind::DeletedFunction, "alpha", "one")]));
    assert_eq!(count(&delta), 0);

    let event_type = "a".parse().unwrap();
    let delta = define(store, Change::DeleteSchema { tenant: of(), event_type }).await;
    assert_eq!(delta.changes, Some(vec![id(DefinitionKind::Schema, "alpha", "a")]));
    assert_eq!(count(&delta), 0);

    let delta = define(store, Change::DeleteKey { id: Uuid::from_u128(1) }).await;
    assert_eq!(delta.changes, Some(vec![DefinitionId::of_key(Uuid::from_u128(1))]));
    assert_eq!(count(&delta), 0);

    let pattern = "alpha.example.com".parse().unwrap();
    let delta = define(store, Change::RevokeHostname { pattern }).await;
    assert_eq!(delta.changes, Some(vec![id(DefinitionKind::Hostname, "", "alpha.example.com")]));
    assert_eq!(count(&delta), 0);

    let token = "token".parse().unwrap();
    let delta = define(store, Change::DeleteSecret { tenant: of(), name: token }).await;
    assert_eq!(delta.changes, Some(vec![id(DefinitionKind::Secret, "alpha", "token")]));
}

pub(crate) async fn what_came_back_is_told(store: Arc<dyn Store>) {
    let store = &*store;
    fill(store).await;
    deploy(store, "alpha", json!({"name": "one", "env": {"A": "2"}})).await;
    let (tenant, function, hostnames) = (tenant("alpha"), name("one"), Arc::default());
    let delta = define(store, Change::Rollback { tenant, function, to: None, hostnames }).await;
    assert_eq!(delta.changes, Some(vec![id(DefinitionKind::Function, "alpha", "one")]));
    assert_eq!((count(&delta), delta.functions[0].version), (1, 1));
    assert_eq!(delta.functions[0].manifest.triggers.len(), 2);

    // A deleted one that is deployed again.
    let delta = delta_of(store, deploy(store, "alpha", json!({"name": "gone"})).await).await;
    let reported: BTreeSet<_> = delta.changes.iter().flatten().map(|change| change.kind).collect();
    assert_eq!(reported, [DefinitionKind::Function, DefinitionKind::DeletedFunction].into());
    assert_eq!((count(&delta), delta.functions.len()), (1, 1));
}

pub(crate) async fn several_changes_are_read_at_once(store: Arc<dyn Store>) {
    let store = &*store;
    fill(store).await;
    let known = put_schema(store, "alpha", "first").await.revision;
    for version in ["1", "2", "3"] {
        deploy(store, "alpha", json!({"name": "one", "env": {"A": version}})).await;
    }
    let last = put_schema(store, "beta", "last").await.revision;
    let delta = store.definitions(known).await.unwrap().unwrap();
    assert_eq!(delta.revision, last);
    let changes =
        [id(DefinitionKind::Function, "alpha", "one"), id(DefinitionKind::Schema, "beta", "last")];
    let reported: BTreeSet<_> = delta.changes.iter().flatten().cloned().collect();
    assert_eq!((reported, count(&delta)), (changes.into(), 2), "each once, as it is now");
    assert_eq!(delta.functions[0].version, 4);
    assert!(store.definitions(last).await.unwrap().is_none());
    // Whoever knows nothing, or what never was, reads everything.
    for known in [Revision(-1), Revision(last.0 + 1)] {
        let all = store.definitions(known).await.unwrap().unwrap();
        assert_eq!((all.changes.as_ref(), all.functions.len()), (None, 4));
    }
}

/// All that is asked of a registry, of the tenants and names of these tests.
fn answers(registry: &Registry) -> Vec<String> {
    let mut all = vec![format!("{:?} {:?}", registry.revision(), registry.unreadable())];
    for of in ["alpha", "beta"].map(tenant) {
        all.push(format!("{:?}", registry.functions_of(&of)));
        all.push(format!("{:?} {:?}", registry.schemas_of(&of), registry.event_types_of(&of)));
        all.push(format!("{:?}", registry.deleted_of(&of).collect::<Vec<_>>()));
        let route = registry.route(&of, &"a".parse().unwrap());
        all.push(format!("{:?}", route.functions));
    }
    let mut keys: Vec<_> = registry.keys().collect();
    keys.sort_unstable_by_key(|key| key.id);
    let mut hostnames: Vec<_> = registry.hostnames().iter().collect();
    hostnames.sort_unstable_by_key(|granted| &granted.pattern);
    all.push(format!("{keys:?} {hostnames:?}"));
    all
}

async fn watch(store: &Arc<dyn Store>) -> RegistryWatch {
    RegistryWatch::start(Arc::clone(store) as _, NEVER).await.unwrap()
}

/// A change that depends on a number; refused ones are none.
async fn change_by(store: &dyn Store, number: usize) {
    let of = ["alpha", "beta"][number % 2];
    let function = ["one", "two", "three"][number / 2 % 3];
    let change = match number / 6 % 9 {
        0 | 1 => {
            let env = json!({"N": number.to_string()});
            let pattern = ["a", "*", "b"][number % 3];
            let trigger = json!([{"event": pattern}]);
            deploy(store, of, json!({"name": function, "env": env, "trigger": trigger})).await;
            return;
        }
        2 => Change::DeleteFunction { tenant: tenant(of), function: name(function) },
        3 => Change::Rollback {
            tenant: tenant(of),
            function: name(function),
            to: None,
            hostnames: Arc::default(),
        },
        4 => {
            put_schema(store, of, ["a", "b"][number % 2]).await;
            return;
        }
        5 => Change::DeleteSchema { tenant: tenant(of), event_type: "a".parse().unwrap() },
        6 => Change::PutKey(key(of, number as u128 % 5 + 1)),
        7 => Change::DeleteKey { id: Uuid::from_u128(number as u128 % 5 + 1) },
        _ if number.is_multiple_of(2) => Change::GrantHostname {
            pattern: "shop.example.com".parse().unwrap(),
            tenant: tenant(of),
            at: now(),
        },
        _ => Change::RevokeHostname { pattern: "shop.example.com".parse().unwrap() },
    };
    let _ = store.define(&change).await;
}

/// Whoever follows step by step knows what whoever begins now reads; so does one that hears of
/// every seventh change.
pub(crate) async fn step_by_step_is_as_at_once(store: Arc<dyn Store>) {
    let [often, rarely] = [watch(&store).await, watch(&store).await];
    let mut number = 7_usize;
    for step in 0..150 {
        // Numbers without a pattern, the same in every run.
        number =
            number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        change_by(&*store, number >> 33).await;
        let all = store.definitions(Revision(-1)).await.unwrap().unwrap();
        let now = all.revision;
        let whole = Registry::build(all, &Registry::default());
        often.reach(now).await.unwrap();
        assert_eq!(answers(&often.current()), answers(&whole), "step {step}");
        if step % 7 == 0 {
            rarely.reach(now).await.unwrap();
            assert_eq!(answers(&rarely.current()), answers(&whole), "step {step}");
        }
    }
}

/// As the release before writes, which knows nothing of notes: the same in either database. The
/// function `one` of `alpha` gets another version, its function `two` is deleted, and so on, in one
/// transaction.
const RELEASE_BEFORE: [&str; 12] = [
    "BEGIN",
    "INSERT INTO functions (tenant, name, current_version) VALUES ('alpha', 'one', 2) \
     ON CONFLICT (tenant, name) DO UPDATE SET current_version = excluded.current_version",
    "INSERT INTO versions (tenant, function, number, digest, manifest, deployed_at) \
     SELECT tenant, function, 2, digest, manifest, 7 FROM versions WHERE tenant = 'alpha' AND function = 'one'",
    "INSERT INTO triggers (tenant, function, version, place, event, http, schema) VALUES ('alpha', 'one', 2, 0, 'c', NULL, NULL)",
    "DELETE FROM functions WHERE tenant = 'alpha' AND name = 'two'",
    "INSERT INTO deleted_functions (tenant, name) VALUES ('alpha', 'two')",
    "INSERT INTO schemas (tenant, event_type, version, schema, updated_at) VALUES ('alpha', 'a', 1, 'true', 0) \
     ON CONFLICT (tenant, event_type) DO UPDATE SET version = excluded.version + 1, schema = excluded.schema",
    "UPDATE secrets SET version = 2 WHERE tenant = 'alpha'",
    "DELETE FROM api_keys WHERE tenant = 'alpha'",
    "DELETE FROM hostnames WHERE tenant = 'alpha'",
    "UPDATE revision SET revision = revision + 1",
    "COMMIT",
];

/// `run` runs statements one after the other, as a process of the release before would.
pub(crate) async fn the_release_before_is_heard_of(
    store: Arc<dyn Store>,
    run: impl AsyncFn(&[&'static str]),
) {
    fill(&*store).await;
    let watch = watch(&store).await;
    let known = watch.current().revision();
    run(&RELEASE_BEFORE).await;
    let delta = store.definitions(known).await.unwrap().unwrap();
    let reported: BTreeSet<_> = delta.changes.iter().flatten().cloned().collect();
    let of_alpha = |kind, name| id(kind, "alpha", name);
    let expected = [
        of_alpha(DefinitionKind::Function, "one"),
        of_alpha(DefinitionKind::Function, "two"),
        of_alpha(DefinitionKind::DeletedFunction, "two"),
        of_alpha(DefinitionKind::Schema, "a"),
        of_alpha(DefinitionKind::Secret, "token"),
        DefinitionId::of_key(Uuid::from_u128(1)),
        id(DefinitionKind::Hostname, "", "alpha.example.com"),
    ];
    assert_eq!(reported, expected.into());
    let before = watch.current();
    watch.reach(delta.revision).await.unwrap();
    let after = watch.current();
    assert_eq!(after.differing_tenants(&before), [&tenant("alpha")]);
    let one = after.function(&tenant("alpha"), "one").unwrap();
    assert_eq!((one.version, one.manifest.triggers.len()), (2, 1));
    assert!(after.function(&tenant("alpha"), "two").is_none());
    assert!(after.is_deleted(&tenant("alpha"), "two"));
    assert_eq!((after.keys().count(), after.hostnames().iter().count()), (1, 1));
    let whole = self::watch(&store).await;
    assert_eq!(answers(&after), answers(&whole.current()));
}

/// What writes to a table and does not raise the revision, such as an operator's statement, hides no
/// change from who has not heard of it. `run` runs statements as an operator would.
pub(crate) async fn a_write_without_a_revision_hides_no_change(
    store: Arc<dyn Store>,
    run: impl AsyncFn(&[&'static str]),
) {
    fill(&*store).await;
    let rolled_back = deploy(&*store, "alpha", json!({"name": "one", "env": {"A": "2"}})).await;
    let (of, function, hostnames) = (tenant("alpha"), name("one"), Arc::default());
    let rollback = Change::Rollback { tenant: of, function, to: Some(2), hostnames };
    let unchanged = store.define(&rollback).await.unwrap();
    assert_eq!(unchanged, Changed { changed: false, ..rolled_back });
    let delta = delta_of(&*store, rolled_back).await;
    assert_eq!(delta.changes, Some(vec![id(DefinitionKind::Function, "alpha", "one")]));
    assert_eq!(delta.functions[0].version, 2);

    let written = deploy(&*store, "beta", json!({"name": "two", "env": {"A": "2"}})).await;
    let late = store.definitions(rolled_back.revision).await.unwrap().unwrap();
    run(&["UPDATE functions SET current_version = current_version WHERE tenant = 'beta'"]).await;
    let delta = store.definitions(rolled_back.revision).await.unwrap().unwrap();
    assert_eq!((delta.revision, late.functions.len()), (written.revision, 1));
    let two = delta.functions.iter().find(|function| function.name == name("two"));
    assert_eq!(two.map(|function| function.version), Some(2));
}

/// Notes do not go back for ever. `run` runs statements as an operator would.
pub(crate) async fn old_notes_are_deleted(
    store: Arc<dyn Store>,
    run: impl AsyncFn(&[&'static str]),
    notes: impl AsyncFn() -> i64,
) {
    fill(&*store).await;
    let late = watch(&store).await;
    let known = late.current().revision();
    // The next change is one at which old notes are deleted.
    run(&["UPDATE revision SET revision = 20479"]).await;
    let current = watch(&store).await;
    let swept = put_schema(&*store, "alpha", "swept").await.revision;
    assert_eq!((swept, notes().await), (Revision(20_480), 1));
    assert!(store.definitions(known).await.unwrap().unwrap().changes.is_none());
    assert!(store.definitions(Revision(10_479)).await.unwrap().unwrap().changes.is_none());
    let reported = store.definitions(Revision(10_480)).await.unwrap().unwrap().changes;
    assert_eq!(reported, Some(vec![id(DefinitionKind::Schema, "alpha", "swept")]));
    for watch in [late, current] {
        watch.reach(swept).await.unwrap();
        let whole = self::watch(&store).await;
        assert_eq!(answers(&watch.current()), answers(&whole.current()));
    }
}
