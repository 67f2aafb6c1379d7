//! What is defined, indexed for the way of an event: which functions a type reaches, and by which
//! schemas it is checked.

mod build;
pub(crate) mod check;
pub(crate) mod lazy;
mod quota;
mod tenant;

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use crate::definition::{
    DefinitionId, DefinitionKind, FunctionDefinition, HostnameDefinition, Revision,
    SchemaDefinition, UnreadableDefinition,
};
use crate::digest::Digest;
use crate::hostname::{GrantedNames, HostnameOwner, HostnamePattern, HostnameRules};
use crate::key::KeyDefinition;
use crate::names::{EventType, FunctionName, TenantName};
use crate::routes::Routes;
use crate::schema::{NoCompiler, SchemaCompiler};
use crate::shared_map::SharedMap;

use self::tenant::{Subscription, Tenant};

pub(crate) use self::check::{Check, check_all, try_check_all};
pub use self::check::{Refusal, Unchecked};
pub use self::quota::Replaced;

/// One revision's definitions, indexed. Never changes: a new revision is a new registry, which
/// shares with the one before what has not changed. So a change costs as much as its tenant has
/// defined, and what differs between two registries is found without looking at the rest.
#[derive(Clone, Debug)]
pub struct Registry {
    revision: Revision,
    /// One that has nothing any more stays, so that its last change is known.
    tenants: SharedMap<TenantName, Arc<Tenant>>,
    keys: SharedMap<Digest, KeyDefinition>,
    key_hashes: SharedMap<Uuid, Digest>,
    /// What cannot be read and is no tenant's: API keys, host names, and what has a tenant that
    /// cannot be read.
    unreadable: SharedMap<DefinitionId, UnreadableDefinition>,
    /// The host names that HTTP triggers name, whoever owns them, and how many tenants do.
    hosts: SharedMap<String, usize>,
    hostnames: GrantedHostnames,
    compiler: Arc<dyn SchemaCompiler>,
}

/// The host names that were granted by the API.
#[derive(Clone, Debug, Default)]
pub struct GrantedHostnames(SharedMap<HostnamePattern, HostnameDefinition>);

impl GrantedNames for GrantedHostnames {
    fn tenant_of(&self, pattern: &HostnamePattern) -> Option<&TenantName> {
        self.0.get(pattern).map(|granted| &granted.tenant)
    }
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
            tenants: SharedMap::default(),
            keys: SharedMap::default(),
            key_hashes: SharedMap::default(),
            unreadable: SharedMap::default(),
            hosts: SharedMap::default(),
            hostnames: GrantedHostnames::default(),
            compiler,
        }
    }

    /// What compiles schemas, and says what they and the checks by them may take.
    pub fn schema_compiler(&self) -> &dyn SchemaCompiler {
        &*self.compiler
    }

    /// The revision that is indexed.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Every tenant that has or had anything, in no order: for what is done once, not at each
    /// change.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantName> {
        self.tenants.iter().map(|(name, _)| name)
    }

    /// The tenants whose definitions or secrets are not the same in two registries of one process.
    /// What has not changed is not looked at.
    pub fn differing_tenants<'a>(&'a self, other: &'a Self) -> Vec<&'a TenantName> {
        self.tenants.differing(&other.tenants, Arc::ptr_eq)
    }

    /// When a tenant's definitions or secrets changed last, as far as this process knows: what it
    /// was told of several revisions at once counts as of the first of them. While this stays the
    /// same, nothing of the tenant's has changed. `None` where there never was anything.
    pub fn changed_at(&self, tenant: &TenantName) -> Option<Revision> {
        self.tenants.get(tenant).map(|tenant| tenant.changed_at())
    }

    /// The last change of a tenant's that whoever knows `revision` knows: who has seen this one
    /// ([`Registry::changed_at`]), or a later one, knows no older definitions of the tenant than
    /// they do. This registry is to be of `revision` or a later one. Where more has changed since
    /// than is remembered, it is a later change.
    pub fn change_before(&self, tenant: &TenantName, revision: Revision) -> Revision {
        self.tenants.get(tenant).map(|tenant| tenant.change_before(revision)).unwrap_or_default()
    }

    /// The function called `name`.
    pub fn function(&self, tenant: &TenantName, name: &str) -> Option<&Arc<FunctionDefinition>> {
        self.tenants.get(tenant)?.defined.functions.get(name)
    }

    /// Every function of every tenant, in no order: for what is done once, not at each change.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<FunctionDefinition>> {
        self.tenants.values().flat_map(|tenant| tenant.defined.functions.values())
    }

    /// Functions of a tenant that were deleted, while their queues may still hold something.
    pub fn deleted_of(&self, tenant: &TenantName) -> impl Iterator<Item = &FunctionName> {
        self.tenants.get(tenant).into_iter().flat_map(|tenant| &tenant.defined.deleted)
    }

    /// Whether a function was deleted and its queue may still hold something.
    pub fn is_deleted(&self, tenant: &TenantName, name: &str) -> bool {
        self.tenants.get(tenant).is_some_and(|tenant| tenant.defined.deleted.contains(name))
    }

    /// What is defined and cannot be read here, by kind, tenant and name.
    pub fn unreadable(&self) -> Vec<&UnreadableDefinition> {
        let of_tenants =
            self.tenants.values().flat_map(|tenant| tenant.defined.unreadable.values());
        let mut all: Vec<_> = of_tenants.chain(self.unreadable.values()).collect();
        all.sort_unstable_by_key(|unreadable| {
            (unreadable.kind, &unreadable.tenant, &unreadable.name, unreadable.key)
        });
        all
    }

    /// Whether it is known already that a definition cannot be read, and why.
    pub fn knows_unreadable(&self, unreadable: &UnreadableDefinition) -> bool {
        let of_tenant = || {
            let tenant = self.tenants.get(unreadable.tenant.as_str())?;
            tenant.defined.unreadable.get(&(unreadable.kind, unreadable.name.clone()))
        };
        self.unreadable.get(&unreadable.id()).or_else(of_tenant) == Some(unreadable)
    }

    /// Why the function called `name` cannot be read here, where that is so.
    pub fn unreadable_function(
        &self,
        tenant: &TenantName,
        name: &str,
    ) -> Option<&UnreadableDefinition> {
        let unreadable = &self.tenants.get(tenant)?.defined.unreadable;
        unreadable.get(&(DefinitionKind::Function, name.to_owned()))
    }

    /// The functions of one tenant that cannot be read here.
    pub fn unreadable_functions_of<'a>(
        &'a self,
        tenant: &'a TenantName,
    ) -> impl Iterator<Item = &'a UnreadableDefinition> {
        let unreadable =
            self.tenants.get(tenant).into_iter().flat_map(|t| t.defined.unreadable.values());
        unreadable.filter(|unreadable| unreadable.is_function_of(tenant))
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
        self.hosts.get(host)?;
        let HostnameOwner::Tenant(tenant) = rules.owner(&self.hostnames, &host.parse().ok()?)
        else {
            return None;
        };
        Some((tenant, self.routes(tenant)?)).filter(|(_, routes)| routes.has_host(host))
    }

    /// The host names that were granted by the API.
    pub fn hostnames(&self) -> &GrantedHostnames {
        &self.hostnames
    }

    /// The functions of one tenant, by name.
    pub fn functions_of(&self, tenant: &TenantName) -> Vec<&Arc<FunctionDefinition>> {
        let tenant = self.tenants.get(tenant);
        tenant.into_iter().flat_map(|tenant| tenant.defined.functions.values()).collect()
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
        let tenant = self.tenants.get(tenant);
        tenant.into_iter().flat_map(|tenant| tenant.defined.schemas.values()).collect()
    }

    /// The schema of an event type.
    pub fn schema(&self, tenant: &TenantName, event_type: &str) -> Option<&Arc<SchemaDefinition>> {
        self.tenants.get(tenant)?.defined.schemas.get(event_type)
    }

    /// The key whose text is `text`.
    pub fn key(&self, text: &str) -> Option<&KeyDefinition> {
        self.keys.get(&crate::key::ApiKey::hash_of(text))
    }

    /// Whether any key exists, though it be one that cannot be read here; from the first one on,
    /// every request needs one.
    pub fn has_keys(&self) -> bool {
        let is_key = |unreadable: &UnreadableDefinition| unreadable.kind == DefinitionKind::Key;
        !self.keys.is_empty() || self.unreadable.values().any(is_key)
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
        let function = tenant.defined.functions.get(name)?;
        let mut route = Route { functions: vec![Arc::clone(function)], checks: Vec::new() };
        route.add_type_schema(tenant, event_type);
        for subscription in
            tenant.subscriptions(event_type).filter(|s| Arc::ptr_eq(&s.function, function))
        {
            route.add(subscription);
        }
        Some(route)
    }
}

impl Route {
    fn add_type_schema(&mut self, tenant: &Tenant, event_type: &EventType) {
        if let Some(schema) = tenant.type_schema(event_type) {
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
