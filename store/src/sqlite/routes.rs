//! Host names and routes: who owns them, within the transaction that is given.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use wasmill_domain::{
    FunctionName, HostnameDefinition, HostnameGrants, HostnamePattern, HostnameRules, Manifest,
    TenantName, Timestamp,
};

use super::error;
use super::queries::{get, run, time, word};
use crate::claims::{self, EVERY_METHOD, RouteRow};
use crate::convert;
use crate::port::{Result, StoreError};

/// Makes sure that the host names of a manifest are its tenant's.
pub(super) async fn check_hosts(
    connection: &mut SqliteConnection,
    rules: &HostnameRules,
    tenant: &TenantName,
    manifest: &Manifest,
) -> Result<()> {
    let patterns = claims::patterns(manifest);
    if patterns.is_empty() {
        return Ok(());
    }
    let patterns =
        serde_json::to_string(&patterns).map_err(|e| StoreError::Rejected(e.to_string()))?;
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT pattern, tenant FROM hostnames WHERE pattern IN (SELECT value FROM json_each(?))",
    )
    .bind(patterns)
    .fetch_all(connection)
    .await
    .map_err(error::of)?;
    let grant = |(pattern, tenant): &(String, String)| {
        Ok((convert::word("pattern", pattern)?, convert::word("tenant", tenant)?))
    };
    let granted = rows.iter().map(grant).collect::<Result<HostnameGrants>>()?;
    claims::check_hosts(rules, &granted, tenant, manifest)
}

/// Gives a function the routes of the manifest that becomes current, and those of the one before
/// back.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    manifest: &Manifest,
) -> Result<()> {
    let function = &manifest.name;
    let give_back = sqlx::query("DELETE FROM routes WHERE tenant = ? AND function = ?");
    run(connection, give_back.bind(tenant.as_str()).bind(function.as_str())).await?;
    for row in RouteRow::of(manifest) {
        match owner(connection, tenant, &row).await? {
            None => add(connection, tenant, function, row).await?,
            // A version of before manifests were refused that have a route twice.
            Some(owner) if owner == function.as_str() => {}
            Some(owner) => return Err(row.taken_by(&owner)),
        }
    }
    Ok(())
}

/// The function that has a route.
async fn owner(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    row: &RouteRow,
) -> Result<Option<String>> {
    sqlx::query_scalar(
        "SELECT function FROM routes WHERE tenant = ?1 AND host = ?2 AND path = ?3 \
         AND (?4 = ?5 OR method IN (?4, ?5)) ORDER BY function LIMIT 1",
    )
    .bind(tenant.as_str())
    .bind(&row.host)
    .bind(&row.path)
    .bind(&row.method)
    .bind(EVERY_METHOD)
    .fetch_optional(connection)
    .await
    .map_err(error::of)
}

async fn add(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    function: &FunctionName,
    row: RouteRow,
) -> Result<()> {
    let insert = sqlx::query(
        "INSERT INTO routes (tenant, host, path, method, function) VALUES (?, ?, ?, ?, ?)",
    );
    let insert = insert.bind(tenant.as_str()).bind(row.host).bind(row.path).bind(row.method);
    run(connection, insert.bind(function.as_str())).await.map(drop)
}

/// Makes the rows of routes that a database of an earlier release has none of. Where two functions
/// hold one, the first by name gets it, which is the one that answers.
pub(super) async fn fill(
    connection: &mut SqliteConnection,
    functions: &[wasmill_domain::FunctionDefinition],
) -> Result<()> {
    for function in functions {
        for row in RouteRow::of(&function.manifest) {
            if owner(connection, &function.tenant, &row).await?.is_none() {
                add(connection, &function.tenant, &function.name, row).await?;
            }
        }
    }
    Ok(())
}

/// Grants host names to a tenant; whether that changed anything.
pub(super) async fn grant(
    connection: &mut SqliteConnection,
    pattern: &HostnamePattern,
    tenant: &TenantName,
    at: Timestamp,
) -> Result<bool> {
    let owner: Option<String> =
        sqlx::query_scalar("SELECT tenant FROM hostnames WHERE pattern = ?")
            .bind(pattern.as_str())
            .fetch_optional(&mut *connection)
            .await
            .map_err(error::of)?;
    match owner {
        Some(owner) if owner == tenant.as_str() => Ok(false),
        Some(owner) => Err(claims::granted_to(pattern, &owner)),
        None => {
            let grant =
                sqlx::query("INSERT INTO hostnames (pattern, tenant, granted_at) VALUES (?, ?, ?)");
            let grant = grant.bind(pattern.as_str()).bind(tenant.as_str()).bind(at.as_micros());
            run(connection, grant).await.map(|_| true)
        }
    }
}

/// Takes a grant back.
pub(super) async fn revoke(
    connection: &mut SqliteConnection,
    pattern: &HostnamePattern,
) -> Result<()> {
    let revoke = sqlx::query("DELETE FROM hostnames WHERE pattern = ?").bind(pattern.as_str());
    match run(connection, revoke).await? {
        0 => Err(StoreError::NotFound(format!("a grant of '{pattern}'"))),
        _ => Ok(()),
    }
}

/// A grant by its row.
pub(super) fn hostname(row: &SqliteRow) -> Result<HostnameDefinition> {
    convert::check_reader(get(row, "min_reader")?)?;
    Ok(HostnameDefinition {
        pattern: word(row, "pattern")?,
        tenant: word(row, "tenant")?,
        granted_at: time(row, "granted_at")?,
    })
}
