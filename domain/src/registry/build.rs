//! Makes a registry of one revision: of everything that is defined, or of an earlier registry and
//! what changed since. A change costs as much as the tenant has defined that it is of, whatever
//! others have.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::tenant::{Defined, Tenant};
use super::{GrantedHostnames, Registry};
use crate::definition::{
    DefinitionId, DefinitionKind, Definitions, HostnameDefinition, Revision, UnreadableDefinition,
};
use crate::key::KeyDefinition;
use crate::names::TenantName;
use crate::shared_map::SharedMap;

impl Registry {
    /// The registry that follows `previous` by these definitions: everything, or what changed since
    /// `previous`' revision. Takes over its compiler and every schema that has not changed,
    /// compiled or not. Compiles none.
    pub fn build(definitions: Definitions, previous: &Self) -> Self {
        let mut next = Next::new(&definitions, previous);
        for change in definitions.changes.iter().flatten() {
            next.forget(change);
        }
        next.add(definitions);
        next.finish()
    }
}

/// A registry in the making.
struct Next<'a> {
    previous: &'a Registry,
    registry: Registry,
    /// The tenants that are indexed anew.
    tenants: BTreeMap<TenantName, Defined>,
    /// Nothing is known of what they had before but their schemas.
    is_whole: bool,
    change: Revision,
}

impl<'a> Next<'a> {
    fn new(definitions: &Definitions, previous: &'a Registry) -> Self {
        let is_whole = definitions.changes.is_none();
        let revision = definitions.revision;
        // Which of the revisions since made a change is not known where there were several.
        let change = Revision(previous.revision.0.saturating_add(1)).min(revision);
        let registry = if is_whole {
            let compiler = Arc::clone(&previous.compiler);
            Registry { revision, ..Registry::new(compiler) }
        } else {
            Registry { revision, ..previous.clone() }
        };
        let mut next = Self { previous, registry, tenants: BTreeMap::new(), is_whole, change };
        if is_whole {
            // Whoever follows one that has nothing any more is told.
            let names = previous.tenants.iter().map(|(name, _)| name.clone());
            next.tenants = names.map(|name| (name, Defined::default())).collect();
        }
        next
    }

    /// What a tenant has, to be changed.
    fn tenant(&mut self, name: &TenantName) -> &mut Defined {
        let (previous, is_whole) = (self.previous, self.is_whole);
        self.tenants.entry(name.clone()).or_insert_with(|| {
            let known = previous.tenants.get(name).filter(|_| !is_whole);
            known.map(|known| known.defined.clone()).unwrap_or_default()
        })
    }

    /// Takes out what changed: what is still there is among the definitions.
    fn forget(&mut self, id: &DefinitionId) {
        match id.kind {
            DefinitionKind::Key => {
                if let Some(hash) =
                    id.name.parse::<Uuid>().ok().and_then(|id| self.registry.key_hashes.remove(&id))
                {
                    self.registry.keys.remove(&hash);
                }
            }
            DefinitionKind::Hostname => {
                if let Ok(pattern) = id.name.parse() {
                    self.registry.hostnames.0.remove(&pattern);
                }
            }
            kind => {
                if let Ok(name) = id.tenant.parse() {
                    let tenant = self.tenant(&name);
                    let name = id.name.as_str();
                    match kind {
                        DefinitionKind::Function => drop(tenant.functions.remove(name)),
                        DefinitionKind::Schema => drop(tenant.schemas.remove(name)),
                        DefinitionKind::DeletedFunction => drop(tenant.deleted.remove(name)),
                        // That it changed is all.
                        DefinitionKind::Secret | DefinitionKind::Key | DefinitionKind::Hostname => {
                        }
                    }
                    tenant.unreadable.remove(&(kind, name.to_owned()));
                }
            }
        }
        self.registry.unreadable.remove(id);
    }

    fn add(&mut self, definitions: Definitions) {
        let Definitions {
            revision: _,
            functions,
            schemas,
            keys,
            hostnames,
            deleted,
            unreadable,
            ..
        } = definitions;
        for function in functions {
            let name = function.name.clone();
            self.tenant(&function.tenant.clone()).functions.insert(name, Arc::new(function));
        }
        for schema in schemas {
            let event_type = schema.event_type.clone();
            self.tenant(&schema.tenant.clone()).schemas.insert(event_type, Arc::new(schema));
        }
        for (tenant, name) in deleted {
            self.tenant(&tenant).deleted.insert(name);
        }
        for key in keys {
            self.add_key(key);
        }
        for granted in hostnames {
            self.registry.hostnames.0.insert(granted.pattern.clone(), granted);
        }
        for unreadable in unreadable {
            self.add_broken(unreadable);
        }
    }

    fn add_key(&mut self, key: KeyDefinition) {
        self.registry.key_hashes.insert(key.id, key.hash);
        self.registry.keys.insert(key.hash, key);
    }

    /// What cannot be read is its tenant's, where it has one that can be read.
    fn add_broken(&mut self, unreadable: UnreadableDefinition) {
        let has_tenant = !matches!(unreadable.kind, DefinitionKind::Key | DefinitionKind::Hostname);
        match unreadable.tenant.parse() {
            Ok(name) if has_tenant => {
                let id = (unreadable.kind, unreadable.name.clone());
                self.tenant(&name).unreadable.insert(id, unreadable);
            }
            _ => drop(self.registry.unreadable.insert(unreadable.id(), unreadable)),
        }
    }

    fn finish(self) -> Registry {
        let Self { previous, mut registry, tenants, is_whole, change } = self;
        for (name, defined) in tenants {
            let before = previous.tenants.get(&name).map(|before| &**before);
            let changes = match before {
                Some(before) if !is_whole => before.changes_and(change),
                _ => vec![change],
            };
            let tenant = Tenant::new(defined, before, &registry.compiler, changes);
            if let Some(before) = before.filter(|_| !is_whole) {
                before.routes.hosts().for_each(|host| count_less(&mut registry.hosts, host));
            }
            tenant.routes.hosts().for_each(|host| count_more(&mut registry.hosts, host));
            registry.tenants.insert(name, Arc::new(tenant));
        }
        registry
    }
}

fn count_more(counts: &mut SharedMap<String, usize>, host: &str) {
    let count = counts.get(host).copied().unwrap_or_default();
    counts.insert(host.to_owned(), count + 1);
}

fn count_less(counts: &mut SharedMap<String, usize>, host: &str) {
    match counts.get(host) {
        Some(1) | None => drop(counts.remove(host)),
        Some(count) => {
            let fewer = count - 1;
            counts.insert(host.to_owned(), fewer);
        }
    }
}

impl GrantedHostnames {
    /// Every grant, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &HostnameDefinition> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests;
