//! What every reader of definitions reads them by.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;

use super::queries::{get, trigger_row};
use crate::convert::{ManifestRows, TriggerRow};
use crate::port::Result;

/// The triggers of each version, in order, by tenant, function and number.
pub(super) type Triggers = HashMap<(String, String, i64), Vec<TriggerRow>>;

pub(super) fn by_version(rows: &[SqliteRow]) -> Result<Triggers> {
    let mut triggers = Triggers::new();
    for row in rows {
        let version = (get(row, "tenant")?, get(row, "function")?, get(row, "version")?);
        triggers.entry(version).or_default().push(trigger_row(row)?);
    }
    Ok(triggers)
}

pub(super) fn manifest_rows(row: &SqliteRow, triggers: &mut Triggers) -> Result<ManifestRows> {
    let version = (get(row, "tenant")?, get(row, "function")?, get(row, "number")?);
    Ok(ManifestRows {
        manifest: get(row, "manifest")?,
        triggers: triggers.remove(&version).unwrap_or_default(),
    })
}
