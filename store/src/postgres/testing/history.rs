//! History for tests and benchmarks of what is done with much of it.

use sqlx::AssertSqlSafe;
use wasmill_domain::Timestamp;

use super::super::days::Day;
use super::super::session::Access;
use super::super::settings::millis;
use super::super::store::{Inner, PostgresStore};
use crate::convert;
use crate::port::Result;

/// How many rows one statement makes.
const PIECE: u64 = 100_000;

/// Executions that have succeeded, spread over a day, each with an event of 300 bytes.
const SEED: &str = "INSERT INTO executions (id, accepted_at, queued_at, finished_at, attempt, max_attempts, tenant, function, state, \
     outcome, event_type, event_id, event_source, traceparent, event) \
     SELECT (lpad(to_hex(at), 12, '0') || '7' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid, \
     at * 1000, at * 1000, at * 1000, 1, 3, 'default', 'seeded', 'succeeded', 'success', 'a.b', number::text, '/seed', \
     '00-' || hash || '-0000000000000001-01', repeat('x', 300) \
     FROM generate_series($1::bigint, $2::bigint - 1) AS number, \
     LATERAL (SELECT $3::bigint + number * 86400000 / $4::bigint AS at, md5(number::text) AS hash) AS made";

/// Makes a past of `rows` executions that all succeeded `days_ago` days ago, in a partition of
/// their day, or else in the default one.
///
/// # Errors
/// Where the database is not there.
pub async fn seed_history(
    store: &PostgresStore,
    days_ago: u16,
    rows: u64,
    in_partition: bool,
) -> Result<()> {
    let inner: &Inner = &store.inner;
    let day = Day::today().plus(-i64::from(days_ago));
    if in_partition {
        inner.write(|session| Box::pin(inner.make_day(session, day))).await?;
    }
    let start = day.start().as_micros() / 1000;
    let limit = inner.settings.upkeep_timeout;
    for first in (0..rows).step_by(usize::try_from(PIECE).unwrap_or(usize::MAX)) {
        let end = rows.min(first + PIECE);
        let seeding = inner.transact(Access::Upkeep, limit, |session| {
            Box::pin(async move {
                session.run(format!("SET LOCAL statement_timeout = {}", millis(limit))).await?;
                let [first, end, rows] = [first, end, rows].map(convert::from_measure);
                let seed = sqlx::query(AssertSqlSafe(SEED)).bind(first).bind(end).bind(start);
                session.execute(seed.bind(rows)).await.map(drop)
            })
        });
        seeding.await.map_err(super::super::error::Fault::into_error)?;
    }
    // As autovacuum would have done by the time that it is old.
    inner.upkeep(|session| Box::pin(session.run("ANALYZE executions".into()))).await?;
    tracing::debug!(rows, at = %Timestamp::now(), "history is seeded");
    Ok(())
}
