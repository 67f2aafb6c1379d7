//! How the store in PostgreSQL works.

use std::time::Duration;

use crate::migrations::SchemaMode;
use crate::nodes::NODE_TIMEOUT;
use crate::port::PUBLISH_TIMEOUT;
use crate::quota::Quotas;

/// How a [`PostgresStore`](super::PostgresStore) works.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// How many connections this process has at most, beside one that is kept for upkeep (deleting
    /// what is old, making partitions): 1 or more. Calls wait for a free one, never for upkeep.
    /// Default: 8.
    pub connections: u32,
    /// How long to wait for a new connection, TLS and log-in included. Default: 5 s.
    pub connect_timeout: Duration,
    /// How long a call takes at most, waiting for a connection included; then the store is not
    /// available. The server gives up a statement after the same time. Default: 10 s.
    pub call_timeout: Duration,
    /// How long bringing the schema up to date takes at most; and for how long a day is looked at
    /// before it is dropped, in many short transactions, until it is other days' turn: it is gone on
    /// with in the next pass. Default: 10 min.
    pub upkeep_timeout: Duration,
    /// How long changing the set of partitions waits for a lock, and everybody else for it; then
    /// it is tried another time. Default: 100 ms.
    pub partition_lock_timeout: Duration,
    /// A connection that nobody has used for this long is closed. Default: 10 min.
    pub idle_timeout: Duration,
    /// A connection as old as this is replaced. Default: 30 min.
    pub max_lifetime: Duration,
    /// Whether a pooler stands between that gives each transaction another session (PgBouncer's
    /// `pool_mode = transaction`). Nothing is prepared then and each transaction sets its own
    /// limits, which is somewhat slower. Default: no.
    pub transaction_pooler: bool,
    /// Where to listen for changes of the definitions, if not at the store's own URL: the server
    /// itself, past a pooler. Default: none.
    pub listen_url: Option<String>,
    /// For how many days beyond today history has its partitions ready. Default: 3.
    pub days_ahead: u16,
    /// What tenants may define. Default: as [`Quotas`]'s.
    pub quotas: Quotas,
    /// What is done about the schema at the start. Default: [`SchemaMode::Migrate`].
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

impl Default for PostgresSettings {
    fn default() -> Self {
        Self {
            connections: 8,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(10),
            upkeep_timeout: Duration::from_secs(600),
            partition_lock_timeout: Duration::from_millis(100),
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(1800),
            transaction_pooler: false,
            listen_url: None,
            days_ahead: 3,
            quotas: Quotas::default(),
            schema: SchemaMode::default(),
            node_timeout: NODE_TIMEOUT,
            publish_timeout: PUBLISH_TIMEOUT,
        }
    }
}

/// A time limit as PostgreSQL counts it.
pub(super) fn millis(limit: Duration) -> i32 {
    i32::try_from(limit.as_millis()).unwrap_or(i32::MAX).max(1)
}
