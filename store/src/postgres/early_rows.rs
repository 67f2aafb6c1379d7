//! Rows of executions that operations have made before their events came. Where several rows are
//! held, an execution's comes before its note, and executions are in the order of their ids.

use wasmill_domain::{ExecutionId, Lifecycle, Outcome, TenantName, Timestamp, TraceContext};

use super::columns::{Columns, get, id_of};
use super::error::Result;
use super::partitions::share_old_days;
use super::session::Session;
use super::text::stored;
use crate::convert;
use crate::operate::NOT_KNOWN_YET;
use crate::quota::{Counted, TenantQuota};

/// A row without an event.
const INSERT: &str = "INSERT INTO executions (id, state, epoch, attempt, max_attempts, queued_at, outcome, finished_at, held_by, reason, \
     changed_at, accepted_at, tenant, traceparent, function, event_type, event_id, event_source, event) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, '', '', '') ON CONFLICT DO NOTHING";

/// One of a tenant's after the other, so that what is counted is what there is.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('wasmill early rows ' || current_schema() || ' ' || $1, 0))";

const NOTE: &str = "INSERT INTO early_rows (execution_id, tenant, made_at) VALUES ($1, $2, $3) \
     ON CONFLICT (execution_id) DO UPDATE SET tenant = excluded.tenant, made_at = excluded.made_at";

/// Deletes a tenant's notes that say nothing: a release that does not know notes has brought the
/// event, or deleted the row as old. What somebody is just changing is left.
const DELETE_VOID: &str = "DELETE FROM early_rows WHERE execution_id IN (SELECT n.execution_id FROM early_rows n WHERE n.tenant = $1 \
     AND NOT EXISTS (SELECT 1 FROM executions e WHERE e.id = n.execution_id AND e.event_id = '') FOR UPDATE OF n SKIP LOCKED)";

const OLD: &str =
    "SELECT execution_id FROM early_rows WHERE made_at < $1 ORDER BY made_at LIMIT $2";

/// What somebody is just changing is left for another time.
const HOLD: &str = "SELECT id, event_id = '' AS is_early FROM executions WHERE id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED";

/// Those of some executions that have no row.
const WITHOUT_ROW: &str = "SELECT x.id FROM unnest($1) AS x (id) WHERE NOT EXISTS (SELECT 1 FROM executions e WHERE e.id = x.id)";

/// Writes the row of an execution whose event has not come, within what its tenant may have of
/// such; false where there is a row already.
pub(super) async fn insert(
    session: &mut Session<'_>,
    quota: &TenantQuota,
    tenant: &TenantName,
    id: ExecutionId,
    row: &Lifecycle,
    at: Timestamp,
) -> Result<bool> {
    session.execute(sqlx::query(LOCK).bind(tenant.as_str())).await?;
    admit(session, quota, tenant).await?;
    let insert = sqlx::query(INSERT)
        .bind(id.0)
        .bind(row.state.as_stored())
        .bind(i64::from(row.epoch))
        .bind(i64::from(row.attempt))
        .bind(i64::from(row.max_attempts))
        .bind(row.queued_at.as_micros())
        .bind(row.outcome.map(Outcome::as_str))
        .bind(row.finished_at.map(Timestamp::as_micros))
        .bind(row.held_by.as_deref().map(stored))
        .bind(row.reason.as_deref().map(stored))
        .bind(row.changed_at.map(Timestamp::as_micros))
        .bind(id.made_at().as_micros())
        .bind(tenant.as_str())
        .bind(TraceContext::new_root().to_string())
        .bind(NOT_KNOWN_YET);
    if session.execute(insert).await? == 0 {
        return Ok(false);
    }
    let note = sqlx::query(NOTE).bind(id.0).bind(tenant.as_str()).bind(at.as_micros());
    session.execute(note).await?;
    Ok(true)
}

/// Whether a tenant may have one more.
async fn admit(session: &mut Session<'_>, quota: &TenantQuota, tenant: &TenantName) -> Result<()> {
    if quota.admit(tenant, Counted::EarlyRows, count(session, tenant).await?).is_ok() {
        return Ok(());
    }
    session.execute(sqlx::query(DELETE_VOID).bind(tenant.as_str())).await?;
    Ok(quota.admit(tenant, Counted::EarlyRows, count(session, tenant).await?)?)
}

async fn count(session: &mut Session<'_>, tenant: &TenantName) -> Result<u64> {
    let count = sqlx::query("SELECT count(*) AS count FROM early_rows WHERE tenant = $1");
    let count = get(&session.row(count.bind(tenant.as_str())).await?, "count")?;
    Ok(convert::measure("count", count)?)
}

/// Notes that the event of a row has come.
pub(super) async fn has_come(session: &mut Session<'_>, id: ExecutionId) -> Result<()> {
    let delete = sqlx::query("DELETE FROM early_rows WHERE execution_id = $1").bind(id.0);
    session.execute(delete).await.map(drop)
}

/// Deletes a row whose event has not come, and which is held.
pub(super) async fn delete(session: &mut Session<'_>, id: ExecutionId) -> Result<()> {
    let delete = sqlx::query("DELETE FROM executions WHERE id = $1 AND event_id = ''").bind(id.0);
    session.execute(delete).await?;
    has_come(session, id).await
}

/// Deletes up to `limit` of those that were made before a time, and gives how many. What somebody
/// is just changing is left; the note of one whose event a release brought that does not know notes
/// is deleted alone.
pub(super) async fn prune(session: &mut Session<'_>, before: Timestamp, limit: u32) -> Result<u64> {
    let old = sqlx::query(OLD).bind(before.as_micros()).bind(i64::from(limit));
    let rows = session.rows(old).await?;
    let old: Vec<ExecutionId> =
        rows.iter().map(|row| id_of(row, "execution_id")).collect::<Result<_>>()?;
    if old.is_empty() {
        return Ok(0);
    }
    share_old_days(session, old.iter().copied()).await?;
    let of = |ids: &[ExecutionId]| Columns::default().add(ids.iter().map(|id| id.0));
    let (mut early, mut notes) = (Vec::new(), Vec::new());
    for row in &session.rows(of(&old)?.of(HOLD)).await? {
        let id = id_of(row, "id")?;
        notes.push(id);
        if get(row, "is_early")? {
            early.push(id);
        }
    }
    for row in &session.rows(of(&old)?.of(WITHOUT_ROW)).await? {
        notes.push(id_of(row, "id")?);
    }
    session.execute(of(&early)?.of("DELETE FROM executions WHERE id = ANY($1)")).await?;
    session
        .execute(
            of(&notes)?
                .of("DELETE FROM early_rows WHERE execution_id = ANY($1) AND made_at < $2")
                .bind(before.as_micros()),
        )
        .await?;
    Ok(early.len() as u64)
}
