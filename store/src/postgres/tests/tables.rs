//! The tables refuse what the domain does not have.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};
use wasmill_domain::{KeyRole, Outcome, State};

use super::{Schema, connect};

const EXECUTION: &str = "INSERT INTO executions (id, tenant, function, state, attempt, max_attempts, outcome, event_type, event_id, \
                         event_source, traceparent, accepted_at, queued_at, due_at, finished_at, event) VALUES (gen_random_uuid(), 't', \
                         'f', {state}, 1, 3, {outcome}, 'a', '1', '/', '00-', 0, 0, {due}, {finished}, '{}')";

async fn accepts(db: &mut PgConnection, sql: &str) -> bool {
    match sqlx::query(AssertSqlSafe(sql)).execute(db).await {
        Ok(_) => true,
        Err(error) => {
            let code = error.as_database_error().and_then(DatabaseError::code).unwrap_or_default();
            // Integrity constraint violations.
            assert!(code.starts_with("23"), "{sql}: {error}");
            false
        }
    }
}

fn execution(state: &str, outcome: &str, due: &str, finished: &str) -> String {
    let sql = EXECUTION.replace("{state}", state).replace("{outcome}", outcome);
    sql.replace("{due}", due).replace("{finished}", finished)
}

fn attempt(outcome: &str) -> String {
    format!(
        "INSERT INTO attempts (execution_id, attempt, host, outcome, started_at, finished_at, queue_wait_ns, run_time_ns, fuel_used, \
         peak_memory, log_lines_dropped, span) VALUES (gen_random_uuid(), 1, 'h', '{outcome}', 0, 0, 0, 0, 0, 0, 0, '')"
    )
}

fn key(role: &str) -> String {
    format!(
        "INSERT INTO api_keys VALUES (gen_random_uuid(), 't', '{role}', '', sha256(gen_random_uuid()::text::bytea), 0, 1)"
    )
}

/// Words are their readers' to check: a later release has new ones without another schema.
#[tokio::test]
async fn any_word_is_kept() {
    let schema = Schema::make().await;
    connect(&schema).await;
    let db = &mut schema.stranger().await;
    for state in State::ALL {
        let due = if state == State::Delayed { "1" } else { "NULL" };
        assert!(accepts(db, &execution(&format!("'{state}'"), "NULL", due, "1")).await, "{state}");
    }
    for outcome in Outcome::ALL {
        assert!(
            accepts(db, &execution("'failed'", &format!("'{outcome}'"), "NULL", "1")).await,
            "{outcome}"
        );
        assert!(accepts(db, &attempt(outcome.as_str())).await, "{outcome}");
    }
    for role in [KeyRole::Operator, KeyRole::Tenant] {
        assert!(accepts(db, &key(role.as_str())).await, "{role}");
    }
    for later in [
        execution("'odd'", "NULL", "NULL", "1"),
        execution("'odd'", "NULL", "1", "NULL"),
        execution("'failed'", "'odd'", "NULL", "1"),
        attempt("odd"),
        key("odd"),
    ] {
        assert!(accepts(db, &later).await, "{later}");
    }
}

#[tokio::test]
async fn rows_that_make_no_sense_are_refused() {
    let schema = Schema::make().await;
    connect(&schema).await;
    let db = &mut schema.stranger().await;
    for refused in [
        execution("NULL", "NULL", "NULL", "1"),
        execution("'succeeded'", "'success'", "NULL", "NULL"),
        "INSERT INTO revision VALUES (2, 1)".into(),
        "INSERT INTO artifacts VALUES ('31 bytes are not enough', 0, '')".into(),
        "INSERT INTO functions VALUES ('t', 'f', 1)".into(),
        "INSERT INTO triggers VALUES ('t', 'f', 1, 0, 'a', NULL, NULL)".into(),
        "INSERT INTO leases VALUES ('l', 'h', 0, 0)".into(),
        "INSERT INTO schema_info VALUES (2, 1, 1)".into(),
        "UPDATE schema_info SET min_reader = version + 1".into(),
        "INSERT INTO schemas VALUES ('t', 'a', 1, '{}', 0, 0)".into(),
    ] {
        assert!(!accepts(db, &refused).await, "{refused}");
    }
}

#[tokio::test]
async fn entries_are_within_their_bounds() {
    let schema = Schema::make().await;
    connect(&schema).await;
    let db = &mut schema.stranger().await;
    let bucket = |counts: &str| {
        format!(
            "INSERT INTO buckets (tenant, function, name, keys, bytes, version) VALUES ('t', '', 'b', {counts})"
        )
    };
    for refused in ["-1, 0, 1", "0, -1, 1", "0, 0, 0"] {
        assert!(!accepts(db, &bucket(refused)).await, "{refused}");
    }
    assert!(accepts(db, &bucket("0, 0, 1")).await);
    assert!(!accepts(db, &bucket("0, 0, 1")).await, "there is one of this name");
    let entry = |key: &str, versions: &str, value: &str| {
        format!("INSERT INTO bucket_entries SELECT id, {key}, {versions}, {value} FROM buckets")
    };
    assert!(accepts(db, &entry("'k'", "1, 2", "''")).await);
    for refused in [
        entry("'k'", "2, 2", "''"),
        entry("'other'", "1, 2", "''"),
        entry("''", "3, 3", "''"),
        entry("convert_to(repeat('k', 513), 'UTF8')", "3, 3", "''"),
        entry("'l'", "3, 2", "''"),
        entry("'l'", "0, 2", "''"),
        entry("'l'", "3, 3", "convert_to(repeat('k', 4194305), 'UTF8')"),
        "INSERT INTO bucket_entries VALUES (-1, 'k', 1, 1, '')".into(),
    ] {
        assert!(!accepts(db, &refused).await, "{refused}");
    }
}

/// A day's partition refuses what the table does.
#[tokio::test]
async fn partitions_have_the_checks_of_their_tables() {
    let schema = Schema::make().await;
    connect(&schema).await;
    let checks = "SELECT r.relname::text AS name, count(c.oid) AS checks FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent \
                  JOIN pg_class r ON r.oid = i.inhrelid LEFT JOIN pg_constraint c ON c.conrelid = r.oid AND c.contype = 'c' \
                  WHERE p.relnamespace = current_schema()::regnamespace AND p.relkind = 'p' GROUP BY 1 \
                  HAVING count(c.oid) <> (SELECT count(*) FROM pg_constraint o WHERE o.conrelid = min(p.oid) AND o.contype = 'c')";
    let differing = sqlx::query(checks).fetch_all(&mut schema.stranger().await).await.unwrap();
    assert!(
        differing.is_empty(),
        "{:?}",
        differing.iter().map(|row| row.get::<String, _>("name")).collect::<Vec<_>>()
    );
}
