//! What functions may use in `wasmill test`, where there is no installation.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use wasmill_domain::{SecretName, TenantName};
use wasmill_host::{Capabilities, KeyvalueStore};
use wasmill_secrets::{Secret, SecretError, SecretSource};
use wasmill_store::BucketQuota;
use wasmill_store::sqlite::{SqliteSettings, SqliteStore};

/// Buckets in a database of their own in `dir`, and secrets that are known to everybody.
pub(crate) async fn capabilities(dir: &Path) -> anyhow::Result<Capabilities> {
    let store = SqliteStore::open(&dir.join("buckets.sqlite"), SqliteSettings::default()).await;
    let store = store.context("the buckets of this run")?;
    let keyvalue = KeyvalueStore::new(Arc::new(store), BucketQuota::default());
    Ok(Capabilities { secrets: Arc::new(Placeholders), keyvalue: Some(keyvalue) })
}

/// Has every secret: its value is `test-` and its name.
struct Placeholders;

#[async_trait]
impl SecretSource for Placeholders {
    async fn reveal(
        &self,
        _: &TenantName,
        name: &SecretName,
    ) -> Result<Option<Secret>, SecretError> {
        Ok(Some(Secret::from(format!("test-{name}").into_bytes())))
    }
}
