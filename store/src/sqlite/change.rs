//! Changes of what is defined, each within the transaction that is given.

use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;
use wasmill_domain::{
    Digest, EventType, FunctionName, HostnameRules, KeyDefinition, KeyRole, Manifest, Revision,
    TenantName, Timestamp,
};

use super::queries::{run, trigger_row};
use super::{artifacts, error, quota, routes, secrets};
use crate::changes;
use crate::convert::{self, ManifestRows};
use crate::port::{Change, Changed, Result, StoreError};
use crate::quota::Quotas;

/// What became of a change: the version to tell, and whether there was anything to do.
struct Made {
    version: u32,
    changed: bool,
}

const GONE: Made = Made { version: 0, changed: true };

pub(super) async fn make(
    connection: &mut SqliteConnection,
    quotas: &Quotas,
    change: &Change,
) -> Result<Changed> {
    quota::check(connection, quotas, change).await?;
    let made = apply(connection, change).await?;
    if let Change::Deploy { tenant, manifest, .. } = change {
        let kept = quotas.of(tenant).versions;
        artifacts::delete_old_versions(connection, tenant, &manifest.name, made.version, kept)
            .await?;
    }
    if let Change::DeleteFunction { tenant, .. } = change {
        artifacts::release_files(connection, tenant).await?;
    }
    let revision: i64 =
        sqlx::query_scalar("UPDATE revision SET revision = revision + ? RETURNING revision")
            .bind(i64::from(made.changed))
            .fetch_one(&mut *connection)
            .await
            .map_err(error::of)?;
    if let Some(oldest) = changes::sweep(revision).filter(|_| made.changed) {
        forget_changes(connection, oldest).await?;
    }
    Ok(Changed { revision: Revision(revision), version: made.version, changed: made.changed })
}

/// Makes a change of what is defined, whatever it is.
async fn apply(connection: &mut SqliteConnection, change: &Change) -> Result<Made> {
    Ok(match change {
        Change::Deploy { tenant, digest, manifest, hostnames, at } => {
            routes::check_hosts(connection, hostnames, tenant, manifest).await?;
            let made = deploy(connection, tenant, *digest, manifest, *at).await?;
            if made.changed {
                routes::claim(connection, tenant, manifest).await?;
            }
            made
        }
        Change::Rollback { tenant, function, to, hostnames } => {
            rollback(connection, tenant, function, *to, hostnames).await?
        }
        Change::GrantHostname { pattern, tenant, at } => {
            Made { version: 0, changed: routes::grant(connection, pattern, tenant, *at).await? }
        }
        Change::RevokeHostname { pattern } => {
            routes::revoke(connection, pattern).await?;
            GONE
        }
        Change::DeleteFunction { tenant, function } => {
            delete_function(connection, tenant, function).await?
        }
        Change::ForgetFunction { tenant, function } => {
            let made = forget_function(connection, tenant, function).await?;
            if made.changed {
                delete_own_buckets(connection, tenant, function).await?;
            }
            made
        }
        Change::PutSchema { tenant, event_type, schema, at } => {
            put_schema(connection, tenant, event_type, schema, *at).await?
        }
        Change::DeleteSchema { tenant, event_type } => {
            delete_schema(connection, tenant, event_type).await?
        }
        Change::PutKey(key) => put_key(connection, key).await?,
        Change::PutFirstKey(key) => put_first_key(connection, key).await?,
        Change::DeleteKey { id } => delete_key(connection, *id).await?,
        Change::PutSecret(secret) => {
            secrets::put(connection, secret).await?;
            Made { version: secret.version, changed: true }
        }
        Change::DeleteSecret { tenant, name } => {
            secrets::delete(connection, tenant, name).await?;
            GONE
        }
    })
}

/// Deletes notes of what changed up to a revision, as many as may be at once. Those that are left
/// are in nobody's way.
async fn forget_changes(connection: &mut SqliteConnection, oldest: i64) -> Result<()> {
    let from = sqlx::query("UPDATE revision SET changes_from = max(changes_from, ?)");
    run(connection, from.bind(oldest)).await?;
    let forget = sqlx::query(
        "DELETE FROM definition_changes WHERE (kind, tenant, name) IN (SELECT kind, tenant, name \
         FROM definition_changes WHERE revision <= ? ORDER BY revision LIMIT ?)",
    );
    run(connection, forget.bind(oldest).bind(changes::SWEPT_AT_ONCE)).await.map(drop)
}

async fn current_version(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    function: &FunctionName,
) -> Result<Option<i64>> {
    sqlx::query_scalar("SELECT current_version FROM functions WHERE tenant = ? AND name = ?")
        .bind(tenant.as_str())
        .bind(function.as_str())
        .fetch_optional(connection)
        .await
        .map_err(error::of)
}

async fn deploy(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    digest: Digest,
    manifest: &Manifest,
    at: Timestamp,
) -> Result<Made> {
    let function = &manifest.name;
    if !artifacts::is_of(connection, tenant, digest).await? {
        return Err(StoreError::NotFound(format!("artifact {digest}")));
    }
    if let Some(current) = current_version(connection, tenant, function).await? {
        let (current_digest, rows) = stored(connection, tenant, function, current).await?;
        if current_digest == digest && rows.are_of(manifest) {
            return Ok(Made {
                version: convert::count("current_version", current)?,
                changed: false,
            });
        }
    }
    let rows = ManifestRows::of(manifest)?;
    artifacts::keep_files(connection, tenant, manifest).await?;
    // The newest version is only ever deleted with all others, so the largest number is the last
    // one given.
    let number: i64 = sqlx::query_scalar(
        "SELECT coalesce(max(number), 0) + 1 FROM versions WHERE tenant = ? AND function = ?",
    )
    .bind(tenant.as_str())
    .bind(function.as_str())
    .fetch_one(&mut *connection)
    .await
    .map_err(error::of)?;
    let point = sqlx::query(
        "INSERT INTO functions (tenant, name, current_version) VALUES (?, ?, ?) \
         ON CONFLICT (tenant, name) DO UPDATE SET current_version = excluded.current_version",
    );
    run(connection, point.bind(tenant.as_str()).bind(function.as_str()).bind(number)).await?;
    forget_function(connection, tenant, function).await?;
    let version = sqlx::query(
        "INSERT INTO versions (tenant, function, number, digest, manifest, deployed_at) VALUES (?, ?, ?, ?, ?, ?)",
    );
    let version = version.bind(tenant.as_str()).bind(function.as_str()).bind(number);
    let version =
        version.bind(digest.as_bytes().as_slice()).bind(rows.manifest).bind(at.as_micros());
    run(connection, version).await?;
    for (index, trigger) in (0_i64..).zip(rows.triggers) {
        let insert = sqlx::query(
            "INSERT INTO triggers (tenant, function, version, place, event, http, schema) VALUES (?, ?, ?, ?, ?, ?, ?)",
        );
        let insert = insert.bind(tenant.as_str()).bind(function.as_str()).bind(number);
        run(
            connection,
            insert.bind(index).bind(trigger.event).bind(trigger.http).bind(trigger.schema),
        )
        .await?;
    }
    Ok(Made { version: convert::count("number", number)?, changed: true })
}

/// A version as its rows have it.
async fn stored(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    function: &FunctionName,
    number: i64,
) -> Result<(Digest, ManifestRows)> {
    let (digest, manifest): (Vec<u8>, String) = sqlx::query_as(
        "SELECT digest, manifest FROM versions WHERE tenant = ? AND function = ? AND number = ?",
    )
    .bind(tenant.as_str())
    .bind(function.as_str())
    .bind(number)
    .fetch_one(&mut *connection)
    .await
    .map_err(error::of)?;
    let triggers = sqlx::query(
        "SELECT event, http, schema FROM triggers WHERE tenant = ? AND function = ? AND version = ? ORDER BY place",
    )
    .bind(tenant.as_str())
    .bind(function.as_str())
    .bind(number)
    .fetch_all(connection)
    .await
    .map_err(error::of)?;
    let triggers = triggers.iter().map(trigger_row).collect::<Result<_>>()?;
    Ok((convert::digest("digest", &digest)?, ManifestRows { manifest, triggers }))
}

async fn rollback(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    function: &FunctionName,
    to: Option<u32>,
    hostnames: &HostnameRules,
) -> Result<Made> {
    let Some(current) = current_version(connection, tenant, function).await? else {
        return Err(StoreError::NotFound(format!("function {function}")));
    };
    let number: Option<i64> = sqlx::query_scalar(
        "SELECT max(number) FROM versions WHERE tenant = ?1 AND function = ?2 AND iif(?3 IS NULL, number < ?4, number = ?3)",
    )
    .bind(tenant.as_str())
    .bind(function.as_str())
    .bind(to.map(i64::from))
    .bind(current)
    .fetch_one(&mut *connection)
    .await
    .map_err(error::of)?;
    let Some(number) = number else {
        return Err(StoreError::NotFound(match to {
            Some(to) => format!("version {to} of function {function}"),
            None => format!("a version of function {function} before version {current}"),
        }));
    };
    let (_, rows) = stored(connection, tenant, function, number).await?;
    let manifest = rows.into_manifest()?;
    routes::check_hosts(connection, hostnames, tenant, &manifest).await?;
    routes::claim(connection, tenant, &manifest).await?;
    let changed = number != current;
    if changed {
        let point =
            sqlx::query("UPDATE functions SET current_version = ? WHERE tenant = ? AND name = ?");
        run(connection, point.bind(number).bind(tenant.as_str()).bind(function.as_str())).await?;
    }
    Ok(Made { version: convert::count("number", number)?, changed })
}

async fn delete_function(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    function: &FunctionName,
) -> Result<Made> {
    // Versions and triggers go with it, by their foreign keys.
    let delete = sqlx::query("DELETE FROM functions WHERE tenant = ? AND name = ?");
    if run(connection, delete.bind(tenant.as_str()).bind(function.as_str())).await? == 0 {
        return Err(StoreError::NotFound(format!("function {function}")));
    }
    let note = sqlx::query("INSERT INTO deleted_functions (tenant, name) VALUES (?, ?)");
    run(connection, note.bind(tenant.as_str()).bind(function.as_str())).await?;
    Ok(GONE)
}

async fn forget_function(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    function: &FunctionName,
) -> Result<Made> {
    let forget = sqlx::query("DELETE FROM deleted_functions WHERE tenant = ? AND name = ?");
    let forgotten = run(connection, forget.bind(tenant.as_str()).bind(function.as_str())).await?;
    Ok(Made { version: 0, changed: forgotten > 0 })
}

/// Deletes the buckets that are a function's own, with all that is in them.
async fn delete_own_buckets(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    function: &FunctionName,
) -> Result<()> {
    let delete = sqlx::query("DELETE FROM buckets WHERE tenant = ? AND function = ?");
    run(connection, delete.bind(tenant.as_str()).bind(function.as_str())).await.map(drop)
}

async fn put_schema(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    event_type: &EventType,
    schema: &serde_json::Value,
    at: Timestamp,
) -> Result<Made> {
    let put = sqlx::query(
        "INSERT INTO schemas (tenant, event_type, version, schema, updated_at) VALUES (?1, ?2, 1, ?3, ?4) \
         ON CONFLICT (tenant, event_type) DO UPDATE SET \
         version = version + 1, schema = excluded.schema, updated_at = excluded.updated_at, \
         min_reader = excluded.min_reader WHERE (schema, min_reader) <> (excluded.schema, excluded.min_reader)",
    );
    let put = put
        .bind(tenant.as_str())
        .bind(event_type.as_str())
        .bind(schema.to_string())
        .bind(at.as_micros());
    let changed = run(connection, put).await? > 0;
    let version: i64 =
        sqlx::query_scalar("SELECT version FROM schemas WHERE tenant = ? AND event_type = ?")
            .bind(tenant.as_str())
            .bind(event_type.as_str())
            .fetch_one(connection)
            .await
            .map_err(error::of)?;
    Ok(Made { version: convert::count("version", version)?, changed })
}

async fn delete_schema(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    event_type: &EventType,
) -> Result<Made> {
    let delete = sqlx::query("DELETE FROM schemas WHERE tenant = ? AND event_type = ?");
    match run(connection, delete.bind(tenant.as_str()).bind(event_type.as_str())).await? {
        0 => Err(StoreError::NotFound(format!("a schema of event type {event_type}"))),
        _ => Ok(GONE),
    }
}

/// Whether there is any key.
async fn has_keys(connection: &mut SqliteConnection) -> Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM api_keys)")
        .fetch_one(connection)
        .await
        .map_err(error::of)
}

/// Whether there are at least two keys, and at least two that are operators'.
async fn has_two_keys(connection: &mut SqliteConnection) -> Result<(bool, bool)> {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM api_keys LIMIT 2)) > 1, \
         (SELECT count(*) FROM (SELECT 1 FROM api_keys WHERE role = 'operator' LIMIT 2)) > 1",
    )
    .fetch_one(connection)
    .await
    .map_err(error::of)
}

async fn put_key(connection: &mut SqliteConnection, key: &KeyDefinition) -> Result<Made> {
    if key.role != KeyRole::Operator && !has_keys(connection).await? {
        return Err(StoreError::Conflict(
            "the first key must be an operator's: from then on only an operator's key can make others".into(),
        ));
    }
    let insert = sqlx::query(
        "INSERT INTO api_keys (id, tenant, role, label, hash, created_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    );
    let insert =
        insert.bind(key.id.as_bytes().as_slice()).bind(key.tenant.as_str()).bind(key.role.as_str());
    let insert = insert
        .bind(key.label.as_str())
        .bind(key.hash.as_bytes().as_slice())
        .bind(key.created_at.as_micros());
    match run(connection, insert).await? {
        0 => Err(StoreError::Conflict(format!("key {} is there already", key.id))),
        _ => Ok(GONE),
    }
}

async fn put_first_key(connection: &mut SqliteConnection, key: &KeyDefinition) -> Result<Made> {
    if has_keys(connection).await? {
        return Ok(Made { version: 0, changed: false });
    }
    put_key(connection, key).await
}

async fn delete_key(connection: &mut SqliteConnection, id: Uuid) -> Result<Made> {
    let role: Option<String> = sqlx::query_scalar("SELECT role FROM api_keys WHERE id = ?")
        .bind(id.as_bytes().as_slice())
        .fetch_optional(&mut *connection)
        .await
        .map_err(error::of)?;
    let Some(role) = role else { return Err(StoreError::NotFound(format!("key {id}"))) };
    let (has_others, has_operators) = has_two_keys(connection).await?;
    if role == KeyRole::Operator.as_str() && has_others && !has_operators {
        return Err(StoreError::Conflict(
            "this is the last operator's key: delete the tenants' keys first, or make another operator's key".into(),
        ));
    }
    run(
        connection,
        sqlx::query("DELETE FROM api_keys WHERE id = ?").bind(id.as_bytes().as_slice()),
    )
    .await?;
    Ok(GONE)
}
