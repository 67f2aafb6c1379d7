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
mod early_rows;
mod error;
mod history;
mod ledger;
mod lifecycle;
mod manifests;
mod migration;
mod nodes;
mod orders;
mod private;
mod queries;
mod quota;
mod retention;
mod routes;
mod secrets;
mod settings;
mod store;
#[cfg(any(test, feature = "conformance"))]
mod testing;
mod upgrade;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use settings::{SqliteSettings, Synchronous};
pub use store::SqliteStore;

use crate::migrations::SchemaMode;
use crate::port::Result;
use blobs::Blobs;
use connection::Writer;

impl SqliteStore {
    /// Opens the file, and by default makes it where there is none (for its owner alone) and brings
    /// its schema up to date. Its folder must exist. The bytes of artifacts are in files of a
    /// folder that has its name with `-artifacts`.
    ///
    /// # Errors
    /// [`crate::StoreError::Unavailable`] where the file cannot be opened or is not a database;
    /// [`crate::StoreError::Schema`] where its schema is not one that this release works on.
    pub async fn open(path: &Path, settings: SqliteSettings) -> Result<Self> {
        let writer = Writer::new(path, &settings);
        let mut connection = writer.connect().await?;
        migration::prepare(&mut connection, path, settings.schema).await?;
        writer.begin_with(connection).await;
        let readers = connection::readers(path, &settings);
        let blobs = Blobs::beside(path, &settings);
        let store = Self {
            writer,
            readers,
            blobs,
            quotas: settings.quotas,
            node_timeout: settings.node_timeout,
            publish_timeout: settings.publish_timeout,
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
