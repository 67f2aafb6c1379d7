//! What users define.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::postgres::PgRow;
use tokio::sync::watch;
use wasmill_domain::{
    BrokenDefinition, DefinitionKind, Definitions, Digest, FunctionDefinition, FunctionName,
    KeyDefinition, Revision, SchemaDefinition, SealedSecret, SecretName, SecretSummary, TenantName,
    Timestamp,
};

use super::columns::get;
use super::error::{Fault, Result};
use super::queries::{count, digest, text, time, trigger_row, word};
use super::session::Session;
use super::store::PostgresStore;
use super::{artifacts, change, routes, secrets};
use crate::convert::{self, ManifestRows, TriggerRow};
use crate::port::{
    self, Artifacts, Catalog, Change, Changed, Error, Identity, Installation, SealingKeyUse,
    Secrets, Version,
};

/// The triggers of each version, in order, by tenant, function and number.
type Triggers = HashMap<(String, String, i64), Vec<TriggerRow>>;

#[async_trait]
impl Catalog for PostgresStore {
    async fn definitions(&self, known: Revision) -> port::Result<Option<Definitions>> {
        self.inner.read(|session| Box::pin(definitions(session, known))).await
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
    ) -> port::Result<Vec<Version>> {
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
            Error::Unavailable(format!("the check of an artifact broke down: {e}"))
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

/// The current revision.
pub(super) async fn revision(session: &mut Session<'_>) -> Result<Revision> {
    let row = session.row(sqlx::query("SELECT revision FROM revision")).await?;
    get(&row, "revision").map(Revision)
}

async fn definitions(session: &mut Session<'_>, known: Revision) -> Result<Option<Definitions>> {
    // Asked every second or so by every process, and mostly answered by this.
    if revision(session).await? == known {
        return Ok(None);
    }
    all(session).await.map(Some)
}

/// Everything that is defined.
pub(super) async fn all(session: &mut Session<'_>) -> Result<Definitions> {
    let revision = revision(session).await?;
    let triggers = sqlx::query(
        "SELECT t.tenant, t.function, t.version, t.event, t.http, t.schema FROM functions f JOIN triggers t \
         ON t.tenant = f.tenant AND t.function = f.name AND t.version = f.current_version \
         ORDER BY t.tenant, t.function, t.version, t.place",
    );
    let mut triggers = by_version(&session.rows(triggers).await?)?;
    let functions = sqlx::query(
        "SELECT v.tenant, v.function, v.number, v.digest, v.manifest, v.deployed_at FROM functions f JOIN versions v \
         ON v.tenant = f.tenant AND v.function = f.name AND v.number = f.current_version ORDER BY v.tenant, v.function",
    );
    let functions = session.rows(functions).await?;
    let schemas = sqlx::query(
        "SELECT tenant, event_type, version, schema, updated_at, min_reader FROM schemas ORDER BY tenant, event_type",
    );
    let schemas = session.rows(schemas).await?;
    let keys = sqlx::query(
        "SELECT id, tenant, role, label, hash, created_at, min_reader FROM api_keys ORDER BY id",
    );
    let keys = session.rows(keys).await?;
    let hostnames = routes::hostnames(session).await?;
    let deleted = session
        .rows(sqlx::query("SELECT tenant, name FROM deleted_functions ORDER BY tenant, name"))
        .await?;
    let mut all = Definitions { revision, ..Definitions::default() };
    let broken = &mut all.broken;
    let function = |row: &PgRow| function(row, &mut triggers);
    all.functions = readable(broken, DefinitionKind::Function, &functions, "function", function);
    all.schemas = readable(broken, DefinitionKind::Schema, &schemas, "event_type", schema);
    all.keys = readable(broken, DefinitionKind::Key, &keys, "label", key);
    all.hostnames =
        readable(broken, DefinitionKind::Hostname, &hostnames, "pattern", routes::hostname);
    let deleted_function = |row: &PgRow| Ok((word(row, "tenant")?, word(row, "name")?));
    all.deleted =
        readable(broken, DefinitionKind::DeletedFunction, &deleted, "name", deleted_function);
    Ok(all)
}

/// What rows define that can be read; the others are put with the `broken`, called by a column of
/// theirs.
fn readable<T>(
    broken: &mut Vec<BrokenDefinition>,
    kind: DefinitionKind,
    rows: &[PgRow],
    name: &str,
    mut read: impl FnMut(&PgRow) -> Result<T>,
) -> Vec<T> {
    let named =
        |row: &PgRow| ["tenant", name].map(|column| get(row, column).map_err(Fault::into_error));
    convert::definitions(broken, kind, rows, named, |row| read(row).map_err(Fault::into_error))
}

fn by_version(rows: &[PgRow]) -> Result<Triggers> {
    let mut triggers = Triggers::new();
    for row in rows {
        let version = (get(row, "tenant")?, get(row, "function")?, get(row, "version")?);
        triggers.entry(version).or_default().push(trigger_row(row)?);
    }
    Ok(triggers)
}

fn manifest_rows(row: &PgRow, triggers: &mut Triggers) -> Result<ManifestRows> {
    let version = (get(row, "tenant")?, get(row, "function")?, get(row, "number")?);
    Ok(ManifestRows {
        manifest: get(row, "manifest")?,
        triggers: triggers.remove(&version).unwrap_or_default(),
    })
}

fn function(row: &PgRow, triggers: &mut Triggers) -> Result<FunctionDefinition> {
    Ok(FunctionDefinition {
        tenant: word(row, "tenant")?,
        name: word(row, "function")?,
        version: count(row, "number")?,
        digest: digest(row, "digest")?,
        manifest: Arc::new(manifest_rows(row, triggers)?.into_manifest()?),
        deployed_at: time(row, "deployed_at")?,
    })
}

fn schema(row: &PgRow) -> Result<SchemaDefinition> {
    convert::check_reader(get(row, "min_reader")?)?;
    Ok(SchemaDefinition {
        tenant: word(row, "tenant")?,
        event_type: word(row, "event_type")?,
        version: count(row, "version")?,
        schema: Arc::new(convert::json("schema", get(row, "schema")?)?),
        updated_at: time(row, "updated_at")?,
    })
}

fn key(row: &PgRow) -> Result<KeyDefinition> {
    convert::check_reader(get(row, "min_reader")?)?;
    Ok(KeyDefinition {
        id: get(row, "id")?,
        tenant: word(row, "tenant")?,
        role: word(row, "role")?,
        label: text(row, "label")?,
        hash: digest(row, "hash")?,
        created_at: time(row, "created_at")?,
    })
}

async fn versions(
    session: &mut Session<'_>,
    tenant: &TenantName,
    function: &FunctionName,
) -> Result<Vec<Version>> {
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
        Ok(Version {
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
