//! Definitions that cannot be read: another release wrote them, or something that is not wasmill.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wasmill_domain::schema::{CompileError, CompiledSchema, Failure, SchemaCompiler, Violation};
use wasmill_domain::{
    ApiKey, DefinitionKind, Dispatch, EventType, KeyDefinition, KeyRole, Operation, Outcome,
    Registry, SealedSecret, State, Transition,
};

use super::sample::{deploy, dispatch, finished, name, now, outbox, started, tenant};
use crate::conformance::Store;
use crate::port::{Change, ExecutionQuery, Publication, StoreError};
use crate::watch::RegistryWatch;

/// The test asks when it wants to know.
const NEVER: Duration = Duration::from_secs(3600);

/// What makes one definition of each kind something that cannot be read; the same in either
/// database.
const SPOIL: [&str; 6] = [
    r#"UPDATE versions SET manifest = '{"name": "later", "of_a_later_release": 1}' WHERE function = 'later'"#,
    "UPDATE triggers SET schema = '{' WHERE function = 'odd'",
    "UPDATE schemas SET schema = '{' WHERE event_type = 'odd.type'",
    "UPDATE api_keys SET tenant = 'No Name'",
    "UPDATE hostnames SET pattern = 'no name'",
    "INSERT INTO deleted_functions (tenant, name) VALUES ('default', 'No Name')",
];

fn event_type(text: &str) -> EventType {
    text.parse().unwrap()
}

async fn define(store: &dyn Store) {
    for function in ["total", "later", "odd"] {
        let manifest =
            json!({"name": function, "trigger": [{"event": "a", "schema": {"type": "object"}}]});
        deploy(store, manifest, b"wasm").await;
    }
    for of_type in ["odd.type", "good.type"] {
        let (event_type, schema) = (event_type(of_type), json!({"type": "object"}));
        store
            .define(&Change::PutSchema { tenant: tenant(), event_type, schema, at: now() })
            .await
            .unwrap();
    }
    let key = KeyDefinition {
        id: uuid::Uuid::now_v7(),
        tenant: tenant(),
        role: KeyRole::Operator,
        label: "first".into(),
        hash: ApiKey::hash_of("first"),
        created_at: now(),
    };
    store.define(&Change::PutKey(key)).await.unwrap();
    let pattern = "shop.example.com".parse().unwrap();
    store.define(&Change::GrantHostname { pattern, tenant: tenant(), at: now() }).await.unwrap();
}

/// Takes every schema for the one that these tests define, which lets objects pass: the compiler of
/// schemas is not the store's.
#[derive(Debug)]
struct Objects;

impl SchemaCompiler for Objects {
    fn compile(&self, _: Arc<Value>) -> Result<Box<dyn CompiledSchema>, CompileError> {
        Ok(Box::new(Self))
    }

    fn bytes_of(&self, _: &Value) -> Result<usize, CompileError> {
        Ok(1)
    }

    fn max_tenant_bytes(&self) -> usize {
        usize::MAX
    }

    fn max_check_steps(&self) -> u64 {
        u64::MAX
    }
}

impl CompiledSchema for Objects {
    fn check(&self, document: &Value, _: &mut u64) -> Result<(), Failure> {
        if document.is_object() {
            Ok(())
        } else {
            Err(Failure::Violations(vec![Violation::of_all("not an object")]))
        }
    }

    fn try_check(&self, document: &Value, steps: &mut u64) -> Result<(), Failure> {
        self.check(document, steps)
    }
}

async fn watch(store: &Arc<dyn Store>) -> RegistryWatch {
    RegistryWatch::start_from(Registry::new(Arc::new(Objects)), Arc::clone(store) as _, NEVER)
        .await
        .unwrap()
}

/// Everything but what is broken is as it would be without it.
fn is_broken_apart(registry: &Registry) {
    let functions: Vec<_> =
        registry.functions_of(&tenant()).iter().map(|f| (f.name.to_string(), f.version)).collect();
    assert_eq!(functions, [("total".to_owned(), 2)]);
    let unreadable: Vec<_> = registry
        .unreadable()
        .iter()
        .map(|unreadable| (unreadable.kind, unreadable.name.as_str()))
        .collect();
    assert_eq!(
        unreadable,
        [
            (DefinitionKind::Function, "later"),
            (DefinitionKind::Function, "odd"),
            (DefinitionKind::Schema, "odd.type"),
            (DefinitionKind::Key, "first"),
            (DefinitionKind::Hostname, "no name"),
            (DefinitionKind::DeletedFunction, "No Name"),
        ]
    );
    let later = registry.unreadable_function(&tenant(), "later").unwrap();
    assert!(
        later.why.contains("'manifest'") && later.why.contains("of_a_later_release"),
        "{later:?}"
    );
    assert_eq!(later.to_string(), "function 'later' of tenant 'default'");
    assert_eq!(registry.unreadable_functions_of(&tenant()).count(), 2);
    assert!(registry.unreadable_function(&tenant(), "total").is_none());
    let route = registry.route(&tenant(), &event_type("a"));
    assert_eq!(route.functions.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["total"]);
    assert!(route.check(&json!({})).is_ok() && route.check(&json!(1)).is_err());
    // Nothing gets in unchecked, nor without a key.
    let refusal = registry.route(&tenant(), &event_type("odd.type")).check(&json!({})).unwrap_err();
    assert!(refusal.violations[0].message.contains("'schema'"), "{refusal:?}");
    assert!(registry.route(&tenant(), &event_type("good.type")).check(&json!({})).is_ok());
    assert!(registry.has_keys() && registry.key("first").is_none());
}

/// Has a row changed by somebody else, who is not this release: `run` runs a statement past the
/// store, and says how many rows it changed.
async fn spoil(run: impl AsyncFn(&'static str) -> u64, statement: &'static str) {
    assert_eq!(run(statement).await, 1, "{statement}");
}

/// `run` is as [`spoil`] has it.
pub(crate) async fn what_cannot_be_read_breaks_itself_only(
    store: Arc<dyn Store>,
    run: impl AsyncFn(&'static str) -> u64,
) {
    define(&*store).await;
    let watch = watch(&store).await;
    assert!(watch.current().unreadable().is_empty());
    for statement in SPOIL {
        spoil(&run, statement).await;
    }
    let changed = deploy(
        &*store,
        json!({"name": "total", "trigger": [{"event": "a", "schema": {"type": "object"}}], "env": {"A": "1"}}),
        b"wasm",
    );
    watch.reach(changed.await.revision).await.unwrap();
    is_broken_apart(&watch.current());
    let restarted = self::watch(&store).await;
    is_broken_apart(&restarted.current());
    let versions = store.versions(&tenant(), &name("later")).await.unwrap();
    let why = versions[0].manifest.as_ref().unwrap_err();
    assert!(versions[0].current && why.contains("of_a_later_release"), "{why}");
    // Another deploy mends it; the version that cannot be read stays one that nobody can go back
    // to.
    let changed =
        deploy(&*store, json!({"name": "later", "trigger": [{"event": "a"}]}), b"wasm").await;
    restarted.reach(changed.revision).await.unwrap();
    assert_eq!(restarted.current().function(&tenant(), "later").map(|f| f.version), Some(2));
    assert!(restarted.current().unreadable_function(&tenant(), "later").is_none());
    let (function, hostnames) = (name("later"), Arc::default());
    let back =
        store.define(&Change::Rollback { tenant: tenant(), function, to: None, hostnames }).await;
    assert!(matches!(back, Err(StoreError::Rejected(_))), "{back:?}");
    store
        .define(&Change::DeleteFunction { tenant: tenant(), function: name("odd") })
        .await
        .unwrap();
}

/// What a later release may leave behind: what this one may read, and what it may not.
const LATER: [&str; 6] = [
    r#"UPDATE versions SET manifest = '{"format": 2, "min_reader": 1, "name": "later", "of_a_later_release": 1}' WHERE function = 'later'"#,
    r#"UPDATE versions SET manifest = '{"format": 3, "min_reader": 2, "stored_by": "9.8.7", "name": "odd"}' WHERE function = 'odd'"#,
    "UPDATE schemas SET min_reader = 2 WHERE event_type = 'odd.type'",
    "UPDATE api_keys SET min_reader = 2",
    "UPDATE hostnames SET min_reader = 2",
    "UPDATE secrets SET min_reader = 2 WHERE name = 'later'",
];

fn secret(name: &str, version: u32) -> SealedSecret {
    let (tenant, name, key) = (tenant(), name.parse().unwrap(), "key-1".parse().unwrap());
    SealedSecret { tenant, name, version, key, sealed: "sealed".into(), at: now() }
}

/// `run` is as [`spoil`] has it.
pub(crate) async fn a_later_release_says_who_may_read_it(
    store: Arc<dyn Store>,
    run: impl AsyncFn(&'static str) -> u64,
) {
    define(&*store).await;
    for name in ["later", "known"] {
        store.define(&Change::PutSecret(secret(name, 1))).await.unwrap();
    }
    for statement in LATER {
        spoil(&run, statement).await;
    }
    let watch = RegistryWatch::start(Arc::clone(&store) as _, NEVER).await.unwrap();
    let registry = watch.current();
    let mut functions: Vec<_> =
        registry.functions_of(&tenant()).iter().map(|f| f.name.to_string()).collect();
    functions.sort_unstable();
    assert_eq!(functions, ["later", "total"]);
    let unreadable: Vec<_> = registry
        .unreadable()
        .iter()
        .map(|unreadable| (unreadable.kind, unreadable.name.as_str()))
        .collect();
    assert_eq!(
        unreadable,
        [
            (DefinitionKind::Function, "odd"),
            (DefinitionKind::Schema, "odd.type"),
            (DefinitionKind::Key, "first"),
            (DefinitionKind::Hostname, "shop.example.com"),
        ]
    );
    let why = &registry.unreadable_function(&tenant(), "odd").unwrap().why;
    assert!(why.contains("release 9.8.7") && why.contains("format 2"), "{why}");
    assert!(registry.has_keys() && registry.key("first").is_none(), "what it allows is not known");
    // A secret cannot be had, and is in no other's way.
    let listed: Vec<_> =
        store.secrets(&tenant()).await.unwrap().into_iter().map(|secret| secret.name).collect();
    assert_eq!(listed, ["known".parse().unwrap()]);
    let why = store.secret(&tenant(), &"later".parse().unwrap()).await.unwrap_err();
    assert!(matches!(&why, StoreError::Rejected(why) if why.contains("a later release")), "{why}");
    // What this release puts in their place is its own.
    store.define(&Change::PutSecret(secret("later", 2))).await.unwrap();
    assert_eq!(
        store.secret(&tenant(), &"later".parse().unwrap()).await.unwrap().unwrap().version,
        2
    );
    let (event_type, schema) = (event_type("odd.type"), json!({"type": "object"}));
    let put = Change::PutSchema { tenant: tenant(), event_type, schema, at: now() };
    let changed = store.define(&put).await.unwrap();
    assert!(changed.changed, "the same text, to be read by this release");
    let unchanged = deploy(
        &*store,
        json!({"name": "later", "trigger": [{"event": "a", "schema": {"type": "object"}}]}),
        b"wasm",
    );
    assert_eq!(unchanged.await.version, 2, "something in what was stored is not known here");
    watch.reach(changed.revision).await.unwrap();
    assert!(
        watch
            .current()
            .unreadable()
            .iter()
            .all(|unreadable| unreadable.kind != DefinitionKind::Schema)
    );
}

/// `run` is as [`spoil`] has it.
pub(crate) async fn a_state_that_is_not_known_is_closed(
    store: Arc<dyn Store>,
    run: impl AsyncFn(&'static str) -> u64,
) {
    let (known, later) = (dispatch("known"), dispatch("later"));
    store.enqueue(&[known.clone(), later.clone()], Publication::Pending).await.unwrap();
    let statement = "UPDATE executions SET state = 'of_a_later_release' WHERE function = 'later'";
    spoil(run, statement).await;
    assert_eq!(store.unfinished(&[later.clone(), known.clone()]).await.unwrap(), [false, true]);
    let starts = [&later, &known].map(started);
    store.start(&starts).await.unwrap();
    let ends = [&later, &known].map(|dispatch| finished(dispatch, Outcome::Success));
    assert_eq!(store.record(&ends).await.unwrap(), [false, true], "one is in nobody's way");
    let [Err(row), Ok(summary)] =
        &mut store.executions(&ExecutionQuery::all_of(tenant(), 10)).await.unwrap()[..]
    else {
        panic!("one can be read")
    };
    assert_eq!((summary.id, summary.state), (known.execution, State::Succeeded));
    assert!(row.id == later.execution && row.why.contains("of_a_later_release"), "{row:?}");
}

/// What a later release has decided before the event came is not put away by who brings the event.
/// `run` is as [`spoil`] has it.
pub(crate) async fn an_event_leaves_words_that_are_not_known(
    store: Arc<dyn Store>,
    run: impl AsyncFn(&'static str) -> u64,
) {
    let bring = async |held: &Dispatch, by: usize| match by {
        0 => store.enqueue(std::slice::from_ref(held), Publication::Confirmed).await.unwrap(),
        1 => store.enqueue(std::slice::from_ref(held), Publication::Pending).await.unwrap(),
        2 => store.start(&[started(held)]).await.unwrap(),
        _ => assert_eq!(
            store.record(&[finished(held, Outcome::Success)]).await.unwrap(),
            [false],
            "it is closed"
        ),
    };
    for by in 0..4 {
        let held = dispatch("total");
        let suspend = Operation::new(Transition::Suspend, now()).before_row(true);
        store.transition_execution(&tenant(), held.execution, &suspend).await.unwrap();
        let statement = "UPDATE executions SET state = 'pondering', outcome = 'pondered' WHERE state = 'suspended'";
        spoil(&run, statement).await;
        bring(&held, by).await;
        let statement = "UPDATE executions SET state = 'seen' WHERE state = 'pondering' AND outcome = 'pondered' AND epoch = 2 \
             AND max_attempts = 3 AND function = 'total' AND event_id = 'event-1'";
        spoil(&run, statement).await;
        assert!(outbox(&*store).await.is_empty());
    }
    assert_eq!(run("UPDATE early_rows SET made_at = 0").await, 0, "their events have come");
}
