//! Secrets, sealed.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use wasmill_domain::{SealedSecret, SealingKeyId, SecretName, SecretSummary, TenantName};

use super::error;
use super::queries::{get, time, word};
use super::store::SqliteStore;
use crate::convert;
use crate::port::{Result, SealingKeyUse, StoreError};
use crate::secrets::{check_next, readable};

/// The keys that seal secrets. `place` is 1 for the first secret of each.
const SEALING_KEYS: &str = "SELECT tenant, name, version, sealing_key, sealed, updated_at, secrets FROM ( \
     SELECT tenant, name, version, sealing_key, sealed, updated_at, count(*) OVER (PARTITION BY sealing_key) AS secrets, \
     row_number() OVER (PARTITION BY sealing_key ORDER BY tenant, name) AS place FROM secrets) AS sealed_by \
     WHERE place = 1 ORDER BY sealing_key";

pub(super) async fn list(store: &SqliteStore, tenant: &TenantName) -> Result<Vec<SecretSummary>> {
    let rows = sqlx::query(
        "SELECT name, version, sealing_key, created_at, updated_at, min_reader FROM secrets WHERE tenant = ? ORDER BY name",
    )
    .bind(tenant.as_str())
    .fetch_all(&store.readers)
    .await
    .map_err(error::of)?;
    let summary = |row: &SqliteRow| -> Result<SecretSummary> {
        convert::check_reader(get(row, "min_reader")?)?;
        Ok(SecretSummary {
            name: word(row, "name")?,
            version: convert::count("version", get(row, "version")?)?,
            key: word(row, "sealing_key")?,
            created_at: time(row, "created_at")?,
            updated_at: time(row, "updated_at")?,
        })
    };
    let named = |row: &SqliteRow| get(row, "name").unwrap_or_default();
    Ok(readable(tenant, &rows, named, summary))
}

pub(super) async fn sealed(
    store: &SqliteStore,
    tenant: &TenantName,
    name: &SecretName,
) -> Result<Option<SealedSecret>> {
    let row = sqlx::query(
        "SELECT version, sealing_key, sealed, updated_at, min_reader FROM secrets WHERE tenant = ? AND name = ?",
    )
    .bind(tenant.as_str())
    .bind(name.as_str())
    .fetch_optional(&store.readers)
    .await
    .map_err(error::of)?;
    let secret = |row: SqliteRow| -> Result<SealedSecret> {
        convert::check_reader(get(&row, "min_reader")?)?;
        Ok(SealedSecret {
            tenant: tenant.clone(),
            name: name.clone(),
            version: convert::count("version", get(&row, "version")?)?,
            key: word(&row, "sealing_key")?,
            sealed: get::<Vec<u8>>(&row, "sealed")?.into(),
            at: time(&row, "updated_at")?,
        })
    };
    row.map(secret).transpose()
}

pub(super) async fn sealing_keys(store: &SqliteStore) -> Result<Vec<SealingKeyUse>> {
    let rows = sqlx::query(SEALING_KEYS).fetch_all(&store.readers).await.map_err(error::of)?;
    let used = |row: &SqliteRow| {
        let key: SealingKeyId = word(row, "sealing_key")?;
        let example = SealedSecret {
            tenant: word(row, "tenant")?,
            name: word(row, "name")?,
            version: convert::count("version", get(row, "version")?)?,
            key: key.clone(),
            sealed: get::<Vec<u8>>(row, "sealed")?.into(),
            at: time(row, "updated_at")?,
        };
        Ok(SealingKeyUse {
            key,
            secrets: convert::measure("secrets", get(row, "secrets")?)?,
            example,
        })
    };
    rows.iter().map(used).collect()
}

/// Puts a secret's next version; within the transaction of a change.
pub(super) async fn put(connection: &mut SqliteConnection, secret: &SealedSecret) -> Result<()> {
    let known: Option<i64> =
        sqlx::query_scalar("SELECT version FROM secrets WHERE tenant = ? AND name = ?")
            .bind(secret.tenant.as_str())
            .bind(secret.name.as_str())
            .fetch_optional(&mut *connection)
            .await
            .map_err(error::of)?;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM secrets WHERE tenant = ?")
        .bind(secret.tenant.as_str())
        .fetch_one(&mut *connection)
        .await
        .map_err(error::of)?;
    check_next(secret, known, count)?;
    sqlx::query(
        "INSERT INTO secrets (tenant, name, version, sealing_key, sealed, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) ON CONFLICT (tenant, name) DO UPDATE SET version = excluded.version, \
         sealing_key = excluded.sealing_key, sealed = excluded.sealed, updated_at = excluded.updated_at, \
         min_reader = excluded.min_reader",
    )
    .bind(secret.tenant.as_str())
    .bind(secret.name.as_str())
    .bind(i64::from(secret.version))
    .bind(secret.key.as_str())
    .bind(secret.sealed.to_vec())
    .bind(secret.at.as_micros())
    .execute(connection)
    .await
    .map(drop)
    .map_err(error::of)
}

/// Deletes a secret; within the transaction of a change.
pub(super) async fn delete(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    name: &SecretName,
) -> Result<()> {
    let deleted = sqlx::query("DELETE FROM secrets WHERE tenant = ? AND name = ?")
        .bind(tenant.as_str())
        .bind(name.as_str())
        .execute(connection)
        .await
        .map_err(error::of)?;
    match deleted.rows_affected() {
        0 => Err(StoreError::NotFound(format!("secret {name}"))),
        _ => Ok(()),
    }
}
