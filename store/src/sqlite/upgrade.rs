//! What SQL alone cannot do when an older file is brought up to date. In the transaction that
//! changes the schema.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use wasmill_domain::http_message::EVENT_TYPE;

use super::queries::get;
use super::{definitions, error, routes};
use crate::masking::Texts;
use crate::port::Result;

/// Rows that are looked at in one go.
const PAGE: i64 = 100;

/// Whether the file has tables, and those of before host names had owners.
pub(super) async fn is_before_owners(connection: &mut SqliteConnection) -> Result<bool> {
    sqlx::query_scalar(
        "SELECT count(*) FILTER (WHERE name = 'executions') > count(*) FILTER (WHERE name = 'hostnames') \
         FROM sqlite_schema WHERE type = 'table'",
    )
    .fetch_one(connection)
    .await
    .map_err(error::of)
}

/// Makes the rows of routes, and overwrites the API keys in history.
pub(super) async fn to_owners(connection: &mut SqliteConnection) -> Result<()> {
    let all = definitions::all(connection).await?;
    routes::fill(connection, &all.functions).await?;
    let masked = mask_history(connection).await?;
    if masked > 0 {
        tracing::warn!(
            rows = masked,
            "API keys were found in the history of events and overwritten: make new keys"
        );
    }
    Ok(())
}

async fn mask_history(connection: &mut SqliteConnection) -> Result<u64> {
    let executions = "SELECT rowid AS at, event, message, backtrace, logs, output FROM executions WHERE rowid > ? \
                      AND (instr(event, 'wm_') OR instr(message, 'wm_') OR instr(backtrace, 'wm_') OR instr(logs, 'wm_') \
                      OR instr(output, CAST('wm_' AS BLOB)) OR (event_type = ? AND instr(event, '\"data_base64\"'))) \
                      ORDER BY rowid LIMIT ?";
    let attempts = "SELECT rowid AS at, NULL AS event, message, backtrace, logs, NULL AS output FROM attempts WHERE rowid > ? \
                    AND ? <> '' AND (instr(message, 'wm_') OR instr(backtrace, 'wm_') OR instr(logs, 'wm_')) \
                    ORDER BY rowid LIMIT ?";
    let keep_executions = "UPDATE executions SET event = ?, message = ?, backtrace = ?, logs = ?, output = ? WHERE rowid = ?";
    let keep_attempts =
        "UPDATE attempts SET message = ?2, backtrace = ?3, logs = ?4 WHERE rowid = ?6";
    let mut masked = 0;
    for (select, update) in [(executions, keep_executions), (attempts, keep_attempts)] {
        let mut at = i64::MIN;
        loop {
            let page = sqlx::query(select).bind(at).bind(EVENT_TYPE).bind(PAGE);
            let rows = page.fetch_all(&mut *connection).await.map_err(error::of)?;
            let Some(last) = rows.last() else { break };
            at = get(last, "at")?;
            for row in &rows {
                let mut texts = texts(row)?;
                if !texts.mask() {
                    continue;
                }
                let Texts { event, message, backtrace, logs, output } = texts;
                let keep = sqlx::query(update)
                    .bind(event)
                    .bind(message)
                    .bind(backtrace)
                    .bind(logs)
                    .bind(output);
                keep.bind(get::<i64>(row, "at")?)
                    .execute(&mut *connection)
                    .await
                    .map_err(error::of)?;
                masked += 1;
            }
        }
    }
    Ok(masked)
}

fn texts(row: &SqliteRow) -> Result<Texts> {
    let text = |column: &str| row.try_get::<Option<String>, _>(column).map_err(error::of);
    Ok(Texts {
        event: text("event")?,
        message: text("message")?,
        backtrace: text("backtrace")?,
        logs: text("logs")?,
        output: get(row, "output")?,
    })
}
