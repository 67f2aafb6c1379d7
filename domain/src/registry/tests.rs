use super::*;
use crate::definition::Definitions;
use crate::manifest::Manifest;
use crate::schema::{CompileError, CompiledSchema, Failure, Violation};
use crate::timestamp::Timestamp;
use serde_json::json;

/// Knows `required` only, of objects: the compiler of JSON Schema is another crate. Each name takes
/// a step of a check.
#[derive(Clone, Debug)]
pub(super) struct Required {
    pub(super) max_tenant_bytes: usize,
}

#[derive(Debug)]
struct Names(Vec<String>);

impl Default for Required {
    fn default() -> Self {
        Self { max_tenant_bytes: 1 << 20 }
    }
}

impl SchemaCompiler for Required {
    fn compile(&self, source: Arc<Value>) -> Result<Box<dyn CompiledSchema>, CompileError> {
        let names = source["required"].as_array().into_iter().flatten();
        Ok(Box::new(Names(names.filter_map(|name| Some(name.as_str()?.to_owned())).collect())))
    }

    fn bytes_of(&self, source: &Value) -> Result<usize, CompileError> {
        Ok(source.to_string().len())
    }

    fn max_tenant_bytes(&self) -> usize {
        self.max_tenant_bytes
    }

    fn max_check_steps(&self) -> u64 {
        1_000
    }
}

impl CompiledSchema for Names {
    fn check(&self, document: &Value, steps: &mut u64) -> Result<(), Failure> {
        *steps = steps.checked_sub(self.0.len() as u64).ok_or(Failure::Steps)?;
        let satisfied = document
            .as_object()
            .is_some_and(|object| self.0.iter().all(|name| object.contains_key(name)));
        if satisfied {
            Ok(())
        } else {
            Err(Failure::Violations(vec![Violation::of_all("not as required")]))
        }
    }

    fn try_check(&self, document: &Value, steps: &mut u64) -> Result<(), Failure> {
        self.check(document, steps)
    }
}

/// A registry of nothing that can check.
fn checking() -> Registry {
    Registry::new(Arc::new(Required::default()))
}

pub(super) fn function(name: &str, triggers: &Value) -> FunctionDefinition {
    let manifest = Manifest::from_json(json!({"name": name, "trigger": triggers})).unwrap();
    FunctionDefinition {
        tenant: TenantName::default(),
        name: manifest.name.clone(),
        version: 1,
        digest: Digest::of(name.as_bytes()),
        manifest: Arc::new(manifest),
        deployed_at: Timestamp::now(),
    }
}

pub(super) fn registry(
    functions: Vec<FunctionDefinition>,
    schemas: Vec<SchemaDefinition>,
    previous: &Registry,
) -> Registry {
    Registry::build(
        Definitions { revision: Revision(1), functions, schemas, ..Definitions::default() },
        previous,
    )
}

fn names(route: &Route) -> Vec<&str> {
    route.functions.iter().map(|f| f.name.as_str()).collect()
}

#[test]
fn an_event_reaches_each_function_once() {
    let both = function("both", &json!([{"event": "order.created"}, {"event": "order.*"}]));
    let exact = function("exact", &json!([{"event": "order.created"}]));
    let registry = registry(vec![exact, both], vec![], &Registry::default());
    let tenant = TenantName::default();
    let route = |event_type: &str| registry.route(&tenant, &event_type.parse().unwrap());
    assert_eq!(names(&route("order.created")), ["both", "exact"]);
    assert_eq!(names(&route("order.paid")), ["both"]);
    assert!(route("invoice.paid").functions.is_empty());
    assert_eq!(registry.event_types_of(&tenant), ["order.*", "order.created"]);
    assert!(
        registry
            .route(&"other".parse().unwrap(), &"order.created".parse().unwrap())
            .functions
            .is_empty()
    );
}

#[test]
fn every_schema_on_the_way_must_be_satisfied() {
    let total =
        function("total", &json!([{"event": "order.created", "schema": {"required": ["total"]}}]));
    let schema = SchemaDefinition {
        tenant: TenantName::default(),
        event_type: "order.created".parse().unwrap(),
        version: 1,
        schema: Arc::new(json!({"type": "object"})),
        updated_at: Timestamp::now(),
    };
    let registry = registry(vec![total], vec![schema], &checking());
    let route = registry.route(&TenantName::default(), &"order.created".parse().unwrap());
    assert!(route.check(&json!({"total": 1})).is_ok());
    assert_eq!(route.check(&json!(1)).unwrap_err().owner, "event type order.created");
    assert_eq!(route.check(&json!({})).unwrap_err().owner, "function total");
}

#[test]
fn an_event_may_be_sent_to_one_function() {
    let total =
        function("total", &json!([{"event": "order.*", "schema": {"required": ["total"]}}]));
    let other =
        function("other", &json!([{"event": "order.created", "schema": {"required": ["other"]}}]));
    let registry = registry(vec![total, other], vec![], &checking());
    let route = |name: &str, event_type: &str| {
        registry.route_to(&TenantName::default(), name, &event_type.parse().unwrap())
    };
    let subscribed = route("total", "order.created").unwrap();
    assert_eq!(names(&subscribed), ["total"]);
    assert!(subscribed.check(&json!({"total": 1})).is_ok());
    assert!(subscribed.check(&json!({"other": 1})).is_err());
    let unsubscribed = route("total", "invoice.paid").unwrap();
    assert_eq!(names(&unsubscribed), ["total"]);
    assert!(!unsubscribed.is_checked());
    assert!(route("none", "order.created").is_none());
}

#[test]
fn schemas_are_listed() {
    let schema = |event_type: &str| SchemaDefinition {
        tenant: TenantName::default(),
        event_type: event_type.parse().unwrap(),
        version: 1,
        schema: Arc::new(json!(true)),
        updated_at: Timestamp::now(),
    };
    let registry = registry(vec![], vec![schema("b"), schema("a")], &Registry::default());
    let listed = registry.schemas_of(&TenantName::default());
    assert_eq!(listed.iter().map(|s| s.event_type.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(registry.schema(&TenantName::default(), "b").unwrap().version, 1);
    assert!(registry.schema(&TenantName::default(), "c").is_none());
}

#[test]
fn an_unchanged_schema_is_compiled_once() {
    let total = || function("total", &json!([{"event": "a", "schema": {"required": ["total"]}}]));
    let first = registry(vec![total()], vec![], &checking());
    let second = registry(vec![total(), function("new", &json!([{"event": "a"}]))], vec![], &first);
    let schema = |registry: &Registry| {
        let route = registry.route(&TenantName::default(), &"a".parse().unwrap());
        Arc::clone(&route.checks[0].schema)
    };
    assert!(schema(&first).compiled().is_none(), "nothing is compiled before it is needed");
    assert!(std::ptr::addr_eq(
        schema(&first).compile().unwrap(),
        schema(&second).compile().unwrap()
    ));
}

#[test]
fn what_is_not_compiled_is_not_checked_at_once() {
    let total = function("total", &json!([{"event": "a", "schema": {"required": ["total"]}}]));
    let registry = registry(vec![total], vec![], &checking());
    let route = registry.route(&TenantName::default(), &"a".parse().unwrap());
    let (data, mut steps) = (json!({"total": 1}), 1_000);
    assert_eq!(route.try_check(&data, &mut steps), None);
    assert_eq!(route.check(&data), Ok(()));
    assert_eq!(route.try_check(&data, &mut steps), Some(Ok(())));
    assert!(steps < 1_000);
    assert!(matches!(route.try_check(&json!({}), &mut steps), Some(Err(_))));
    assert_eq!(route.try_check(&data, &mut 0), None);
    let refusal = route.check_within(&data, &mut 0).unwrap_err();
    assert_eq!(
        (refusal.owner.as_str(), refusal.unchecked),
        ("function total", Some(Unchecked { is_first: true }))
    );
    assert!(refusal.violations[0].message.contains("schemas.max_check_steps"), "{refusal:?}");
    assert_eq!(
        route.check_within(&data, &mut 0).unwrap_err().unchecked,
        Some(Unchecked { is_first: false })
    );
}

#[test]
fn what_only_looks_up_lets_nothing_pass_unchecked() {
    let total = function(
        "total",
        &json!([{"event": "a", "schema": {"required": ["total"]}}, {"event": "b"}]),
    );
    let registry = registry(vec![total], vec![], &Registry::default());
    let route =
        |event_type: &str| registry.route(&TenantName::default(), &event_type.parse().unwrap());
    assert_eq!(names(&route("a")), ["total"]);
    let refusal = route("a").check(&json!({"total": 1})).unwrap_err();
    assert!(
        refusal.violations[0].message.contains("nothing is checked by schemas here"),
        "{refusal:?}"
    );
    assert!(route("b").check(&json!({})).is_ok());
}
