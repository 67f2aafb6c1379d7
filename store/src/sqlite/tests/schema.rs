//! The tables refuse what the domain does not have, and the queries use the indexes.

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use wasmill_domain::{KeyRole, Outcome, State, Transition};

use super::super::orders::OPEN;
use super::{file_in, open, stranger};

const EXECUTION: &str = "INSERT INTO executions (id, tenant, function, state, attempt, max_attempts, outcome, event_type, event_id, \
                         event_source, traceparent, accepted_at, queued_at, due_at, finished_at, event) VALUES (randomblob(16), 't', 'f', \
                         {state}, 1, 3, {outcome}, 'a', '1', '/', '00-', 0, 0, {due}, {finished}, '{}')";

async fn accepts(connection: &mut SqliteConnection, sql: &str) -> bool {
    match sqlx::query(AssertSqlSafe(sql)).execute(connection).await {
        Ok(_) => true,
        Err(error) => {
            let error = error.to_string();
            assert!(
                error.contains("constraint failed") || error.contains("cannot store"),
                "{sql}: {error}"
            );
            false
        }
    }
}

fn quoted(word: &str) -> String {
    format!("'{word}'")
}

fn execution(state: &str, outcome: &str, due: &str, finished: &str) -> String {
    let sql = EXECUTION.replace("{state}", state).replace("{outcome}", outcome);
    sql.replace("{due}", due).replace("{finished}", finished)
}

/// Words are their readers' to check: a later release has new ones without another schema.
#[tokio::test]
async fn any_word_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let _store = open(&file_in(&folder)).await;
    let db = &mut stranger(&file_in(&folder)).await;
    for state in State::ALL {
        let due = if state == State::Delayed { "1" } else { "NULL" };
        assert!(
            accepts(db, &execution(&quoted(state.as_stored()), "NULL", due, "1")).await,
            "{state}"
        );
    }
    for outcome in Outcome::ALL {
        assert!(
            accepts(db, &execution("'failed'", &quoted(outcome.as_str()), "NULL", "1")).await,
            "{outcome}"
        );
        let attempt = format!(
            "INSERT INTO attempts VALUES (randomblob(16), 1, 0, 0, 0, 0, 0, 0, 0, NULL, 'h', '{outcome}', NULL, '', NULL, NULL)"
        );
        assert!(accepts(db, &attempt).await, "{outcome}");
        assert!(accepts(db, &attempt.replace(outcome.as_str(), "odd")).await);
    }
    let key = |role: &str| {
        format!(
            "INSERT INTO api_keys VALUES (randomblob(16), 't', '{role}', '', randomblob(32), 0, 1)"
        )
    };
    for role in [KeyRole::Operator, KeyRole::Tenant] {
        assert!(accepts(db, &key(role.as_str())).await, "{role}");
    }
    for later in [
        execution("'odd'", "NULL", "NULL", "1"),
        execution("'odd'", "NULL", "1", "NULL"),
        execution("'failed'", "'odd'", "NULL", "1"),
        key("odd"),
    ] {
        assert!(accepts(db, &later).await, "{later}");
    }
    assert!(!accepts(db, &execution("NULL", "NULL", "NULL", "1")).await);
    // The statement that dropped the CHECKs left the rest as it was.
    let check: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut *db).await.unwrap();
    assert_eq!(check, "ok");
}

#[tokio::test]
async fn rows_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _store = open(&file_in(&folder)).await;
    let db = &mut stranger(&file_in(&folder)).await;
    for refused in [
        execution("'succeeded'", "'success'", "NULL", "NULL"),
        execution("'queued'", "NULL", "NULL", "'noon'"),
        execution("'queued'", "NULL", "NULL", "NULL").replace("randomblob(16)", "randomblob(15)"),
        "INSERT INTO revision (only_row, revision) VALUES (2, 1)".into(),
        "INSERT INTO artifacts (digest, put_at, bytes) VALUES (randomblob(31), 0, x'')".into(),
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
    let folder = tempfile::tempdir().unwrap();
    let _store = open(&file_in(&folder)).await;
    let db = &mut stranger(&file_in(&folder)).await;
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
    assert!(accepts(db, &entry("x'6b'", "1, 2", "x''")).await);
    for refused in [
        entry("x'6b'", "2, 2", "x''"),
        entry("x'6c'", "1, 2", "x''"),
        entry("x''", "3, 3", "x''"),
        entry("randomblob(513)", "3, 3", "x''"),
        entry("x'6c'", "3, 2", "x''"),
        entry("x'6c'", "0, 2", "x''"),
        entry("x'6c'", "3, 3", "randomblob(4194305)"),
        "INSERT INTO bucket_entries VALUES (-1, x'6b', 1, 1, x'')".into(),
    ] {
        assert!(!accepts(db, &refused).await, "{refused}");
    }
}

/// The statements name the states from which an outcome can be recorded, because they cannot ask
/// the domain.
#[test]
fn the_open_states_are_those_of_the_table() {
    let open: Vec<String> =
        Transition::Succeed.sources().map(|state| quoted(state.as_stored())).collect();
    assert_eq!(open.join(", "), "'queued', 'running'");
    assert_eq!(Transition::Promote.sources().collect::<Vec<_>>(), [State::Delayed]);
    assert_eq!(State::Delayed.after(Transition::Promote), Ok(State::Queued));
    for open in Transition::Succeed.sources() {
        assert_eq!(open.after(Transition::Fail), Ok(State::Failed));
    }
    let ended: Vec<State> = State::ALL.into_iter().filter(|state| state.is_terminal()).collect();
    assert_eq!(ended, [State::Succeeded, State::Failed, State::Cancelled]);
}

/// How SQLite would run a query.
async fn plan(db: &mut SqliteConnection, sql: &str) -> String {
    let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
        .fetch_all(db)
        .await
        .unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn queries_use_their_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let _store = open(&file_in(&folder)).await;
    let db = &mut stranger(&file_in(&folder)).await;
    let page = "AND id < x'00' ORDER BY id DESC LIMIT 10";
    for (sql, index) in [
        (format!("SELECT * FROM executions WHERE tenant = 't' {page}"), "executions_by_tenant"),
        (format!("SELECT * FROM executions WHERE tenant = 't' AND event_id = 'e' {page}"), "executions_by_tenant"),
        (format!("SELECT * FROM executions WHERE tenant = 't' AND function = 'f' {page}"), "executions_by_function"),
        (format!("SELECT * FROM executions WHERE tenant = 't' AND state = 'failed' {page}"), "executions_by_state"),
        (OPEN.into(), "executions_by_state"),
        ("SELECT id FROM executions WHERE parent = x'00' ORDER BY id LIMIT 10".into(), "executions_by_parent"),
        ("SELECT * FROM executions WHERE state = 'scheduled' AND due_at <= 1 ORDER BY due_at LIMIT 9".into(), "executions_due"),
        ("SELECT * FROM outbox WHERE made_at < 1 ORDER BY made_at, execution_id, attempt LIMIT 9".into(), "outbox_by_age"),
        ("SELECT id FROM executions WHERE id < x'00' AND state IN ('failed') AND finished_at < 9 ORDER BY id LIMIT 9".into(), "autoindex_executions"),
        ("DELETE FROM attempts WHERE execution_id IN (VALUES (x'00'))".into(), "autoindex_attempts"),
        ("DELETE FROM outbox WHERE (execution_id, attempt) IN (VALUES (x'00', 1))".into(), "PRIMARY KEY"),
    ] {
        let plan = plan(db, &sql).await;
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
        assert!(!plan.contains("SCAN executions") && !plan.contains("SCAN attempts"), "{sql}: {plan}");
    }
}

#[tokio::test]
async fn bringing_the_schema_up_to_date_twice_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    let read = async || {
        let db = &mut stranger(&path).await;
        let schema: Vec<(String, Option<String>)> =
            sqlx::query_as("SELECT name, sql FROM sqlite_schema ORDER BY name")
                .fetch_all(&mut *db)
                .await
                .unwrap();
        let steps: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations")
                .fetch_all(db)
                .await
                .unwrap();
        (schema, steps)
    };
    open(&path).await.close().await;
    let first = read().await;
    assert!(first.0.iter().any(|(name, _)| name == "executions"));
    open(&path).await.close().await;
    assert_eq!(read().await, first);
}
