//! The port's suite on SQLite, and what is SQLite's own: the schema, the file, and other processes that use it.

mod artifacts;
mod file;
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

use super::{SqliteSettings, SqliteStore, Synchronous};
use crate::conformance::{Fresh, quotas};

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
    let folder = tempfile::tempdir().unwrap();
    Fresh { store: Arc::new(open(&file_in(&folder)).await), _keep: Box::new(folder) }
}

/// A connection of somebody else's to the same file.
async fn stranger(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(10)).connect().await.unwrap()
}

async fn small() -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let settings = SqliteSettings { quotas: quotas::small(), ..settings() };
    let store = SqliteStore::open(&file_in(&folder), settings).await.unwrap();
    Fresh { store: Arc::new(store), _keep: Box::new(folder) }
}

crate::conformance::suite!(fresh, small);
