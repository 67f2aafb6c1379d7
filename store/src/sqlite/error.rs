//! What SQLite's errors mean to callers.

use std::path::Path;

use sqlx::migrate::MigrateError;

use crate::port::StoreError;

/// A statement's error.
///
/// Only what is surely the data's fault is refused. Everything else counts as "not now": a caller
/// then keeps what it has and tries again, so that nothing is lost over a full disk or a mistake in
/// this file.
#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`, which gives the error away")]
pub(super) fn of(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(inner) => match result_code(inner.as_ref()) {
            // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH
            Some(18..=20) => StoreError::Rejected(inner.message().to_owned()),
            // SQLITE_BUSY, SQLITE_LOCKED
            Some(5 | 6) => StoreError::Unavailable(format!(
                "another process keeps the database locked ({inner})"
            )),
            // SQLITE_FULL
            Some(13) => StoreError::Unavailable(format!("the disk is full ({inner})")),
            _ => StoreError::Unavailable(inner.to_string()),
        },
        sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
            StoreError::Rejected(error.to_string())
        }
        sqlx::Error::PoolTimedOut => StoreError::Unavailable("too many calls read at once".into()),
        sqlx::Error::PoolClosed => closed(),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// SQLite's primary result code: an extended one has it in its lowest byte.
fn result_code(error: &dyn sqlx::error::DatabaseError) -> Option<i64> {
    Some(error.code()?.parse::<i64>().ok()? & 0xff)
}

/// Whether a lock stood in the way.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(inner) if matches!(result_code(inner.as_ref()), Some(5 | 6)))
}

/// The store was closed.
pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("it was closed".into())
}

/// An error at opening the file.
pub(super) fn at_open(path: &Path, error: &sqlx::Error) -> StoreError {
    StoreError::Unavailable(format!("cannot open the database {}: {error}", path.display()))
}

/// The schema is not one that this release works on.
pub(super) fn wrong_schema(path: &Path, why: &str) -> StoreError {
    StoreError::Schema(format!("cannot use the database {}: {why}", path.display()))
}

/// An error at bringing the schema up to date.
pub(super) fn at_migration(path: &Path, error: &MigrateError) -> StoreError {
    StoreError::Unavailable(format!("cannot use the database {}: {error}", path.display()))
}
