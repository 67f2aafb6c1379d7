//! What the store in PostgreSQL is made of, and its transactions.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use wasmill_background::Background;
use wasmill_domain::backoff::Backoff;

use super::days::Partitions;
use super::error::{self, Fault};
use super::listening::Listening;
use super::session::{Access, Session, SessionPool};
use super::settings::PostgresSettings;
use crate::port::{Result, StoreError};

/// The longest pause between two tries of a transaction that met another one.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A store in a PostgreSQL database. Clones are the same store.
#[derive(Clone)]
pub struct PostgresStore {
    pub(super) inner: Arc<Inner>,
}

/// What the clones of a store share.
pub(super) struct Inner {
    pub(super) pool: SessionPool,
    pub(super) settings: PostgresSettings,
    pub(super) partitions: Partitions,
    pub(super) listening: Listening,
    /// Threads for work as long as what users define.
    pub(super) background: Background,
}

/// What is done within a transaction.
pub(super) type Step<'s, T> = Pin<Box<dyn Future<Output = error::Result<T>> + Send + 's>>;

impl Inner {
    /// Does `work` in a transaction that writes, again where it collides with another one, for as
    /// long as a call may take.
    pub(super) async fn write<'a, T>(
        &'a self,
        work: impl for<'s> Fn(&'s mut Session<'a>) -> Step<'s, T>,
    ) -> Result<T> {
        self.transact(Access::Write, self.settings.call_timeout, work)
            .await
            .map_err(Fault::into_error)
    }

    /// Does `work` in a transaction that reads.
    pub(super) async fn read<'a, T>(
        &'a self,
        work: impl for<'s> Fn(&'s mut Session<'a>) -> Step<'s, T>,
    ) -> Result<T> {
        self.transact(Access::Read, self.settings.call_timeout, work)
            .await
            .map_err(Fault::into_error)
    }

    /// Does `work` for upkeep in a short transaction that writes, on the connection kept for it.
    pub(super) async fn upkeep<'a, T>(
        &'a self,
        work: impl for<'s> Fn(&'s mut Session<'a>) -> Step<'s, T>,
    ) -> Result<T> {
        self.transact(Access::Upkeep, self.settings.call_timeout, work)
            .await
            .map_err(Fault::into_error)
    }

    pub(super) async fn transact<'a, T>(
        &'a self,
        access: Access,
        limit: Duration,
        work: impl for<'s> Fn(&'s mut Session<'a>) -> Step<'s, T>,
    ) -> error::Result<T> {
        let had_connection = AtomicBool::new(false);
        match timeout(limit, repeat_noting(&self.pool, access, &had_connection, work)).await {
            Ok(outcome) => outcome,
            Err(_) if !had_connection.load(Ordering::Relaxed) => {
                let why = format!("no connection was free within {limit:?}");
                Err(StoreError::Unavailable(why).into())
            }
            Err(_) => {
                self.pool.forget_idle();
                Err(StoreError::Unavailable(format!(
                    "{} has not answered within {limit:?}",
                    self.pool.server()
                ))
                .into())
            }
        }
    }
}

/// Makes a transaction, again and again until it does not collide with another one.
pub(super) async fn repeat<'a, T>(
    pool: &'a SessionPool,
    access: Access,
    work: impl for<'s> Fn(&'s mut Session<'a>) -> Step<'s, T>,
) -> error::Result<T> {
    repeat_noting(pool, access, &AtomicBool::new(false), work).await
}

/// The same, and notes when it may use a connection for the first time.
async fn repeat_noting<'a, T>(
    pool: &'a SessionPool,
    access: Access,
    had_connection: &AtomicBool,
    work: impl for<'s> Fn(&'s mut Session<'a>) -> Step<'s, T>,
) -> error::Result<T> {
    let mut backoff = Backoff::new(Duration::from_millis(1), LONGEST_PAUSE);
    loop {
        let permit = pool.permit(access).await?;
        had_connection.store(true, Ordering::Relaxed);
        let mut session = pool.begin_with(permit, access).await?;
        let result = work(&mut session).await;
        match session.end(result).await {
            Err(fault) if fault.is_collision() => {
                tracing::debug!(?fault, "a transaction is made again");
                sleep(backoff.pause()).await;
            }
            other => return other,
        }
    }
}
