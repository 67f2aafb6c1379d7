//! What is defined, read: everything, or what changed since a revision.

use std::sync::Arc;

use sqlx::postgres::PgRow;
use uuid::Uuid;
use wasmill_domain::{
    DefinitionId, DefinitionKind, Definitions, FunctionDefinition, KeyDefinition, Revision,
    SchemaDefinition, UnreadableDefinition,
};

use super::columns::get;
use super::error::{Fault, Result};
use super::manifests::{self, Triggers, by_version, manifest_rows};
use super::queries::{count, digest, text, time, word};
use super::routes;
use super::session::Session;
use crate::changes::{self, Extent};
use crate::convert::{self, Named};

/// A query for every row of a kind, and the same for those that arrays name: how many they are is
/// known when it is planned, so that few are looked up, whatever the statistics say of the tables.
macro_rules! of_all_or_changed {
    ($columns:literal, $from:literal, $changed:literal, $order:literal) => {
        [
            concat!("SELECT ", $columns, " FROM ", $from, " ORDER BY ", $order),
            concat!("SELECT ", $columns, " FROM ", $from, $changed, " ORDER BY ", $order),
        ]
    };
}

pub(super) const TRIGGERS: [&str; 2] = of_all_or_changed!(
    "t.tenant, t.function, t.version, t.event, t.http, t.schema",
    "functions f JOIN triggers t ON t.tenant = f.tenant AND t.function = f.name AND t.version = f.current_version",
    " JOIN unnest($1::text[], $2::text[]) AS changed (tenant, name) ON f.tenant = changed.tenant AND f.name = changed.name",
    "t.tenant, t.function, t.version, t.place"
);

pub(super) const FUNCTIONS: [&str; 2] = of_all_or_changed!(
    "v.tenant, v.function, v.number, v.digest, v.manifest, v.deployed_at",
    "functions f JOIN versions v ON v.tenant = f.tenant AND v.function = f.name AND v.number = f.current_version",
    " JOIN unnest($1::text[], $2::text[]) AS changed (tenant, name) ON f.tenant = changed.tenant AND f.name = changed.name",
    "v.tenant, v.function"
);

pub(super) const SCHEMAS: [&str; 2] = of_all_or_changed!(
    "s.tenant, s.event_type, s.version, s.schema, s.updated_at, s.min_reader",
    "schemas s",
    " JOIN unnest($1::text[], $2::text[]) AS changed (tenant, name) ON s.tenant = changed.tenant AND s.event_type = changed.name",
    "s.tenant, s.event_type"
);

/// By the ids of the changed ones.
pub(super) const KEYS: [&str; 2] = of_all_or_changed!(
    "k.id, k.tenant, k.role, k.label, k.hash, k.created_at, k.min_reader",
    "api_keys k",
    " WHERE k.id = ANY($1)",
    "k.id"
);

pub(super) const HOSTNAMES: [&str; 2] = of_all_or_changed!(
    "h.pattern, h.tenant, h.granted_at, h.min_reader",
    "hostnames h",
    " JOIN unnest($1::text[], $2::text[]) AS changed (tenant, name) ON h.pattern = changed.name",
    "h.pattern"
);

pub(super) const DELETED: [&str; 2] = of_all_or_changed!(
    "d.tenant, d.name",
    "deleted_functions d",
    " JOIN unnest($1::text[], $2::text[]) AS changed (tenant, name) ON d.tenant = changed.tenant AND d.name = changed.name",
    "d.tenant, d.name"
);

/// What somebody is to read who knows a revision.
pub(super) async fn since(
    session: &mut Session<'_>,
    known: Revision,
) -> Result<Option<Definitions>> {
    // Asked every second or so by every process, and mostly answered by this.
    let row = session.row(sqlx::query("SELECT revision, changes_from FROM revision")).await?;
    let revision: i64 = get(&row, "revision")?;
    let changes = match Extent::since(known, revision, get(&row, "changes_from")?) {
        Extent::Nothing => return Ok(None),
        Extent::Everything => None,
        Extent::Changes => Some(changed_since(session, known, revision).await?),
    };
    read(session, Revision(revision), changes).await.map(Some)
}

/// Everything that is defined.
pub(super) async fn all(session: &mut Session<'_>) -> Result<Definitions> {
    let revision = manifests::revision(session).await?;
    read(session, revision, None).await
}

async fn changed_since(
    session: &mut Session<'_>,
    known: Revision,
    current: i64,
) -> Result<Vec<DefinitionId>> {
    // With a bound at either end few are expected, also before the server has counted any. Notes
    // are of the revision after the current one where somebody wrote to a table and did not raise
    // the revision; such a note is in the place of an earlier one.
    let changed = sqlx::query(
        "SELECT kind, tenant, name FROM definition_changes WHERE revision BETWEEN $1 AND $2 ORDER BY kind, tenant, name",
    );
    let mut ids = Vec::new();
    for row in session.rows(changed.bind(known.0 + 1).bind(current + 1)).await? {
        ids.extend(changes::id(get(&row, "kind")?, get(&row, "tenant")?, get(&row, "name")?));
    }
    Ok(ids)
}

/// The rows of a kind that are asked for.
async fn rows(
    session: &mut Session<'_>,
    [of_all, of_changed]: [&'static str; 2],
    kind: DefinitionKind,
    changes: Option<&[DefinitionId]>,
) -> Result<Vec<PgRow>> {
    let Some(changes) = changes else { return session.rows(sqlx::query(of_all)).await };
    let (tenants, names): (Vec<&str>, Vec<&str>) = changes::of_kind(changes, kind).unzip();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let query = sqlx::query(of_changed);
    let query = if kind == DefinitionKind::Key {
        query.bind(names.iter().filter_map(|id| id.parse().ok()).collect::<Vec<Uuid>>())
    } else {
        query.bind(tenants).bind(names)
    };
    session.rows(query).await
}

async fn read(
    session: &mut Session<'_>,
    revision: Revision,
    changes: Option<Vec<DefinitionId>>,
) -> Result<Definitions> {
    let wanted = changes.as_deref();
    let triggers = rows(session, TRIGGERS, DefinitionKind::Function, wanted).await?;
    let mut triggers = by_version(&triggers)?;
    let functions = rows(session, FUNCTIONS, DefinitionKind::Function, wanted).await?;
    let schemas = rows(session, SCHEMAS, DefinitionKind::Schema, wanted).await?;
    let keys = rows(session, KEYS, DefinitionKind::Key, wanted).await?;
    let hostnames = rows(session, HOSTNAMES, DefinitionKind::Hostname, wanted).await?;
    let deleted = rows(session, DELETED, DefinitionKind::DeletedFunction, wanted).await?;
    let mut all = Definitions { revision, changes, ..Definitions::default() };
    let unreadable = &mut all.unreadable;
    let function = |row: &PgRow| function(row, &mut triggers);
    all.functions =
        readable(unreadable, DefinitionKind::Function, &functions, "function", function);
    all.schemas = readable(unreadable, DefinitionKind::Schema, &schemas, "event_type", schema);
    all.keys = readable(unreadable, DefinitionKind::Key, &keys, "label", key);
    all.hostnames =
        readable(unreadable, DefinitionKind::Hostname, &hostnames, "pattern", routes::hostname);
    let deleted_function = |row: &PgRow| Ok((word(row, "tenant")?, word(row, "name")?));
    all.deleted =
        readable(unreadable, DefinitionKind::DeletedFunction, &deleted, "name", deleted_function);
    Ok(all)
}

/// What rows define that can be read; the others are put with the `unreadable`, called by a column
/// of theirs.
fn readable<T>(
    unreadable: &mut Vec<UnreadableDefinition>,
    kind: DefinitionKind,
    rows: &[PgRow],
    name: &str,
    mut read: impl FnMut(&PgRow) -> Result<T>,
) -> Vec<T> {
    let named = |row: &PgRow| Named {
        tenant: get(row, "tenant").unwrap_or_default(),
        name: get(row, name).unwrap_or_default(),
        key: (kind == DefinitionKind::Key).then(|| get(row, "id").ok()).flatten(),
    };
    convert::definitions(unreadable, kind, rows, named, |row| read(row).map_err(Fault::into_error))
}

fn function(row: &PgRow, triggers: &mut Triggers) -> Result<FunctionDefinition> {
    Ok(FunctionDefinition {
        tenant: word(row, "tenant")?,
        name: word(row, "function")?,
        version: count(row, "number")?,
        digest: digest(row, "digest")?,
        manifest: Arc::new(manifest_rows(row, triggers)?.into_manifest()?),
        deployed_at: time(row, "deployed_at")?,
    })
}

fn schema(row: &PgRow) -> Result<SchemaDefinition> {
    convert::check_reader(get(row, "min_reader")?)?;
    Ok(SchemaDefinition {
        tenant: word(row, "tenant")?,
        event_type: word(row, "event_type")?,
        version: count(row, "version")?,
        schema: Arc::new(convert::json("schema", get(row, "schema")?)?),
        updated_at: time(row, "updated_at")?,
    })
}

fn key(row: &PgRow) -> Result<KeyDefinition> {
    convert::check_reader(get(row, "min_reader")?)?;
    Ok(KeyDefinition {
        id: get(row, "id")?,
        tenant: word(row, "tenant")?,
        role: word(row, "role")?,
        label: text(row, "label")?,
        hash: digest(row, "hash")?,
        created_at: time(row, "created_at")?,
    })
}
