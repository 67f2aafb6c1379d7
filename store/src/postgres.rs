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
mod days;
mod dead_letters;
mod definitions;
mod early_rows;
mod error;
mod history;
mod ledger;
mod lifecycle;
mod listen;
mod listening;
mod look;
mod manifests;
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
mod settings;
mod store;
mod text;
mod upgrade;

#[cfg(any(test, feature = "conformance"))]
pub mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use wasmill_background::Background;

pub use settings::PostgresSettings;
pub use store::PostgresStore;

use crate::migrations::SchemaMode;
use crate::port::{Result, StoreError};
use days::Partitions;
use listening::Listening;
use session::SessionPool;
use store::Inner;

impl PostgresStore {
    /// Connects, and looks at the schema. Of several processes that bring it up to date at once,
    /// one does the work and the others wait for it. The tables are where the URL's `search_path`
    /// says (`?options[search_path]=…`), which is `public` unless it says so.
    ///
    /// TLS is by the URL: `sslmode=verify-full`, and `sslrootcert=FILE` where the system's
    /// certificates are not the ones to trust.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the server cannot be reached or refuses the user, is too
    /// old, or the database is not in UTF-8; [`StoreError::Schema`] where its schema is not one
    /// that this release works on.
    pub async fn connect(url: &str, settings: PostgresSettings) -> Result<Self> {
        let mut pool = SessionPool::new(url, &settings)?;
        let server = pool.server();
        let cannot_use = |why: String| format!("cannot use the database {server}: {why}");
        migration::prepare(&mut pool, &settings).await.map_err(|e| match e {
            StoreError::Schema(why) => StoreError::Schema(cannot_use(why)),
            other => StoreError::Unavailable(cannot_use(reason(other))),
        })?;
        let listening = Listening::new(url, &settings)?;
        let inner = Inner {
            pool,
            settings,
            partitions: Partitions::default(),
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

/// What an error says beyond its kind.
fn reason(error: StoreError) -> String {
    match error {
        StoreError::Unavailable(why)
        | StoreError::Schema(why)
        | StoreError::NotFound(why)
        | StoreError::Conflict(why)
        | StoreError::QuotaExceeded { why, .. }
        | StoreError::Rejected(why) => why,
    }
}
