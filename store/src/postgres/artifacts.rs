//! Artifacts: whose they are, and which of them and of the versions that name them have to go.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use sqlx::AssertSqlSafe;
use wasmill_domain::{Digest, FunctionName, Manifest, TenantName, Timestamp};

use super::columns::get;
use super::error::Result;
use super::session::Session;
use crate::convert;
use crate::files::{HAS_FILES, KEPT, files_of, missing};
use crate::quota::TenantQuota;

/// Whether artifact `$2` is one of tenant `$1`'s. That a version names it counts too: another
/// release of wasmill may have made it.
macro_rules! is_of {
    () => {
        "(EXISTS (SELECT 1 FROM tenant_artifacts t WHERE t.tenant = $1 AND t.digest = $2) \
         OR EXISTS (SELECT 1 FROM versions v WHERE v.tenant = $1 AND v.digest = $2))"
    };
}

/// Keeps an artifact for a tenant, and says whether it did not have it.
pub(super) async fn put(
    session: &mut Session<'_>,
    tenant: &TenantName,
    quota: &TenantQuota,
    digest: Digest,
    bytes: &[u8],
) -> Result<bool> {
    // One upload of a tenant after the other, so that what is counted is what there is.
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('wasmill artifacts ' || current_schema() || ' ' || $1, 0))";
    session.execute(sqlx::query(lock).bind(tenant.as_str())).await?;
    let size = bytes.len() as u64;
    let known = sqlx::query(
        "SELECT count(*) AS count, coalesce(sum(size), 0)::bigint AS bytes, coalesce(bool_or(digest = $2), false) AS known \
         FROM tenant_artifacts WHERE tenant = $1",
    );
    let row = session.row(known.bind(tenant.as_str()).bind(digest.as_bytes().as_slice())).await?;
    let has: bool = get(&row, "known")?;
    if !has {
        let (count, sum) = (get(&row, "count")?, get(&row, "bytes")?);
        quota.admit_artifact(
            tenant,
            convert::measure("count", count)?,
            convert::measure("bytes", sum)?,
            size,
        )?;
    }
    let now = Timestamp::now().as_micros();
    let put = sqlx::query(
        "INSERT INTO artifacts AS a (digest, put_at, bytes) VALUES ($1, $2, $3) \
         ON CONFLICT (digest) DO UPDATE SET put_at = greatest(a.put_at, excluded.put_at)",
    );
    session.execute(put.bind(digest.as_bytes().as_slice()).bind(now).bind(bytes)).await?;
    let own = sqlx::query(
        "INSERT INTO tenant_artifacts AS t (tenant, digest, size, put_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (tenant, digest) DO UPDATE SET put_at = greatest(t.put_at, excluded.put_at)",
    );
    let own = own.bind(tenant.as_str()).bind(digest.as_bytes().as_slice());
    session.execute(own.bind(convert::from_measure(size)).bind(now)).await?;
    Ok(!has)
}

/// Whether a tenant has an artifact.
pub(super) async fn is_of(
    session: &mut Session<'_>,
    tenant: &TenantName,
    digest: Digest,
) -> Result<bool> {
    let has = sqlx::query(concat!("SELECT ", is_of!(), " AS has"));
    let row = session.row(has.bind(tenant.as_str()).bind(digest.as_bytes().as_slice())).await?;
    get(&row, "has")
}

/// The bytes of an artifact, if the tenant has it.
pub(super) async fn of_tenant(
    session: &mut Session<'_>,
    tenant: &TenantName,
    digest: Digest,
) -> Result<Option<Bytes>> {
    let one = sqlx::query(concat!("SELECT bytes FROM artifacts WHERE digest = $2 AND ", is_of!()));
    let row =
        session.row_if_any(one.bind(tenant.as_str()).bind(digest.as_bytes().as_slice())).await?;
    row.map(|row| get::<Vec<u8>>(&row, "bytes").map(Bytes::from)).transpose()
}

/// Deletes a function's oldest versions beyond the number that is kept; within the change that has
/// just made `newest` current. Their artifacts are kept for a while: a host that is behind may
/// still ask for one.
pub(super) async fn delete_old_versions(
    session: &mut Session<'_>,
    tenant: &TenantName,
    function: &FunctionName,
    newest: u32,
    kept: u32,
) -> Result<()> {
    let delete = sqlx::query(
        "WITH old AS (DELETE FROM versions WHERE tenant = $1 AND function = $2 AND number IN \
         (SELECT number FROM versions WHERE tenant = $1 AND function = $2 AND number < $3 ORDER BY number DESC OFFSET $4) \
         RETURNING digest, manifest), \
         renewed AS (UPDATE artifacts SET put_at = greatest(put_at, $5) WHERE digest IN (SELECT digest FROM old)) \
         SELECT coalesce(bool_or(manifest LIKE $6), false) AS had_files FROM old",
    );
    let delete = delete.bind(tenant.as_str()).bind(function.as_str()).bind(i64::from(newest));
    let delete =
        delete.bind(i64::from(kept.max(1)) - 1).bind(Timestamp::now().as_micros()).bind(HAS_FILES);
    let had_files: bool = get(&session.row(delete).await?, "had_files")?;
    if had_files { release_files(session, tenant).await } else { Ok(()) }
}

/// The sizes of artifacts that a tenant has.
pub(super) async fn sizes(
    session: &mut Session<'_>,
    tenant: &TenantName,
    digests: &[Digest],
) -> Result<Vec<Option<u64>>> {
    let wanted: Vec<Vec<u8>> = digests.iter().map(|digest| digest.as_bytes().to_vec()).collect();
    let known = sqlx::query(
        "SELECT digest, size FROM tenant_artifacts WHERE tenant = $1 AND digest = ANY($2)",
    );
    let rows = session.rows(known.bind(tenant.as_str()).bind(wanted)).await?;
    let mut sizes = HashMap::with_capacity(rows.len());
    for row in &rows {
        let digest = convert::digest("digest", get::<&[u8]>(row, "digest")?)?;
        sizes.insert(digest, convert::measure("size", get(row, "size")?)?);
    }
    Ok(digests.iter().map(|digest| sizes.get(digest).copied()).collect())
}

/// Those of `digests` that no artifact has.
pub(super) async fn missing_of(
    session: &mut Session<'_>,
    digests: &[Digest],
) -> Result<Vec<Digest>> {
    let wanted: Vec<Vec<u8>> = digests.iter().map(|digest| digest.as_bytes().to_vec()).collect();
    let known = sqlx::query("SELECT digest FROM artifacts WHERE digest = ANY($1)").bind(wanted);
    let rows = session.rows(known).await?;
    let mut known = HashSet::with_capacity(rows.len());
    for row in &rows {
        known.insert(convert::digest("digest", get::<&[u8]>(row, "digest")?)?);
    }
    Ok(digests.iter().filter(|digest| !known.contains(digest)).copied().collect())
}

/// Keeps the files of a version that is being made. (Artifacts before what tenants have of them, as
/// an upload does.)
pub(super) async fn keep_files(
    session: &mut Session<'_>,
    tenant: &TenantName,
    manifest: &Manifest,
) -> Result<()> {
    let files = files_of(manifest);
    if files.is_empty() {
        return Ok(());
    }
    let digests: Vec<Vec<u8>> = files.keys().map(|digest| digest.as_bytes().to_vec()).collect();
    let sizes: Vec<i64> = files.values().map(|part| convert::from_measure(part.size)).collect();
    let all = sqlx::query("UPDATE artifacts SET put_at = $1 WHERE digest = ANY($2)");
    session.execute(all.bind(KEPT).bind(&digests)).await?;
    let own = sqlx::query(
        "UPDATE tenant_artifacts t SET put_at = $1 FROM unnest($3::bytea[], $4::bigint[]) AS file (digest, size) \
         WHERE t.tenant = $2 AND t.digest = file.digest AND t.size = file.size RETURNING t.digest",
    );
    let rows =
        session.rows(own.bind(KEPT).bind(tenant.as_str()).bind(&digests).bind(sizes)).await?;
    let mut there = HashSet::with_capacity(rows.len());
    for row in &rows {
        there.insert(convert::digest("digest", get::<&[u8]>(row, "digest")?)?);
    }
    match files.values().find(|part| !there.contains(&part.digest)) {
        Some(part) => Err(missing(part).into()),
        None => Ok(()),
    }
}

/// Lets those files go, after a while, that no version of the tenant's has any more.
pub(super) async fn release_files(session: &mut Session<'_>, tenant: &TenantName) -> Result<()> {
    let unused = sqlx::query(
        "SELECT digest FROM tenant_artifacts WHERE tenant = $1 AND put_at = $2 \
         AND 'sha256:' || encode(digest, 'hex') NOT IN (SELECT file ->> 'digest' FROM versions v, \
         json_array_elements(coalesce(v.manifest::json -> 'files', '[]'::json)) file WHERE v.tenant = $1)",
    );
    let rows = session.rows(unused.bind(tenant.as_str()).bind(KEPT)).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let unused =
        rows.iter().map(|row| get::<Vec<u8>>(row, "digest")).collect::<Result<Vec<_>>>()?;
    let now = Timestamp::now().as_micros();
    let all = sqlx::query(
        "UPDATE artifacts a SET put_at = $1 WHERE digest = ANY($2) AND NOT EXISTS \
         (SELECT 1 FROM tenant_artifacts t WHERE t.digest = a.digest AND t.put_at = $3 AND t.tenant <> $4)",
    );
    session.execute(all.bind(now).bind(&unused).bind(KEPT).bind(tenant.as_str())).await?;
    let own = sqlx::query(
        "UPDATE tenant_artifacts SET put_at = $1 WHERE tenant = $2 AND digest = ANY($3)",
    );
    session.execute(own.bind(now).bind(tenant.as_str()).bind(unused)).await.map(drop)
}

/// Takes from tenants up to `limit` artifacts that were put before `before` and that none of their
/// versions names, and deletes up to as many that no version of anybody's names.
pub(super) async fn prune(session: &mut Session<'_>, before: Timestamp, limit: u64) -> Result<()> {
    const OF_TENANTS: &str = "SELECT t.tenant, t.digest FROM tenant_artifacts t WHERE t.put_at < $1 \
         AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.tenant = t.tenant AND v.digest = t.digest) LIMIT $2";
    const OF_NOBODY: &str = "SELECT digest FROM artifacts a WHERE put_at < $1 \
         AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.digest = a.digest) LIMIT $2";
    let bind = |sql: String| {
        sqlx::query(AssertSqlSafe(sql)).bind(before.as_micros()).bind(convert::from_measure(limit))
    };
    if session.rows(bind(OF_TENANTS.into())).await?.is_empty()
        && session.rows(bind(OF_NOBODY.into())).await?.is_empty()
    {
        return Ok(());
    }
    // No version is made meanwhile: a change of the definitions holds this row.
    session.row(sqlx::query("SELECT revision FROM revision FOR UPDATE")).await?;
    session
        .execute(bind(format!(
            "DELETE FROM tenant_artifacts WHERE (tenant, digest) IN ({OF_TENANTS})"
        )))
        .await?;
    session
        .execute(bind(format!("DELETE FROM artifacts WHERE digest IN ({OF_NOBODY})")))
        .await
        .map(drop)
}
