//! Messages that no process could read.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use uuid::Uuid;
use wasmill_domain::{AttemptKey, Effects, ExecutionId, Lifecycle, Timestamp};

use super::columns::{Columns, get, id_of};
use super::error::Result;
use super::lifecycle;
use super::partitions::share_old_days;
use super::queries::{text, time, word};
use super::session::Session;
use super::store::PostgresStore;
use super::text::stored;
use crate::convert;
use crate::dead_letters::{DeadLetter, DeadLetterSummary};
use crate::port::{self, DeadLetters};

/// Executions are changed in the order of their ids, as everywhere: so that nobody waits for
/// somebody who waits for them.
const LOCK: &str = "SELECT id FROM executions WHERE id = ANY($1) AND tenant = $2 AND function = $3 ORDER BY id FOR UPDATE";

const SUMMARIES: &str = "SELECT id, tenant, function, reason, at, executions, length(body)::bigint AS size FROM dead_letters";

#[async_trait]
impl DeadLetters for PostgresStore {
    async fn put_dead_letter(
        &self,
        letter: &DeadLetter,
        attempts: &[AttemptKey],
    ) -> port::Result<()> {
        self.inner.write(|session| Box::pin(put(session, letter, attempts))).await
    }

    async fn dead_letters(
        &self,
        before: Option<Uuid>,
        limit: u32,
    ) -> port::Result<Vec<DeadLetterSummary>> {
        self.inner.read(|session| Box::pin(list(session, before, limit))).await
    }

    async fn dead_letter(&self, id: Uuid) -> port::Result<Option<DeadLetter>> {
        self.inner.read(|session| Box::pin(one(session, id))).await
    }

    async fn reopen_dead_letter(
        &self,
        letter: &DeadLetter,
        attempts: &[AttemptKey],
    ) -> port::Result<u64> {
        let now = Timestamp::now();
        let reopen = |row: &Lifecycle, key: &AttemptKey| row.reopen(key, now);
        self.inner.write(|session| Box::pin(change(session, letter, attempts, now, &reopen))).await
    }

    async fn delete_dead_letter(&self, id: Uuid) -> port::Result<bool> {
        self.inner.write(|session| Box::pin(delete(session, id))).await
    }
}

async fn put(
    session: &mut Session<'_>,
    letter: &DeadLetter,
    attempts: &[AttemptKey],
) -> Result<()> {
    let there = sqlx::query("SELECT FROM dead_letters WHERE id = $1").bind(letter.id);
    if session.row_if_any(there).await?.is_some() {
        return Ok(());
    }
    let end =
        |row: &Lifecycle, key: &AttemptKey| row.end_by_dead_letter(key, &letter.reason, letter.at);
    let ended = change(session, letter, attempts, letter.at, end).await?;
    let insert = sqlx::query(
        "INSERT INTO dead_letters (id, at, executions, tenant, function, reason, headers, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind(letter.id)
    .bind(letter.at.as_micros())
    .bind(convert::from_measure(ended))
    .bind(letter.tenant.as_str())
    .bind(letter.function.as_str())
    .bind(stored(&letter.reason))
    .bind(convert::from_headers(&letter.headers)?)
    .bind(letter.body.as_ref());
    session.execute(insert).await.map(drop)
}

/// Changes the executions of attempts as `decide` says, those of the letter's tenant and function,
/// and gives how many.
async fn change(
    session: &mut Session<'_>,
    letter: &DeadLetter,
    attempts: &[AttemptKey],
    at: Timestamp,
    decide: impl Fn(&Lifecycle, &AttemptKey) -> Option<Effects> + Send + Sync,
) -> Result<u64> {
    if attempts.is_empty() {
        return Ok(0);
    }
    share_old_days(session, attempts.iter().map(|key| key.execution)).await?;
    let lock = Columns::default().add(attempts.iter().map(|key| key.execution.0))?;
    let lock = lock.of(LOCK).bind(letter.tenant.as_str()).bind(letter.function.as_str());
    let held = session.rows(lock).await?;
    let held: HashSet<ExecutionId> =
        held.iter().map(|row| id_of(row, "id")).collect::<Result<_>>()?;
    let mut changed = 0;
    for key in attempts.iter().filter(|key| held.contains(&key.execution)) {
        let row = lifecycle::read(session, key.execution).await?;
        let effects = row.and_then(|row| row.decide(|row| decide(row, key)));
        if let Some(effects) = effects {
            lifecycle::write(session, key.execution, &effects, at).await?;
            changed += 1;
        }
    }
    Ok(changed)
}

async fn list(
    session: &mut Session<'_>,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Vec<DeadLetterSummary>> {
    let sql = format!(
        "{SUMMARIES} WHERE id < coalesce($1, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid) ORDER BY id DESC LIMIT $2"
    );
    let list = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(before).bind(i64::from(limit));
    session.rows(list).await?.iter().map(summary).collect()
}

fn summary(row: &PgRow) -> Result<DeadLetterSummary> {
    Ok(DeadLetterSummary {
        id: get(row, "id")?,
        tenant: word(row, "tenant")?,
        function: word(row, "function")?,
        reason: text(row, "reason")?,
        at: time(row, "at")?,
        size: convert::measure("size", get(row, "size")?)?,
        executions: convert::measure("executions", get(row, "executions")?)?,
    })
}

async fn one(session: &mut Session<'_>, id: Uuid) -> Result<Option<DeadLetter>> {
    let sql = "SELECT tenant, function, reason, at, headers, body FROM dead_letters WHERE id = $1";
    let row = session.row_if_any(sqlx::query(sql).bind(id)).await?;
    let letter = |row: PgRow| {
        Ok(DeadLetter {
            id,
            tenant: word(&row, "tenant")?,
            function: word(&row, "function")?,
            reason: text(&row, "reason")?,
            at: time(&row, "at")?,
            headers: convert::json("headers", get(&row, "headers")?)?,
            body: get::<Vec<u8>>(&row, "body")?.into(),
        })
    };
    row.map(letter).transpose()
}

async fn delete(session: &mut Session<'_>, id: Uuid) -> Result<bool> {
    let deleted =
        session.execute(sqlx::query("DELETE FROM dead_letters WHERE id = $1").bind(id)).await?;
    Ok(deleted > 0)
}
