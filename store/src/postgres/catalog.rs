//! What users define.

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::postgres::PgRow;
use tokio::sync::watch;
use wasmill_domain::{
    Definitions, Digest, FunctionName, Revision, SealedSecret, SecretName, SecretSummary,
    TenantName, Timestamp,
};

use super::columns::get;
use super::error::Result;
use super::manifests::{by_version, manifest_rows};
use super::queries::{count, digest, time};
use super::session::Session;
use super::store::PostgresStore;
use super::{artifacts, change, definitions, secrets};
use crate::convert;
use crate::port::{
    self, Artifacts, Catalog, Change, Changed, FunctionVersion, Identity, Installation,
    SealingKeyUse, Secrets, StoreError,
};

#[async_trait]
impl Catalog for PostgresStore {
    async fn definitions(&self, known: Revision) -> port::Result<Option<Definitions>> {
        self.inner.read(|session| Box::pin(definitions::since(session, known))).await
    }

    fn changes(&self) -> Option<watch::Receiver<Revision>> {
        self.inner.listen()
    }

    async fn define(&self, change: &Change) -> port::Result<Changed> {
        self.inner
            .write(|session| Box::pin(change::make(session, &self.inner.settings.quotas, change)))
            .await
    }

    async fn versions(
        &self,
        tenant: &TenantName,
        function: &FunctionName,
    ) -> port::Result<Vec<FunctionVersion>> {
        self.inner.read(|session| Box::pin(versions(session, tenant, function))).await
    }
}

#[async_trait]
impl Artifacts for PostgresStore {
    async fn put_artifact(
        &self,
        tenant: &TenantName,
        digest: Digest,
        bytes: Bytes,
    ) -> port::Result<bool> {
        let (checked, bytes) = (bytes.clone(), bytes);
        let checked =
            self.inner.background.run(move || convert::check_digest(digest, &checked)).await;
        checked.map_err(|e| {
            StoreError::Unavailable(format!("the check of an artifact failed: {e}"))
        })??;
        let quota = self.inner.settings.quotas.of(tenant);
        self.inner
            .write(|session| Box::pin(artifacts::put(session, tenant, quota, digest, &bytes)))
            .await
    }

    async fn artifact(&self, digest: Digest) -> port::Result<Option<Bytes>> {
        self.inner.read(|session| Box::pin(artifact(session, digest))).await
    }

    async fn tenant_artifact(
        &self,
        tenant: &TenantName,
        digest: Digest,
    ) -> port::Result<Option<Bytes>> {
        self.inner.read(|session| Box::pin(artifacts::of_tenant(session, tenant, digest))).await
    }

    async fn artifact_sizes(
        &self,
        tenant: &TenantName,
        digests: &[Digest],
    ) -> port::Result<Vec<Option<u64>>> {
        self.inner.read(|session| Box::pin(artifacts::sizes(session, tenant, digests))).await
    }

    async fn missing_artifacts(&self, digests: &[Digest]) -> port::Result<Vec<Digest>> {
        self.inner.read(|session| Box::pin(artifacts::missing_of(session, digests))).await
    }
}

#[async_trait]
impl Secrets for PostgresStore {
    async fn secrets(&self, tenant: &TenantName) -> port::Result<Vec<SecretSummary>> {
        self.inner.read(|session| Box::pin(secrets::list(session, tenant))).await
    }

    async fn secret(
        &self,
        tenant: &TenantName,
        name: &SecretName,
    ) -> port::Result<Option<SealedSecret>> {
        self.inner.read(|session| Box::pin(secrets::sealed(session, tenant, name))).await
    }

    async fn sealing_keys(&self) -> port::Result<Vec<SealingKeyUse>> {
        self.inner.read(|session| Box::pin(secrets::sealing_keys(session))).await
    }
}

#[async_trait]
impl Identity for PostgresStore {
    async fn ping(&self) -> port::Result<()> {
        self.inner.read(|_| Box::pin(async { Ok(()) })).await
    }

    async fn installation(&self) -> port::Result<Installation> {
        self.inner.read(|session| Box::pin(installation(session))).await
    }

    async fn broker_marked(&self, at: Timestamp) -> port::Result<()> {
        self.inner.write(|session| Box::pin(broker_marked(session, at))).await
    }
}

async fn artifact(session: &mut Session<'_>, digest: Digest) -> Result<Option<Bytes>> {
    let one = sqlx::query("SELECT bytes FROM artifacts WHERE digest = $1")
        .bind(digest.as_bytes().as_slice());
    let row = session.row_if_any(one).await?;
    row.map(|row| get::<Vec<u8>>(&row, "bytes").map(Bytes::from)).transpose()
}

async fn installation(session: &mut Session<'_>) -> Result<Installation> {
    let row = session.row(sqlx::query("SELECT id, broker_since FROM installation")).await?;
    let since: Option<i64> = get(&row, "broker_since")?;
    Ok(Installation { id: get(&row, "id")?, broker_since: since.map(Timestamp::from_micros) })
}

async fn broker_marked(session: &mut Session<'_>, at: Timestamp) -> Result<()> {
    session
        .execute(sqlx::query("UPDATE installation SET broker_since = $1").bind(at.as_micros()))
        .await
        .map(drop)
}

/// The versions of a function, the newest first.
async fn versions(
    session: &mut Session<'_>,
    tenant: &TenantName,
    function: &FunctionName,
) -> Result<Vec<FunctionVersion>> {
    let triggers = sqlx::query(
        "SELECT tenant, function, version, event, http, schema FROM triggers WHERE tenant = $1 AND function = $2 ORDER BY version, place",
    );
    let triggers = session.rows(triggers.bind(tenant.as_str()).bind(function.as_str())).await?;
    let mut triggers = by_version(&triggers)?;
    let versions = sqlx::query(
        "SELECT v.tenant, v.function, v.number, v.digest, v.manifest, v.deployed_at, length(a.bytes)::bigint AS size, \
         v.number = f.current_version AS current FROM versions v JOIN artifacts a ON a.digest = v.digest \
         JOIN functions f ON f.tenant = v.tenant AND f.name = v.function \
         WHERE v.tenant = $1 AND v.function = $2 ORDER BY v.number DESC",
    );
    let rows = session.rows(versions.bind(tenant.as_str()).bind(function.as_str())).await?;
    let version = |row: &PgRow| {
        Ok(FunctionVersion {
            number: count(row, "number")?,
            digest: digest(row, "digest")?,
            size: convert::measure("size", get(row, "size")?)?,
            manifest: manifest_rows(row, &mut triggers)?.manifest_or_reason(),
            deployed_at: time(row, "deployed_at")?,
            current: get(row, "current")?,
        })
    };
    rows.iter().map(version).collect()
}
