//! What SQL alone cannot do when an older database is brought up to date. In the transaction that
//! changes the schema.

use sqlx::postgres::PgRow;
use uuid::Uuid;
use wasmill_domain::http_message::EVENT_TYPE;

use super::columns::get;
use super::error::Result;
use super::session::Session;
use super::{definitions, routes};
use crate::masking::Texts;

/// Rows that are looked at in one go.
const PAGE: i64 = 100;

/// Makes the rows of routes, and overwrites the API keys in history.
pub(super) async fn to_owners(session: &mut Session<'_>) -> Result<()> {
    let all = definitions::all(session).await?;
    routes::fill(session, &all.functions).await?;
    let masked = mask_executions(session).await? + mask_attempts(session).await?;
    if masked > 0 {
        tracing::warn!(
            rows = masked,
            "API keys were found in the history of events and overwritten: make new keys"
        );
    }
    Ok(())
}

async fn mask_executions(session: &mut Session<'_>) -> Result<u64> {
    let mut masked = 0;
    let mut after = Uuid::nil();
    loop {
        let page = sqlx::query(
            "SELECT id, event, message, backtrace, logs, output FROM executions WHERE id > $1 AND (strpos(event, 'wm_') > 0 \
             OR strpos(message, 'wm_') > 0 OR strpos(backtrace, 'wm_') > 0 OR strpos(logs, 'wm_') > 0 \
             OR position('wm_'::bytea IN output) > 0 OR (event_type = $2 AND strpos(event, '\"data_base64\"') > 0)) \
             ORDER BY id LIMIT $3",
        );
        let rows = session.rows(page.bind(after).bind(EVENT_TYPE).bind(PAGE)).await?;
        let Some(last) = rows.last() else { return Ok(masked) };
        after = get(last, "id")?;
        for row in &rows {
            let mut texts = Texts {
                event: Some(get(row, "event")?),
                output: get(row, "output")?,
                ..texts(row)?
            };
            if !texts.mask() {
                continue;
            }
            let keep = sqlx::query(
                "UPDATE executions SET event = $1, message = $2, backtrace = $3, logs = $4, output = $5 WHERE id = $6",
            );
            let Texts { event, message, backtrace, logs, output } = texts;
            let keep = keep.bind(event).bind(message).bind(backtrace).bind(logs).bind(output);
            masked += session.execute(keep.bind(get::<Uuid>(row, "id")?)).await?;
        }
    }
}

async fn mask_attempts(session: &mut Session<'_>) -> Result<u64> {
    let mut masked = 0;
    let mut after = (Uuid::nil(), -1);
    loop {
        let page = sqlx::query(
            "SELECT execution_id, attempt, message, backtrace, logs FROM attempts WHERE (execution_id, attempt) > ($1, $2) \
             AND (strpos(message, 'wm_') > 0 OR strpos(backtrace, 'wm_') > 0 OR strpos(logs, 'wm_') > 0) \
             ORDER BY execution_id, attempt LIMIT $3",
        );
        let rows = session.rows(page.bind(after.0).bind(after.1).bind(PAGE)).await?;
        let Some(last) = rows.last() else { return Ok(masked) };
        after = (get(last, "execution_id")?, get::<i64>(last, "attempt")?);
        for row in &rows {
            let mut texts = texts(row)?;
            if !texts.mask() {
                continue;
            }
            let keep = sqlx::query(
                "UPDATE attempts SET message = $1, backtrace = $2, logs = $3 WHERE execution_id = $4 AND attempt = $5",
            );
            let keep = keep.bind(texts.message).bind(texts.backtrace).bind(texts.logs);
            let keep =
                keep.bind(get::<Uuid>(row, "execution_id")?).bind(get::<i64>(row, "attempt")?);
            masked += session.execute(keep).await?;
        }
    }
}

fn texts(row: &PgRow) -> Result<Texts> {
    let (message, backtrace, logs) =
        (get(row, "message")?, get(row, "backtrace")?, get(row, "logs")?);
    Ok(Texts { message, backtrace, logs, ..Texts::default() })
}
