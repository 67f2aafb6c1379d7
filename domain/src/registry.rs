//! What is defined, indexed for the way of an event: which functions a type reaches, and by which
//! schemas it is checked.

pub(crate) mod check;
pub(crate) mod lazy;
mod room;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use crate::definition::{
    BrokenDefinition, DefinitionKind, Definitions, FunctionDefinition, HostnameDefinition,
    Revision, SchemaDefinition,
};
use crate::digest::Digest;
use crate::hostname::{HostnameGrants, HostnameOwner, HostnameRules};
use crate::key::KeyDefinition;
use crate::manifest::Trigger;
use crate::names::{EventPattern, EventType, FunctionName, TenantName};
use crate::routes::Routes;
use crate::schema::{NoCompiler, SchemaCompiler};

pub(crate) use self::check::{Check, check_all, try_check_all};
pub use self::check::{Refusal, Unchecked};
pub(crate) use self::lazy::{LazySchema, TenantShare};
pub use self::room::Replaced;

/// One revision's definitions, indexed. Never changes: a new revision is a new registry.
#[derive(Debug)]
pub struct Registry {
    revision: Revision,
    tenants: HashMap<TenantName, Tenant>,
    keys: HashMap<Digest, KeyDefinition>,
    deleted: Vec<(TenantName, FunctionName)>,
    broken: Vec<BrokenDefinition>,
    /// The host names that HTTP triggers name, whoever owns them.
    hosts: HashSet<String>,
    hostnames: Vec<HostnameDefinition>,
    grants: HostnameGrants,
    compiler: Arc<dyn SchemaCompiler>,
}

#[derive(Debug, Default)]
struct Tenant {
    share: Arc<TenantShare>,
    functions: HashMap<FunctionName, Arc<FunctionDefinition>>,
    exact: HashMap<EventType, Vec<Subscription>>,
    patterns: Vec<(EventPattern, Subscription)>,
    schemas: HashMap<EventType, TypeSchema>,
    /// Those that cannot be read: nothing satisfies them.
    broken_schemas: HashMap<EventType, Arc<LazySchema>>,
    routes: Routes,
}

#[derive(Debug)]
struct TypeSchema {
    definition: Arc<SchemaDefinition>,
    schema: Arc<LazySchema>,
}

/// A function that a type reaches.
#[derive(Clone, Debug)]
struct Subscription {
    function: Arc<FunctionDefinition>,
    /// The schema of the trigger that matched.
    schema: Option<Arc<LazySchema>>,
}

/// Where an event of some type goes.
#[derive(Debug, Default)]
pub struct Route {
    /// The functions, each once, by name.
    pub functions: Vec<Arc<FunctionDefinition>>,
    checks: Vec<Check>,
}

impl Default for Registry {
    /// A registry of nothing, whose successors look things up: no schema can be used, so that data
    /// that one should be checked by are refused.
    fn default() -> Self {
        Self::new(Arc::new(NoCompiler))
    }
}

impl Registry {
    /// A registry of nothing, whose successors have `compiler` compile schemas, and check by what
    /// it makes of them.
    pub fn new(compiler: Arc<dyn SchemaCompiler>) -> Self {
        Self {
            revision: Revision::default(),
            tenants: HashMap::new(),
            keys: HashMap::new(),
            deleted: Vec::new(),
            broken: Vec::new(),
            hosts: HashSet::new(),
            hostnames: Vec::new(),
            grants: HostnameGrants::default(),
            compiler,
        }
    }

    /// Indexes `definitions`, taking over from `previous` its compiler and every schema that has
    /// not changed, compiled or not. Compiles none.
    pub fn build(definitions: Definitions, previous: &Self) -> Self {
        let compiler = Arc::clone(&previous.compiler);
        let mut known = previous.known_schemas();
        let mut schema_of = |share: &Arc<TenantShare>, tenant: &TenantName, source: &Value| {
            let digest = Digest::of(source.to_string().as_bytes());
            let make =
                || Arc::new(LazySchema::new(Arc::new(source.clone()), digest, Arc::clone(share)));
            Arc::clone(known.entry((tenant.clone(), digest)).or_insert_with(make))
        };
        let mut tenants: HashMap<TenantName, Tenant> = HashMap::new();
        for function in definitions.functions {
            let function = Arc::new(function);
            let tenant = tenant_of(&mut tenants, &function.tenant, previous);
            let share = Arc::clone(&tenant.share);
            let mut schema_of = |source: &Value| schema_of(&share, &function.tenant, source);
            for trigger in function.manifest.triggers.iter().filter_map(Trigger::as_event) {
                let schema = trigger.schema.as_ref().map(&mut schema_of);
                tenant.subscribe(
                    &trigger.event,
                    Subscription { function: Arc::clone(&function), schema },
                );
            }
            tenant.routes.add(&function, &mut schema_of);
            tenant.functions.insert(function.name.clone(), function);
        }
        for definition in definitions.schemas {
            let tenant = tenant_of(&mut tenants, &definition.tenant, previous);
            let schema = schema_of(&tenant.share, &definition.tenant, &definition.schema);
            let event_type = definition.event_type.clone();
            tenant
                .schemas
                .insert(event_type, TypeSchema { definition: Arc::new(definition), schema });
        }
        for broken in
            definitions.broken.iter().filter(|broken| broken.kind == DefinitionKind::Schema)
        {
            let (Ok(name), Ok(event_type)) = (broken.tenant.parse(), broken.name.parse()) else {
                continue;
            };
            let tenant = tenant_of(&mut tenants, &name, previous);
            let schema = LazySchema::broken(&broken.why, Arc::clone(&tenant.share));
            tenant.broken_schemas.insert(event_type, Arc::new(schema));
        }
        let hosts =
            tenants.values().flat_map(|tenant| tenant.routes.hosts()).map(str::to_owned).collect();
        let hostnames = definitions.hostnames;
        let grants = hostnames
            .iter()
            .map(|granted| (granted.pattern.clone(), granted.tenant.clone()))
            .collect();
        let keys = definitions.keys.into_iter().map(|key| (key.hash, key)).collect();
        let (revision, deleted, broken) =
            (definitions.revision, definitions.deleted, definitions.broken);
        Self { revision, tenants, keys, deleted, broken, hosts, hostnames, grants, compiler }
    }

    /// What compiles schemas, and says what they and the checks by them may take.
    pub fn schema_compiler(&self) -> &dyn SchemaCompiler {
        &*self.compiler
    }

    /// The revision that is indexed.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The function called `name`.
    pub fn function(&self, tenant: &TenantName, name: &str) -> Option<&Arc<FunctionDefinition>> {
        self.tenants.get(tenant)?.functions.get(name)
    }

    /// Every function of every tenant, in no order.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<FunctionDefinition>> {
        self.tenants.values().flat_map(|tenant| tenant.functions.values())
    }

    /// Functions that were deleted, while their queues may still hold something.
    pub fn deleted(&self) -> &[(TenantName, FunctionName)] {
        &self.deleted
    }

    /// What is defined and cannot be read here.
    pub fn broken(&self) -> &[BrokenDefinition] {
        &self.broken
    }

    /// Why the function called `name` cannot be read here, where that is so.
    pub fn broken_function(&self, tenant: &TenantName, name: &str) -> Option<&BrokenDefinition> {
        self.broken.iter().find(|broken| broken.is_function_of(tenant) && broken.name == name)
    }

    /// The functions of one tenant that cannot be read here.
    pub fn broken_functions_of<'a>(
        &'a self,
        tenant: &'a TenantName,
    ) -> impl Iterator<Item = &'a BrokenDefinition> {
        self.broken.iter().filter(|broken| broken.is_function_of(tenant))
    }

    /// The HTTP routes of a tenant's functions.
    pub fn routes(&self, tenant: &TenantName) -> Option<&Routes> {
        Some(&self.tenants.get(tenant)?.routes)
    }

    /// The tenant whose functions answer requests for `host`, which is in lower case and has no
    /// port, and its routes: the name's owner, if one of its triggers names it. A trigger of
    /// another tenant has no effect.
    pub fn routes_of_host<'a>(
        &'a self,
        rules: &'a HostnameRules,
        host: &str,
    ) -> Option<(&'a TenantName, &'a Routes)> {
        // Nearly every request ends here.
        if !self.hosts.contains(host) {
            return None;
        }
        let HostnameOwner::Tenant(tenant) = rules.owner(&self.grants, &host.parse().ok()?) else {
            return None;
        };
        Some((tenant, self.routes(tenant)?)).filter(|(_, routes)| routes.has_host(host))
    }

    /// Whose host names are by the API.
    pub fn hostname_grants(&self) -> &HostnameGrants {
        &self.grants
    }

    /// The host names that were granted by the API, by pattern.
    pub fn hostnames(&self) -> &[HostnameDefinition] {
        &self.hostnames
    }

    /// The functions of one tenant, by name.
    pub fn functions_of(&self, tenant: &TenantName) -> Vec<&Arc<FunctionDefinition>> {
        let mut functions: Vec<_> =
            self.tenants.get(tenant).into_iter().flat_map(|t| t.functions.values()).collect();
        functions.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        functions
    }

    /// What a tenant's functions listen to, sorted, each once.
    pub fn event_types_of(&self, tenant: &TenantName) -> Vec<&str> {
        let Some(tenant) = self.tenants.get(tenant) else { return Vec::new() };
        let mut types: Vec<&str> = tenant
            .exact
            .keys()
            .map(EventType::as_str)
            .chain(tenant.patterns.iter().map(|(p, _)| p.as_str()))
            .collect();
        types.sort_unstable();
        types.dedup();
        types
    }

    /// The schemas of a tenant's event types, by type.
    pub fn schemas_of(&self, tenant: &TenantName) -> Vec<&Arc<SchemaDefinition>> {
        let schemas = self.tenants.get(tenant).into_iter().flat_map(|t| t.schemas.values());
        let mut definitions: Vec<_> = schemas.map(|schema| &schema.definition).collect();
        definitions.sort_unstable_by(|a, b| a.event_type.cmp(&b.event_type));
        definitions
    }

    /// The schema of an event type.
    pub fn schema(&self, tenant: &TenantName, event_type: &str) -> Option<&Arc<SchemaDefinition>> {
        Some(&self.tenants.get(tenant)?.schemas.get(event_type)?.definition)
    }

    /// The key whose text is `text`.
    pub fn key(&self, text: &str) -> Option<&KeyDefinition> {
        self.keys.get(&crate::key::ApiKey::hash_of(text))
    }

    /// Whether any key exists, though it be one that cannot be read here; from the first one on,
    /// every request needs one.
    pub fn has_keys(&self) -> bool {
        !self.keys.is_empty() || self.broken.iter().any(|broken| broken.kind == DefinitionKind::Key)
    }

    /// Every key, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &KeyDefinition> {
        self.keys.values()
    }

    /// Where events of `event_type` go. No functions: nobody listens.
    pub fn route(&self, tenant: &TenantName, event_type: &EventType) -> Route {
        let mut route = Route::default();
        let Some(tenant) = self.tenants.get(tenant) else { return route };
        route.add_type_schema(tenant, event_type);
        for subscription in tenant.subscriptions(event_type) {
            route.add(subscription);
        }
        route.functions.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        route
    }

    /// Where an event of `event_type` goes that is sent to the function called `name` and to no
    /// other, whether or not it subscribes to the type. Checked are the type's schema and those of
    /// the function's triggers that match. `None` where there is no such function.
    pub fn route_to(
        &self,
        tenant: &TenantName,
        name: &str,
        event_type: &EventType,
    ) -> Option<Route> {
        let tenant = self.tenants.get(tenant)?;
        let function = tenant.functions.get(name)?;
        let mut route = Route { functions: vec![Arc::clone(function)], checks: Vec::new() };
        route.add_type_schema(tenant, event_type);
        for subscription in
            tenant.subscriptions(event_type).filter(|s| Arc::ptr_eq(&s.function, function))
        {
            route.add(subscription);
        }
        Some(route)
    }

    /// Every schema, by whose it is and by its text.
    fn known_schemas(&self) -> HashMap<(TenantName, Digest), Arc<LazySchema>> {
        let tenants = self.tenants.iter().flat_map(|(name, tenant)| {
            tenant
                .schemas()
                .map(|(_, schema)| ((name.clone(), schema.digest()), Arc::clone(schema)))
        });
        tenants.collect()
    }
}

/// The tenant called `name`, made if it is not there yet.
fn tenant_of<'a>(
    tenants: &'a mut HashMap<TenantName, Tenant>,
    name: &TenantName,
    previous: &Registry,
) -> &'a mut Tenant {
    tenants.entry(name.clone()).or_insert_with(|| {
        let known = previous.tenants.get(name).map(|tenant| Arc::clone(&tenant.share));
        let share =
            known.unwrap_or_else(|| Arc::new(TenantShare::new(Arc::clone(&previous.compiler))));
        Tenant { share, ..Tenant::default() }
    })
}

impl Tenant {
    fn subscribe(&mut self, pattern: &EventPattern, subscription: Subscription) {
        // A pattern without a wildcard is an event type: looked up rather than tried.
        match pattern.parse::<EventType>() {
            Ok(event_type) => self.exact.entry(event_type).or_default().push(subscription),
            Err(_) => self.patterns.push((pattern.clone(), subscription)),
        }
    }

    fn subscriptions(&self, event_type: &EventType) -> impl Iterator<Item = &Subscription> {
        let patterns =
            self.patterns.iter().filter(|(pattern, _)| pattern.matches(event_type)).map(|(_, s)| s);
        self.exact.get(event_type).into_iter().flatten().chain(patterns)
    }
}

impl Route {
    fn add_type_schema(&mut self, tenant: &Tenant, event_type: &EventType) {
        let schema = tenant.schemas.get(event_type).map(|schema| &schema.schema);
        if let Some(schema) = schema.or_else(|| tenant.broken_schemas.get(event_type)) {
            self.checks.push(Check {
                owner: format!("event type {event_type}"),
                schema: Arc::clone(schema),
            });
        }
    }

    fn add(&mut self, subscription: &Subscription) {
        if !self.functions.iter().any(|known| Arc::ptr_eq(known, &subscription.function)) {
            self.functions.push(Arc::clone(&subscription.function));
        }
        if let Some(schema) = &subscription.schema {
            let owner = format!("function {}", subscription.function.name);
            self.checks.push(Check { owner, schema: Arc::clone(schema) });
        }
    }

    /// Whether the data is checked at all.
    pub fn is_checked(&self) -> bool {
        !self.checks.is_empty()
    }

    /// Checks an event's data against every schema on the way: the type's, and each matching
    /// trigger's. An event goes to all of its functions or to none. Takes a while at times: schemas
    /// are compiled when they are first needed.
    ///
    /// # Errors
    /// The first schema that is not satisfied, and why.
    pub fn check(&self, data: &Value) -> Result<(), Refusal> {
        check_all(&self.checks, data, None)
    }

    /// The same in no more than `steps`, from which it takes off what it took.
    ///
    /// # Errors
    /// The first schema that is not satisfied, and why.
    pub fn check_within(&self, data: &Value, steps: &mut u64) -> Result<(), Refusal> {
        check_all(&self.checks, data, Some(steps))
    }

    /// The same for threads that serve requests: `None` where a schema is not compiled yet, or the
    /// steps do not last.
    pub fn try_check(&self, data: &Value, steps: &mut u64) -> Option<Result<(), Refusal>> {
        try_check_all(&self.checks, data, steps)
    }
}

#[cfg(test)]
mod tests;
