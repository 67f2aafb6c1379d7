//! How much of what is defined each tenant may have. Checked in the transaction that adds
//! something, so that no number of requests at once gets past a bound.

use std::collections::BTreeMap;
use std::time::Duration;

use wasmill_domain::TenantName;
use wasmill_domain::lifecycle::EARLY_ROW_KEPT;

use crate::port::{Result, StoreError};

/// What a tenant may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantQuota {
    /// Artifacts: those that it uploaded or that its versions name. Default: 5,000.
    pub artifacts: u64,
    /// The bytes of those artifacts together. Default: 4 GiB.
    pub artifact_bytes: u64,
    /// Versions that are kept of each function, the current one included: 1 or more. A deploy
    /// deletes the oldest beyond them; the current version and those after it are never deleted.
    /// Default: 20.
    pub versions: u32,
    /// Functions. Default: 1,000.
    pub functions: u64,
    /// Event types with a schema. Default: 1,000.
    pub schemas: u64,
    /// API keys. Default: 100.
    pub keys: u64,
    /// Executions that were cancelled or suspended before anything was known of them, and of which
    /// nothing is known yet. Default: 1,000.
    pub early_rows: u64,
}

impl Default for TenantQuota {
    fn default() -> Self {
        Self {
            artifacts: 5_000,
            artifact_bytes: 4 << 30,
            versions: 20,
            functions: 1_000,
            schemas: 1_000,
            keys: 100,
            early_rows: 1_000,
        }
    }
}

/// The quotas of all tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// What every tenant may have that is not among `tenants`.
    pub default: TenantQuota,
    /// What some tenants may have instead.
    pub tenants: BTreeMap<TenantName, TenantQuota>,
    /// How long an artifact is kept after its upload that no version names. Default: 1 h.
    pub unused_artifacts: Duration,
    /// How long it is remembered that an execution was cancelled or suspended of which nothing is
    /// known. Default: 7 days.
    pub early_rows_kept: Duration,
}

impl Default for Quotas {
    fn default() -> Self {
        let (default, tenants) = (TenantQuota::default(), BTreeMap::new());
        Self {
            default,
            tenants,
            unused_artifacts: Duration::from_secs(3600),
            early_rows_kept: EARLY_ROW_KEPT,
        }
    }
}

impl Quotas {
    /// What a tenant may have.
    pub fn of(&self, tenant: &TenantName) -> &TenantQuota {
        self.tenants.get(tenant).unwrap_or(&self.default)
    }
}

/// What is counted one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Functions,
    Schemas,
    Keys,
    EarlyRows,
}

impl TenantQuota {
    /// Whether a tenant that has `count` of something may have one more.
    pub(crate) fn admit(&self, tenant: &TenantName, what: Counted, count: u64) -> Result<()> {
        let (quota, most, advice) = match what {
            Counted::Functions => {
                ("functions", self.functions, "delete a function that is not needed")
            }
            Counted::Schemas => {
                ("schemas", self.schemas, "delete the schema of an event type that is not used")
            }
            Counted::Keys => ("keys", self.keys, "delete a key that nobody uses"),
            Counted::EarlyRows => (
                "early_rows",
                self.early_rows,
                "resume those that were suspended; the others go by themselves when they are old or something is known of them",
            ),
        };
        if count < most {
            return Ok(());
        }
        let why = format!(
            "tenant '{tenant}' has {count} {quota} and may have {most} (quota '{quota}'): {advice}, or have the operator raise it"
        );
        Err(StoreError::QuotaExceeded { quota, why })
    }

    /// Whether a tenant that has `count` artifacts of `bytes` together may have one more, of `size`
    /// bytes.
    pub(crate) fn admit_artifact(
        &self,
        tenant: &TenantName,
        count: u64,
        bytes: u64,
        size: u64,
    ) -> Result<()> {
        const ADVICE: &str = "delete functions that are not needed; an artifact that no version names any more goes by itself \
                              a while after its upload. Or have the operator raise it";
        let refuse = |quota, why| Err(StoreError::QuotaExceeded { quota, why });
        if count >= self.artifacts {
            let most = self.artifacts;
            let why = format!(
                "tenant '{tenant}' has {count} artifacts and may have {most} (quota 'artifacts'): {ADVICE}"
            );
            return refuse("artifacts", why);
        }
        if bytes.saturating_add(size) > self.artifact_bytes {
            let most = self.artifact_bytes;
            let why = format!(
                "the artifacts of tenant '{tenant}' have {bytes} bytes, this one has {size}, and together they may have {most} \
                 (quota 'artifact_bytes'): {ADVICE}"
            );
            return refuse("artifact_bytes", why);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_names_the_quota_and_the_way_out() {
        let quota = TenantQuota {
            artifacts: 2,
            artifact_bytes: 10,
            functions: 1,
            ..TenantQuota::default()
        };
        let tenant = TenantName::default();
        let refused = |result: Result<()>| match result {
            Err(StoreError::QuotaExceeded { quota, why }) => (quota, why),
            other => panic!("{other:?}"),
        };
        quota.admit(&tenant, Counted::Functions, 0).unwrap();
        let (name, why) = refused(quota.admit(&tenant, Counted::Functions, 1));
        assert_eq!(name, "functions");
        assert!(
            why.contains("may have 1 (quota 'functions')") && why.contains("delete a function"),
            "{why}"
        );
        quota.admit_artifact(&tenant, 1, 4, 6).unwrap();
        assert_eq!(refused(quota.admit_artifact(&tenant, 2, 0, 0)).0, "artifacts");
        let (name, why) = refused(quota.admit_artifact(&tenant, 1, 4, 7));
        assert_eq!(name, "artifact_bytes");
        assert!(why.contains("may have 10 (quota 'artifact_bytes')"), "{why}");
    }

    #[test]
    fn some_tenants_have_their_own() {
        let own = TenantQuota { keys: 1, ..TenantQuota::default() };
        let large: TenantName = "large".parse().unwrap();
        let quotas =
            Quotas { tenants: BTreeMap::from([(large.clone(), own.clone())]), ..Quotas::default() };
        assert_eq!(
            (quotas.of(&large), quotas.of(&TenantName::default())),
            (&own, &TenantQuota::default())
        );
    }
}
