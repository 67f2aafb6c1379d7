//! The schema, brought up to date by whoever comes first.
//!
//! sqlx's own runner takes a lock of the session and prepares statements, neither of which works behind a pooler. This one
//! does all in one transaction, keeps the same table of what is done, and lets `sqlx migrate info` read it.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::migrate::Migration;

use super::columns::get;
use super::error::Result;
use super::session::{Access, POOLER, Pool, Session};
use super::{PostgresSettings, millis, repeat, upgrade};
use crate::migrations::OF_POSTGRES as MIGRATIONS;
use crate::port::Error;

/// The number of the lock that is held while the schema changes. Those of days are from 0.
const SCHEMA_LOCK: i64 = -1;

/// The step that gave host names and routes their owners.
const OWNERS: i64 = 2;

/// The oldest server that has everything that is used here.
const OLDEST: i64 = 14;

const HISTORY: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL, \
                       installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, checksum bytea NOT NULL, \
                       execution_time bigint NOT NULL)";

/// Looks whether the server is one to work with, and applies what is missing.
pub(super) async fn bring_up_to_date(pool: &mut Pool, settings: &PostgresSettings) -> Result<(), Error> {
    let limit = settings.upkeep_timeout;
    let prepared = tokio::time::timeout(limit, async {
        if repeat(pool, Access::Read, |session| Box::pin(check_server(session, millis(settings.call_timeout)))).await? {
            // What is recorded must outlive the server, whatever its other users may want. (Stronger settings are kept.)
            pool.always_set("synchronous_commit", "on");
        }
        if settings.migrate {
            repeat(pool, Access::Write, |session| Box::pin(migrate(session, limit))).await
        } else {
            repeat(pool, Access::Read, |session| Box::pin(check_schema(session))).await
        }
    });
    match prepared.await {
        Ok(result) => result.map_err(super::Fault::into_error),
        Err(_) => Err(Error::Unavailable(format!("its schema was not up to date within {limit:?}"))),
    }
}

/// Refuses a server that cannot do what is asked of it; tells whether it forgets commits when it crashes.
async fn check_server(session: &mut Session<'_>, call_timeout: i32) -> Result<bool> {
    let row = session
        .row(sqlx::query(
            "SELECT current_setting('server_version_num')::bigint / 10000 AS version, \
             current_setting('server_encoding') AS encoding, current_setting('synchronous_commit') AS synchronous_commit, \
             setting::bigint AS statement_timeout FROM pg_settings WHERE name = 'statement_timeout'",
        ))
        .await?;
    let version: i64 = get(&row, "version")?;
    if version < OLDEST {
        return Err(Error::Unavailable(format!(
            "it is of PostgreSQL {version}, and {OLDEST} is the oldest that will do"
        ))
        .into());
    }
    let encoding: &str = get(&row, "encoding")?;
    if encoding != "UTF8" {
        return Err(Error::Unavailable(format!(
            "its encoding is {encoding}, which cannot hold every text: make one with ENCODING 'UTF8'"
        ))
        .into());
    }
    if get::<i64>(&row, "statement_timeout")? != i64::from(call_timeout) {
        return Err(Error::Unavailable(POOLER.into()).into());
    }
    Ok(get::<&str>(&row, "synchronous_commit")? == "off")
}

async fn migrate(session: &mut Session<'_>, limit: Duration) -> Result<()> {
    session.run(format!("SET LOCAL statement_timeout = {}", millis(limit))).await?;
    // Others wait here, and then find all of it done.
    session.lock(SCHEMA_LOCK).await?;
    session.run(HISTORY.into()).await?;
    let rows = session.rows(sqlx::query("SELECT version, checksum FROM _sqlx_migrations ORDER BY version")).await?;
    let mut applied = HashMap::with_capacity(rows.len());
    for row in &rows {
        applied.insert(get::<i64>(row, "version")?, get::<Vec<u8>>(row, "checksum")?);
    }
    if let Some(version) = applied.keys().find(|version| !MIGRATIONS.version_exists(**version)) {
        return Err(refused(format!(
            "its schema is of a newer wasmill (step {version} is not known here): run that one"
        )));
    }
    let is_before_owners = !applied.is_empty() && !applied.contains_key(&OWNERS);
    for migration in MIGRATIONS.iter() {
        match applied.get(&migration.version) {
            None => apply(session, migration).await?,
            Some(checksum) if *checksum == *migration.checksum => {}
            Some(_) => {
                let version = migration.version;
                return Err(refused(format!(
                    "its schema differs from this wasmill's at step {version}: it was made by an unreleased one"
                )));
            }
        }
    }
    if is_before_owners {
        upgrade::to_owners(session).await?;
    }
    Ok(())
}

/// Refuses a schema that is not this wasmill's.
async fn check_schema(session: &mut Session<'_>) -> Result<()> {
    let other =
        || refused("its schema is that of another release of wasmill, or there is none: `wasmill migrate`".into());
    let there = session.row(sqlx::query("SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS there")).await?;
    if !get::<bool>(&there, "there")? {
        return Err(other());
    }
    let rows = session.rows(sqlx::query("SELECT version FROM _sqlx_migrations ORDER BY version")).await?;
    let applied = rows.iter().map(|row| get(row, "version")).collect::<Result<Vec<i64>>>()?;
    let known: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
    if applied == known { Ok(()) } else { Err(other()) }
}

fn refused(why: String) -> super::Fault {
    Error::Unavailable(why).into()
}

async fn apply(session: &mut Session<'_>, migration: &Migration) -> Result<()> {
    session.run(migration.sql.as_str().to_owned()).await?;
    let done = sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES ($1, $2, true, $3, -1)",
    );
    session.execute(done.bind(migration.version).bind(&*migration.description).bind(&*migration.checksum)).await?;
    Ok(())
}
