//! What is deleted when it is old: in short transactions, as whoever else writes waits for each.

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use wasmill_domain::{ExecutionId, Timestamp};

use super::bulk::Bulk;
use super::history::{id_bytes, id_of};
use super::store::SqliteStore;
use super::{artifacts, early_rows, error};
use crate::convert;
use crate::port::{Pruned, Result, Retention};

/// Every table with rows of an execution.
static DELETE_EXECUTIONS: [Bulk; 4] = [
    Bulk::new("DELETE FROM executions WHERE id IN (", 1, ")"),
    Bulk::new("DELETE FROM attempts WHERE execution_id IN (", 1, ")"),
    Bulk::new("DELETE FROM outbox WHERE execution_id IN (", 1, ")"),
    Bulk::new("DELETE FROM early_rows WHERE execution_id IN (", 1, ")"),
];

#[async_trait]
impl Retention for SqliteStore {
    async fn prune_executions(
        &self,
        before: Timestamp,
        after: Option<ExecutionId>,
        limit: u32,
    ) -> Result<Pruned> {
        let mut reader = self.readers.acquire().await.map_err(error::of)?;
        let page = Page::read(&mut reader, before, after, limit).await?;
        drop(reader);
        // Mostly there is nothing to delete: that must not take the writer's turn.
        if page.old.is_empty() {
            return Ok(Pruned { deleted: 0, next: page.next });
        }
        let mut transaction = self.writer.begin().await?;
        let result = prune(&mut transaction, before, after, limit).await;
        transaction.end(result).await
    }

    async fn prune_artifacts(&self, before: Timestamp, limit: u32) -> Result<()> {
        let unused = before.max(Timestamp::now().minus(self.quotas.unused_artifacts));
        let mut transaction = self.writer.begin().await?;
        let result = artifacts::prune(&mut transaction, unused, limit).await;
        let artifacts = transaction.end(result).await?;
        artifacts::delete_files(&self.writer, &self.blobs, &artifacts).await?;
        artifacts::delete_orphans(self).await
    }

    async fn prune_early_rows(&self, before: Timestamp, limit: u32) -> Result<u64> {
        let mut reader = self.readers.acquire().await.map_err(error::of)?;
        let old = early_rows::older_than(&mut reader, before, limit).await?;
        drop(reader);
        // Mostly there is nothing to delete: that must not take the writer's turn.
        if old.is_empty() {
            return Ok(0);
        }
        let mut transaction = self.writer.begin().await?;
        let result = early_rows::prune(&mut transaction, before, limit).await;
        transaction.end(result).await
    }

    async fn make_days(&self) -> Result<()> {
        Ok(())
    }

    async fn drop_day(&self, _before: Timestamp) -> Result<Option<u64>> {
        Ok(None)
    }
}

/// Executions that were looked at.
struct Page {
    /// Those that have ended and are old.
    old: Vec<ExecutionId>,
    next: Option<ExecutionId>,
}

impl Page {
    async fn read(
        connection: &mut SqliteConnection,
        before: Timestamp,
        after: Option<ExecutionId>,
        limit: u32,
    ) -> Result<Self> {
        // What ended before was accepted before, and ids are made at acceptance: only the old end
        // of the table is read.
        let rows = sqlx::query(
            "SELECT id, coalesce(state IN ('succeeded', 'failed', 'cancelled') AND finished_at < ?3, false) AS is_old \
             FROM executions WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?4",
        )
        .bind(after.as_ref().map(|id| id_bytes(id).to_vec()).unwrap_or_default())
        .bind(id_bytes(&convert::first_id_at(before)).to_vec())
        .bind(before.as_micros())
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await
        .map_err(error::of)?;
        let is_old = |row: &&SqliteRow| row.try_get::<bool, _>("is_old").unwrap_or_default();
        let old = rows.iter().filter(is_old).map(|row| id_of(row, "id")).collect::<Result<_>>()?;
        let last = rows.last().filter(|_| rows.len() >= limit as usize);
        Ok(Self { old, next: last.map(|row| id_of(row, "id")).transpose()? })
    }
}

async fn prune(
    connection: &mut SqliteConnection,
    before: Timestamp,
    after: Option<ExecutionId>,
    limit: u32,
) -> Result<Pruned> {
    let page = Page::read(connection, before, after, limit).await?;
    for delete in &DELETE_EXECUTIONS {
        delete
            .execute(connection, &page.old, |id, values| values.push(id_bytes(id)).map(drop))
            .await?;
    }
    Ok(Pruned { deleted: page.old.len() as u64, next: page.next })
}
