//! The schema: compared with this release's, or brought up to date by whoever comes first.
//!
//! sqlx's own runner takes a lock of the session and prepares statements, neither of which works
//! behind a pooler. This one makes each step in a transaction of its own, so that no step's locks
//! are held while another waits for its own; keeps the same table of what is done, so that it goes
//! on where it stopped; and lets `sqlx migrate info` read it.

use std::time::Duration;

use sqlx::migrate::Migration;

use super::columns::get;
use super::error::{Fault, Result};
use super::session::{Access, POOLER, Session, SessionPool};
use super::settings::{PostgresSettings, millis};
use super::store::repeat;
use super::upgrade;
use crate::migrations::{OF_POSTGRES as MIGRATIONS, SchemaAge, SchemaMode, compare};
use crate::nodes::micros;
use crate::port::StoreError;

/// The number of the lock that is held while the schema changes. Those of days are from 0.
const SCHEMA_LOCK: i64 = -1;

/// The step that gave host names and routes their owners.
const OWNERS: i64 = 2;

/// The oldest server that has everything that is used here.
const OLDEST: i64 = 14;

const HISTORY: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL, \
                       installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, checksum bytea NOT NULL, \
                       execution_time bigint NOT NULL)";

/// Looks whether the server is one to work with, and at the schema; applies what is missing where
/// the settings say so.
pub(super) async fn prepare(
    pool: &mut SessionPool,
    settings: &PostgresSettings,
) -> Result<(), StoreError> {
    let limit = settings.upkeep_timeout;
    let prepared = tokio::time::timeout(limit, async {
        if repeat(pool, Access::Read, |session| {
            Box::pin(check_server(session, millis(settings.call_timeout)))
        })
        .await?
        {
            // What is recorded must outlive the server, whatever its other users may want.
            // (Stronger settings are kept.)
            pool.always_set("synchronous_commit", "on");
        }
        match settings.schema {
            SchemaMode::Migrate => {
                while repeat(pool, Access::Write, |session| Box::pin(migrate(session, settings)))
                    .await?
                {}
                Ok(())
            }
            SchemaMode::Require | SchemaMode::Inspect => {
                repeat(pool, Access::Read, |session| Box::pin(require(session))).await
            }
        }
    });
    match prepared.await {
        Ok(result) => result.map_err(Fault::into_error),
        Err(_) => {
            Err(StoreError::Unavailable(format!("its schema was not up to date within {limit:?}")))
        }
    }
}

/// Refuses a server that cannot do what is asked of it; tells whether it forgets commits when it
/// crashes.
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
        return Err(StoreError::Unavailable(format!(
            "it is of PostgreSQL {version}, and {OLDEST} is the oldest that will do"
        ))
        .into());
    }
    let encoding: &str = get(&row, "encoding")?;
    if encoding != "UTF8" {
        return Err(StoreError::Unavailable(format!(
            "its encoding is {encoding}, which cannot hold every text: make one with ENCODING 'UTF8'"
        ))
        .into());
    }
    if get::<i64>(&row, "statement_timeout")? != i64::from(call_timeout) {
        return Err(StoreError::Unavailable(POOLER.into()).into());
    }
    Ok(get::<&str>(&row, "synchronous_commit")? == "off")
}

/// Makes the next step, and says whether there are more. Nobody works on a database that is new
/// yet, and what is filled in for one without owners is read as this release has it: these get all
/// of their steps at once.
async fn migrate(session: &mut Session<'_>, settings: &PostgresSettings) -> Result<bool> {
    let (limit, lock_limit) = (millis(settings.upkeep_timeout), millis(settings.call_timeout));
    session
        .run(format!("SET LOCAL statement_timeout = {limit}; SET LOCAL lock_timeout = {limit}"))
        .await?;
    // Others wait here, and then find all of it done.
    session.lock(SCHEMA_LOCK).await?;
    // Whoever works meanwhile would wait behind whoever waits for a lock on a table.
    session.run(format!("SET LOCAL lock_timeout = {lock_limit}")).await?;
    session.run(HISTORY.into()).await?;
    let (applied, min_reader) = read(session).await?;
    let age = compare(&MIGRATIONS, &applied, min_reader).map_err(StoreError::Schema)?;
    let is_before_owners =
        !applied.is_empty() && applied.iter().all(|(version, _)| *version != OWNERS);
    let missing: Vec<&Migration> = MIGRATIONS
        .iter()
        .filter(|step| applied.iter().all(|(version, _)| *version != step.version))
        .collect();
    let now = if applied.is_empty() || is_before_owners { missing.len() } else { 1 };
    for migration in missing.iter().take(now) {
        apply(session, migration).await?;
    }
    if is_before_owners {
        upgrade::to_owners(session).await?;
    }
    if let SchemaAge::Older(_) = age {
        refuse_left_behind(session, settings.node_timeout).await?;
    }
    Ok(missing.len() > now)
}

/// Refuses to leave behind processes that are alive and do not know the schema that is about to be
/// committed.
pub(super) async fn refuse_left_behind(
    session: &mut Session<'_>,
    node_timeout: Duration,
) -> Result<()> {
    let there = "SELECT to_regclass('nodes') IS NOT NULL AS there";
    if !get::<bool>(&session.row(sqlx::query(there)).await?, "there")? {
        // No release that works on it so far says that it is alive.
        return Ok(());
    }
    let left = sqlx::query(
        "SELECT name, role, release, schema_version, min_reader, version FROM nodes JOIN schema_info ON schema_version < min_reader \
         WHERE beat_at > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - $1 ORDER BY role, name LIMIT 1",
    );
    let Some(row) = session.row_if_any(left.bind(micros(node_timeout))).await? else {
        return Ok(());
    };
    let (name, role, release): (&str, &str, &str) =
        (get(&row, "name")?, get(&row, "role")?, get(&row, "release")?);
    let (knows, lowest, step): (i64, i64, i64) =
        (get(&row, "schema_version")?, get(&row, "min_reader")?, get(&row, "version")?);
    Err(StoreError::Schema(format!(
        "the {role} '{name}' of release {release} is alive and knows the schema up to step {knows}, and from step {step} on it is for \
         releases that know step {lowest}: that step was not made. Upgrade or stop it first (`wasmill nodes` lists all)"
    ))
    .into())
}

/// Refuses a schema that this release cannot work on.
async fn require(session: &mut Session<'_>) -> Result<()> {
    let (applied, min_reader) = read(session).await?;
    let age = compare(&MIGRATIONS, &applied, min_reader).map_err(StoreError::Schema)?;
    age.required(&MIGRATIONS).map_err(|why| StoreError::Schema(why).into())
}

/// The steps that were applied, and who may work on the schema, where the database says so.
async fn read(session: &mut Session<'_>) -> Result<(Vec<(i64, Vec<u8>)>, Option<i64>)> {
    let there = session
        .row(sqlx::query(
            "SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS history, to_regclass('schema_info') IS NOT NULL AS info",
        ))
        .await?;
    if !get::<bool>(&there, "history")? {
        return Ok((Vec::new(), None));
    }
    let rows = session
        .rows(sqlx::query("SELECT version, checksum FROM _sqlx_migrations ORDER BY version"))
        .await?;
    let applied = rows
        .iter()
        .map(|row| Ok((get(row, "version")?, get(row, "checksum")?)))
        .collect::<Result<_>>()?;
    if !get::<bool>(&there, "info")? {
        return Ok((applied, None));
    }
    let info = session.row_if_any(sqlx::query("SELECT min_reader FROM schema_info")).await?;
    Ok((applied, info.map(|row| get(&row, "min_reader")).transpose()?))
}

async fn apply(session: &mut Session<'_>, migration: &Migration) -> Result<()> {
    session.run(migration.sql.as_str().to_owned()).await?;
    let done = sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES ($1, $2, true, $3, -1)",
    );
    session
        .execute(
            done.bind(migration.version).bind(&*migration.description).bind(&*migration.checksum),
        )
        .await?;
    Ok(())
}
