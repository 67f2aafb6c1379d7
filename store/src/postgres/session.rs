//! Connections and transactions.
//!
//! Everything happens in transactions that begin and end within one call, and nothing that belongs
//! to a session is relied upon: so a pooler may stand between that gives each transaction another
//! session. The pool here is a small one of our own, because sqlx's goes on connecting until its
//! time is up where the server refuses, asks every connection whether it lives when it is put back,
//! and waits for ever for a peer that has gone silent.

use std::str::FromStr as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Postgres};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::error::{Fault, Result, closed};
use super::nagle;
use super::settings::{PostgresSettings, millis};
use crate::port::StoreError;

/// Every statement of this backend fits.
const CACHED_STATEMENTS: usize = 128;

/// What is said where a session does not have the limits that it was asked to begin with.
pub(super) const POOLER: &str = "a pooler stands between that gives each transaction another session: the setting `transaction_pooler` must say so";

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// It writes. Each of its statements sees what was committed before it.
    Write,
    /// It reads. All of its statements see the same.
    Read,
    /// It writes, and is nothing that anybody waits for: all of its kind share one connection, and
    /// take none from others. So each of them has to be short.
    Upkeep,
}

/// The connections of this process.
pub(super) struct SessionPool {
    options: PgConnectOptions,
    settings: PostgresSettings,
    /// One for each connection.
    permits: Semaphore,
    /// The one of upkeep.
    upkeep_permit: Semaphore,
    /// What is connected and not in use; that of the last use is at the end.
    idle: Mutex<Vec<Idle>>,
    /// What every transaction sets for itself.
    prelude: String,
}

pub(super) struct Live {
    pub(super) connection: PgConnection,
    made: Instant,
}

struct Idle {
    live: Live,
    since: Instant,
}

impl SessionPool {
    /// A pool that has no connection yet.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the URL is none.
    pub(super) fn new(url: &str, settings: &PostgresSettings) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|e| {
                StoreError::Unavailable(format!("the URL of PostgreSQL cannot be used: {e}"))
            })?
            .statement_cache_capacity(CACHED_STATEMENTS)
            .disable_statement_logging();
        let named = options.get_application_name().is_some();
        let options = if named { options } else { options.application_name("wasmill") };
        // The server gives up as well, so that no lock outlives the one who waits for it.
        let limit = millis(settings.call_timeout);
        let limits = [("statement_timeout", limit), ("idle_in_transaction_session_timeout", limit)];
        let (options, prelude) = if settings.transaction_pooler {
            // A pooler refuses what it cannot keep for a client, such as how floating-point numbers
            // are written.
            let set = |(name, limit)| format!("; SET LOCAL {name} = {limit}");
            (options.extra_float_digits(None), limits.map(set).concat())
        } else {
            // A plan that is made once for any ids goes through the partitions of every day.
            (
                options.options(limits).options([("plan_cache_mode", "force_custom_plan")]),
                String::new(),
            )
        };
        let most =
            usize::try_from(settings.connections.max(1)).unwrap_or(1).min(Semaphore::MAX_PERMITS);
        let (permits, upkeep_permit) = (Semaphore::new(most), Semaphore::new(1));
        let idle = Mutex::new(Vec::new());
        Ok(Self { options, settings: settings.clone(), permits, upkeep_permit, idle, prelude })
    }

    /// Has every transaction from now on set a parameter for itself.
    pub(super) fn always_set(&mut self, parameter: &str, value: &str) {
        self.prelude.push_str("; SET LOCAL ");
        self.prelude.push_str(parameter);
        self.prelude.push_str(" = ");
        self.prelude.push_str(value);
    }

    /// The database as people name it; without the password.
    pub(super) fn server(&self) -> String {
        let database = self.options.get_database().unwrap_or(self.options.get_username());
        format!("'{database}' at {}:{}", self.options.get_host(), self.options.get_port())
    }

    /// Waits until a connection may be used.
    pub(super) async fn permit(&self, access: Access) -> Result<SemaphorePermit<'_>> {
        let permits = if access == Access::Upkeep { &self.upkeep_permit } else { &self.permits };
        Ok(permits.acquire().await.map_err(|_| closed())?)
    }

    /// Begins a transaction once there is a connection for it.
    #[cfg(test)]
    pub(super) async fn begin(&self, access: Access) -> Result<Session<'_>> {
        self.begin_with(self.permit(access).await?, access).await
    }

    /// Begins a transaction on a connection that may be used.
    pub(super) async fn begin_with<'a>(
        &'a self,
        permit: SemaphorePermit<'a>,
        access: Access,
    ) -> Result<Session<'a>> {
        while let Some(mut live) = self.take_idle() {
            match self.open(&mut live, access).await {
                Ok(()) => return Ok(Session { live, pool: self, _permit: permit }),
                // It was cut since it was used. Nothing has begun on it, and another one will do.
                Err(fault) if fault.is_loss() => {}
                Err(fault) => return Err(fault),
            }
        }
        let mut live = self.connect().await?;
        self.open(&mut live, access).await?;
        Ok(Session { live, pool: self, _permit: permit })
    }

    async fn open(&self, live: &mut Live, access: Access) -> Result<()> {
        let kind = match access {
            Access::Write | Access::Upkeep => "READ COMMITTED READ WRITE",
            Access::Read => "REPEATABLE READ READ ONLY",
        };
        let begin = format!("BEGIN ISOLATION LEVEL {kind}{}", self.prelude);
        live.connection.execute(AssertSqlSafe(begin)).await?;
        Ok(())
    }

    async fn connect(&self) -> Result<Live> {
        let wait_timeout = self.settings.connect_timeout;
        match timeout(wait_timeout, self.options.connect()).await {
            Ok(Ok(connection)) => {
                nagle::send_at_once(self.options.get_port());
                Ok(Live { connection, made: Instant::now() })
            }
            Ok(Err(error)) => {
                let fault = Fault::from(error);
                Err(if fault.is_refused_parameter() {
                    StoreError::Unavailable(POOLER.into()).into()
                } else {
                    fault
                })
            }
            Err(_) => Err(StoreError::Unavailable(format!(
                "{} does not answer within {wait_timeout:?}",
                self.server()
            ))
            .into()),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        // Nothing that holds the lock panics.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take_idle(&self) -> Option<Live> {
        let (idle_timeout, max_lifetime) = (self.settings.idle_timeout, self.settings.max_lifetime);
        let mut idle = self.idle();
        idle.retain(|one| {
            one.since.elapsed() < idle_timeout && one.live.made.elapsed() < max_lifetime
        });
        idle.pop().map(|one| one.live)
    }

    fn put_back(&self, mut live: Live) {
        // A large result or artifact leaves no large buffer behind.
        live.connection.shrink_buffers();
        if !self.permits.is_closed() {
            self.idle().push(Idle { live, since: Instant::now() });
        }
    }

    /// Drops what is idle: it is suspected to be as dead as a connection in use was.
    pub(super) fn forget_idle(&self) {
        self.idle().clear();
    }

    /// Takes leave of the server; no further transaction begins.
    pub(super) async fn close(&self) {
        self.permits.close();
        self.upkeep_permit.close();
        let idle = std::mem::take(&mut *self.idle());
        for one in idle {
            // Fails where the server has gone already.
            let _ = timeout(self.settings.connect_timeout, one.live.connection.close()).await;
        }
    }
}

/// A transaction. Dropped without [`Session::end`] (because the caller was dropped, or the database
/// went silent), its connection is cut: the server rolls back then, and no doubt about its state is
/// left for the next one.
pub(super) struct Session<'a> {
    live: Live,
    pool: &'a SessionPool,
    _permit: SemaphorePermit<'a>,
}

/// A statement with its parameters.
pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

impl Session<'_> {
    /// Prepared statements belong to a session: behind a pooler, each is sent anew.
    fn ready<'q>(&self, statement: Statement<'q>) -> Statement<'q> {
        statement.persistent(!self.pool.settings.transaction_pooler)
    }

    /// Runs a statement and gives how many rows it changed.
    pub(super) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64> {
        let statement = self.ready(statement);
        Ok(statement.execute(&mut self.live.connection).await?.rows_affected())
    }

    /// The rows that a statement gives.
    pub(super) async fn rows(&mut self, statement: Statement<'_>) -> Result<Vec<PgRow>> {
        let statement = self.ready(statement);
        Ok(statement.fetch_all(&mut self.live.connection).await?)
    }

    /// The rows of a statement that is not prepared for another time, because it was put together
    /// for this one.
    pub(super) async fn rows_once(&mut self, statement: Statement<'_>) -> Result<Vec<PgRow>> {
        Ok(statement.persistent(false).fetch_all(&mut self.live.connection).await?)
    }

    /// The row that a statement gives, if any.
    pub(super) async fn row_if_any(&mut self, statement: Statement<'_>) -> Result<Option<PgRow>> {
        let statement = self.ready(statement);
        Ok(statement.fetch_optional(&mut self.live.connection).await?)
    }

    /// The row that a statement gives.
    pub(super) async fn row(&mut self, statement: Statement<'_>) -> Result<PgRow> {
        self.row_if_any(statement).await?.ok_or(Fault::Sql(sqlx::Error::RowNotFound))
    }

    /// Runs some SQL without parameters: one or several statements, from this crate.
    pub(super) async fn run(&mut self, sql: String) -> Result<()> {
        self.live.connection.execute(AssertSqlSafe(sql)).await?;
        Ok(())
    }

    /// Holds one of wasmill's locks alone until the transaction's end.
    pub(super) async fn lock(&mut self, number: i64) -> Result<()> {
        let lock =
            "SELECT pg_advisory_xact_lock(hashtextextended('wasmill ' || current_schema(), $1))";
        self.execute(sqlx::query(lock).bind(number)).await.map(drop)
    }

    /// Holds some of wasmill's locks until the transaction's end, together with others who do the
    /// same. Callers give them in order, so that two who share locks with one who holds one alone
    /// cannot wait in a circle.
    pub(super) async fn lock_shared(&mut self, numbers: &[i64]) -> Result<()> {
        let lock = "SELECT pg_advisory_xact_lock_shared(hashtextextended('wasmill ' || current_schema(), number)) \
                    FROM unnest($1) AS number";
        self.execute(sqlx::query(lock).bind(numbers)).await.map(drop)
    }

    /// Commits if `result` is a success and rolls back otherwise.
    pub(super) async fn end<T>(mut self, result: Result<T>) -> Result<T> {
        let last = match &result {
            Ok(_) => "COMMIT",
            // The connection may be in any state.
            Err(fault) if fault.is_loss() => return result,
            Err(_) => "ROLLBACK",
        };
        let ended = self.live.connection.execute(last).await;
        match (ended, &result) {
            (Ok(_), _) => self.pool.put_back(self.live),
            (Err(error), Ok(_)) => return Err(error.into()),
            // What went wrong first is the better report.
            (Err(_), Err(_)) => {}
        }
        result
    }
}
