//! The connections to the file: one that writes, in transactions, and some that read.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, timeout};

use super::error;
use super::private::make_private;
use super::settings::{SqliteSettings, Synchronous};
use crate::migrations::SchemaMode;
use crate::port::{Result, StoreError};

/// Twice SQLite's default: rows with events and results of 1 KB leave less of a page unused, which
/// records 15% more of them.
const PAGE_BYTES: u32 = 8192;

/// Every statement of this backend in every one of its sizes fits.
const CACHED_STATEMENTS: usize = 192;

/// Rows that a connection's thread may be ahead of their reader.
const ROWS_AHEAD: usize = 256;

/// How long to wait before the next try where SQLite itself does not wait for a lock.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// The one connection of this process that writes.
pub(super) struct Writer {
    path: PathBuf,
    options: SqliteConnectOptions,
    wait_timeout: Duration,
    slot: Mutex<Slot>,
}

enum Slot {
    Open(SqliteConnection),
    /// It is in a transaction, or ended in one; the next transaction makes a new one.
    Empty,
    Closed,
}

impl Writer {
    /// A writer that is not connected yet.
    pub(super) fn new(path: &Path, settings: &SqliteSettings) -> Self {
        let makes_file = settings.schema == SchemaMode::Migrate;
        if makes_file {
            make_private(path);
        }
        let options = options(path, settings)
            .create_if_missing(makes_file)
            .page_size(PAGE_BYTES)
            .journal_mode(SqliteJournalMode::Wal)
            .foreign_keys(true)
            .synchronous(match settings.synchronous {
                Synchronous::Full => SqliteSynchronous::Full,
                Synchronous::Normal => SqliteSynchronous::Normal,
            })
            .pragma("cache_size", cache_size(settings.cache_bytes))
            .pragma("wal_autocheckpoint", (settings.wal_bytes / PAGE_BYTES).max(1).to_string())
            .pragma("journal_size_limit", settings.wal_bytes.to_string());
        Self {
            path: path.to_owned(),
            options,
            wait_timeout: settings.busy_timeout,
            slot: Mutex::new(Slot::Empty),
        }
    }

    /// Has the first transaction on a connection that was made before it.
    pub(super) async fn begin_with(&self, connection: SqliteConnection) {
        *self.slot.lock().await = Slot::Open(connection);
    }

    /// A new connection. The switch to the write-ahead log does not wait for others that are just
    /// doing the same, so this does.
    pub(super) async fn connect(&self) -> Result<SqliteConnection> {
        let give_up = Instant::now() + self.wait_timeout;
        loop {
            match self.options.connect().await {
                Err(e) if error::is_busy(&e) && Instant::now() < give_up => sleep(BUSY_PAUSE).await,
                other => return other.map_err(|e| error::at_open(&self.path, &e)),
            }
        }
    }

    /// Begins a transaction, once it is this one's turn.
    pub(super) async fn begin(&self) -> Result<Transaction<'_>> {
        let Ok(mut slot) = timeout(self.wait_timeout, self.slot.lock()).await else {
            return Err(StoreError::Unavailable(format!(
                "writers are queued up for {:?}",
                self.wait_timeout
            )));
        };
        let connection = match std::mem::replace(&mut *slot, Slot::Empty) {
            Slot::Open(connection) => connection,
            Slot::Empty => self.connect().await?,
            Slot::Closed => {
                *slot = Slot::Closed;
                return Err(error::closed());
            }
        };
        let mut transaction = Transaction { connection, slot };
        // Takes the lock on the database at once: a transaction that reads first and then finds
        // another process writing would have to be thrown away.
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *transaction).await.map_err(error::of)?;
        Ok(transaction)
    }

    /// Closes the connection; no further one is made.
    pub(super) async fn close(&self) {
        if let Slot::Open(connection) =
            std::mem::replace(&mut *self.slot.lock().await, Slot::Closed)
        {
            // Fails where its thread is gone already.
            let _ = connection.close().await;
        }
    }
}

/// The writer's connection, in a transaction. It goes back to its slot with [`Transaction::end`].
/// Otherwise (because the caller was dropped, or after an error that may have ended the transaction
/// underneath) it is closed: SQLite rolls back then, and no doubt is left for the next one.
pub(super) struct Transaction<'a> {
    connection: SqliteConnection,
    slot: MutexGuard<'a, Slot>,
}

impl Transaction<'_> {
    /// Commits if `result` is a success and rolls back otherwise.
    pub(super) async fn end<T>(mut self, result: Result<T>) -> Result<T> {
        let statement = match &result {
            Ok(_) => "COMMIT",
            Err(StoreError::Unavailable(_)) => return result,
            Err(_) => "ROLLBACK",
        };
        sqlx::query(statement).execute(&mut self.connection).await.map_err(error::of)?;
        *self.slot = Slot::Open(self.connection);
        result
    }
}

impl Deref for Transaction<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

/// The connections that read. Made when they are needed.
pub(super) fn readers(path: &Path, settings: &SqliteSettings) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(settings.readers.max(1))
        .acquire_timeout(settings.busy_timeout)
        .test_before_acquire(false)
        .max_lifetime(None)
        .connect_lazy_with(
            options(path, settings)
                .read_only(true)
                .pragma("cache_size", cache_size(settings.cache_bytes / 4)),
        )
}

fn options(path: &Path, settings: &SqliteSettings) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        // SQLite counts it in 31 bits of milliseconds.
        .busy_timeout(settings.busy_timeout.min(Duration::from_secs(24 * 3600)))
        .statement_cache_capacity(CACHED_STATEMENTS)
        .row_buffer_size(ROWS_AHEAD)
        .thread_name(|id| format!("sqlite-{id}"))
        .disable_statement_logging()
}

/// SQLite takes a negative number for KiB.
fn cache_size(bytes: u32) -> String {
    format!("-{}", bytes / 1024)
}
