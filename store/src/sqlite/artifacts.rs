//! Artifacts: whose they are, and which of them and of the versions that name them have to go.

use bytes::Bytes;
use sqlx::sqlite::SqliteConnection;
use wasmill_domain::{Digest, FunctionName, TenantName, Timestamp};

use super::{SqliteStore, error};
use crate::convert;
use crate::port::Result;
use crate::quota::TenantQuota;

/// Whether artifact `?2` is one of tenant `?1`'s. That a version names it counts too: another
/// release of wasmill may have made it.
macro_rules! is_of {
    () => {
        "(EXISTS (SELECT 1 FROM tenant_artifacts t WHERE t.tenant = ?1 AND t.digest = ?2) \
         OR EXISTS (SELECT 1 FROM versions v WHERE v.tenant = ?1 AND v.digest = ?2))"
    };
}

/// Keeps an artifact for a tenant, and says whether it did not have it; within a transaction.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    quota: &TenantQuota,
    digest: Digest,
    bytes: Bytes,
) -> Result<bool> {
    let (size, now) = (bytes.len() as u64, Timestamp::now().as_micros());
    let has = "SELECT EXISTS (SELECT 1 FROM tenant_artifacts WHERE tenant = ? AND digest = ?)";
    let has: bool = sqlx::query_scalar(has)
        .bind(tenant.as_str())
        .bind(digest.as_bytes().as_slice())
        .fetch_one(&mut *connection)
        .await
        .map_err(error::of)?;
    if !has {
        let sum = "SELECT count(*), coalesce(sum(size), 0) FROM tenant_artifacts WHERE tenant = ?";
        let (count, sum): (i64, i64) =
            sqlx::query_as(sum).bind(tenant.as_str()).fetch_one(&mut *connection).await.map_err(error::of)?;
        let (count, sum) = (convert::measure("count", count)?, convert::measure("size", sum)?);
        quota.admit_artifact(tenant, count, sum, size)?;
    }
    sqlx::query(
        "INSERT INTO artifacts (digest, put_at, bytes) VALUES (?, ?, ?) \
         ON CONFLICT (digest) DO UPDATE SET put_at = max(put_at, excluded.put_at)",
    )
    .bind(digest.as_bytes().as_slice())
    .bind(now)
    .bind(Vec::from(bytes))
    .execute(&mut *connection)
    .await
    .map_err(error::of)?;
    sqlx::query(
        "INSERT INTO tenant_artifacts (tenant, digest, size, put_at) VALUES (?, ?, ?, ?) \
         ON CONFLICT (tenant, digest) DO UPDATE SET put_at = max(put_at, excluded.put_at)",
    )
    .bind(tenant.as_str())
    .bind(digest.as_bytes().as_slice())
    .bind(convert::from_measure(size))
    .bind(now)
    .execute(connection)
    .await
    .map_err(error::of)?;
    Ok(!has)
}

/// Whether a tenant has an artifact.
pub(super) async fn is_of(connection: &mut SqliteConnection, tenant: &TenantName, digest: Digest) -> Result<bool> {
    sqlx::query_scalar(concat!("SELECT ", is_of!()))
        .bind(tenant.as_str())
        .bind(digest.as_bytes().as_slice())
        .fetch_one(connection)
        .await
        .map_err(error::of)
}

/// The bytes of an artifact, if the tenant has it.
pub(super) async fn of_tenant(store: &SqliteStore, tenant: &TenantName, digest: Digest) -> Result<Option<Bytes>> {
    let bytes: Option<Vec<u8>> =
        sqlx::query_scalar(concat!("SELECT bytes FROM artifacts WHERE digest = ?2 AND ", is_of!()))
            .bind(tenant.as_str())
            .bind(digest.as_bytes().as_slice())
            .fetch_optional(&store.readers)
            .await
            .map_err(error::of)?;
    Ok(bytes.map(Bytes::from))
}

/// Deletes a function's oldest versions beyond the number that is kept; within the change that has
/// just made `newest` current. Their artifacts are kept for a while: a host that is behind may
/// still ask for one.
pub(super) async fn delete_old_versions(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    function: &FunctionName,
    newest: u32,
    kept: u32,
) -> Result<()> {
    const OLD: &str = "SELECT number FROM versions WHERE tenant = ?1 AND function = ?2 AND number < ?3 \
         ORDER BY number DESC LIMIT -1 OFFSET ?4";
    let old: Vec<i64> = sqlx::query_scalar(OLD)
        .bind(tenant.as_str())
        .bind(function.as_str())
        .bind(i64::from(newest))
        .bind(i64::from(kept.max(1)) - 1)
        .fetch_all(&mut *connection)
        .await
        .map_err(error::of)?;
    for number in old {
        let renew = "UPDATE artifacts SET put_at = max(put_at, ?4) WHERE digest = \
                     (SELECT digest FROM versions WHERE tenant = ?1 AND function = ?2 AND number = ?3)";
        let delete = "DELETE FROM versions WHERE tenant = ?1 AND function = ?2 AND number = ?3";
        for sql in [renew, delete] {
            let query = sqlx::query(sql).bind(tenant.as_str()).bind(function.as_str()).bind(number);
            let query = if sql == renew { query.bind(Timestamp::now().as_micros()) } else { query };
            query.execute(&mut *connection).await.map_err(error::of)?;
        }
    }
    Ok(())
}

/// Takes from tenants up to `limit` artifacts that were put before `before` and that none of their
/// versions names, and deletes up to as many that no version of anybody's names.
pub(super) async fn prune(connection: &mut SqliteConnection, before: Timestamp, limit: u32) -> Result<()> {
    for sql in [
        "DELETE FROM tenant_artifacts WHERE (tenant, digest) IN (SELECT t.tenant, t.digest FROM tenant_artifacts t \
         WHERE t.put_at < ?1 AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.tenant = t.tenant AND v.digest = t.digest) LIMIT ?2)",
        "DELETE FROM artifacts WHERE digest IN (SELECT digest FROM artifacts a WHERE put_at < ?1 \
         AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.digest = a.digest) LIMIT ?2)",
    ] {
        let delete = sqlx::query(sql).bind(before.as_micros()).bind(i64::from(limit));
        delete.execute(&mut *connection).await.map_err(error::of)?;
    }
    Ok(())
}
