//! Artifacts: whose they are, and which of them and of the versions that name them have to go.

use std::collections::HashSet;

use bytes::Bytes;
use sqlx::sqlite::SqliteConnection;
use wasmill_domain::{Digest, FunctionName, Manifest, TenantName, Timestamp};

use super::blobs::{Blobs, Lost};
use super::connection::Writer;
use super::error;
use super::store::SqliteStore;
use crate::convert;
use crate::files::{HAS_FILES, KEPT, files_of, missing};
use crate::port::{Result, StoreError};
use crate::quota::TenantQuota;

/// Whether artifact `?2` is one of tenant `?1`'s. That a version names it counts too: another
/// release of wasmill may have made it.
macro_rules! is_of {
    () => {
        "(EXISTS (SELECT 1 FROM tenant_artifacts t WHERE t.tenant = ?1 AND t.digest = ?2) \
         OR EXISTS (SELECT 1 FROM versions v WHERE v.tenant = ?1 AND v.digest = ?2))"
    };
}

/// Keeps an artifact for a tenant, and says whether it did not have it.
pub(super) async fn put(
    store: &SqliteStore,
    tenant: &TenantName,
    digest: Digest,
    bytes: Bytes,
) -> Result<bool> {
    let size = bytes.len() as u64;
    loop {
        store.blobs.write(digest, bytes.clone()).await?;
        let mut transaction = store.writer.begin().await?;
        // Somebody may have deleted it as one that is not needed.
        if !store.blobs.has(digest) {
            transaction.end(Ok(())).await?;
            continue;
        }
        let result = put_row(&mut transaction, tenant, store.quotas.of(tenant), digest, size).await;
        if result.is_err() && !is_known(&mut transaction, digest).await? {
            store.blobs.delete(digest);
        }
        return transaction.end(result).await;
    }
}

/// Notes that an artifact is there and that a tenant has it; within a transaction.
async fn put_row(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    quota: &TenantQuota,
    digest: Digest,
    size: u64,
) -> Result<bool> {
    let now = Timestamp::now().as_micros();
    let has = "SELECT EXISTS (SELECT 1 FROM tenant_artifacts WHERE tenant = ? AND digest = ?)";
    let has: bool = sqlx::query_scalar(has)
        .bind(tenant.as_str())
        .bind(digest.as_bytes().as_slice())
        .fetch_one(&mut *connection)
        .await
        .map_err(error::of)?;
    if !has {
        let sum = "SELECT count(*), coalesce(sum(size), 0) FROM tenant_artifacts WHERE tenant = ?";
        let (count, sum): (i64, i64) = sqlx::query_as(sum)
            .bind(tenant.as_str())
            .fetch_one(&mut *connection)
            .await
            .map_err(error::of)?;
        let (count, sum) = (convert::measure("count", count)?, convert::measure("size", sum)?);
        quota.admit_artifact(tenant, count, sum, size)?;
    }
    sqlx::query(
        "INSERT INTO artifacts (digest, put_at, bytes, size) VALUES (?, ?, x'', ?) \
         ON CONFLICT (digest) DO UPDATE SET put_at = max(put_at, excluded.put_at)",
    )
    .bind(digest.as_bytes().as_slice())
    .bind(now)
    .bind(convert::from_measure(size))
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
pub(super) async fn is_of(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    digest: Digest,
) -> Result<bool> {
    sqlx::query_scalar(concat!("SELECT ", is_of!()))
        .bind(tenant.as_str())
        .bind(digest.as_bytes().as_slice())
        .fetch_one(connection)
        .await
        .map_err(error::of)
}

/// Whether any tenant has an artifact.
async fn is_known(connection: &mut SqliteConnection, digest: Digest) -> Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM artifacts WHERE digest = ?)")
        .bind(digest.as_bytes().as_slice())
        .fetch_one(connection)
        .await
        .map_err(error::of)
}

/// The bytes of an artifact, whoever has it. Those that are lost may be uploaded again, so they are
/// not there for now.
pub(super) async fn of_anybody(store: &SqliteStore, digest: Digest) -> Result<Option<Bytes>> {
    let row = sqlx::query_as("SELECT bytes, size FROM artifacts WHERE digest = ?")
        .bind(digest.as_bytes().as_slice());
    let row = row.fetch_optional(&store.readers).await.map_err(error::of)?;
    bytes_of(store, digest, row).await?.map_err(|lost| StoreError::Unavailable(lost.to_string()))
}

/// The bytes of an artifact, if the tenant has it. Those that are lost it does not have, so that it
/// uploads them again.
pub(super) async fn of_tenant(
    store: &SqliteStore,
    tenant: &TenantName,
    digest: Digest,
) -> Result<Option<Bytes>> {
    let row = sqlx::query_as(concat!(
        "SELECT bytes, size FROM artifacts WHERE digest = ?2 AND ",
        is_of!()
    ))
    .bind(tenant.as_str())
    .bind(digest.as_bytes().as_slice());
    Ok(bytes_of(store, digest, row.fetch_optional(&store.readers).await.map_err(error::of)?)
        .await?
        .unwrap_or_default())
}

/// The bytes that a row says are there: in it, where an earlier release has put them, or in a file.
/// The log tells of one that is lost.
async fn bytes_of(
    store: &SqliteStore,
    digest: Digest,
    row: Option<(Vec<u8>, i64)>,
) -> Result<Result<Option<Bytes>, Lost>> {
    match row {
        None => Ok(Ok(None)),
        Some((bytes, size)) if !bytes.is_empty() || size == 0 => Ok(Ok(Some(bytes.into()))),
        Some(_) => {
            let found = store.blobs.read(digest).await?;
            Ok(found.map(Some).inspect_err(|lost| tracing::error!("{lost}")))
        }
    }
}

/// Reads the file of every artifact that has one, and says what is wrong with those that are lost.
pub(super) async fn lost(store: &SqliteStore) -> Result<Vec<Lost>> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT digest FROM artifacts WHERE length(bytes) = 0 AND size > 0 ORDER BY digest",
    )
    .fetch_all(&store.readers)
    .await
    .map_err(error::of)?;
    let mut all = Vec::new();
    for digest in rows {
        all.extend(store.blobs.read(convert::digest("digest", &digest)?).await?.err());
    }
    Ok(all)
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
    if old.is_empty() {
        return Ok(());
    }
    let had_files = "SELECT count(*) FROM versions WHERE tenant = ? AND function = ? AND number <= ? AND manifest LIKE ?";
    let had_files: i64 = sqlx::query_scalar(had_files)
        .bind(tenant.as_str())
        .bind(function.as_str())
        .bind(old[0])
        .bind(HAS_FILES)
        .fetch_one(&mut *connection)
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
    if had_files > 0 { release_files(connection, tenant).await } else { Ok(()) }
}

/// The sizes of artifacts that a tenant has.
pub(super) async fn sizes(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    digests: &[Digest],
) -> Result<Vec<Option<u64>>> {
    let mut sizes = Vec::with_capacity(digests.len());
    for digest in digests {
        let size: Option<i64> =
            sqlx::query_scalar("SELECT size FROM tenant_artifacts WHERE tenant = ? AND digest = ?")
                .bind(tenant.as_str())
                .bind(digest.as_bytes().as_slice())
                .fetch_optional(&mut *connection)
                .await
                .map_err(error::of)?;
        sizes.push(size.map(|size| convert::measure("size", size)).transpose()?);
    }
    Ok(sizes)
}

/// Those of `digests` that no artifact has.
pub(super) async fn missing_of(
    connection: &mut SqliteConnection,
    digests: &[Digest],
) -> Result<Vec<Digest>> {
    let mut missing = Vec::new();
    for digest in digests {
        if !is_known(connection, *digest).await? {
            missing.push(*digest);
        }
    }
    Ok(missing)
}

/// Keeps the files of a version that is being made.
pub(super) async fn keep_files(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    manifest: &Manifest,
) -> Result<()> {
    for (digest, part) in files_of(manifest) {
        let size = convert::from_measure(part.size);
        let own =
            "UPDATE tenant_artifacts SET put_at = ? WHERE tenant = ? AND digest = ? AND size = ?";
        let own = sqlx::query(own)
            .bind(KEPT)
            .bind(tenant.as_str())
            .bind(digest.as_bytes().as_slice())
            .bind(size);
        if own.execute(&mut *connection).await.map_err(error::of)?.rows_affected() == 0 {
            return Err(missing(part));
        }
        let all = sqlx::query("UPDATE artifacts SET put_at = ? WHERE digest = ?").bind(KEPT);
        all.bind(digest.as_bytes().as_slice())
            .execute(&mut *connection)
            .await
            .map_err(error::of)?;
    }
    Ok(())
}

/// Lets those files go, after a while, that no version of the tenant's has any more.
pub(super) async fn release_files(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
) -> Result<()> {
    let unused = "SELECT digest FROM tenant_artifacts WHERE tenant = ?1 AND put_at = ?2 \
         AND 'sha256:' || lower(hex(digest)) NOT IN (SELECT file.value ->> '$.digest' \
         FROM versions v, json_each(v.manifest, '$.files') file WHERE v.tenant = ?1)";
    let unused: Vec<Vec<u8>> = sqlx::query_scalar(unused)
        .bind(tenant.as_str())
        .bind(KEPT)
        .fetch_all(&mut *connection)
        .await
        .map_err(error::of)?;
    let now = Timestamp::now().as_micros();
    for digest in unused {
        let own =
            sqlx::query("UPDATE tenant_artifacts SET put_at = ? WHERE tenant = ? AND digest = ?");
        let own = own.bind(now).bind(tenant.as_str()).bind(&digest);
        own.execute(&mut *connection).await.map_err(error::of)?;
        let all = "UPDATE artifacts SET put_at = ?1 WHERE digest = ?2 AND NOT EXISTS \
                   (SELECT 1 FROM tenant_artifacts t WHERE t.digest = ?2 AND t.put_at = ?3)";
        let all = sqlx::query(all).bind(now).bind(&digest).bind(KEPT);
        all.execute(&mut *connection).await.map_err(error::of)?;
    }
    Ok(())
}

/// Takes from tenants up to `limit` artifacts that were put before `before` and that none of their
/// versions names, deletes up to as many that no version of anybody's names, and says which: their
/// files are for [`delete_files`] once this is committed.
pub(super) async fn prune(
    connection: &mut SqliteConnection,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<Digest>> {
    let unnamed = "DELETE FROM tenant_artifacts WHERE (tenant, digest) IN (SELECT t.tenant, t.digest FROM tenant_artifacts t \
         WHERE t.put_at < ?1 AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.tenant = t.tenant AND v.digest = t.digest) LIMIT ?2)";
    let delete = sqlx::query(unnamed).bind(before.as_micros()).bind(i64::from(limit));
    delete.execute(&mut *connection).await.map_err(error::of)?;
    let deleted: Vec<Vec<u8>> = sqlx::query_scalar(
        "DELETE FROM artifacts WHERE digest IN (SELECT digest FROM artifacts a WHERE put_at < ?1 \
         AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.digest = a.digest) LIMIT ?2) RETURNING digest",
    )
    .bind(before.as_micros())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await
    .map_err(error::of)?;
    deleted.iter().map(|digest| convert::digest("digest", digest)).collect()
}

/// Deletes the files of artifacts that have no row.
pub(super) async fn delete_files(writer: &Writer, blobs: &Blobs, digests: &[Digest]) -> Result<()> {
    if digests.is_empty() {
        return Ok(());
    }
    // Nobody adds one meanwhile.
    let mut transaction = writer.begin().await?;
    for digest in digests {
        if !is_known(&mut transaction, *digest).await? {
            blobs.delete(*digest);
        }
    }
    transaction.end(Ok(())).await
}

/// Deletes the files of artifacts that have no row: somebody ended, or the database was away,
/// between the one and the other. Young ones stay: their row may be about to come.
pub(super) async fn delete_orphans(store: &SqliteStore) -> Result<()> {
    let blobs = store.blobs.clone();
    let settled = tokio::task::spawn_blocking(move || blobs.settled()).await;
    let settled = settled.map_err(|e| {
        StoreError::Unavailable(format!("the artifacts' folder cannot be listed: {e}"))
    })?;
    if settled.is_empty() {
        return Ok(());
    }
    let known: Vec<Vec<u8>> = sqlx::query_scalar("SELECT digest FROM artifacts")
        .fetch_all(&store.readers)
        .await
        .map_err(error::of)?;
    let known: HashSet<Digest> =
        known.iter().filter_map(|digest| Digest::from_slice(digest)).collect();
    let orphans: Vec<Digest> =
        settled.into_iter().filter(|digest| !known.contains(digest)).collect();
    delete_files(&store.writer, &store.blobs, &orphans).await
}
