//! What functions keep.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::postgres::PgRow;
use wasmill_domain::{TenantName, Timestamp};

use super::columns::get;
use super::error::Result;
use super::queries::word;
use super::session::{Session, Statement};
use super::store::PostgresStore;
use crate::buckets::{
    Account, Bucket, BucketQuota, BucketSummary, KeyPage, Swap, ValueVersion, check_answer,
    check_keys, check_values, function_column, function_of, incremented, key_of, last_of_each,
};
use crate::convert;
use crate::port::{self, Buckets, StoreError};

/// A bucket that is written to. Its row is held: nobody else writes to the bucket until the
/// transaction's end.
struct Open {
    id: i64,
    account: Account,
    /// The version of its last entry, those included that are about to be written.
    version: i64,
}

#[async_trait]
impl Buckets for PostgresStore {
    async fn values(&self, bucket: &Bucket, keys: &[String]) -> port::Result<Vec<Option<Bytes>>> {
        check_keys(keys.iter().map(String::as_str))?;
        self.inner.read(|session| Box::pin(values(session, bucket, keys))).await
    }

    async fn value_version(
        &self,
        bucket: &Bucket,
        key: &str,
    ) -> port::Result<Option<ValueVersion>> {
        check_keys([key].into_iter())?;
        self.inner.read(|session| Box::pin(value_version(session, bucket, key))).await
    }

    async fn keys(&self, bucket: &Bucket, after: Option<u64>, limit: u32) -> port::Result<KeyPage> {
        self.inner.read(|session| Box::pin(keys(session, bucket, after, limit))).await
    }

    async fn set_values(
        &self,
        bucket: &Bucket,
        entries: &[(String, Bytes)],
        quota: &BucketQuota,
    ) -> port::Result<()> {
        check_keys(entries.iter().map(|(key, _)| key.as_str()))?;
        check_values(entries.iter().map(|(key, value)| (key.as_str(), value)), quota)?;
        let entries = last_of_each(entries);
        if entries.is_empty() {
            return Ok(());
        }
        self.inner.write(|session| Box::pin(set(session, bucket, &entries, quota))).await
    }

    async fn swap_value(
        &self,
        bucket: &Bucket,
        key: &str,
        expected: Option<ValueVersion>,
        value: &Bytes,
        quota: &BucketQuota,
    ) -> port::Result<Swap> {
        check_keys([key].into_iter())?;
        check_values([(key, value)].into_iter(), quota)?;
        self.inner
            .write(|session| Box::pin(swap(session, bucket, (key, value), expected, quota)))
            .await
    }

    async fn increment(
        &self,
        bucket: &Bucket,
        key: &str,
        delta: i64,
        quota: &BucketQuota,
    ) -> port::Result<i64> {
        check_keys([key].into_iter())?;
        self.inner.write(|session| Box::pin(increment(session, bucket, key, delta, quota))).await
    }

    async fn delete_values(&self, bucket: &Bucket, keys: &[String]) -> port::Result<u64> {
        check_keys(keys.iter().map(String::as_str))?;
        self.inner.write(|session| Box::pin(delete(session, bucket, keys))).await
    }

    async fn buckets(&self, tenant: &TenantName) -> port::Result<Vec<BucketSummary>> {
        self.inner.read(|session| Box::pin(buckets(session, tenant))).await
    }
}

/// A statement with a bucket as its first three parameters.
fn about(sql: &'static str, bucket: &Bucket) -> Statement<'static> {
    let (tenant, function) = (bucket.tenant.to_string(), function_column(bucket).to_owned());
    sqlx::query(sql).bind(tenant).bind(bucket.name.to_string()).bind(function)
}

fn bytes_of(keys: &[String]) -> Vec<&[u8]> {
    keys.iter().map(String::as_bytes).collect()
}

async fn buckets(session: &mut Session<'_>, tenant: &TenantName) -> Result<Vec<BucketSummary>> {
    let all = "SELECT tenant, function, name, keys, bytes FROM buckets WHERE tenant = $1 \
               ORDER BY name COLLATE \"C\", function COLLATE \"C\"";
    let rows = session.rows(sqlx::query(all).bind(tenant.as_str())).await?;
    rows.iter().map(summary).collect()
}

fn summary(row: &PgRow) -> Result<BucketSummary> {
    let function = function_of(get(row, "function")?)?;
    Ok(BucketSummary {
        bucket: Bucket { tenant: word(row, "tenant")?, function, name: word(row, "name")? },
        keys: convert::measure("keys", get(row, "keys")?)?,
        bytes: convert::measure("bytes", get(row, "bytes")?)?,
    })
}

async fn values(
    session: &mut Session<'_>,
    bucket: &Bucket,
    keys: &[String],
) -> Result<Vec<Option<Bytes>>> {
    let size = about(
        "SELECT coalesce(sum(length(e.value)), 0)::bigint AS size FROM buckets b JOIN bucket_entries e ON e.bucket = b.id \
         WHERE b.tenant = $1 AND b.name = $2 AND b.function = $3 AND e.key = ANY($4)",
        bucket,
    );
    check_answer(get(&session.row(size.bind(bytes_of(keys))).await?, "size")?)?;
    let values = about(
        "SELECT e.key, e.value FROM buckets b JOIN bucket_entries e ON e.bucket = b.id \
         WHERE b.tenant = $1 AND b.name = $2 AND b.function = $3 AND e.key = ANY($4)",
        bucket,
    );
    let rows = session.rows(values.bind(bytes_of(keys))).await?;
    let value = |row: &PgRow| Ok((get(row, "key")?, Bytes::from(get::<Vec<u8>>(row, "value")?)));
    let found: HashMap<Vec<u8>, Bytes> = rows.iter().map(value).collect::<Result<_>>()?;
    Ok(keys.iter().map(|key| found.get(key.as_bytes()).cloned()).collect())
}

async fn value_version(
    session: &mut Session<'_>,
    bucket: &Bucket,
    key: &str,
) -> Result<Option<ValueVersion>> {
    let version = about(
        "SELECT e.version FROM buckets b JOIN bucket_entries e ON e.bucket = b.id \
         WHERE b.tenant = $1 AND b.name = $2 AND b.function = $3 AND e.key = $4",
        bucket,
    );
    let row = session.row_if_any(version.bind(key.as_bytes())).await?;
    row.map(|row| get(&row, "version").map(ValueVersion)).transpose()
}

async fn keys(
    session: &mut Session<'_>,
    bucket: &Bucket,
    after: Option<u64>,
    limit: u32,
) -> Result<KeyPage> {
    let page = about(
        "SELECT e.key, e.number FROM buckets b JOIN bucket_entries e ON e.bucket = b.id \
         WHERE b.tenant = $1 AND b.name = $2 AND b.function = $3 AND e.number > $4 ORDER BY e.number LIMIT $5",
        bucket,
    );
    // One more than wanted tells whether another page follows.
    let page = page.bind(convert::from_measure(after.unwrap_or(0))).bind(i64::from(limit) + 1);
    let rows = session.rows(page).await?;
    let entry = |row: &PgRow| {
        Ok((key_of(get(row, "key")?)?, convert::measure("number", get(row, "number")?)?))
    };
    Ok(KeyPage::of(rows.iter().map(entry).collect::<Result<_>>()?, limit))
}

/// The bucket, which is made where there is none, with `versions` new versions for its entries.
async fn open(session: &mut Session<'_>, bucket: &Bucket, versions: usize) -> Result<Open> {
    let open = about(
        "INSERT INTO buckets AS b (tenant, name, function, keys, bytes, version) SELECT $1, $2, $3, 0, 0, $4 + $5 \
         WHERE $3 = '' OR EXISTS (SELECT FROM functions WHERE tenant = $1 AND name = $3) \
         OR EXISTS (SELECT FROM deleted_functions WHERE tenant = $1 AND name = $3) \
         ON CONFLICT (tenant, name, function) DO UPDATE SET version = b.version + $5 RETURNING id, keys, bytes, version",
        bucket,
    );
    let open =
        open.bind(Timestamp::now().as_micros()).bind(i64::try_from(versions).unwrap_or(i64::MAX));
    let row = session.row_if_any(open).await?;
    let row =
        row.ok_or_else(|| StoreError::NotFound(format!("function {}", function_column(bucket))))?;
    let account = Account { keys: get(&row, "keys")?, bytes: get(&row, "bytes")? };
    Ok(Open { id: get(&row, "id")?, account, version: get(&row, "version")? })
}

async fn set(
    session: &mut Session<'_>,
    bucket: &Bucket,
    entries: &[(&str, &Bytes)],
    quota: &BucketQuota,
) -> Result<()> {
    let open = open(session, bucket, entries.len()).await?;
    let keys: Vec<&[u8]> = entries.iter().map(|(key, _)| key.as_bytes()).collect();
    let sizes = "SELECT key, length(value)::bigint AS size FROM bucket_entries WHERE bucket = $1 AND key = ANY($2)";
    let rows = session.rows(sqlx::query(sizes).bind(open.id).bind(keys)).await?;
    let old: HashMap<Vec<u8>, i64> =
        rows.iter().map(|row| Ok((get(row, "key")?, get(row, "size")?))).collect::<Result<_>>()?;
    write(session, bucket, &open, entries, |key| old.get(key.as_bytes()).copied(), quota).await
}

/// Writes entries into an open bucket, with a version for each, and what it holds then.
async fn write(
    session: &mut Session<'_>,
    bucket: &Bucket,
    open: &Open,
    entries: &[(&str, &Bytes)],
    old_size: impl Fn(&str) -> Option<i64>,
    quota: &BucketQuota,
) -> Result<()> {
    let account = open.account.with(entries, old_size, bucket, quota)?;
    let keys: Vec<&[u8]> = entries.iter().map(|(key, _)| key.as_bytes()).collect();
    let versions: Vec<i64> = (0..).zip(entries).map(|(i, _)| open.version - i).collect();
    let values: Vec<&[u8]> = entries.iter().map(|(_, value)| value.as_ref()).collect();
    let set = sqlx::query(
        "INSERT INTO bucket_entries (bucket, key, number, version, value) \
         SELECT $1, new.key, new.version, new.version, new.value FROM unnest($2::bytea[], $3::bigint[], $4::bytea[]) \
         AS new (key, version, value) \
         ON CONFLICT (bucket, key) DO UPDATE SET version = excluded.version, value = excluded.value",
    );
    session.execute(set.bind(open.id).bind(keys).bind(versions).bind(values)).await?;
    count(session, open.id, open.account, account).await
}

/// Keeps what a bucket holds now.
async fn count(session: &mut Session<'_>, id: i64, before: Account, now: Account) -> Result<()> {
    if before == now {
        return Ok(());
    }
    let update = sqlx::query("UPDATE buckets SET keys = $1, bytes = $2 WHERE id = $3");
    session.execute(update.bind(now.keys).bind(now.bytes).bind(id)).await.map(drop)
}

async fn swap(
    session: &mut Session<'_>,
    bucket: &Bucket,
    (key, value): (&str, &Bytes),
    expected: Option<ValueVersion>,
    quota: &BucketQuota,
) -> Result<Swap> {
    let open = open(session, bucket, 1).await?;
    let old = sqlx::query(
        "SELECT version, length(value)::bigint AS size FROM bucket_entries WHERE bucket = $1 AND key = $2",
    );
    let row = session.row_if_any(old.bind(open.id).bind(key.as_bytes())).await?;
    let current = row.as_ref().map(|row| get(row, "version").map(ValueVersion)).transpose()?;
    if current != expected {
        return Ok(Swap::Changed(current));
    }
    let old_size: Option<i64> = row.as_ref().map(|row| get(row, "size")).transpose()?;
    write(session, bucket, &open, &[(key, value)], |_| old_size, quota).await?;
    Ok(Swap::Done)
}

async fn increment(
    session: &mut Session<'_>,
    bucket: &Bucket,
    key: &str,
    delta: i64,
    quota: &BucketQuota,
) -> Result<i64> {
    let open = open(session, bucket, 1).await?;
    let old = sqlx::query("SELECT value FROM bucket_entries WHERE bucket = $1 AND key = $2");
    let row = session.row_if_any(old.bind(open.id).bind(key.as_bytes())).await?;
    let old: Option<&[u8]> = row.as_ref().map(|row| get(row, "value")).transpose()?;
    let sum = incremented(key, old, delta)?;
    let old_size = old.map(|old| i64::try_from(old.len()).unwrap_or(i64::MAX));
    write(session, bucket, &open, &[(key, &sum.to_string().into())], |_| old_size, quota).await?;
    Ok(sum)
}

async fn delete(session: &mut Session<'_>, bucket: &Bucket, keys: &[String]) -> Result<u64> {
    let held = about(
        "SELECT id, keys, bytes FROM buckets WHERE tenant = $1 AND name = $2 AND function = $3 FOR UPDATE",
        bucket,
    );
    let Some(row) = session.row_if_any(held).await? else { return Ok(0) };
    let (id, before) =
        (get(&row, "id")?, Account { keys: get(&row, "keys")?, bytes: get(&row, "bytes")? });
    let delete = "DELETE FROM bucket_entries WHERE bucket = $1 AND key = ANY($2) \
                  RETURNING (length(key) + length(value))::bigint AS size";
    let rows = session.rows(sqlx::query(delete).bind::<i64>(id).bind(bytes_of(keys))).await?;
    let bytes: i64 = rows.iter().map(|row| get::<i64>(row, "size")).sum::<Result<_>>()?;
    let mut account = before;
    account.delete(rows.len(), bytes);
    count(session, id, before, account).await?;
    Ok(rows.len() as u64)
}
