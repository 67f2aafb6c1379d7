//! Whether a change keeps within its tenant's quota.

use sqlx::sqlite::SqliteConnection;
use wasmill_domain::TenantName;

use super::error;
use crate::convert;
use crate::port::{Change, Result};
use crate::quota::{Counted, Quotas};

/// How many functions a tenant has, and whether `?2` is one of them.
pub(super) const FUNCTIONS: &str =
    "SELECT count(*), coalesce(max(name = ?2), 0) FROM functions WHERE tenant = ?1";

/// The same of the event types that have a schema.
pub(super) const SCHEMAS: &str =
    "SELECT count(*), coalesce(max(event_type = ?2), 0) FROM schemas WHERE tenant = ?1";

/// The same of keys, which are always new.
pub(super) const KEYS: &str = "SELECT count(*), ?2 IS NULL FROM api_keys WHERE tenant = ?1";

/// Refuses a change that adds something of which the tenant has as much as it may; within the
/// change's transaction.
pub(super) async fn check(
    connection: &mut SqliteConnection,
    quotas: &Quotas,
    change: &Change,
) -> Result<()> {
    let (tenant, what, sql, name): (&TenantName, _, _, &str) = match change {
        Change::Deploy { tenant, manifest, .. } => {
            (tenant, Counted::Functions, FUNCTIONS, &manifest.name)
        }
        Change::PutSchema { tenant, event_type, .. } => {
            (tenant, Counted::Schemas, SCHEMAS, event_type)
        }
        Change::PutKey(key) => (&key.tenant, Counted::Keys, KEYS, ""),
        _ => return Ok(()),
    };
    let query = sqlx::query_as(sql).bind(tenant.as_str()).bind(name);
    let (count, known): (i64, bool) = query.fetch_one(connection).await.map_err(error::of)?;
    if known {
        Ok(())
    } else {
        quotas.of(tenant).admit(tenant, what, convert::measure("count", count)?)
    }
}
