//! Messages that no process could read.

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;
use wasmill_domain::{AttemptKey, Effects, Lifecycle, Timestamp};

use super::history::id_bytes;
use super::queries::{get, time, word};
use super::store::SqliteStore;
use super::{error, lifecycle};
use crate::convert;
use crate::dead_letters::{DeadLetter, DeadLetterSummary};
use crate::port::{DeadLetters, Result};

const IS_OF: &str = "SELECT 1 FROM executions WHERE id = ? AND tenant = ? AND function = ?";

#[async_trait]
impl DeadLetters for SqliteStore {
    async fn put_dead_letter(&self, letter: &DeadLetter, attempts: &[AttemptKey]) -> Result<()> {
        let mut transaction = self.writer.begin().await?;
        let result = put(&mut transaction, letter, attempts).await;
        transaction.end(result).await
    }

    async fn dead_letters(
        &self,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<DeadLetterSummary>> {
        let rows = sqlx::query(
            "SELECT id, tenant, function, reason, at, executions, length(body) AS size FROM dead_letters \
             WHERE id < ? ORDER BY id DESC LIMIT ?",
        )
        .bind(before.unwrap_or(Uuid::max()))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(error::of)?;
        rows.iter().map(summary).collect()
    }

    async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>> {
        let sql =
            "SELECT tenant, function, reason, at, headers, body FROM dead_letters WHERE id = ?";
        let row =
            sqlx::query(sql).bind(id).fetch_optional(&self.readers).await.map_err(error::of)?;
        let letter = |row: SqliteRow| {
            Ok(DeadLetter {
                id,
                tenant: word(&row, "tenant")?,
                function: word(&row, "function")?,
                reason: get(&row, "reason")?,
                at: time(&row, "at")?,
                headers: convert::json("headers", get(&row, "headers")?)?,
                body: get::<Vec<u8>>(&row, "body")?.into(),
            })
        };
        row.map(letter).transpose()
    }

    async fn reopen_dead_letter(
        &self,
        letter: &DeadLetter,
        attempts: &[AttemptKey],
    ) -> Result<u64> {
        let mut transaction = self.writer.begin().await?;
        let result = reopen(&mut transaction, letter, attempts).await;
        transaction.end(result).await
    }

    async fn delete_dead_letter(&self, id: Uuid) -> Result<bool> {
        let mut transaction = self.writer.begin().await?;
        let deleted = sqlx::query("DELETE FROM dead_letters WHERE id = ?")
            .bind(id)
            .execute(&mut *transaction)
            .await;
        transaction.end(deleted.map(|done| done.rows_affected() > 0).map_err(error::of)).await
    }
}

async fn put(
    connection: &mut SqliteConnection,
    letter: &DeadLetter,
    attempts: &[AttemptKey],
) -> Result<()> {
    let there = sqlx::query("SELECT 1 FROM dead_letters WHERE id = ?").bind(letter.id);
    if there.fetch_optional(&mut *connection).await.map_err(error::of)?.is_some() {
        return Ok(());
    }
    let mut ended = 0;
    for key in attempts {
        let end = |row: &Lifecycle| row.end_by_dead_letter(key, &letter.reason, letter.at);
        ended += u64::from(change(connection, letter, key, letter.at, end).await?);
    }
    sqlx::query(
        "INSERT INTO dead_letters (id, at, executions, tenant, function, reason, headers, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(letter.id)
    .bind(letter.at.as_micros())
    .bind(convert::from_measure(ended))
    .bind(letter.tenant.as_str())
    .bind(letter.function.as_str())
    .bind(letter.reason.as_str())
    .bind(convert::from_headers(&letter.headers)?)
    .bind(letter.body.as_ref())
    .execute(connection)
    .await
    .map(drop)
    .map_err(error::of)
}

async fn reopen(
    connection: &mut SqliteConnection,
    letter: &DeadLetter,
    attempts: &[AttemptKey],
) -> Result<u64> {
    let (now, mut reopened) = (Timestamp::now(), 0);
    for key in attempts {
        let reopen = |row: &Lifecycle| row.reopen(key, now);
        reopened += u64::from(change(connection, letter, key, now, reopen).await?);
    }
    Ok(reopened)
}

/// Changes the execution of an attempt as `decide` says, if it is of the letter's tenant and
/// function; says whether anything changed.
async fn change(
    connection: &mut SqliteConnection,
    letter: &DeadLetter,
    key: &AttemptKey,
    at: Timestamp,
    decide: impl FnOnce(&Lifecycle) -> Option<Effects>,
) -> Result<bool> {
    let is_of = sqlx::query(IS_OF)
        .bind(id_bytes(&key.execution))
        .bind(letter.tenant.as_str())
        .bind(letter.function.as_str());
    if is_of.fetch_optional(&mut *connection).await.map_err(error::of)?.is_none() {
        return Ok(false);
    }
    let row = lifecycle::read(connection, key.execution).await?;
    let Some(effects) = row.and_then(|row| row.decide(decide)) else { return Ok(false) };
    lifecycle::write(connection, key.execution, &effects, at).await?;
    Ok(true)
}

fn summary(row: &SqliteRow) -> Result<DeadLetterSummary> {
    Ok(DeadLetterSummary {
        id: get(row, "id")?,
        tenant: word(row, "tenant")?,
        function: word(row, "function")?,
        reason: get(row, "reason")?,
        at: time(row, "at")?,
        size: convert::measure("size", get(row, "size")?)?,
        executions: convert::measure("executions", get(row, "executions")?)?,
    })
}
