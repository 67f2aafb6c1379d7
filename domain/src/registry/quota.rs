//! What the schemas of one tenant take together.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::Registry;
use super::lazy::LazySchema;
use super::tenant::Tenant;
use crate::digest::Digest;
use crate::names::TenantName;
use crate::schema::CompileError;

/// What a change puts something else in the place of.
#[derive(Clone, Copy, Debug)]
pub enum Replaced<'a> {
    /// A function's triggers.
    Function(&'a str),
    /// The schema of an event type.
    Type(&'a str),
}

impl Registry {
    /// Makes sure that a tenant may have these schemas as well: those of a function's triggers, or
    /// of an event type, in place of what it has now. Takes a while: not for threads that serve
    /// requests.
    ///
    /// # Errors
    /// Where all its schemas together take too much when they are compiled.
    pub fn check_quota(
        &self,
        tenant: &TenantName,
        new: &[&Value],
        replaced: Replaced<'_>,
    ) -> Result<(), CompileError> {
        let kept = self
            .tenants
            .get(tenant)
            .map(|tenant| tenant.schemas_without(replaced))
            .unwrap_or_default();
        // What exceeds a bound now is not compiled, and takes nothing.
        let size = |schema: &LazySchema| self.compiler.bytes_of(schema.source()).unwrap_or(0);
        // Schemas of the same text are compiled once.
        let mut sizes: HashMap<Digest, usize> =
            kept.iter().map(|(digest, schema)| (*digest, size(schema))).collect();
        for source in new {
            sizes
                .insert(Digest::of(source.to_string().as_bytes()), self.compiler.bytes_of(source)?);
        }
        let most = self.compiler.max_tenant_bytes();
        if sizes.into_values().fold(0, usize::saturating_add) > most {
            return Err(CompileError::over_quota(most));
        }
        Ok(())
    }
}

impl Tenant {
    /// Every schema, and the function or the event type that has it.
    pub(super) fn schemas(&self) -> impl Iterator<Item = (Replaced<'_>, &Arc<LazySchema>)> {
        let triggers = self.trigger_schemas.iter().flat_map(|(function, schemas)| {
            let owner = Replaced::Function(function);
            schemas.iter().flatten().map(move |schema| (owner, schema))
        });
        let types = self.type_schemas.iter().map(|(name, schema)| (Replaced::Type(name), schema));
        triggers.chain(types)
    }

    /// The schemas that stay when something is replaced, each once.
    fn schemas_without(&self, replaced: Replaced<'_>) -> HashMap<Digest, &Arc<LazySchema>> {
        let stays = |owner: &Replaced<'_>| match (owner, &replaced) {
            (Replaced::Function(one), Replaced::Function(other))
            | (Replaced::Type(one), Replaced::Type(other)) => one != other,
            _ => true,
        };
        let staying = self.schemas().filter(|(owner, _)| stays(owner));
        staying.map(|(_, schema)| (schema.digest(), schema)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Required, function, registry};
    use super::*;
    use crate::schema::SchemaCompiler as _;
    use serde_json::json;

    #[test]
    fn a_tenants_schemas_are_bounded_together() {
        let schema = |i: u32| json!({"required": [format!("p{i}")]});
        let bytes = Required::default().bytes_of(&schema(0)).unwrap();
        let compiler = Required { max_tenant_bytes: 2 * bytes };
        let one = function("one", &json!([{"event": "a", "schema": schema(1)}]));
        let two = function("two", &json!([{"http": "/two", "schema": schema(2)}]));
        let registry = registry(vec![one, two], vec![], &Registry::new(Arc::new(compiler)));
        let (tenant, third) = (TenantName::default(), schema(3));
        let quota = |new: &[&Value], replaced| registry.check_quota(&tenant, new, replaced);
        assert!(quota(&[&third], Replaced::Function("one")).is_ok());
        assert!(quota(&[&third], Replaced::Function("two")).is_ok());
        let refused = quota(&[&third], Replaced::Type("a")).unwrap_err();
        assert!(refused.message.contains("schemas.max_tenant_bytes"), "{refused}");
        assert!(
            registry.check_quota(&"other".parse().unwrap(), &[&third], Replaced::Type("a")).is_ok()
        );
    }
}
