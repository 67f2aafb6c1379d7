//! What the store in a file is made of.

use std::time::Duration;

use sqlx::SqlitePool;

use super::blobs::Blobs;
use super::connection::Writer;
use crate::quota::Quotas;

/// A store in a file.
pub struct SqliteStore {
    pub(super) writer: Writer,
    pub(super) readers: SqlitePool,
    pub(super) blobs: Blobs,
    pub(super) quotas: Quotas,
    pub(super) node_timeout: Duration,
    pub(super) publish_timeout: Duration,
}
