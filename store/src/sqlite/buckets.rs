//! What functions keep.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use wasmill_domain::{TenantName, Timestamp};

use super::bulk::Bulk;
use super::error;
use super::queries::{get, word};
use super::store::SqliteStore;
use crate::buckets::{
    Account, Bucket, BucketQuota, BucketSummary, KeyPage, Swap, ValueVersion, check_answer,
    check_keys, check_values, function_column, function_of, incremented, key_of, last_of_each,
};
use crate::convert;
use crate::port::{Buckets, Result, StoreError};

/// Finds a bucket for a statement about it.
const OF_BUCKET: &str =
    "bucket = (SELECT id FROM buckets WHERE tenant = ?1 AND name = ?2 AND function = ?3)";

static SIZES: Bulk = Bulk::new(
    "SELECT key, length(value) AS size FROM bucket_entries WHERE (bucket, key) IN (",
    2,
    ")",
);

static VALUES: Bulk =
    Bulk::new("SELECT key, value FROM bucket_entries WHERE (bucket, key) IN (", 2, ")");

static SET: Bulk = Bulk::new(
    "INSERT INTO bucket_entries (bucket, key, number, version, value)",
    5,
    "ON CONFLICT (bucket, key) DO UPDATE SET version = excluded.version, value = excluded.value",
);

static DELETE: Bulk = Bulk::new(
    "DELETE FROM bucket_entries WHERE (bucket, key) IN (",
    2,
    ") RETURNING length(key) + length(value) AS size",
);

/// A bucket that is written to.
struct Open {
    id: i64,
    account: Account,
    /// The version of its last entry, those included that are about to be written.
    version: i64,
}

#[async_trait]
impl Buckets for SqliteStore {
    async fn values(&self, bucket: &Bucket, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        check_keys(keys.iter().map(String::as_str))?;
        let mut snapshot = self.readers.begin().await.map_err(error::of)?;
        let Some((id, _)) = find(&mut snapshot, bucket).await? else {
            return Ok(vec![None; keys.len()]);
        };
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        check_answer(sizes(&mut snapshot, id, &keys).await?.values().sum())?;
        let rows = VALUES.fetch(&mut snapshot, &keys, |key, values| {
            values.push(id)?.push(key.as_bytes()).map(drop)
        });
        let value =
            |row: &SqliteRow| Ok((get(row, "key")?, Bytes::from(get::<Vec<u8>>(row, "value")?)));
        let found: HashMap<Vec<u8>, Bytes> =
            rows.await?.iter().map(value).collect::<Result<_>>()?;
        Ok(keys.iter().map(|key| found.get(key.as_bytes()).cloned()).collect())
    }

    async fn value_version(&self, bucket: &Bucket, key: &str) -> Result<Option<ValueVersion>> {
        check_keys([key].into_iter())?;
        let version = format!("SELECT version FROM bucket_entries WHERE {OF_BUCKET} AND key = ?4");
        let version = sqlx::query_scalar(sqlx::AssertSqlSafe(version)).bind(bucket.tenant.as_str());
        let version =
            version.bind(bucket.name.as_str()).bind(function_column(bucket)).bind(key.as_bytes());
        Ok(version.fetch_optional(&self.readers).await.map_err(error::of)?.map(ValueVersion))
    }

    async fn keys(&self, bucket: &Bucket, after: Option<u64>, limit: u32) -> Result<KeyPage> {
        let page = format!(
            "SELECT key, number FROM bucket_entries WHERE {OF_BUCKET} AND number > ?4 ORDER BY number LIMIT ?5"
        );
        let page = sqlx::query(sqlx::AssertSqlSafe(page))
            .bind(bucket.tenant.as_str())
            .bind(bucket.name.as_str());
        let page =
            page.bind(function_column(bucket)).bind(convert::from_measure(after.unwrap_or(0)));
        // One more than wanted tells whether another page follows.
        let rows =
            page.bind(i64::from(limit) + 1).fetch_all(&self.readers).await.map_err(error::of)?;
        let entry = |row: &SqliteRow| {
            Ok((key_of(get(row, "key")?)?, convert::measure("number", get(row, "number")?)?))
        };
        Ok(KeyPage::of(rows.iter().map(entry).collect::<Result<_>>()?, limit))
    }

    async fn set_values(
        &self,
        bucket: &Bucket,
        entries: &[(String, Bytes)],
        quota: &BucketQuota,
    ) -> Result<()> {
        check_keys(entries.iter().map(|(key, _)| key.as_str()))?;
        check_values(entries.iter().map(|(key, value)| (key.as_str(), value)), quota)?;
        let entries = last_of_each(entries);
        if entries.is_empty() {
            return Ok(());
        }
        let mut transaction = self.writer.begin().await?;
        let result = set(&mut transaction, bucket, &entries, quota).await;
        transaction.end(result).await
    }

    async fn swap_value(
        &self,
        bucket: &Bucket,
        key: &str,
        expected: Option<ValueVersion>,
        value: &Bytes,
        quota: &BucketQuota,
    ) -> Result<Swap> {
        check_keys([key].into_iter())?;
        check_values([(key, value)].into_iter(), quota)?;
        let mut transaction = self.writer.begin().await?;
        let result = swap(&mut transaction, bucket, (key, value), expected, quota).await;
        transaction.end(result).await
    }

    async fn increment(
        &self,
        bucket: &Bucket,
        key: &str,
        delta: i64,
        quota: &BucketQuota,
    ) -> Result<i64> {
        check_keys([key].into_iter())?;
        let mut transaction = self.writer.begin().await?;
        let result = increment(&mut transaction, bucket, key, delta, quota).await;
        transaction.end(result).await
    }

    async fn delete_values(&self, bucket: &Bucket, keys: &[String]) -> Result<u64> {
        check_keys(keys.iter().map(String::as_str))?;
        let mut transaction = self.writer.begin().await?;
        let result = delete(&mut transaction, bucket, keys).await;
        transaction.end(result).await
    }

    async fn buckets(&self, tenant: &TenantName) -> Result<Vec<BucketSummary>> {
        let all = "SELECT tenant, function, name, keys, bytes FROM buckets WHERE tenant = ? ORDER BY name, function";
        let rows = sqlx::query(all)
            .bind(tenant.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(error::of)?;
        rows.iter().map(summary).collect()
    }
}

fn summary(row: &SqliteRow) -> Result<BucketSummary> {
    let function = function_of(get(row, "function")?)?;
    Ok(BucketSummary {
        bucket: Bucket { tenant: word(row, "tenant")?, function, name: word(row, "name")? },
        keys: convert::measure("keys", get(row, "keys")?)?,
        bytes: convert::measure("bytes", get(row, "bytes")?)?,
    })
}

/// A bucket's id and what is in it.
async fn find(
    connection: &mut SqliteConnection,
    bucket: &Bucket,
) -> Result<Option<(i64, Account)>> {
    let found: Option<(i64, i64, i64)> = sqlx::query_as(
        "SELECT id, keys, bytes FROM buckets WHERE tenant = ? AND name = ? AND function = ?",
    )
    .bind(bucket.tenant.as_str())
    .bind(bucket.name.as_str())
    .bind(function_column(bucket))
    .fetch_optional(connection)
    .await
    .map_err(error::of)?;
    Ok(found.map(|(id, keys, bytes)| (id, Account { keys, bytes })))
}

/// The bucket, which is made where there is none, with `versions` new versions for its entries.
async fn open(connection: &mut SqliteConnection, bucket: &Bucket, versions: usize) -> Result<Open> {
    let versions = i64::try_from(versions).unwrap_or(i64::MAX);
    let opened: Option<(i64, i64, i64, i64)> = sqlx::query_as(
        "INSERT INTO buckets (tenant, function, name, keys, bytes, version) SELECT ?1, ?2, ?3, 0, 0, ?4 + ?5 \
         WHERE ?2 = '' OR EXISTS (SELECT 1 FROM functions WHERE tenant = ?1 AND name = ?2) \
         OR EXISTS (SELECT 1 FROM deleted_functions WHERE tenant = ?1 AND name = ?2) \
         ON CONFLICT (tenant, name, function) DO UPDATE SET version = version + ?5 RETURNING id, keys, bytes, version",
    )
    .bind(bucket.tenant.as_str())
    .bind(function_column(bucket))
    .bind(bucket.name.as_str())
    .bind(Timestamp::now().as_micros())
    .bind(versions)
    .fetch_optional(connection)
    .await
    .map_err(error::of)?;
    let (id, keys, bytes, version) = opened
        .ok_or_else(|| StoreError::NotFound(format!("function {}", function_column(bucket))))?;
    Ok(Open { id, account: Account { keys, bytes }, version })
}

/// The lengths of the values that these keys have.
async fn sizes(
    connection: &mut SqliteConnection,
    id: i64,
    keys: &[&str],
) -> Result<HashMap<Vec<u8>, i64>> {
    let rows = SIZES
        .fetch(connection, keys, |key, values| values.push(id)?.push(key.as_bytes()).map(drop))
        .await?;
    rows.iter().map(|row| Ok((get(row, "key")?, get(row, "size")?))).collect()
}

async fn set(
    connection: &mut SqliteConnection,
    bucket: &Bucket,
    entries: &[(&str, &Bytes)],
    quota: &BucketQuota,
) -> Result<()> {
    let open = open(connection, bucket, entries.len()).await?;
    let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
    let old = sizes(connection, open.id, &keys).await?;
    write(connection, bucket, &open, entries, |key| old.get(key.as_bytes()).copied(), quota).await
}

/// Writes entries into an open bucket, with a version for each, and what it holds then.
async fn write(
    connection: &mut SqliteConnection,
    bucket: &Bucket,
    open: &Open,
    entries: &[(&str, &Bytes)],
    old_size: impl Fn(&str) -> Option<i64>,
    quota: &BucketQuota,
) -> Result<()> {
    let account = open.account.with(entries, old_size, bucket, quota)?;
    let entries: Vec<(i64, &[u8], &[u8])> = (0..)
        .zip(entries)
        .map(|(i, (key, value))| (open.version - i, key.as_bytes(), value.as_ref()))
        .collect();
    SET.execute(connection, &entries, |(version, key, value), values| {
        values.push(open.id)?.push(*key)?.push(*version)?.push(*version)?.push(*value).map(drop)
    })
    .await?;
    count(connection, open.id, open.account, account).await
}

/// Keeps what a bucket holds now.
async fn count(
    connection: &mut SqliteConnection,
    id: i64,
    before: Account,
    now: Account,
) -> Result<()> {
    if before == now {
        return Ok(());
    }
    let update = sqlx::query("UPDATE buckets SET keys = ?, bytes = ? WHERE id = ?");
    update
        .bind(now.keys)
        .bind(now.bytes)
        .bind(id)
        .execute(connection)
        .await
        .map(drop)
        .map_err(error::of)
}

async fn swap(
    connection: &mut SqliteConnection,
    bucket: &Bucket,
    (key, value): (&str, &Bytes),
    expected: Option<ValueVersion>,
    quota: &BucketQuota,
) -> Result<Swap> {
    let open = open(connection, bucket, 1).await?;
    let old: Option<(i64, i64)> = sqlx::query_as(
        "SELECT version, length(value) FROM bucket_entries WHERE bucket = ? AND key = ?",
    )
    .bind(open.id)
    .bind(key.as_bytes())
    .fetch_optional(&mut *connection)
    .await
    .map_err(error::of)?;
    let current = old.map(|(version, _)| ValueVersion(version));
    if current != expected {
        return Ok(Swap::Changed(current));
    }
    write(connection, bucket, &open, &[(key, value)], |_| old.map(|(_, size)| size), quota).await?;
    Ok(Swap::Done)
}

async fn increment(
    connection: &mut SqliteConnection,
    bucket: &Bucket,
    key: &str,
    delta: i64,
    quota: &BucketQuota,
) -> Result<i64> {
    let open = open(connection, bucket, 1).await?;
    let old: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT value FROM bucket_entries WHERE bucket = ? AND key = ?")
            .bind(open.id)
            .bind(key.as_bytes())
            .fetch_optional(&mut *connection)
            .await
            .map_err(error::of)?;
    let sum = incremented(key, old.as_deref(), delta)?;
    let old_size = old.map(|old| i64::try_from(old.len()).unwrap_or(i64::MAX));
    write(connection, bucket, &open, &[(key, &sum.to_string().into())], |_| old_size, quota)
        .await?;
    Ok(sum)
}

async fn delete(
    connection: &mut SqliteConnection,
    bucket: &Bucket,
    keys: &[String],
) -> Result<u64> {
    let Some((id, before)) = find(connection, bucket).await? else { return Ok(0) };
    let rows = DELETE
        .fetch(connection, keys, |key, values| values.push(id)?.push(key.as_bytes()).map(drop))
        .await?;
    let bytes: i64 = rows.iter().map(|row| get::<i64>(row, "size")).sum::<Result<_>>()?;
    let mut account = before;
    account.delete(rows.len(), bytes);
    count(connection, id, before, account).await?;
    Ok(rows.len() as u64)
}
