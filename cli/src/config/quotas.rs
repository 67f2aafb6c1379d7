//! What each tenant may define: `[quotas]` for all, `[quotas.tenants.NAME]` for one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use wasmill_domain::TenantName;
use wasmill_domain::units::{ByteSize, Span};
use wasmill_store::{Quotas as StoreQuotas, TenantQuota};

use super::bounds::{OutOfBounds, within};

/// What every tenant may have that has no section of its own, in gateways; how long what nobody
/// uses is kept, in schedulers, and what nothing is known of, in both.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Quotas {
    /// Artifacts: 1 to 10^9.
    pub(crate) artifacts: u64,
    /// Their bytes together.
    pub(crate) artifact_bytes: ByteSize,
    /// Versions that are kept of each function: 1 to 1,000,000.
    pub(crate) versions: u32,
    /// Functions: 1 to 10^9.
    pub(crate) functions: u64,
    /// Event types with a schema: 1 to 10^9.
    pub(crate) schemas: u64,
    /// API keys: 1 to 10^9.
    pub(crate) keys: u64,
    /// Executions that were cancelled or suspended and of which nothing is known yet: 1 to 10^9.
    pub(crate) early_rows: u64,
    /// How long an artifact that no version names is kept after its upload: 1 min or longer.
    pub(crate) unused_artifacts: Span,
    /// How long it is remembered that an execution was cancelled or suspended of which nothing is
    /// known, and how old its id may be: 1 min to 30 days.
    pub(crate) early_rows_kept: Span,
    /// What is different for some tenants.
    pub(crate) tenants: BTreeMap<TenantName, OfTenant>,
}

/// What is different for one tenant.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OfTenant {
    pub(crate) artifacts: Option<u64>,
    pub(crate) artifact_bytes: Option<ByteSize>,
    pub(crate) versions: Option<u32>,
    pub(crate) functions: Option<u64>,
    pub(crate) schemas: Option<u64>,
    pub(crate) keys: Option<u64>,
    pub(crate) early_rows: Option<u64>,
}

impl Default for Quotas {
    fn default() -> Self {
        let StoreQuotas { default, tenants: _, unused_artifacts, early_rows_kept } =
            StoreQuotas::default();
        let TenantQuota {
            artifacts,
            artifact_bytes,
            versions,
            functions,
            schemas,
            keys,
            early_rows,
        } = default;
        Self {
            artifacts,
            artifact_bytes: ByteSize(artifact_bytes),
            versions,
            functions,
            schemas,
            keys,
            early_rows,
            unused_artifacts: Span(unused_artifacts),
            early_rows_kept: Span(early_rows_kept),
            tenants: BTreeMap::new(),
        }
    }
}

impl Quotas {
    /// The same as the store takes it.
    pub(crate) fn for_store(&self) -> StoreQuotas {
        let default = TenantQuota {
            artifacts: self.artifacts,
            artifact_bytes: self.artifact_bytes.0,
            versions: self.versions,
            functions: self.functions,
            schemas: self.schemas,
            keys: self.keys,
            early_rows: self.early_rows,
        };
        let of_tenant = |of: &OfTenant| TenantQuota {
            artifacts: of.artifacts.unwrap_or(default.artifacts),
            artifact_bytes: of.artifact_bytes.map_or(default.artifact_bytes, |bytes| bytes.0),
            versions: of.versions.unwrap_or(default.versions),
            functions: of.functions.unwrap_or(default.functions),
            schemas: of.schemas.unwrap_or(default.schemas),
            keys: of.keys.unwrap_or(default.keys),
            early_rows: of.early_rows.unwrap_or(default.early_rows),
        };
        let tenants =
            self.tenants.iter().map(|(tenant, of)| (tenant.clone(), of_tenant(of))).collect();
        StoreQuotas {
            default,
            tenants,
            unused_artifacts: self.unused_artifacts.0,
            early_rows_kept: self.early_rows_kept.0,
        }
    }

    /// Checks every value against its bounds.
    pub(super) fn check(&self) -> Result<(), OutOfBounds> {
        let all = self.for_store();
        for quota in all.tenants.values().chain([&all.default]) {
            let some = 1..=1_000_000_000;
            within("quotas.artifacts", some.contains(&quota.artifacts), "1 to 10^9")?;
            within(
                "quotas.artifact_bytes",
                (1..=1 << 50).contains(&quota.artifact_bytes),
                "1B to 1048576GiB",
            )?;
            within("quotas.versions", (1..=1_000_000).contains(&quota.versions), "1 to 1,000,000")?;
            within("quotas.functions", some.contains(&quota.functions), "1 to 10^9")?;
            within("quotas.schemas", some.contains(&quota.schemas), "1 to 10^9")?;
            within("quotas.keys", some.contains(&quota.keys), "1 to 10^9")?;
            within("quotas.early_rows", some.contains(&quota.early_rows), "1 to 10^9")?;
        }
        let minute = Duration::from_secs(60);
        within("quotas.unused_artifacts", self.unused_artifacts.0 >= minute, "1m or longer")?;
        let kept = minute..=Duration::from_secs(30 * 24 * 3600);
        within("quotas.early_rows_kept", kept.contains(&self.early_rows_kept.0), "1m to 30d")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_what_its_section_says_and_else_what_all_have() {
        let text =
            "functions = 7\nkeys = 3\n[tenants.large]\nfunctions = 9\nartifact_bytes = '1GiB'\n";
        let quotas: Quotas = toml::from_str(text).unwrap();
        quotas.check().unwrap();
        let (store, default) = (quotas.for_store(), TenantQuota::default());
        assert_eq!(store.default, TenantQuota { functions: 7, keys: 3, ..default.clone() });
        let large = TenantQuota { functions: 9, keys: 3, artifact_bytes: 1 << 30, ..default };
        assert_eq!(store.of(&"large".parse().unwrap()), &large);
        assert_eq!(Quotas::default().for_store(), StoreQuotas::default());
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        for (text, key) in [
            ("versions = 0", "quotas.versions"),
            ("unused_artifacts = '1s'", "quotas.unused_artifacts"),
            ("early_rows = 0", "quotas.early_rows"),
            ("early_rows_kept = '31d'", "quotas.early_rows_kept"),
            ("[tenants.small]\nkeys = 0", "quotas.keys"),
        ] {
            assert_eq!(toml::from_str::<Quotas>(text).unwrap().check().unwrap_err().key, key);
        }
        assert!(toml::from_str::<Quotas>("[tenants.'Not a name']\nkeys = 1").is_err());
        assert!(toml::from_str::<Quotas>("[tenants.x]\nkey = 1").is_err());
    }
}
