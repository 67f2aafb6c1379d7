//! Host names and routes: who owns them, within the transaction that is given. Changes hold the
//! revision's row, so no two claim at once.

use sqlx::postgres::PgRow;
use wasmill_domain::{
    FunctionDefinition, FunctionName, HostnameDefinition, HostnameGrants, HostnamePattern,
    HostnameRules, Manifest, TenantName, Timestamp,
};

use super::columns::get;
use super::error::Result;
use super::queries::{time, word};
use super::session::Session;
use crate::claims::{self, EVERY_METHOD, RouteRow};
use crate::convert;
use crate::port::StoreError;

/// Makes sure that the host names of a manifest are its tenant's.
pub(super) async fn check_hosts(
    session: &mut Session<'_>,
    rules: &HostnameRules,
    tenant: &TenantName,
    manifest: &Manifest,
) -> Result<()> {
    let patterns = claims::patterns(manifest);
    if patterns.is_empty() {
        return Ok(());
    }
    let granted =
        sqlx::query("SELECT pattern, tenant FROM hostnames WHERE pattern = ANY($1)").bind(patterns);
    let rows = session.rows(granted).await?;
    let grant = |row: &PgRow| Ok((word(row, "pattern")?, word(row, "tenant")?));
    let granted = rows.iter().map(grant).collect::<Result<HostnameGrants>>()?;
    Ok(claims::check_hosts(rules, &granted, tenant, manifest)?)
}

/// Gives a function the routes of the manifest that becomes current, and those of the one before
/// back.
pub(super) async fn claim(
    session: &mut Session<'_>,
    tenant: &TenantName,
    manifest: &Manifest,
) -> Result<()> {
    let function = &manifest.name;
    let give_back = sqlx::query("DELETE FROM routes WHERE tenant = $1 AND function = $2");
    session.execute(give_back.bind(tenant.as_str()).bind(function.as_str())).await?;
    for row in RouteRow::of(manifest) {
        match owner(session, tenant, &row).await? {
            None => add(session, tenant, function, row).await?,
            // A version of before manifests were refused that have a route twice.
            Some(owner) if owner == function.as_str() => {}
            Some(owner) => return Err(row.taken_by(&owner).into()),
        }
    }
    Ok(())
}

/// The function that has a route.
async fn owner(
    session: &mut Session<'_>,
    tenant: &TenantName,
    row: &RouteRow,
) -> Result<Option<String>> {
    let owner = sqlx::query(
        "SELECT function FROM routes WHERE tenant = $1 AND host = $2 AND path = $3 \
         AND ($4 = $5 OR method IN ($4, $5)) ORDER BY function LIMIT 1",
    );
    let owner = owner
        .bind(tenant.as_str())
        .bind(&row.host)
        .bind(&row.path)
        .bind(&row.method)
        .bind(EVERY_METHOD);
    session.row_if_any(owner).await?.map(|row| get(&row, "function")).transpose()
}

async fn add(
    session: &mut Session<'_>,
    tenant: &TenantName,
    function: &FunctionName,
    row: RouteRow,
) -> Result<()> {
    let insert = sqlx::query(
        "INSERT INTO routes (tenant, host, path, method, function) VALUES ($1, $2, $3, $4, $5)",
    );
    let insert = insert.bind(tenant.as_str()).bind(row.host).bind(row.path).bind(row.method);
    session.execute(insert.bind(function.as_str())).await.map(drop)
}

/// Makes the rows of routes that a database of an earlier release has none of. Where two functions
/// hold one, the first by name gets it, which is the one that answers.
pub(super) async fn fill(
    session: &mut Session<'_>,
    functions: &[FunctionDefinition],
) -> Result<()> {
    for function in functions {
        for row in RouteRow::of(&function.manifest) {
            if owner(session, &function.tenant, &row).await?.is_none() {
                add(session, &function.tenant, &function.name, row).await?;
            }
        }
    }
    Ok(())
}

/// Grants host names to a tenant; whether that changed anything.
pub(super) async fn grant(
    session: &mut Session<'_>,
    pattern: &HostnamePattern,
    tenant: &TenantName,
    at: Timestamp,
) -> Result<bool> {
    let owner =
        sqlx::query("SELECT tenant FROM hostnames WHERE pattern = $1").bind(pattern.as_str());
    match session.row_if_any(owner).await?.map(|row| get::<String>(&row, "tenant")).transpose()? {
        Some(owner) if owner == tenant.as_str() => Ok(false),
        Some(owner) => Err(claims::granted_to(pattern, &owner).into()),
        None => {
            let grant = sqlx::query(
                "INSERT INTO hostnames (pattern, tenant, granted_at) VALUES ($1, $2, $3)",
            );
            let grant = grant.bind(pattern.as_str()).bind(tenant.as_str()).bind(at.as_micros());
            session.execute(grant).await.map(|_| true)
        }
    }
}

/// Takes a grant back.
pub(super) async fn revoke(session: &mut Session<'_>, pattern: &HostnamePattern) -> Result<()> {
    let revoke = sqlx::query("DELETE FROM hostnames WHERE pattern = $1").bind(pattern.as_str());
    match session.execute(revoke).await? {
        0 => Err(StoreError::NotFound(format!("a grant of '{pattern}'")).into()),
        _ => Ok(()),
    }
}

/// A grant by its row.
pub(super) fn hostname(row: &PgRow) -> Result<HostnameDefinition> {
    convert::check_reader(get(row, "min_reader")?)?;
    Ok(HostnameDefinition {
        pattern: word(row, "pattern")?,
        tenant: word(row, "tenant")?,
        granted_at: time(row, "granted_at")?,
    })
}
