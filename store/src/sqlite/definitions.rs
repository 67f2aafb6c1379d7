//! What is defined, read: everything, or what changed since a revision.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use wasmill_domain::{
    DefinitionId, DefinitionKind, Definitions, FunctionDefinition, KeyDefinition, Revision,
    SchemaDefinition,
};

use super::manifests::{Triggers, by_version, manifest_rows};
use super::queries::{get, time, word};
use super::{error, routes};
use crate::changes::{self, Extent};
use crate::convert;
use crate::port::{Result, StoreError};

/// A query for every row of a kind, and the same for those that a JSON array names: `changed.value`
/// is an array of the tenant and the name, and is gone through first.
macro_rules! of_all_or_changed {
    ($columns:literal, $from:literal, $of_changed:literal, $order:literal) => {
        [
            concat!("SELECT ", $columns, " FROM ", $from, " ORDER BY ", $order),
            concat!(
                "SELECT ",
                $columns,
                " FROM json_each(?) changed CROSS JOIN ",
                $from,
                " WHERE ",
                $of_changed,
                " ORDER BY ",
                $order
            ),
        ]
    };
}

pub(super) const TRIGGERS: [&str; 2] = of_all_or_changed!(
    "t.tenant, t.function, t.version, t.event, t.http, t.schema",
    "functions f CROSS JOIN triggers t ON t.tenant = f.tenant AND t.function = f.name AND t.version = f.current_version",
    "f.tenant = changed.value ->> 0 AND f.name = changed.value ->> 1",
    "t.tenant, t.function, t.version, t.place"
);

pub(super) const FUNCTIONS: [&str; 2] = of_all_or_changed!(
    "v.tenant, v.function, v.number, v.digest, v.manifest, v.deployed_at",
    "functions f CROSS JOIN versions v ON v.tenant = f.tenant AND v.function = f.name AND v.number = f.current_version",
    "f.tenant = changed.value ->> 0 AND f.name = changed.value ->> 1",
    "v.tenant, v.function"
);

pub(super) const SCHEMAS: [&str; 2] = of_all_or_changed!(
    "s.tenant, s.event_type, s.version, s.schema, s.updated_at, s.min_reader",
    "schemas s",
    "s.tenant = changed.value ->> 0 AND s.event_type = changed.value ->> 1",
    "s.tenant, s.event_type"
);

pub(super) const KEYS: [&str; 2] = of_all_or_changed!(
    "k.id, k.tenant, k.role, k.label, k.hash, k.created_at, k.min_reader",
    "api_keys k",
    "k.id = unhex(changed.value ->> 1)",
    "k.id"
);

pub(super) const HOSTNAMES: [&str; 2] = of_all_or_changed!(
    "h.pattern, h.tenant, h.granted_at, h.min_reader",
    "hostnames h",
    "h.pattern = changed.value ->> 1",
    "h.pattern"
);

pub(super) const DELETED: [&str; 2] = of_all_or_changed!(
    "d.tenant, d.name",
    "deleted_functions d",
    "d.tenant = changed.value ->> 0 AND d.name = changed.value ->> 1",
    "d.tenant, d.name"
);

/// What somebody is to read who knows a revision; within a snapshot.
pub(super) async fn since(
    connection: &mut SqliteConnection,
    known: Revision,
) -> Result<Option<Definitions>> {
    let (revision, changes_from): (i64, i64) =
        sqlx::query_as("SELECT revision, changes_from FROM revision")
            .fetch_one(&mut *connection)
            .await
            .map_err(error::of)?;
    let changes = match Extent::since(known, revision, changes_from) {
        Extent::Nothing => return Ok(None),
        Extent::Everything => None,
        Extent::Changes => Some(changed_since(connection, known).await?),
    };
    read(connection, revision, changes).await.map(Some)
}

/// Everything that is defined.
pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Definitions> {
    let revision = sqlx::query_scalar("SELECT revision FROM revision")
        .fetch_one(&mut *connection)
        .await
        .map_err(error::of)?;
    read(connection, revision, None).await
}

async fn changed_since(
    connection: &mut SqliteConnection,
    known: Revision,
) -> Result<Vec<DefinitionId>> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT kind, tenant, name FROM definition_changes WHERE revision > ? ORDER BY kind, tenant, name",
    )
    .bind(known.0)
    .fetch_all(connection)
    .await
    .map_err(error::of)?;
    Ok(rows
        .into_iter()
        .filter_map(|(kind, tenant, name)| changes::id(&kind, tenant, name))
        .collect())
}

/// The rows of a kind that are asked for.
async fn rows(
    connection: &mut SqliteConnection,
    [of_all, of_changed]: [&'static str; 2],
    kind: DefinitionKind,
    changes: Option<&[DefinitionId]>,
) -> Result<Vec<SqliteRow>> {
    let query = match changes {
        None => sqlx::query(of_all),
        Some(changes) => {
            let ids: Vec<_> = changes::of_kind(changes, kind).collect();
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let ids =
                serde_json::to_string(&ids).map_err(|e| StoreError::Rejected(e.to_string()))?;
            sqlx::query(of_changed).bind(ids)
        }
    };
    query.fetch_all(connection).await.map_err(error::of)
}

async fn read(
    connection: &mut SqliteConnection,
    revision: i64,
    changes: Option<Vec<DefinitionId>>,
) -> Result<Definitions> {
    let wanted = changes.as_deref();
    let triggers = rows(connection, TRIGGERS, DefinitionKind::Function, wanted).await?;
    let mut triggers = by_version(&triggers)?;
    let functions = rows(connection, FUNCTIONS, DefinitionKind::Function, wanted).await?;
    let schemas = rows(connection, SCHEMAS, DefinitionKind::Schema, wanted).await?;
    let keys = rows(connection, KEYS, DefinitionKind::Key, wanted).await?;
    let hostnames = rows(connection, HOSTNAMES, DefinitionKind::Hostname, wanted).await?;
    let deleted = rows(connection, DELETED, DefinitionKind::DeletedFunction, wanted).await?;
    let mut all = Definitions { revision: Revision(revision), changes, ..Definitions::default() };
    let unreadable = &mut all.unreadable;
    let function = |row: &SqliteRow| function(row, &mut triggers);
    all.functions = convert::definitions(
        unreadable,
        DefinitionKind::Function,
        &functions,
        named("function"),
        function,
    );
    all.schemas = convert::definitions(
        unreadable,
        DefinitionKind::Schema,
        &schemas,
        named("event_type"),
        schema,
    );
    all.keys = convert::definitions(unreadable, DefinitionKind::Key, &keys, named("label"), key);
    all.hostnames = convert::definitions(
        unreadable,
        DefinitionKind::Hostname,
        &hostnames,
        named("pattern"),
        routes::hostname,
    );
    let deleted_function = |row: &SqliteRow| Ok((word(row, "tenant")?, word(row, "name")?));
    all.deleted = convert::definitions(
        unreadable,
        DefinitionKind::DeletedFunction,
        &deleted,
        named("name"),
        deleted_function,
    );
    Ok(all)
}

/// What a row's tenant is called, and what it is itself by this column; and an API key's id.
fn named(column: &str) -> impl Fn(&SqliteRow) -> convert::Named {
    move |row| convert::Named {
        tenant: get(row, "tenant").unwrap_or_default(),
        name: get(row, column).unwrap_or_default(),
        key: (column == "label").then(|| get(row, "id").ok()).flatten(),
    }
}

fn function(row: &SqliteRow, triggers: &mut Triggers) -> Result<FunctionDefinition> {
    Ok(FunctionDefinition {
        tenant: word(row, "tenant")?,
        name: word(row, "function")?,
        version: convert::count("number", get(row, "number")?)?,
        digest: convert::digest("digest", get(row, "digest")?)?,
        manifest: Arc::new(manifest_rows(row, triggers)?.into_manifest()?),
        deployed_at: time(row, "deployed_at")?,
    })
}

fn schema(row: &SqliteRow) -> Result<SchemaDefinition> {
    convert::check_reader(get(row, "min_reader")?)?;
    Ok(SchemaDefinition {
        tenant: word(row, "tenant")?,
        event_type: word(row, "event_type")?,
        version: convert::count("version", get(row, "version")?)?,
        schema: Arc::new(convert::json("schema", get(row, "schema")?)?),
        updated_at: time(row, "updated_at")?,
    })
}

fn key(row: &SqliteRow) -> Result<KeyDefinition> {
    convert::check_reader(get(row, "min_reader")?)?;
    Ok(KeyDefinition {
        id: get(row, "id")?,
        tenant: word(row, "tenant")?,
        role: word(row, "role")?,
        label: get(row, "label")?,
        hash: convert::digest("hash", get(row, "hash")?)?,
        created_at: time(row, "created_at")?,
    })
}
