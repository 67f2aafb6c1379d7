//! The port's suite on SQLite, and what is SQLite's own: the schema, the file, and other processes
//! that use it.

mod artifacts;
mod changes;
mod file;
mod migration;
mod schema;
mod unreadable;
mod upgrade;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;

use super::settings::{SqliteSettings, Synchronous};
use super::store::SqliteStore;
use crate::conformance::{Fresh, nodes, quotas};

/// What tests use: they do not wait for the disk.
fn settings() -> SqliteSettings {
    SqliteSettings { synchronous: Synchronous::Normal, ..SqliteSettings::default() }
}

fn file_in(folder: &TempDir) -> PathBuf {
    folder.path().join("store.db")
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, settings()).await.unwrap()
}

async fn fresh() -> Fresh {
    fresh_with(settings()).await
}

async fn fresh_with(settings: SqliteSettings) -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&file_in(&folder), settings).await.unwrap());
    let (nodes, orders) = (Arc::clone(&store) as _, Arc::clone(&store) as _);
    Fresh { store, nodes, orders, _keep: Box::new(folder) }
}

/// A connection of somebody else's to the same file.
async fn stranger(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_secs(10))
        .connect()
        .await
        .unwrap()
}

async fn small() -> Fresh {
    fresh_with(SqliteSettings { quotas: quotas::small(), ..settings() }).await
}

async fn short_lived() -> Fresh {
    fresh_with(SqliteSettings { node_timeout: nodes::SHORT, ..settings() }).await
}

crate::conformance::suite!(fresh, small);
crate::conformance::nodes_suite!(fresh, short_lived);
crate::conformance::orders_suite!(fresh);
