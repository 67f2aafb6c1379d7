//! The store in PostgreSQL (14 or later): what a pool of processes shares.
//!
//! Any number of processes use one database at once, and none of them knows of the others. What
//! must be decided once is decided by the database, in the statement that writes it. Statements
//! touch rows in the order of their ids, so that batches do not lock each other out; where two
//! collide all the same, one begins anew, unseen by its caller.
//!
//! A transaction-mode pooler may stand between ([`PostgresSettings::transaction_pooler`]).

mod agenda;
mod artifacts;
mod buckets;
mod catalog;
mod change;
mod columns;
mod dead_letters;
mod definitions;
mod error;
mod history;
mod ledger;
mod lifecycle;
mod listen;
mod migration;
mod nagle;
mod nodes;
mod orders;
mod partitions;
mod queries;
mod quota;
mod retention;
mod routes;
mod secrets;
mod session;
mod text;
mod upgrade;

#[cfg(any(test, feature = "conformance"))]
pub mod testing;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use wasmill_background::Background;

use crate::migrations::SchemaMode;
use crate::nodes::NODE_TIMEOUT;
use crate::port::{Error, Result};
use crate::quota::Quotas;
use error::Fault;
use listen::Listening;
use partitions::Upkeep;
use session::{Access, Pool, Session};

/// The longest pause between two tries of a transaction that met another one.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How a [`PostgresStore`] works.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// How many connections this process has at most: 1 or more. Calls wait for a free one.
    /// Default: 8.
    pub connections: u32,
    /// How long to wait for a new connection, TLS and log-in included. Default: 5 s.
    pub connect_timeout: Duration,
    /// How long a call takes at most, waiting for a connection included; then the store is not
    /// available. The server gives up a statement after the same time. Default: 10 s.
    pub call_timeout: Duration,
    /// The same for bringing the schema up to date and for [`crate::Agenda::prune`], which reads a
    /// whole day before it drops it. Default: 10 min.
    pub upkeep_timeout: Duration,
    /// How long changing the set of partitions waits for its turn, and everybody else for it; then
    /// it is tried another time. Default: 500 ms.
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
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self {
            connections: 8,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(10),
            upkeep_timeout: Duration::from_secs(600),
            partition_lock_timeout: Duration::from_millis(500),
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(1800),
            transaction_pooler: false,
            listen_url: None,
            days_ahead: 3,
            quotas: Quotas::default(),
            schema: SchemaMode::default(),
            node_timeout: NODE_TIMEOUT,
        }
    }
}

/// A store in a PostgreSQL database. Clones are the same store.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    settings: PostgresSettings,
    upkeep: Upkeep,
    listening: Listening,
    /// Threads for work as long as what users define.
    background: Background,
}

impl PostgresStore {
    /// Connects, and looks at the schema. Of several processes that bring it up to date at once,
    /// one does the work and the others wait for it. The tables are where the URL's `search_path`
    /// says (`?options[search_path]=…`), which is `public` unless it says so.
    ///
    /// TLS is by the URL: `sslmode=verify-full`, and `sslrootcert=FILE` where the system's
    /// certificates are not the ones to trust.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the server cannot be reached or refuses the user, is too old,
    /// or the database is not in UTF-8; [`Error::Schema`] where its schema is not one that this
    /// release works on.
    pub async fn connect(url: &str, settings: PostgresSettings) -> Result<Self> {
        let mut pool = Pool::new(url, &settings)?;
        let server = pool.server();
        let cannot_use = |why: String| format!("cannot use the database {server}: {why}");
        migration::prepare(&mut pool, &settings).await.map_err(|e| match e {
            Error::Schema(why) => Error::Schema(cannot_use(why)),
            other => Error::Unavailable(cannot_use(reason(other))),
        })?;
        let listening = Listening::new(url, &settings)?;
        let inner = Inner {
            pool,
            settings,
            upkeep: Upkeep::default(),
            listening,
            background: Background::new("artifacts"),
        };
        let store = Self { inner: Arc::new(inner) };
        if store.inner.settings.schema != SchemaMode::Inspect {
            store.inner.try_partitions().await;
        }
        Ok(store)
    }

    /// Ends the connections. What was committed is in the database whether or not this is called;
    /// calls made later fail.
    pub async fn close(&self) {
        self.inner.listening.close();
        self.inner.pool.close().await;
    }
}

/// A time limit as PostgreSQL counts it.
fn millis(limit: Duration) -> i32 {
    i32::try_from(limit.as_millis()).unwrap_or(i32::MAX).max(1)
}

/// What an error says beyond its kind.
fn reason(error: Error) -> String {
    match error {
        Error::Unavailable(why)
        | Error::Schema(why)
        | Error::NotFound(why)
        | Error::Conflict(why)
        | Error::QuotaExceeded { why, .. }
        | Error::Rejected(why) => why,
    }
}

/// What is done within a transaction.
type Step<'s, T> = Pin<Box<dyn Future<Output = error::Result<T>> + Send + 's>>;

impl Inner {
    /// Does `work` in a transaction that writes, again where it collides with another one, for as
    /// long as a call may take.
    async fn write<'a, T>(
        &'a self,
        work: impl for<'s> Fn(&'s mut Session<'a>) -> Step<'s, T>,
    ) -> Result<T> {
        self.transact(Access::Write, self.settings.call_timeout, work)
            .await
            .map_err(Fault::into_error)
    }

    /// Does `work` in a transaction that reads.
    async fn read<'a, T>(
        &'a self,
        work: impl for<'s> Fn(&'s mut Session<'a>) -> Step<'s, T>,
    ) -> Result<T> {
        self.transact(Access::Read, self.settings.call_timeout, work)
            .await
            .map_err(Fault::into_error)
    }

    async fn transact<'a, T>(
        &'a self,
        access: Access,
        limit: Duration,
        work: impl for<'s> Fn(&'s mut Session<'a>) -> Step<'s, T>,
    ) -> error::Result<T> {
        match timeout(limit, repeat(&self.pool, access, work)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.pool.forget_idle();
                Err(Error::Unavailable(format!(
                    "{} has not answered within {limit:?}",
                    self.pool.server()
                ))
                .into())
            }
        }
    }
}

/// Makes a transaction, again and again until it does not collide with another one.
async fn repeat<'a, T>(
    pool: &'a Pool,
    access: Access,
    work: impl for<'s> Fn(&'s mut Session<'a>) -> Step<'s, T>,
) -> error::Result<T> {
    let mut pause = Duration::from_millis(1);
    loop {
        let mut session = pool.begin(access).await?;
        let result = work(&mut session).await;
        match session.end(result).await {
            Err(fault) if fault.is_collision() => {
                tracing::debug!(?fault, "a transaction is made again");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            other => return other,
        }
    }
}
