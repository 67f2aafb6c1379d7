//! How the store in a file works.

use std::time::Duration;

use crate::migrations::SchemaMode;
use crate::nodes::NODE_TIMEOUT;
use crate::port::PUBLISH_TIMEOUT;
use crate::quota::Quotas;

/// How a [`SqliteStore`](super::SqliteStore) works.
#[derive(Clone, Debug)]
pub struct SqliteSettings {
    /// What a commit waits for. Default: [`Synchronous::Full`].
    pub synchronous: Synchronous,
    /// How many connections read: 1 or more. Default: 4.
    pub readers: u32,
    /// How long to wait while another process writes, and how long a call waits for a permit in
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
    /// How long whoever puts executions into the outbox and publishes them at once is given for it:
    /// until then [`crate::Agenda::outbox`] does not give them to anybody else. As long as they wait
    /// for a publish at least: it may wait for those before it, and for its confirm, and where the
    /// queue is to be declared for both again; so that is longer than the broker is given for one
    /// message. Default: 10 s.
    pub publish_timeout: Duration,
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
            publish_timeout: PUBLISH_TIMEOUT,
        }
    }
}
