//! Whether a change keeps within its tenant's quota.

use wasmill_domain::TenantName;

use super::columns::get;
use super::error::Result;
use super::session::Session;
use crate::convert;
use crate::port::Change;
use crate::quota::{Counted, Quotas};

/// How many functions a tenant has, and whether `$2` is one of them.
pub(super) const FUNCTIONS: &str = "SELECT count(*) AS count, coalesce(bool_or(name = $2), false) AS known FROM functions WHERE tenant = $1";

/// The same of the event types that have a schema.
pub(super) const SCHEMAS: &str = "SELECT count(*) AS count, coalesce(bool_or(event_type = $2), false) AS known FROM schemas WHERE tenant = $1";

/// The same of keys, which are always new.
pub(super) const KEYS: &str =
    "SELECT count(*) AS count, $2::text IS NULL AS known FROM api_keys WHERE tenant = $1";

/// Refuses a change that adds something of which the tenant has as much as it may; within the
/// change's transaction, which holds the revision, so that nothing is added meanwhile.
pub(super) async fn check(
    session: &mut Session<'_>,
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
    let row = session.row(sqlx::query(sql).bind(tenant.as_str()).bind(name)).await?;
    if !get::<bool>(&row, "known")? {
        quotas.of(tenant).admit(tenant, what, convert::measure("count", get(&row, "count")?)?)?;
    }
    Ok(())
}
