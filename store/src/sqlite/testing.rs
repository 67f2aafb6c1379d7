//! What tests need of SQLite: for this crate's, and by the feature `conformance` for those of
//! others.

use wasmill_domain::{ExecutionId, FunctionName};

use super::error;
use super::history::id_bytes;
use super::store::SqliteStore;
use crate::port::Result;

impl SqliteStore {
    /// Makes an execution's event any text, as a fault of a disk or of an operator would.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub async fn spoil_event(&self, id: ExecutionId, text: &str) -> Result<()> {
        self.spoil("UPDATE executions SET event = ? WHERE id = ?", id, text).await
    }

    /// Makes the type of an execution's event one that is none, so that its row cannot be read.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub async fn spoil_type(&self, id: ExecutionId) -> Result<()> {
        self.spoil("UPDATE executions SET event_type = ? WHERE id = ?", id, "..").await
    }

    async fn spoil(&self, sql: &'static str, id: ExecutionId, text: &str) -> Result<()> {
        let mut transaction = self.writer.begin().await?;
        let spoil = sqlx::query(sql).bind(text).bind(id_bytes(&id).to_vec());
        let result = spoil.execute(&mut *transaction).await.map(drop).map_err(error::of);
        transaction.end(result).await
    }

    /// Gives a function's manifests a key that no release knows.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub async fn spoil_function(&self, name: &FunctionName) -> Result<()> {
        let mut transaction = self.writer.begin().await?;
        let spoil = "UPDATE versions SET manifest = json_set(manifest, '$.of_a_later_release', 1) WHERE function = ?";
        let result = sqlx::query(spoil).bind(name.as_str()).execute(&mut *transaction).await;
        transaction.end(result.map(drop).map_err(error::of)).await
    }
}
