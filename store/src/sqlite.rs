//! The store in one SQLite file, with a folder of artifacts beside it: what `wasmill dev` uses, and
//! a small installation needs no more.
//!
//! One connection writes, and each of its transactions carries many rows; a few others read beside
//! it, which the write-ahead log allows. Other processes may have the same file open: they take
//! turns.

mod agenda;
mod artifacts;
mod blobs;
mod buckets;
mod bulk;
mod catalog;
mod change;
mod connection;
mod dead_letters;
mod definitions;
mod error;
mod history;
mod ledger;
mod lifecycle;
mod migration;
mod nodes;
mod orders;
mod queries;
mod quota;
mod routes;
mod secrets;
#[cfg(any(test, feature = "conformance"))]
mod testing;
mod upgrade;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool;

use crate::migrations::SchemaMode;
use crate::nodes::NODE_TIMEOUT;
use crate::port::Result;
use crate::quota::Quotas;
use blobs::Blobs;
use connection::Writer;

/// How a [`SqliteStore`] works.
#[derive(Clone, Debug)]
pub struct SqliteSettings {
    /// What a commit waits for. Default: [`Synchronous::Full`].
    pub synchronous: Synchronous,
    /// How many connections read: 1 or more. Default: 4.
    pub readers: u32,
    /// How long to wait while another process writes, and how long a call waits for its turn in
    /// this one; then the store is not available. Default: 10 s.
    pub busy_timeout: Duration,
    /// Memory for the writer's page cache, in bytes; each reader has a quarter of it. Default: 16
    /// MiB.
    pub cache_bytes: u32,
    /// The write-ahead log is moved into the database when it is this long, in bytes. Longer is
    /// faster and takes more room and a longer pause each time. Default: 16 MiB.
    pub wal_bytes: u32,
    /// What tenants may define. Default: as [`Quotas`]'s.
    pub quotas: Quotas,
    /// What is done about the schema at the start. Default: [`SchemaMode::Migrate`]; a file is made
    /// and an older one is copied first, as its name with `.schema-N.backup` where `N` is the
    /// schema's number. Others make no file.
    pub schema: SchemaMode,
    /// A process whose heartbeat is older than this is not alive. Default: 15 s.
    pub node_timeout: Duration,
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// Until the disk has it: what is recorded survives a power failure.
    Full,
    /// Until the operating system has it: what is recorded survives a crash of the process; the
    /// last commits may be lost with the power, never the database's consistency.
    Normal,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            readers: 4,
            busy_timeout: Duration::from_secs(10),
            cache_bytes: 16 << 20,
            wal_bytes: 16 << 20,
            quotas: Quotas::default(),
            schema: SchemaMode::default(),
            node_timeout: NODE_TIMEOUT,
        }
    }
}

/// A store in a file.
pub struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
    blobs: Blobs,
    quotas: Quotas,
    node_timeout: Duration,
}

impl SqliteStore {
    /// Opens the file, and by default makes it where there is none (for its owner alone) and brings
    /// its schema up to date. Its folder must exist. The bytes of artifacts are in files of a
    /// folder that has its name with `-artifacts`.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`] where the file cannot be opened or is not a database;
    /// [`crate::Error::Schema`] where its schema is not one that this release works on.
    pub async fn open(path: &Path, settings: SqliteSettings) -> Result<Self> {
        let writer = Writer::open(path, &settings).await?;
        let readers = connection::readers(path, &settings);
        let blobs = Blobs::beside(path, &settings);
        let store = Self {
            writer,
            readers,
            blobs,
            quotas: settings.quotas,
            node_timeout: settings.node_timeout,
        };
        if settings.schema != SchemaMode::Inspect {
            artifacts::delete_orphans(&store).await?;
        }
        Ok(store)
    }

    /// Reads every artifact's file, and says what is wrong with each that is missing or damaged.
    ///
    /// # Errors
    /// Where database or folder cannot be read.
    pub async fn lost_artifacts(&self) -> Result<Vec<String>> {
        Ok(artifacts::lost(self).await?.iter().map(ToString::to_string).collect())
    }

    /// Closes the file. What was committed is in it whether or not this is called; calls made later
    /// fail.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
