//! The processes that are alive.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::error;
use super::queries::{get, time};
use super::store::SqliteStore;
use crate::migrations::{self, OF_SQLITE};
use crate::nodes::{self, LiveNode, Node};
use crate::port::{Nodes, Result};

/// The database's clock: whole milliseconds, in microseconds.
macro_rules! clock {
    () => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000"
    };
}

const BEAT: &str = concat!(
    "INSERT INTO nodes (id, name, role, release, schema_version, labels, reads, started_at, beat_at) \
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ",
    clock!(),
    ") ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role, release = excluded.release, \
     schema_version = excluded.schema_version, labels = excluded.labels, reads = excluded.reads, \
     started_at = excluded.started_at, beat_at = excluded.beat_at"
);

const LIVE: &str = concat!(
    "SELECT id, name, role, release, schema_version, labels, reads, started_at, beat_at FROM nodes WHERE beat_at >= ",
    clock!(),
    " - ? ORDER BY role, name, id"
);

const DELETE_DEAD: &str = concat!("DELETE FROM nodes WHERE beat_at < ", clock!(), " - ?");

#[async_trait]
impl Nodes for SqliteStore {
    async fn beat(&self, node: &Node) -> Result<()> {
        let mut transaction = self.writer.begin().await?;
        let beat =
            sqlx::query(BEAT).bind(node.id).bind(node.name.as_str()).bind(node.role.as_str());
        let beat = beat.bind(node.release.as_str()).bind(migrations::latest(&OF_SQLITE));
        let beat = beat.bind(nodes::from_labels(&node.labels)).bind(nodes::from_reads(node.reads));
        let result = beat.bind(node.started_at.as_micros()).execute(&mut *transaction).await;
        transaction.end(result.map(drop).map_err(error::of)).await
    }

    async fn live_nodes(&self) -> Result<Vec<LiveNode>> {
        let live =
            sqlx::query(LIVE).bind(nodes::micros(self.node_timeout)).fetch_all(&self.readers).await;
        live.map_err(error::of)?.iter().map(live_node).collect()
    }

    async fn leave(&self, id: Uuid) -> Result<()> {
        let mut transaction = self.writer.begin().await?;
        let result =
            sqlx::query("DELETE FROM nodes WHERE id = ?").bind(id).execute(&mut *transaction).await;
        transaction.end(result.map(drop).map_err(error::of)).await
    }

    async fn delete_dead_nodes(&self) -> Result<u64> {
        let mut transaction = self.writer.begin().await?;
        let delete = sqlx::query(DELETE_DEAD).bind(nodes::micros(self.node_timeout));
        let result = delete.execute(&mut *transaction).await.map(|done| done.rows_affected());
        transaction.end(result.map_err(error::of)).await
    }
}

fn live_node(row: &SqliteRow) -> Result<LiveNode> {
    Ok(LiveNode {
        node: Node {
            id: get(row, "id")?,
            name: get(row, "name")?,
            role: get(row, "role")?,
            release: get(row, "release")?,
            labels: nodes::labels(get(row, "labels")?),
            reads: nodes::reads(get(row, "reads")?),
            started_at: time(row, "started_at")?,
        },
        schema_version: get(row, "schema_version")?,
        beat_at: time(row, "beat_at")?,
    })
}
