//! What every reader of definitions reads them by.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use wasmill_domain::Revision;

use super::columns::get;
use super::error::Result;
use super::queries::trigger_row;
use super::session::Session;
use crate::convert::{ManifestRows, TriggerRow};

/// The triggers of each version, in order, by tenant, function and number.
pub(super) type Triggers = HashMap<(String, String, i64), Vec<TriggerRow>>;

pub(super) async fn revision(session: &mut Session<'_>) -> Result<Revision> {
    let row = session.row(sqlx::query("SELECT revision FROM revision")).await?;
    get(&row, "revision").map(Revision)
}

pub(super) fn by_version(rows: &[PgRow]) -> Result<Triggers> {
    let mut triggers = Triggers::new();
    for row in rows {
        let version = (get(row, "tenant")?, get(row, "function")?, get(row, "version")?);
        triggers.entry(version).or_default().push(trigger_row(row)?);
    }
    Ok(triggers)
}

pub(super) fn manifest_rows(row: &PgRow, triggers: &mut Triggers) -> Result<ManifestRows> {
    let version = (get(row, "tenant")?, get(row, "function")?, get(row, "number")?);
    Ok(ManifestRows {
        manifest: get(row, "manifest")?,
        triggers: triggers.remove(&version).unwrap_or_default(),
    })
}
