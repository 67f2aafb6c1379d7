//! What users define.

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use wasmill_domain::{
    Definitions, Digest, FunctionName, Revision, SealedSecret, SecretName, SecretSummary,
    TenantName, Timestamp,
};

use super::manifests::{by_version, manifest_rows};
use super::queries::{get, time};
use super::store::SqliteStore;
use super::{artifacts, change, definitions, error, secrets};
use crate::convert;
use crate::port::{
    Artifacts, Catalog, Change, Changed, FunctionVersion, Identity, Installation, Result,
    SealingKeyUse, Secrets,
};

#[async_trait]
impl Catalog for SqliteStore {
    async fn definitions(&self, known: Revision) -> Result<Option<Definitions>> {
        // Asked every second or so by every process, and mostly answered by this.
        let revision: i64 = sqlx::query_scalar("SELECT revision FROM revision")
            .fetch_one(&self.readers)
            .await
            .map_err(error::of)?;
        if Revision(revision) == known {
            return Ok(None);
        }
        // One snapshot, so that the revision is that of what is read with it.
        let mut snapshot = self.readers.begin().await.map_err(error::of)?;
        definitions::since(&mut snapshot, known).await
    }

    async fn define(&self, change: &Change) -> Result<Changed> {
        let mut transaction = self.writer.begin().await?;
        let result = change::make(&mut transaction, &self.quotas, change).await;
        transaction.end(result).await
    }

    async fn versions(
        &self,
        tenant: &TenantName,
        function: &FunctionName,
    ) -> Result<Vec<FunctionVersion>> {
        let mut snapshot = self.readers.begin().await.map_err(error::of)?;
        versions(&mut snapshot, tenant, function).await
    }
}

#[async_trait]
impl Artifacts for SqliteStore {
    async fn put_artifact(
        &self,
        tenant: &TenantName,
        digest: Digest,
        bytes: Bytes,
    ) -> Result<bool> {
        artifacts::put(self, tenant, digest, bytes).await
    }

    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>> {
        artifacts::of_anybody(self, digest).await
    }

    async fn tenant_artifact(&self, tenant: &TenantName, digest: Digest) -> Result<Option<Bytes>> {
        artifacts::of_tenant(self, tenant, digest).await
    }

    async fn artifact_sizes(
        &self,
        tenant: &TenantName,
        digests: &[Digest],
    ) -> Result<Vec<Option<u64>>> {
        let mut reader = self.readers.acquire().await.map_err(error::of)?;
        artifacts::sizes(&mut reader, tenant, digests).await
    }

    async fn missing_artifacts(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        let mut reader = self.readers.acquire().await.map_err(error::of)?;
        artifacts::missing_of(&mut reader, digests).await
    }
}

#[async_trait]
impl Secrets for SqliteStore {
    async fn secrets(&self, tenant: &TenantName) -> Result<Vec<SecretSummary>> {
        secrets::list(self, tenant).await
    }

    async fn secret(&self, tenant: &TenantName, name: &SecretName) -> Result<Option<SealedSecret>> {
        secrets::sealed(self, tenant, name).await
    }

    async fn sealing_keys(&self) -> Result<Vec<SealingKeyUse>> {
        secrets::sealing_keys(self).await
    }
}

#[async_trait]
impl Identity for SqliteStore {
    async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT revision FROM revision")
            .fetch_one(&self.readers)
            .await
            .map(drop)
            .map_err(error::of)
    }

    async fn installation(&self) -> Result<Installation> {
        let row =
            sqlx::query("SELECT id, broker_since FROM installation").fetch_one(&self.readers).await;
        let row = row.map_err(error::of)?;
        let since: Option<i64> = get(&row, "broker_since")?;
        Ok(Installation { id: get(&row, "id")?, broker_since: since.map(Timestamp::from_micros) })
    }

    async fn broker_marked(&self, at: Timestamp) -> Result<()> {
        let mut transaction = self.writer.begin().await?;
        let mark = sqlx::query("UPDATE installation SET broker_since = ?").bind(at.as_micros());
        let result = mark.execute(&mut *transaction).await.map(drop).map_err(error::of);
        transaction.end(result).await
    }
}

async fn versions(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    function: &FunctionName,
) -> Result<Vec<FunctionVersion>> {
    let triggers = sqlx::query(
        "SELECT tenant, function, version, event, http, schema FROM triggers WHERE tenant = ? AND function = ? ORDER BY version, place",
    )
    .bind(tenant.as_str())
    .bind(function.as_str())
    .fetch_all(&mut *connection)
    .await
    .map_err(error::of)?;
    let mut triggers = by_version(&triggers)?;
    let rows = sqlx::query(
        // To reach `size`, which stands behind them, all pages of bytes would be read that are in
        // the row.
        "SELECT v.tenant, v.function, v.number, v.digest, v.manifest, v.deployed_at, \
         CASE WHEN length(a.bytes) > 0 THEN length(a.bytes) ELSE a.size END AS size, \
         v.number = f.current_version AS current FROM versions v JOIN artifacts a ON a.digest = v.digest \
         JOIN functions f ON f.tenant = v.tenant AND f.name = v.function \
         WHERE v.tenant = ? AND v.function = ? ORDER BY v.number DESC",
    )
    .bind(tenant.as_str())
    .bind(function.as_str())
    .fetch_all(connection)
    .await
    .map_err(error::of)?;
    let version = |row: &SqliteRow| {
        Ok(FunctionVersion {
            number: convert::count("number", get(row, "number")?)?,
            digest: convert::digest("digest", get(row, "digest")?)?,
            size: convert::measure("size", get(row, "size")?)?,
            manifest: manifest_rows(row, &mut triggers)?.manifest_or_reason(),
            deployed_at: time(row, "deployed_at")?,
            current: get(row, "current")?,
        })
    };
    rows.iter().map(version).collect()
}
