//! Secrets, sealed.

use sqlx::postgres::PgRow;
use wasmill_domain::{SealedSecret, SealingKeyId, SecretName, SecretSummary, TenantName};

use super::columns::get;
use super::error::{Fault, Result};
use super::queries::{count, time, word};
use super::session::Session;
use crate::convert;
use crate::port::{SealingKeyUse, StoreError};
use crate::secrets::{check_next, readable};

/// The keys that seal secrets. `place` is 1 for the first secret of each.
const SEALING_KEYS: &str = "SELECT tenant, name, version, sealing_key, sealed, updated_at, secrets FROM ( \
     SELECT tenant, name, version, sealing_key, sealed, updated_at, count(*) OVER (PARTITION BY sealing_key) AS secrets, \
     row_number() OVER (PARTITION BY sealing_key ORDER BY tenant COLLATE \"C\", name COLLATE \"C\") AS place FROM secrets) AS sealed_by \
     WHERE place = 1 ORDER BY sealing_key COLLATE \"C\"";

pub(super) async fn list(
    session: &mut Session<'_>,
    tenant: &TenantName,
) -> Result<Vec<SecretSummary>> {
    let list = sqlx::query(
        "SELECT name, version, sealing_key, created_at, updated_at, min_reader FROM secrets WHERE tenant = $1 ORDER BY name COLLATE \"C\"",
    );
    let rows = session.rows(list.bind(tenant.as_str())).await?;
    let summary = |row: &PgRow| -> Result<SecretSummary> {
        convert::check_reader(get(row, "min_reader")?)?;
        Ok(SecretSummary {
            name: word(row, "name")?,
            version: count(row, "version")?,
            key: word(row, "sealing_key")?,
            created_at: time(row, "created_at")?,
            updated_at: time(row, "updated_at")?,
        })
    };
    let named = |row: &PgRow| get(row, "name").unwrap_or_default();
    Ok(readable(tenant, &rows, named, |row| summary(row).map_err(Fault::into_error)))
}

pub(super) async fn sealed(
    session: &mut Session<'_>,
    tenant: &TenantName,
    name: &SecretName,
) -> Result<Option<SealedSecret>> {
    let one = sqlx::query(
        "SELECT version, sealing_key, sealed, updated_at, min_reader FROM secrets WHERE tenant = $1 AND name = $2",
    );
    let row = session.row_if_any(one.bind(tenant.as_str()).bind(name.as_str())).await?;
    let secret = |row: PgRow| -> Result<SealedSecret> {
        convert::check_reader(get(&row, "min_reader")?)?;
        Ok(SealedSecret {
            tenant: tenant.clone(),
            name: name.clone(),
            version: count(&row, "version")?,
            key: word(&row, "sealing_key")?,
            sealed: get::<Vec<u8>>(&row, "sealed")?.into(),
            at: time(&row, "updated_at")?,
        })
    };
    row.map(secret).transpose()
}

pub(super) async fn sealing_keys(session: &mut Session<'_>) -> Result<Vec<SealingKeyUse>> {
    let rows = session.rows(sqlx::query(SEALING_KEYS)).await?;
    let used = |row: &PgRow| {
        let key: SealingKeyId = word(row, "sealing_key")?;
        let example = SealedSecret {
            tenant: word(row, "tenant")?,
            name: word(row, "name")?,
            version: count(row, "version")?,
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

/// Puts a secret's next version; within the transaction of a change, which holds the revision.
pub(super) async fn put(session: &mut Session<'_>, secret: &SealedSecret) -> Result<()> {
    let known = sqlx::query(
        "SELECT count(*) AS secrets, max(version) FILTER (WHERE name = $2) AS version FROM secrets WHERE tenant = $1",
    );
    let row = session.row(known.bind(secret.tenant.as_str()).bind(secret.name.as_str())).await?;
    check_next(secret, get(&row, "version")?, get(&row, "secrets")?)?;
    let put = sqlx::query(
        "INSERT INTO secrets (tenant, name, version, sealing_key, sealed, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (tenant, name) DO UPDATE SET version = excluded.version, \
         sealing_key = excluded.sealing_key, sealed = excluded.sealed, updated_at = excluded.updated_at, \
         min_reader = excluded.min_reader",
    );
    let put =
        put.bind(secret.tenant.as_str()).bind(secret.name.as_str()).bind(i64::from(secret.version));
    let put = put.bind(secret.key.as_str()).bind(&secret.sealed[..]).bind(secret.at.as_micros());
    session.execute(put).await.map(drop)
}

/// Deletes a secret; within the transaction of a change.
pub(super) async fn delete(
    session: &mut Session<'_>,
    tenant: &TenantName,
    name: &SecretName,
) -> Result<()> {
    let delete = sqlx::query("DELETE FROM secrets WHERE tenant = $1 AND name = $2");
    match session.execute(delete.bind(tenant.as_str()).bind(name.as_str())).await? {
        0 => Err(StoreError::NotFound(format!("secret {name}")).into()),
        _ => Ok(()),
    }
}
