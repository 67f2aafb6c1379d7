//! Definitions that cannot be read: another release wrote them, or something that is not wasmill.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wasmill_domain::schema::{CompileError, CompiledSchema, Failure, SchemaCompiler, Violation};
use wasmill_domain::{ApiKey, DefinitionKind, EventType, KeyDefinition, KeyRole, Registry};

use super::sample::{deploy, name, now, tenant};
use crate::port::{Change, Error, Store};
use crate::watch::RegistryWatch;

/// The test asks when it wants to know.
const NEVER: Duration = Duration::from_secs(3600);

/// What makes one definition of each kind something that cannot be read; the same in either database.
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
        let manifest = json!({"name": function, "trigger": [{"event": "a", "schema": {"type": "object"}}]});
        deploy(store, manifest, b"wasm").await;
    }
    for of_type in ["odd.type", "good.type"] {
        let (event_type, schema) = (event_type(of_type), json!({"type": "object"}));
        store.define(&Change::PutSchema { tenant: tenant(), event_type, schema, at: now() }).await.unwrap();
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

/// Takes every schema for the one that these tests define, which lets objects pass: the compiler of schemas is not the store's.
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
        if document.is_object() { Ok(()) } else { Err(Failure::Violations(vec![Violation::of_all("not an object")])) }
    }

    fn try_check(&self, document: &Value, steps: &mut u64) -> Result<(), Failure> {
        self.check(document, steps)
    }
}

async fn watch(store: &Arc<dyn Store>) -> RegistryWatch {
    RegistryWatch::start_from(Registry::new(Arc::new(Objects)), Arc::clone(store), NEVER).await.unwrap()
}

/// Everything but what is broken is as it would be without it.
fn is_broken_apart(registry: &Registry) {
    let functions: Vec<_> = registry.functions_of(&tenant()).iter().map(|f| (f.name.to_string(), f.version)).collect();
    assert_eq!(functions, [("total".to_owned(), 2)]);
    let broken: Vec<_> = registry.broken().iter().map(|broken| (broken.kind, broken.name.as_str())).collect();
    assert_eq!(
        broken,
        [
            (DefinitionKind::Function, "later"),
            (DefinitionKind::Function, "odd"),
            (DefinitionKind::Schema, "odd.type"),
            (DefinitionKind::Key, "first"),
            (DefinitionKind::Hostname, "no name"),
            (DefinitionKind::DeletedFunction, "No Name"),
        ]
    );
    let later = registry.broken_function(&tenant(), "later").unwrap();
    assert!(later.why.contains("'manifest'") && later.why.contains("of_a_later_release"), "{later:?}");
    assert_eq!(later.to_string(), "function 'later' of tenant 'default'");
    assert_eq!(registry.broken_functions_of(&tenant()).count(), 2);
    assert!(registry.broken_function(&tenant(), "total").is_none());
    let route = registry.route(&tenant(), &event_type("a"));
    assert_eq!(route.functions.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["total"]);
    assert!(route.check(&json!({})).is_ok() && route.check(&json!(1)).is_err());
    // Nothing gets in unchecked, nor without a key.
    let refusal = registry.route(&tenant(), &event_type("odd.type")).check(&json!({})).unwrap_err();
    assert!(refusal.violations[0].message.contains("'schema'"), "{refusal:?}");
    assert!(registry.route(&tenant(), &event_type("good.type")).check(&json!({})).is_ok());
    assert!(registry.has_keys() && registry.key("first").is_none());
}

/// `spoil` runs a statement as somebody else would.
pub(crate) async fn what_cannot_be_read_breaks_itself_only(store: Arc<dyn Store>, spoil: impl AsyncFn(&'static str)) {
    define(&*store).await;
    let watch = watch(&store).await;
    assert!(watch.current().broken().is_empty());
    for statement in SPOIL {
        spoil(statement).await;
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
    // Another deploy mends it; the version that cannot be read stays one that nobody can go back to.
    let changed = deploy(&*store, json!({"name": "later", "trigger": [{"event": "a"}]}), b"wasm").await;
    restarted.reach(changed.revision).await.unwrap();
    assert_eq!(restarted.current().function(&tenant(), "later").map(|f| f.version), Some(2));
    assert!(restarted.current().broken_function(&tenant(), "later").is_none());
    let (function, hostnames) = (name("later"), Arc::default());
    let back = store.define(&Change::Rollback { tenant: tenant(), function, to: None, hostnames }).await;
    assert!(matches!(back, Err(Error::Rejected(_))), "{back:?}");
    store.define(&Change::DeleteFunction { tenant: tenant(), function: name("odd") }).await.unwrap();
}
