//! Rows of executions that operations have made before their events came.

use sqlx::sqlite::SqliteConnection;
use wasmill_domain::{ExecutionId, Lifecycle, Outcome, TenantName, Timestamp, TraceContext};

use super::bulk::Bulk;
use super::error;
use super::history::{id_bytes, id_of};
use crate::convert;
use crate::operate::NOT_KNOWN_YET;
use crate::port::Result;
use crate::quota::{Counted, TenantQuota};

/// A row without an event.
const INSERT: &str = "INSERT INTO executions (id, state, epoch, attempt, max_attempts, queued_at, outcome, finished_at, held_by, reason, \
     changed_at, accepted_at, tenant, traceparent, function, event_type, event_id, event_source, event) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?15, '', '', '')";

const NOTE: &str = "INSERT INTO early_rows (execution_id, tenant, made_at) VALUES (?1, ?2, ?3) \
     ON CONFLICT (execution_id) DO UPDATE SET tenant = excluded.tenant, made_at = excluded.made_at";

/// Deletes a tenant's notes that say nothing: a release that does not know notes has brought the
/// event, or deleted the row as old.
const DELETE_VOID: &str = "DELETE FROM early_rows WHERE tenant = ? \
     AND NOT EXISTS (SELECT 1 FROM executions e WHERE e.id = execution_id AND e.event_id = '')";

static DELETE: [Bulk; 2] = [
    Bulk::new("DELETE FROM executions WHERE event_id = '' AND id IN (", 1, ")"),
    Bulk::new("DELETE FROM early_rows WHERE execution_id IN (", 1, ")"),
];

/// Writes the row of an execution whose event has not come, within what its tenant may have of
/// such.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    quota: &TenantQuota,
    tenant: &TenantName,
    id: ExecutionId,
    row: &Lifecycle,
    at: Timestamp,
) -> Result<()> {
    admit(connection, quota, tenant).await?;
    sqlx::query(INSERT)
        .bind(id_bytes(&id))
        .bind(row.state.as_stored())
        .bind(i64::from(row.epoch))
        .bind(i64::from(row.attempt))
        .bind(i64::from(row.max_attempts))
        .bind(row.queued_at.as_micros())
        .bind(row.outcome.map(Outcome::as_str))
        .bind(row.finished_at.map(Timestamp::as_micros))
        .bind(row.held_by.as_deref())
        .bind(row.reason.as_deref())
        .bind(row.changed_at.map(Timestamp::as_micros))
        .bind(id.made_at().as_micros())
        .bind(tenant.as_str())
        .bind(TraceContext::new_root().to_string())
        .bind(NOT_KNOWN_YET)
        .execute(&mut *connection)
        .await
        .map_err(error::of)?;
    let note = sqlx::query(NOTE).bind(id_bytes(&id)).bind(tenant.as_str()).bind(at.as_micros());
    note.execute(connection).await.map(drop).map_err(error::of)
}

/// Whether a tenant may have one more.
async fn admit(
    connection: &mut SqliteConnection,
    quota: &TenantQuota,
    tenant: &TenantName,
) -> Result<()> {
    if quota.admit(tenant, Counted::EarlyRows, count(connection, tenant).await?).is_ok() {
        return Ok(());
    }
    let delete = sqlx::query(DELETE_VOID).bind(tenant.as_str());
    delete.execute(&mut *connection).await.map_err(error::of)?;
    quota.admit(tenant, Counted::EarlyRows, count(connection, tenant).await?)
}

async fn count(connection: &mut SqliteConnection, tenant: &TenantName) -> Result<u64> {
    let count = sqlx::query_scalar("SELECT count(*) FROM early_rows WHERE tenant = ?");
    let count = count.bind(tenant.as_str()).fetch_one(connection).await.map_err(error::of)?;
    convert::measure("count", count)
}

/// Notes that the event of a row has come.
pub(super) async fn has_come(connection: &mut SqliteConnection, id: ExecutionId) -> Result<()> {
    let delete = sqlx::query("DELETE FROM early_rows WHERE execution_id = ?").bind(id_bytes(&id));
    delete.execute(connection).await.map(drop).map_err(error::of)
}

/// Deletes rows whose events have not come.
pub(super) async fn delete(connection: &mut SqliteConnection, ids: &[ExecutionId]) -> Result<()> {
    for sql in &DELETE {
        sql.execute(connection, ids, |id, values| values.push(id_bytes(id)).map(drop)).await?;
    }
    Ok(())
}

/// Deletes up to `limit` of those that were made before a time, and gives how many.
pub(super) async fn prune(
    connection: &mut SqliteConnection,
    before: Timestamp,
    limit: u32,
) -> Result<u64> {
    let old = older_than(connection, before, limit).await?;
    delete(connection, &old).await?;
    Ok(old.len() as u64)
}

/// Up to `limit` of those that were made before a time, the oldest first. Some may have got their
/// events since.
pub(super) async fn older_than(
    connection: &mut SqliteConnection,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<ExecutionId>> {
    let old = "SELECT execution_id FROM early_rows WHERE made_at < ? ORDER BY made_at LIMIT ?";
    let old = sqlx::query(old).bind(before.as_micros()).bind(i64::from(limit));
    let rows = old.fetch_all(connection).await.map_err(error::of)?;
    rows.iter().map(|row| id_of(row, "execution_id")).collect()
}
