//! Changes of what is defined, each within the transaction that is given.

use uuid::Uuid;
use wasmill_domain::{
    Digest, EventType, FunctionName, HostnameRules, KeyDefinition, KeyRole, Manifest, Revision,
    TenantName, Timestamp,
};

use super::columns::get;
use super::error::Result;
use super::listening::CHANNEL;
use super::queries::{digest as digest_of, trigger_row};
use super::session::Session;
use super::{artifacts, quota, routes, secrets, text};
use crate::changes;
use crate::convert::{self, ManifestRows};
use crate::port::{Change, Changed, StoreError};
use crate::quota::Quotas;

/// What became of a change: the version to tell, and whether there was anything to do.
struct Made {
    version: u32,
    changed: bool,
}

const GONE: Made = Made { version: 0, changed: true };

/// Makes a change. It holds the revision from the beginning, so that no other change is made
/// meanwhile.
pub(super) async fn make(
    session: &mut Session<'_>,
    quotas: &Quotas,
    change: &Change,
) -> Result<Changed> {
    let row = session.row(sqlx::query("SELECT revision FROM revision FOR UPDATE")).await?;
    let revision: i64 = get(&row, "revision")?;
    quota::check(session, quotas, change).await?;
    let made = apply(session, change).await?;
    if let Change::Deploy { tenant, manifest, .. } = change {
        let kept = quotas.of(tenant).versions;
        artifacts::delete_old_versions(session, tenant, &manifest.name, made.version, kept).await?;
    }
    if let Change::DeleteFunction { tenant, .. } = change {
        artifacts::release_files(session, tenant).await?;
    }
    let revision = revision + i64::from(made.changed);
    if made.changed {
        session.execute(sqlx::query("UPDATE revision SET revision = $1").bind(revision)).await?;
        // Heard by those who listen once this is committed.
        let notify =
            sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(revision.to_string());
        session.execute(notify).await?;
        if let Some(oldest) = changes::sweep(revision) {
            forget_changes(session, oldest).await?;
        }
    }
    Ok(Changed { revision: Revision(revision), version: made.version, changed: made.changed })
}

/// Makes a change of what is defined, whatever it is.
async fn apply(session: &mut Session<'_>, change: &Change) -> Result<Made> {
    Ok(match change {
        Change::Deploy { tenant, digest, manifest, hostnames, at } => {
            routes::check_hosts(session, hostnames, tenant, manifest).await?;
            let made = deploy(session, tenant, *digest, manifest, *at).await?;
            if made.changed {
                routes::claim(session, tenant, manifest).await?;
            }
            made
        }
        Change::Rollback { tenant, function, to, hostnames } => {
            rollback(session, tenant, function, *to, hostnames).await?
        }
        Change::GrantHostname { pattern, tenant, at } => {
            Made { version: 0, changed: routes::grant(session, pattern, tenant, *at).await? }
        }
        Change::RevokeHostname { pattern } => {
            routes::revoke(session, pattern).await?;
            GONE
        }
        Change::DeleteFunction { tenant, function } => {
            delete_function(session, tenant, function).await?
        }
        Change::ForgetFunction { tenant, function } => {
            let made = forget_function(session, tenant, function).await?;
            if made.changed {
                delete_own_buckets(session, tenant, function).await?;
            }
            made
        }
        Change::PutSchema { tenant, event_type, schema, at } => {
            put_schema(session, tenant, event_type, schema, *at).await?
        }
        Change::DeleteSchema { tenant, event_type } => {
            delete_schema(session, tenant, event_type).await?
        }
        Change::PutKey(key) => put_key(session, key).await?,
        Change::PutFirstKey(key) => put_first_key(session, key).await?,
        Change::DeleteKey { id } => delete_key(session, *id).await?,
        Change::PutSecret(secret) => {
            secrets::put(session, secret).await?;
            Made { version: secret.version, changed: true }
        }
        Change::DeleteSecret { tenant, name } => {
            secrets::delete(session, tenant, name).await?;
            GONE
        }
    })
}

/// Deletes notes of what changed up to a revision, as many as may be at once. Those that are left
/// are in nobody's way.
async fn forget_changes(session: &mut Session<'_>, oldest: i64) -> Result<()> {
    let from = sqlx::query("UPDATE revision SET changes_from = greatest(changes_from, $1)");
    session.execute(from.bind(oldest)).await?;
    let forget = sqlx::query(
        "DELETE FROM definition_changes WHERE (kind, tenant, name) IN (SELECT kind, tenant, name \
         FROM definition_changes WHERE revision <= $1 ORDER BY revision LIMIT $2)",
    );
    session.execute(forget.bind(oldest).bind(changes::SWEPT_AT_ONCE)).await.map(drop)
}

async fn current_version(
    session: &mut Session<'_>,
    tenant: &TenantName,
    function: &FunctionName,
) -> Result<Option<i64>> {
    let current =
        sqlx::query("SELECT current_version FROM functions WHERE tenant = $1 AND name = $2");
    let row = session.row_if_any(current.bind(tenant.as_str()).bind(function.as_str())).await?;
    row.map(|row| get(&row, "current_version")).transpose()
}

async fn deploy(
    session: &mut Session<'_>,
    tenant: &TenantName,
    digest: Digest,
    manifest: &Manifest,
    at: Timestamp,
) -> Result<Made> {
    let function = &manifest.name;
    if !artifacts::is_of(session, tenant, digest).await? {
        return Err(StoreError::NotFound(format!("artifact {digest}")).into());
    }
    if let Some(current) = current_version(session, tenant, function).await? {
        let (current_digest, rows) = stored(session, tenant, function, current).await?;
        if current_digest == digest && rows.are_of(manifest) {
            return Ok(Made {
                version: convert::count("current_version", current)?,
                changed: false,
            });
        }
    }
    let rows = ManifestRows::of(manifest)?;
    artifacts::keep_files(session, tenant, manifest).await?;
    // The newest version is only ever deleted with all others, so the largest number is the last
    // one given.
    let next = sqlx::query(
        "SELECT coalesce(max(number), 0) + 1 AS number FROM versions WHERE tenant = $1 AND function = $2",
    );
    let number: i64 =
        get(&session.row(next.bind(tenant.as_str()).bind(function.as_str())).await?, "number")?;
    let point = sqlx::query(
        "INSERT INTO functions (tenant, name, current_version) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant, name) DO UPDATE SET current_version = excluded.current_version",
    );
    session.execute(point.bind(tenant.as_str()).bind(function.as_str()).bind(number)).await?;
    forget_function(session, tenant, function).await?;
    let version = sqlx::query(
        "INSERT INTO versions (tenant, function, number, digest, manifest, deployed_at) VALUES ($1, $2, $3, $4, $5, $6)",
    );
    let version = version.bind(tenant.as_str()).bind(function.as_str()).bind(number);
    let version =
        version.bind(digest.as_bytes().as_slice()).bind(rows.manifest).bind(at.as_micros());
    session.execute(version).await?;
    for (index, trigger) in (0_i64..).zip(rows.triggers) {
        let insert = sqlx::query(
            "INSERT INTO triggers (tenant, function, version, place, event, http, schema) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        );
        let insert = insert.bind(tenant.as_str()).bind(function.as_str()).bind(number);
        session
            .execute(insert.bind(index).bind(trigger.event).bind(trigger.http).bind(trigger.schema))
            .await?;
    }
    Ok(Made { version: convert::count("number", number)?, changed: true })
}

/// A version as its rows have it.
async fn stored(
    session: &mut Session<'_>,
    tenant: &TenantName,
    function: &FunctionName,
    number: i64,
) -> Result<(Digest, ManifestRows)> {
    let version = sqlx::query(
        "SELECT digest, manifest FROM versions WHERE tenant = $1 AND function = $2 AND number = $3",
    );
    let row =
        session.row(version.bind(tenant.as_str()).bind(function.as_str()).bind(number)).await?;
    let triggers = sqlx::query(
        "SELECT event, http, schema FROM triggers WHERE tenant = $1 AND function = $2 AND version = $3 ORDER BY place",
    );
    let rows =
        session.rows(triggers.bind(tenant.as_str()).bind(function.as_str()).bind(number)).await?;
    let triggers = rows.iter().map(trigger_row).collect::<Result<_>>()?;
    Ok((digest_of(&row, "digest")?, ManifestRows { manifest: get(&row, "manifest")?, triggers }))
}

async fn rollback(
    session: &mut Session<'_>,
    tenant: &TenantName,
    function: &FunctionName,
    to: Option<u32>,
    hostnames: &HostnameRules,
) -> Result<Made> {
    let Some(current) = current_version(session, tenant, function).await? else {
        return Err(StoreError::NotFound(format!("function {function}")).into());
    };
    let target = sqlx::query(
        "SELECT max(number) AS number FROM versions WHERE tenant = $1 AND function = $2 \
         AND CASE WHEN $3::bigint IS NULL THEN number < $4 ELSE number = $3 END",
    );
    let target =
        target.bind(tenant.as_str()).bind(function.as_str()).bind(to.map(i64::from)).bind(current);
    let Some(number) = get::<Option<i64>>(&session.row(target).await?, "number")? else {
        return Err(StoreError::NotFound(match to {
            Some(to) => format!("version {to} of function {function}"),
            None => format!("a version of function {function} before version {current}"),
        })
        .into());
    };
    let (_, rows) = stored(session, tenant, function, number).await?;
    let manifest = rows.into_manifest()?;
    routes::check_hosts(session, hostnames, tenant, &manifest).await?;
    routes::claim(session, tenant, &manifest).await?;
    let changed = number != current;
    if changed {
        let point = sqlx::query(
            "UPDATE functions SET current_version = $1 WHERE tenant = $2 AND name = $3",
        );
        session.execute(point.bind(number).bind(tenant.as_str()).bind(function.as_str())).await?;
    }
    Ok(Made { version: convert::count("number", number)?, changed })
}

async fn delete_function(
    session: &mut Session<'_>,
    tenant: &TenantName,
    function: &FunctionName,
) -> Result<Made> {
    // Versions and triggers go with it, by their foreign keys.
    let delete = sqlx::query("DELETE FROM functions WHERE tenant = $1 AND name = $2");
    if session.execute(delete.bind(tenant.as_str()).bind(function.as_str())).await? == 0 {
        return Err(StoreError::NotFound(format!("function {function}")).into());
    }
    let note = sqlx::query("INSERT INTO deleted_functions (tenant, name) VALUES ($1, $2)");
    session.execute(note.bind(tenant.as_str()).bind(function.as_str())).await?;
    Ok(GONE)
}

async fn forget_function(
    session: &mut Session<'_>,
    tenant: &TenantName,
    function: &FunctionName,
) -> Result<Made> {
    let forget = sqlx::query("DELETE FROM deleted_functions WHERE tenant = $1 AND name = $2");
    let forgotten = session.execute(forget.bind(tenant.as_str()).bind(function.as_str())).await?;
    Ok(Made { version: 0, changed: forgotten > 0 })
}

/// Deletes the buckets that are a function's own, with all that is in them.
async fn delete_own_buckets(
    session: &mut Session<'_>,
    tenant: &TenantName,
    function: &FunctionName,
) -> Result<()> {
    let delete = sqlx::query("DELETE FROM buckets WHERE tenant = $1 AND function = $2");
    session.execute(delete.bind(tenant.as_str()).bind(function.as_str())).await.map(drop)
}

async fn put_schema(
    session: &mut Session<'_>,
    tenant: &TenantName,
    event_type: &EventType,
    schema: &serde_json::Value,
    at: Timestamp,
) -> Result<Made> {
    let put = sqlx::query(
        "INSERT INTO schemas AS s (tenant, event_type, version, schema, updated_at) VALUES ($1, $2, 1, $3, $4) \
         ON CONFLICT (tenant, event_type) DO UPDATE SET \
         version = s.version + 1, schema = excluded.schema, updated_at = excluded.updated_at, \
         min_reader = excluded.min_reader WHERE (s.schema, s.min_reader) <> (excluded.schema, excluded.min_reader)",
    );
    let put = put
        .bind(tenant.as_str())
        .bind(event_type.as_str())
        .bind(schema.to_string())
        .bind(at.as_micros());
    let changed = session.execute(put).await? > 0;
    let version = sqlx::query("SELECT version FROM schemas WHERE tenant = $1 AND event_type = $2");
    let row = session.row(version.bind(tenant.as_str()).bind(event_type.as_str())).await?;
    Ok(Made { version: convert::count("version", get(&row, "version")?)?, changed })
}

async fn delete_schema(
    session: &mut Session<'_>,
    tenant: &TenantName,
    event_type: &EventType,
) -> Result<Made> {
    let delete = sqlx::query("DELETE FROM schemas WHERE tenant = $1 AND event_type = $2");
    match session.execute(delete.bind(tenant.as_str()).bind(event_type.as_str())).await? {
        0 => Err(StoreError::NotFound(format!("a schema of event type {event_type}")).into()),
        _ => Ok(GONE),
    }
}

/// Whether there is any key.
async fn has_keys(session: &mut Session<'_>) -> Result<bool> {
    let any = sqlx::query("SELECT EXISTS (SELECT 1 FROM api_keys) AS any");
    get(&session.row(any).await?, "any")
}

/// Whether there are at least two keys, and at least two that are operators'.
async fn has_two_keys(session: &mut Session<'_>) -> Result<(bool, bool)> {
    let two = "SELECT (SELECT count(*) FROM (SELECT 1 FROM api_keys LIMIT 2) AS k) > 1 AS keys, \
               (SELECT count(*) FROM (SELECT 1 FROM api_keys WHERE role = 'operator' LIMIT 2) AS o) > 1 AS operators";
    let row = session.row(sqlx::query(two)).await?;
    Ok((get(&row, "keys")?, get(&row, "operators")?))
}

async fn put_key(session: &mut Session<'_>, key: &KeyDefinition) -> Result<Made> {
    if key.role != KeyRole::Operator && !has_keys(session).await? {
        return Err(StoreError::Conflict(
            "the first key must be an operator's: from then on only an operator's key can make others".into(),
        )
        .into());
    }
    let insert = sqlx::query(
        "INSERT INTO api_keys (id, tenant, role, label, hash, created_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    );
    let insert = insert
        .bind(key.id)
        .bind(key.tenant.as_str())
        .bind(key.role.as_str())
        .bind(text::stored(&key.label));
    match session
        .execute(insert.bind(key.hash.as_bytes().as_slice()).bind(key.created_at.as_micros()))
        .await?
    {
        0 => Err(StoreError::Conflict(format!("key {} is there already", key.id)).into()),
        _ => Ok(GONE),
    }
}

async fn put_first_key(session: &mut Session<'_>, key: &KeyDefinition) -> Result<Made> {
    if has_keys(session).await? {
        return Ok(Made { version: 0, changed: false });
    }
    put_key(session, key).await
}

async fn delete_key(session: &mut Session<'_>, id: Uuid) -> Result<Made> {
    let row =
        session.row_if_any(sqlx::query("SELECT role FROM api_keys WHERE id = $1").bind(id)).await?;
    let Some(row) = row else { return Err(StoreError::NotFound(format!("key {id}")).into()) };
    let role: &str = get(&row, "role")?;
    let (has_others, has_operators) = has_two_keys(session).await?;
    if role == KeyRole::Operator.as_str() && has_others && !has_operators {
        return Err(StoreError::Conflict(
            "this is the last operator's key: delete the tenants' keys first, or make another operator's key".into(),
        )
        .into());
    }
    session.execute(sqlx::query("DELETE FROM api_keys WHERE id = $1").bind(id)).await?;
    Ok(GONE)
}
