//! A registry that was made step by step is the one that is loaded whole.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::super::tests::{Required, function};
use super::*;
use crate::definition::{FunctionDefinition, HostnameDefinition, SchemaDefinition};
use crate::digest::Digest;
use crate::hostname::HostnameRules;
use crate::key::KeyRole;
use crate::routes::Found;
use crate::timestamp::Timestamp;

const TENANTS: [&str; 3] = ["alpha", "beta", "gamma"];
const NAMES: [&str; 3] = ["one", "two", "three"];
const TYPES: [&str; 3] = ["order.created", "order.paid", "invoice.sent"];
const HOSTS: [&str; 2] = ["a.example.com", "b.example.com"];

/// What stands behind an id, as a store would give it.
#[derive(Clone, Debug)]
enum Row {
    Function(FunctionDefinition),
    Schema(SchemaDefinition),
    Key(KeyDefinition),
    Hostname(HostnameDefinition),
    Deleted,
    Broken(UnreadableDefinition),
}

/// What a store has.
#[derive(Clone, Debug, Default)]
struct Rows {
    revision: i64,
    rows: BTreeMap<DefinitionId, Row>,
}

impl Rows {
    /// Everything, or of these ids what there is.
    fn definitions(&self, changes: Option<&BTreeSet<DefinitionId>>) -> Definitions {
        let mut all = Definitions {
            revision: Revision(self.revision),
            changes: changes.map(|changes| changes.iter().cloned().collect()),
            ..Definitions::default()
        };
        let wanted = |id: &&DefinitionId| changes.is_none_or(|changes| changes.contains(*id));
        for id in self.rows.keys().filter(wanted) {
            match self.rows[id].clone() {
                Row::Function(function) => all.functions.push(function),
                Row::Schema(schema) => all.schemas.push(schema),
                Row::Key(key) => all.keys.push(key),
                Row::Hostname(granted) => all.hostnames.push(granted),
                Row::Deleted => {
                    all.deleted.push((id.tenant.parse().unwrap(), id.name.parse().unwrap()));
                }
                Row::Broken(unreadable) => all.unreadable.push(unreadable),
            }
        }
        all
    }
}

fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

/// A function of one of several shapes.
fn row_of_function(of: &str, name: &str, shape: u8) -> Row {
    let schema = json!({"required": [format!("p{}", shape % 2)]});
    let triggers = match shape % 4 {
        0 => json!([{"event": "order.*", "schema": schema}, {"event": "order.created"}]),
        1 => json!([{"event": "order.paid"}, {"http": format!("/{name}"), "schema": schema}]),
        2 => json!([{"http": "/x", "host": HOSTS[usize::from(shape / 4) % 2]}]),
        _ => json!([{"event": "invoice.sent", "schema": schema}, {"http": "/y", "host": HOSTS[0]}]),
    };
    Row::Function(FunctionDefinition {
        tenant: tenant(of),
        version: u32::from(shape),
        deployed_at: Timestamp::from_micros(i64::from(shape)),
        ..function(name, &triggers)
    })
}

/// A definition that may change, and what it is from then on: nothing, where it is deleted.
fn change() -> impl Strategy<Value = (DefinitionId, Option<Row>)> {
    let kinds = prop_oneof![
        4 => Just(DefinitionKind::Function), 2 => Just(DefinitionKind::Schema), 2 => Just(DefinitionKind::Key),
        2 => Just(DefinitionKind::Hostname), 1 => Just(DefinitionKind::DeletedFunction), 1 => Just(DefinitionKind::Secret),
    ];
    (kinds, 0..3_usize, 0..3_usize, any::<u8>(), 0..8_u8).prop_map(
        |(kind, of, name, shape, fate)| {
            let (of, at) = (TENANTS[of], name);
            let (id, key) = match kind {
                DefinitionKind::Key => {
                    let key = Uuid::from_u128(at as u128 + 1);
                    (DefinitionId::of_key(key), Some(key))
                }
                DefinitionKind::Hostname => {
                    let name = HOSTS[at % 2].to_owned();
                    (DefinitionId { kind, tenant: String::new(), name }, None)
                }
                DefinitionKind::Schema => {
                    (DefinitionId { kind, tenant: of.into(), name: TYPES[at].into() }, None)
                }
                _ => (DefinitionId { kind, tenant: of.into(), name: NAMES[at].into() }, None),
            };
            let unreadable = || {
                let name =
                    if kind == DefinitionKind::Key { "label".into() } else { id.name.clone() };
                let why = format!("because of {}", shape % 3);
                Row::Broken(UnreadableDefinition { kind, tenant: of.into(), name, key, why })
            };
            let at = Timestamp::from_micros(i64::from(shape));
            let row = match (fate, kind) {
                (0 | 1, _) | (_, DefinitionKind::Secret) => None,
                (2, _) => Some(unreadable()),
                (_, DefinitionKind::Function) => Some(row_of_function(of, &id.name, shape)),
                (_, DefinitionKind::Schema) => Some(Row::Schema(SchemaDefinition {
                    tenant: tenant(of),
                    event_type: id.name.parse().unwrap(),
                    version: u32::from(shape),
                    schema: Arc::new(json!({"required": [format!("p{}", shape % 3)]})),
                    updated_at: at,
                })),
                (_, DefinitionKind::Key) => Some(Row::Key(KeyDefinition {
                    id: key.unwrap(),
                    tenant: tenant(of),
                    role: KeyRole::Tenant,
                    label: format!("key {shape}"),
                    hash: crate::key::ApiKey::hash_of(&format!("{key:?} {shape}")),
                    created_at: at,
                })),
                (_, DefinitionKind::Hostname) => Some(Row::Hostname(HostnameDefinition {
                    pattern: id.name.parse().unwrap(),
                    tenant: tenant(of),
                    granted_at: at,
                })),
                (_, DefinitionKind::DeletedFunction) => Some(Row::Deleted),
            };
            (id, row)
        },
    )
}

/// All that can be asked of a registry, of the few names that there are.
fn answers(registry: &Registry) -> Vec<String> {
    let mut all = vec![format!("{:?} {}", registry.revision(), registry.has_keys())];
    let rules = HostnameRules::default();
    for of in TENANTS.map(tenant) {
        all.push(format!("{:?}", registry.functions_of(&of)));
        all.push(format!("{:?} {:?}", registry.schemas_of(&of), registry.event_types_of(&of)));
        all.push(format!("{:?}", registry.deleted_of(&of).collect::<Vec<_>>()));
        all.push(format!("{:?}", registry.unreadable_functions_of(&of).collect::<Vec<_>>()));
        for event_type in TYPES {
            let route = registry.route(&of, &event_type.parse().unwrap());
            let names: Vec<_> = route.functions.iter().map(|f| (&f.name, f.version)).collect();
            let checked = [json!({"p0": 1}), json!({"p1": 1}), json!({"p0": 1, "p1": 1, "p2": 1})]
                .map(|data| route.check(&data).is_ok());
            all.push(format!("{of} {event_type} {names:?} {checked:?}"));
        }
        for path in ["/one", "/two", "/three", "/x", "/y"] {
            let found = registry.routes(&of).map(|routes| routes.find(None, "GET", path));
            if let Some(Found::Route(route, _)) = found {
                let checked = route.check(&json!({"p0": 1})).is_ok();
                all.push(format!("{of}{path} {} {checked}", route.function.name));
            }
        }
    }
    for host in HOSTS {
        let owner = registry.routes_of_host(&rules, host);
        all.push(format!("{host} {:?}", owner.map(|(tenant, _)| tenant)));
        let named = registry.hosts.get(host);
        all.push(format!("{host} is named by {named:?}"));
    }
    let mut keys: Vec<_> = registry.keys().collect();
    keys.sort_unstable_by_key(|key| key.id);
    let mut hostnames: Vec<_> = registry.hostnames().iter().collect();
    hostnames.sort_unstable_by_key(|granted| &granted.pattern);
    all.push(format!("{keys:?} {hostnames:?} {:?}", registry.unreadable()));
    all
}

/// A step: some changes that come together, and whether whoever follows hears of them now.
type Step = (Vec<(DefinitionId, Option<Row>)>, bool);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (proptest::collection::vec(change(), 1..4), any::<bool>());
    proptest::collection::vec(step, 1..20)
}

proptest! {
    #[test]
    fn step_by_step_is_as_at_once(steps in steps()) {
        let first = Registry::new(Arc::new(Required::default()));
        let mut rows = Rows::default();
        let mut followed = Registry::build(rows.definitions(None), &first);
        let mut pending = BTreeSet::new();
        for (changes, is_heard) in steps {
            rows.revision += 1;
            for (id, row) in changes {
                match row {
                    Some(row) => drop(rows.rows.insert(id.clone(), row)),
                    None => drop(rows.rows.remove(&id)),
                }
                pending.insert(id);
            }
            if !is_heard {
                continue;
            }
            let next = Registry::build(rows.definitions(Some(&pending)), &followed);
            let whole = Registry::build(rows.definitions(None), &first);
            let reloaded = Registry::build(rows.definitions(None), &followed);
            prop_assert_eq!(answers(&next), answers(&whole));
            prop_assert_eq!(answers(&reloaded), answers(&whole));
            // Nobody else's entry was touched, and whoever's was is told.
            let touched: BTreeSet<&str> = pending
                .iter()
                .map(|id| id.tenant.as_str())
                .filter(|tenant| !tenant.is_empty())
                .collect();
            let differing: BTreeSet<&str> =
                next.differing_tenants(&followed).into_iter().map(TenantName::as_str).collect();
            prop_assert_eq!(differing, touched);
            (followed, pending) = (next, BTreeSet::new());
        }
    }
}

fn deployed(previous: &Registry, revision: i64, functions: &[(&str, &str)]) -> Registry {
    let id = |(of, name): &(&str, &str)| DefinitionId {
        kind: DefinitionKind::Function,
        tenant: (*of).to_owned(),
        name: (*name).to_owned(),
    };
    let functions_of = functions.iter().map(|(of, name)| FunctionDefinition {
        tenant: tenant(of),
        ..function(name, &json!([{"event": "a", "schema": {"required": ["p"]}}]))
    });
    let definitions = Definitions {
        revision: Revision(revision),
        functions: functions_of.collect(),
        changes: Some(functions.iter().map(id).collect()),
        ..Definitions::default()
    };
    Registry::build(definitions, previous)
}

#[test]
fn what_has_not_changed_is_shared() {
    let first = Registry::new(Arc::new(Required::default()));
    let first = deployed(&first, 1, &[("alpha", "one"), ("beta", "one")]);
    let second = deployed(&first, 2, &[("alpha", "two")]);
    let entry = |registry: &Registry, of: &str| Arc::clone(registry.tenants.get(of).unwrap());
    assert!(Arc::ptr_eq(&entry(&first, "beta"), &entry(&second, "beta")));
    assert_eq!(second.differing_tenants(&first), [&tenant("alpha")]);
    let schema_of = |registry: &Registry, name: &str| {
        let schemas = &entry(registry, "alpha").trigger_schemas[name];
        Arc::clone(schemas[0].as_ref().unwrap())
    };
    assert!(Arc::ptr_eq(&schema_of(&first, "one"), &schema_of(&second, "one")));
    // One text is compiled once, whoever has it.
    assert!(Arc::ptr_eq(&schema_of(&second, "one"), &schema_of(&second, "two")));
    assert_eq!(schema_of(&second, "one").digest(), Digest::of(br#"{"required":["p"]}"#));
}

#[test]
fn a_tenants_changes_are_remembered() {
    let first = deployed(&Registry::default(), 1, &[("alpha", "one")]);
    let (alpha, beta) = (tenant("alpha"), tenant("beta"));
    assert_eq!((first.changed_at(&alpha), first.changed_at(&beta)), (Some(Revision(1)), None));
    let second = deployed(&first, 2, &[("beta", "one")]);
    // It heard of 3 to 6 at once: alpha may have changed at 3 already.
    let third = deployed(&second, 6, &[("alpha", "two")]);
    assert_eq!(third.changed_at(&alpha), Some(Revision(3)));
    let before = |revision: i64| third.change_before(&alpha, Revision(revision)).0;
    assert_eq!([0, 1, 2, 3, 6].map(before), [1, 1, 1, 3, 3]);
    assert_eq!(third.changed_at(&beta), Some(Revision(2)));
    // Whoever forgets says a later one, never an earlier.
    let many = (7..40).fold(third, |registry, i| deployed(&registry, i, &[("alpha", "two")]));
    assert_eq!(many.change_before(&alpha, Revision(1)), Revision(32));
    assert_eq!(many.change_before(&alpha, Revision(38)), Revision(38));
}

#[test]
fn whoever_has_nothing_any_more_is_told_by_a_whole_load() {
    let first = deployed(&Registry::default(), 1, &[("alpha", "one")]);
    let all = Definitions { revision: Revision(9), ..Definitions::default() };
    let emptied = Registry::build(all, &first);
    assert!(emptied.function(&tenant("alpha"), "one").is_none());
    assert_eq!(emptied.differing_tenants(&first), [&tenant("alpha")]);
    assert_eq!(emptied.changed_at(&tenant("alpha")), Some(Revision(2)));
}
