//! What functions keep: buckets of keys and values.

use bytes::Bytes;
use wasmill_domain::units::ByteSize;
use wasmill_domain::{BucketName, FunctionName, TenantName};

use crate::port::{Result, StoreError};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;

/// The most keys of one call.
pub const MAX_BATCH_KEYS: usize = 1_000;

/// The most bytes of values that one call gives, keys not counted.
pub const MAX_BATCH_BYTES: u64 = 4 << 20;

/// A bucket. It exists from the first write to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// The tenant.
    pub tenant: TenantName,
    /// The function whose own it is; `None` for one that the tenant's functions share.
    pub function: Option<FunctionName>,
    /// Its name.
    pub name: BucketName,
}

/// How large a bucket may grow: a setting of whoever writes, `[keyvalue]` in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketQuota {
    /// The longest value, in bytes, at most [`MAX_BATCH_BYTES`]: `max_value_bytes`. Default: 1 MiB.
    pub value_bytes: u64,
    /// How many keys: `max_keys`. Default: 100,000.
    pub keys: u64,
    /// Keys and values together, in bytes: `max_bucket_bytes`. Default: 64 MiB.
    pub bytes: u64,
}

/// Tells one value of a key from every other one that it ever had: no version comes a second time,
/// also when the key is deleted and set again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueVersion(pub i64);

/// What became of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The new value is there.
    Done,
    /// Nothing was changed, as the key has another value than was expected: one of this version, or
    /// none.
    Changed(Option<ValueVersion>),
}

/// Some keys of a bucket, in the order in which they were set first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<String>,
    /// Where the next page goes on; `None` after the last one.
    pub next: Option<u64>,
}

/// A bucket as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSummary {
    /// Which one.
    pub bucket: Bucket,
    /// How many keys it has.
    pub keys: u64,
    /// Keys and values together, in bytes.
    pub bytes: u64,
}

impl Default for BucketQuota {
    fn default() -> Self {
        Self { value_bytes: 1 << 20, keys: 100_000, bytes: 64 << 20 }
    }
}

impl KeyPage {
    /// A page of up to `limit` keys out of those found, each with its place, which are one more
    /// where another page follows.
    pub(crate) fn of(mut found: Vec<(String, u64)>, limit: u32) -> Self {
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().map(|(_, number)| *number).filter(|_| more);
        Self { keys: found.into_iter().map(|(key, _)| key).collect(), next }
    }
}

/// Refuses keys that cannot be kept.
pub(crate) fn check_keys<'a>(keys: impl ExactSizeIterator<Item = &'a str>) -> Result<()> {
    if keys.len() > MAX_BATCH_KEYS {
        let message = format!("{} keys at once: at most {MAX_BATCH_KEYS} are possible", keys.len());
        return Err(StoreError::Rejected(message));
    }
    for key in keys {
        if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
            let message =
                format!("a key has 1 to {MAX_KEY_BYTES} bytes, and this one has {}", key.len());
            return Err(StoreError::Rejected(message));
        }
    }
    Ok(())
}

/// Refuses values that are too long.
pub(crate) fn check_values<'a>(
    entries: impl Iterator<Item = (&'a str, &'a Bytes)>,
    quota: &BucketQuota,
) -> Result<()> {
    for (key, value) in entries {
        if value.len() as u64 > quota.value_bytes {
            return Err(StoreError::Rejected(format!(
                "the value of '{}' has {}; at most {} are kept (keyvalue.max_value_bytes)",
                shown(key),
                ByteSize(value.len() as u64),
                ByteSize(quota.value_bytes)
            )));
        }
    }
    Ok(())
}

/// Refuses to give so many bytes.
pub(crate) fn check_answer(bytes: i64) -> Result<()> {
    if bytes.unsigned_abs() > MAX_BATCH_BYTES {
        let most = ByteSize(MAX_BATCH_BYTES);
        return Err(StoreError::Rejected(format!(
            "these values have {bytes} bytes, at most {most} come at once: ask for fewer"
        )));
    }
    Ok(())
}

/// As much of a key as a message shows.
fn shown(key: &str) -> String {
    key.chars().take(80).collect()
}

/// What is in a bucket, as its row has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) keys: i64,
    pub(crate) bytes: i64,
}

impl Account {
    /// Counts a value that is set. `old` is the length of the one that it replaces.
    fn set(&mut self, key: &str, old: Option<i64>, new: usize) {
        match old {
            Some(old) => self.bytes -= old,
            None => {
                self.keys += 1;
                self.bytes += signed(key.len());
            }
        }
        self.bytes += signed(new);
    }

    /// What is counted once these values are set. `old` tells the lengths of those that they
    /// replace.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the bucket would grow beyond its quota.
    pub(crate) fn with(
        self,
        entries: &[(&str, &Bytes)],
        old: impl Fn(&str) -> Option<i64>,
        bucket: &Bucket,
        quota: &BucketQuota,
    ) -> Result<Self> {
        let mut after = self;
        for (key, value) in entries {
            after.set(key, old(key), value.len());
        }
        after.check(self, bucket, quota)?;
        Ok(after)
    }

    /// Takes off keys that were deleted, which had so many bytes with their values.
    pub(crate) fn delete(&mut self, keys: usize, bytes: i64) {
        self.keys -= signed(keys);
        self.bytes -= bytes;
    }

    /// Refuses a bucket that has grown beyond its quota. One that shrinks is welcome, however large
    /// it still is.
    fn check(self, before: Self, bucket: &Bucket, quota: &BucketQuota) -> Result<()> {
        let is_over = |now: i64, before: i64, most: u64| now > before && now.unsigned_abs() > most;
        if is_over(self.keys, before.keys, quota.keys) {
            let message = format!(
                "bucket '{}' may have {} keys (keyvalue.max_keys)",
                bucket.name, quota.keys
            );
            return Err(StoreError::Conflict(message));
        }
        if is_over(self.bytes, before.bytes, quota.bytes) {
            return Err(StoreError::Conflict(format!(
                "bucket '{}' may have {} in keys and values together (keyvalue.max_bucket_bytes)",
                bucket.name,
                ByteSize(quota.bytes)
            )));
        }
        Ok(())
    }
}

/// Lengths of what is in memory fit.
fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// The sum of a number as it is kept, and what is added to it.
pub(crate) fn incremented(key: &str, old: Option<&[u8]>, delta: i64) -> Result<i64> {
    let Some(old) = old else { return Ok(delta) };
    let number = std::str::from_utf8(old).ok().and_then(|text| text.parse::<i64>().ok());
    let number = number.ok_or_else(|| {
        StoreError::Conflict(format!("the value of '{}' is not a number", shown(key)))
    })?;
    let too_large =
        || StoreError::Conflict(format!("the number in '{}' would not fit in 64 bits", shown(key)));
    number.checked_add(delta).ok_or_else(too_large)
}

/// The function's column: empty for a shared bucket.
pub(crate) fn function_column(bucket: &Bucket) -> &str {
    bucket.function.as_deref().unwrap_or_default()
}

/// The function of a column.
pub(crate) fn function_of(column: &str) -> Result<Option<FunctionName>> {
    if column.is_empty() { Ok(None) } else { crate::convert::word("function", column).map(Some) }
}

/// A key of a column.
pub(crate) fn key_of(column: Vec<u8>) -> Result<String> {
    String::from_utf8(column)
        .map_err(|_| StoreError::Rejected("what is stored in 'key' is not UTF-8".into()))
}

/// The last entry of each key, in the order of keys.
pub(crate) fn last_of_each(entries: &[(String, Bytes)]) -> Vec<(&str, &Bytes)> {
    let last: std::collections::BTreeMap<&str, &Bytes> =
        entries.iter().map(|(key, value)| (key.as_str(), value)).collect();
    last.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> Bucket {
        Bucket { tenant: TenantName::default(), function: None, name: "b".parse().unwrap() }
    }

    #[test]
    fn what_shrinks_is_welcome() {
        let quota = BucketQuota { value_bytes: 10, keys: 2, bytes: 20 };
        let over = Account { keys: 3, bytes: 30 };
        let mut now = over;
        now.set("key", Some(9), 8);
        now.check(over, &bucket(), &quota).unwrap();
        now.set("key", Some(8), 10);
        let error = now.check(over, &bucket(), &quota).unwrap_err().to_string();
        assert_eq!(
            error,
            "bucket 'b' may have 20B in keys and values together (keyvalue.max_bucket_bytes)"
        );
        let mut now = over;
        now.delete(1, 30);
        now.set("k", None, 0);
        now.check(over, &bucket(), &quota).unwrap();
        assert_eq!(now, Account { keys: 3, bytes: 1 });
    }

    #[test]
    fn numbers_are_decimal() {
        let add = |old: &str, delta| {
            incremented("n", Some(old.as_bytes()), delta).map_err(|e| e.to_string())
        };
        assert_eq!(
            (add("41", 1), add("-1", -1), incremented("n", None, 7).unwrap()),
            (Ok(42), Ok(-2), 7)
        );
        assert_eq!(
            add("9223372036854775807", 1).unwrap_err(),
            "the number in 'n' would not fit in 64 bits"
        );
        for other in ["", " 1", "1.0", "0x1", "one"] {
            assert_eq!(add(other, 1).unwrap_err(), "the value of 'n' is not a number", "{other}");
        }
    }
}
