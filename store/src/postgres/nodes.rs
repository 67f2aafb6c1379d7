//! The processes that are alive.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::columns::get;
use super::error::Result;
use super::queries::time;
use super::session::Session;
use super::store::PostgresStore;
use super::text;
use crate::migrations::{self, OF_POSTGRES};
use crate::nodes::{self, LiveNode, Node};
use crate::port::{self, Nodes};

/// The database's clock, in microseconds.
macro_rules! clock {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    };
}

const BEAT: &str = concat!(
    "INSERT INTO nodes (id, name, role, release, schema_version, labels, reads, started_at, beat_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, ",
    clock!(),
    ") ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role, release = excluded.release, \
     schema_version = excluded.schema_version, labels = excluded.labels, reads = excluded.reads, \
     started_at = excluded.started_at, beat_at = excluded.beat_at"
);

const LIVE: &str = concat!(
    "SELECT id, name, role, release, schema_version, labels, reads, started_at, beat_at FROM nodes WHERE beat_at >= ",
    clock!(),
    " - $1 ORDER BY role COLLATE \"C\", name COLLATE \"C\", id"
);

const DELETE_DEAD: &str = concat!("DELETE FROM nodes WHERE beat_at < ", clock!(), " - $1");

#[async_trait]
impl Nodes for PostgresStore {
    async fn beat(&self, node: &Node) -> port::Result<()> {
        self.inner.write(|session| Box::pin(beat(session, node))).await
    }

    async fn live_nodes(&self) -> port::Result<Vec<LiveNode>> {
        let timeout = nodes::micros(self.inner.settings.node_timeout);
        self.inner.read(|session| Box::pin(live(session, timeout))).await
    }

    async fn leave(&self, id: Uuid) -> port::Result<()> {
        let delete = "DELETE FROM nodes WHERE id = $1";
        self.inner
            .write(|session| Box::pin(session.execute(sqlx::query(delete).bind(id))))
            .await
            .map(drop)
    }

    async fn delete_dead_nodes(&self) -> port::Result<u64> {
        let timeout = nodes::micros(self.inner.settings.node_timeout);
        self.inner
            .write(|session| Box::pin(session.execute(sqlx::query(DELETE_DEAD).bind(timeout))))
            .await
    }
}

async fn beat(session: &mut Session<'_>, node: &Node) -> Result<()> {
    let beat =
        sqlx::query(BEAT).bind(node.id).bind(text::stored(&node.name)).bind(node.role.as_str());
    let beat = beat.bind(node.release.as_str()).bind(migrations::latest(&OF_POSTGRES));
    let beat = beat.bind(nodes::from_labels(&node.labels)).bind(nodes::from_reads(node.reads));
    session.execute(beat.bind(node.started_at.as_micros())).await.map(drop)
}

async fn live(session: &mut Session<'_>, timeout: i64) -> Result<Vec<LiveNode>> {
    session.rows(sqlx::query(LIVE).bind(timeout)).await?.iter().map(live_node).collect()
}

fn live_node(row: &PgRow) -> Result<LiveNode> {
    Ok(LiveNode {
        node: Node {
            id: get(row, "id")?,
            name: text::loaded(get(row, "name")?),
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
