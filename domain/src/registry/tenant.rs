//! What one tenant has defined, and its index. A change of anything of a tenant's makes its index
//! anew and takes over all that has not changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::lazy::{LazySchema, TenantShare};
use crate::definition::{
    DefinitionKind, FunctionDefinition, Revision, SchemaDefinition, UnreadableDefinition,
};
use crate::digest::Digest;
use crate::names::{EventPattern, EventType, FunctionName};
use crate::routes::Routes;
use crate::schema::SchemaCompiler;

/// How many of a tenant's changes are remembered.
const CHANGES: usize = 8;

/// What a tenant has defined, before it is indexed.
#[derive(Clone, Debug, Default)]
pub(super) struct Defined {
    pub(super) functions: BTreeMap<FunctionName, Arc<FunctionDefinition>>,
    pub(super) schemas: BTreeMap<EventType, Arc<SchemaDefinition>>,
    pub(super) deleted: BTreeSet<FunctionName>,
    /// By kind and name.
    pub(super) unreadable: BTreeMap<(DefinitionKind, String), UnreadableDefinition>,
}

/// One tenant's definitions, indexed. Never changes.
#[derive(Debug)]
pub(super) struct Tenant {
    share: Arc<TenantShare>,
    /// See [`Tenant::changed_at`]; the latest is the last. Never empty.
    changes: Vec<Revision>,
    pub(super) defined: Defined,
    pub(super) exact: HashMap<EventType, Vec<Subscription>>,
    pub(super) patterns: Vec<(EventPattern, Subscription)>,
    /// The schema of each trigger of each function, by the trigger's place.
    pub(super) trigger_schemas: HashMap<FunctionName, TriggerSchemas>,
    pub(super) type_schemas: HashMap<EventType, Arc<LazySchema>>,
    /// Those that cannot be read: nothing satisfies them.
    unreadable_schemas: HashMap<EventType, Arc<LazySchema>>,
    pub(super) routes: Routes,
}

type TriggerSchemas = Arc<[Option<Arc<LazySchema>>]>;

/// A function that a type reaches.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) function: Arc<FunctionDefinition>,
    /// The schema of the trigger that matched.
    pub(super) schema: Option<Arc<LazySchema>>,
}

impl Tenant {
    /// Indexes what is defined, taking over every schema of `before` that has not changed, compiled
    /// or not. Compiles none, and looks at no text of a schema that was there before.
    pub(super) fn new(
        defined: Defined,
        before: Option<&Self>,
        compiler: &Arc<dyn SchemaCompiler>,
        changes: Vec<Revision>,
    ) -> Self {
        let share = before.map_or_else(
            || Arc::new(TenantShare::new(Arc::clone(compiler))),
            |before| Arc::clone(&before.share),
        );
        let mut tenant = Self {
            share,
            changes,
            defined: Defined::default(),
            exact: HashMap::new(),
            patterns: Vec::new(),
            trigger_schemas: HashMap::new(),
            type_schemas: HashMap::new(),
            unreadable_schemas: HashMap::new(),
            routes: Routes::default(),
        };
        let mut known = Known::of(before);
        for function in defined.functions.values() {
            tenant.add_function(function, before, &mut known);
        }
        for (event_type, definition) in &defined.schemas {
            let same = before.and_then(|before| {
                let same = Arc::ptr_eq(before.defined.schemas.get(event_type)?, definition);
                before.type_schemas.get(event_type).filter(|_| same)
            });
            let schema =
                same.map_or_else(|| known.schema_of(&definition.schema, &tenant.share), Arc::clone);
            tenant.type_schemas.insert(event_type.clone(), schema);
        }
        for unreadable in defined.unreadable.values().filter(|b| b.kind == DefinitionKind::Schema) {
            if let Ok(event_type) = unreadable.name.parse() {
                let schema = LazySchema::unreadable(&unreadable.why, Arc::clone(&tenant.share));
                tenant.unreadable_schemas.insert(event_type, Arc::new(schema));
            }
        }
        Self { defined, ..tenant }
    }

    fn add_function(
        &mut self,
        function: &Arc<FunctionDefinition>,
        before: Option<&Self>,
        known: &mut Known,
    ) {
        let triggers = &function.manifest.triggers;
        let same = before.and_then(|before| {
            let same = Arc::ptr_eq(before.defined.functions.get(&function.name)?, function);
            before.trigger_schemas.get(&function.name).filter(|_| same)
        });
        let schemas = same.map_or_else(
            || {
                let schemas = triggers.iter().map(|trigger| {
                    trigger.schema().map(|source| known.schema_of(source, &self.share))
                });
                schemas.collect()
            },
            Arc::clone,
        );
        for (trigger, schema) in triggers.iter().zip(&*schemas) {
            if let Some(trigger) = trigger.as_event() {
                let subscription =
                    Subscription { function: Arc::clone(function), schema: schema.clone() };
                self.subscribe(&trigger.event, subscription);
            }
        }
        self.routes.add(function, |place| schemas.get(place).cloned().flatten());
        self.trigger_schemas.insert(function.name.clone(), schemas);
    }

    fn subscribe(&mut self, pattern: &EventPattern, subscription: Subscription) {
        // A pattern without a wildcard is an event type: looked up rather than tried.
        match pattern.parse::<EventType>() {
            Ok(event_type) => self.exact.entry(event_type).or_default().push(subscription),
            Err(_) => self.patterns.push((pattern.clone(), subscription)),
        }
    }

    pub(super) fn subscriptions(
        &self,
        event_type: &EventType,
    ) -> impl Iterator<Item = &Subscription> {
        let patterns =
            self.patterns.iter().filter(|(pattern, _)| pattern.matches(event_type)).map(|(_, s)| s);
        self.exact.get(event_type).into_iter().flatten().chain(patterns)
    }

    /// The schema of an event type; one that cannot be read as well.
    pub(super) fn type_schema(&self, event_type: &EventType) -> Option<&Arc<LazySchema>> {
        self.type_schemas.get(event_type).or_else(|| self.unreadable_schemas.get(event_type))
    }

    /// The last change: a revision at or before that which made it, and after the one before it
    /// that this process knew.
    pub(super) fn changed_at(&self) -> Revision {
        self.changes.last().copied().unwrap_or_default()
    }

    /// The last of the changes that `revision` has, or the first that is remembered.
    pub(super) fn change_before(&self, revision: Revision) -> Revision {
        let known = self.changes.iter().rev().find(|change| **change <= revision);
        known.or(self.changes.first()).copied().unwrap_or_default()
    }

    /// The changes with one more.
    pub(super) fn changes_and(&self, change: Revision) -> Vec<Revision> {
        let forgotten = (self.changes.len() + 1).saturating_sub(CHANGES);
        self.changes.iter().skip(forgotten).copied().chain([change]).collect()
    }
}

/// The schemas of a tenant, by their text: one that several have is compiled once.
struct Known(HashMap<Digest, Arc<LazySchema>>);

impl Known {
    fn of(before: Option<&Tenant>) -> Self {
        let schemas = before.into_iter().flat_map(Tenant::schemas);
        Self(schemas.map(|(_, schema)| (schema.digest(), Arc::clone(schema))).collect())
    }

    fn schema_of(&mut self, source: &Value, share: &Arc<TenantShare>) -> Arc<LazySchema> {
        let digest = Digest::of(source.to_string().as_bytes());
        let make =
            || Arc::new(LazySchema::new(Arc::new(source.clone()), digest, Arc::clone(share)));
        Arc::clone(self.0.entry(digest).or_insert_with(make))
    }
}
