//! What is known to be of one day is looked for in that day alone, and nothing is looked for
//! without an index.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use wasmill_domain::{Operation, Outcome, Transition};

use super::super::days::Day;
use super::super::orders::OPEN;
use super::super::queries::{self, ID_SLACK};
use super::super::session::{Access, Session};
use super::super::{history, ledger, lifecycle};
use super::{PostgresSettings, PostgresStore, Schema, connect, settings};
use crate::conformance::sample::{dispatch, dispatches, finished, now, tenant};
use crate::port::{ExecutionQuery, Ledger as _, Publication};
use crate::quota::TenantQuota;

/// A store with many days.
async fn with_days(schema: &Schema) -> PostgresStore {
    PostgresStore::connect(&schema.url(), PostgresSettings { days_ahead: 12, ..settings() })
        .await
        .unwrap()
}

/// The partitions that a transaction has touched so far. Those of today and the catch-all are meant
/// to be.
async fn strange_partitions(session: &mut Session<'_>) -> BTreeSet<String> {
    let locked = "SELECT relation::regclass::text AS name FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'";
    let rows = session.rows_once(sqlx::query(locked)).await.unwrap();
    let names: BTreeSet<String> = rows.iter().map(|row| row.get("name")).collect();
    let today = Day::today().suffix();
    assert!(names.contains(&format!("executions_{today}")), "{names:?}");
    names.into_iter().filter(|name| name.contains("_d2") && !name.contains(&today)).collect()
}

/// What is done with executions of today touches no other day, the first time as the twentieth:
/// PostgreSQL makes another plan for a statement that it has seen often, and that one must be as
/// good.
#[tokio::test]
async fn one_day_is_touched() {
    let schema = Schema::make().await;
    let store = with_days(&schema).await;
    let (write, none) =
        (async || store.inner.pool.begin(Access::Write).await.unwrap(), BTreeSet::new());
    for round in 0..20 {
        let batch = dispatches(50);
        store.enqueue(&batch, Publication::Confirmed).await.unwrap();
        let ends: Vec<_> = batch.iter().map(|dispatch| finished(dispatch, Outcome::Trap)).collect();
        let ids: Vec<_> = batch.iter().map(|dispatch| dispatch.execution).collect();

        let mut session = write().await;
        assert_eq!(ledger::record(&mut session, &ends, now()).await.unwrap(), [true; 50]);
        assert_eq!(strange_partitions(&mut session).await, none, "record, round {round}");
        session.end(Ok(())).await.unwrap();

        let mut session = write().await;
        assert_eq!(history::current_states(&mut session, &ids).await.unwrap().len(), 50);
        assert_eq!(strange_partitions(&mut session).await, none, "unfinished, round {round}");
        session.end(Ok(())).await.unwrap();

        let mut session = write().await;
        queries::logs(&mut session, &tenant(), ids[0], None, 10).await.unwrap();
        assert_eq!(strange_partitions(&mut session).await, none, "logs, round {round}");
        session.end(Ok(())).await.unwrap();

        let mut session = write().await;
        lifecycle::operate(
            &mut session,
            &TenantQuota::default(),
            &tenant(),
            ids[0],
            &Operation::new(Transition::Replay, now()),
            now(),
        )
        .await
        .unwrap();
        assert_eq!(strange_partitions(&mut session).await, none, "move, round {round}");
        session.end(Ok(())).await.unwrap();
    }
}

/// A page of a list of some days leaves out the others.
#[tokio::test]
async fn a_list_of_some_days_leaves_out_the_others() {
    let schema = Schema::make().await;
    let store = with_days(&schema).await;
    store.record(&[finished(&dispatch("total"), Outcome::Trap)]).await.unwrap();
    let mut session = store.inner.pool.begin(Access::Read).await.unwrap();
    let today = Day::today();
    let (since, until) =
        (Some(today.start().plus(ID_SLACK)), Some(today.plus(1).start().minus(ID_SLACK)));
    let query = ExecutionQuery { since, until, ..ExecutionQuery::all_of(tenant(), 10) };
    queries::executions(&mut session, &query).await.unwrap();
    assert_eq!(strange_partitions(&mut session).await, BTreeSet::new());
}

/// How PostgreSQL would run a query, if it had reason to avoid reading whole tables.
async fn plan(db: &mut PgConnection, sql: &str) -> String {
    db.execute("SET enable_seqscan = off; SET enable_bitmapscan = off").await.unwrap();
    let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN (COSTS OFF) {sql}")))
        .fetch_all(db)
        .await
        .unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn queries_use_their_indexes() {
    let schema = Schema::make().await;
    connect(&schema).await;
    let db = &mut schema.stranger().await;
    let page = "AND id < gen_random_uuid() ORDER BY id DESC LIMIT 10";
    let id = "'00000000-0000-7000-8000-000000000000'";
    for (sql, index) in [
        (format!("SELECT * FROM executions WHERE tenant = 't' {page}"), "tenant_id_idx"),
        (format!("SELECT * FROM executions WHERE tenant = 't' AND function = 'f' {page}"), "tenant_function_id_idx"),
        (format!("SELECT * FROM executions WHERE tenant = 't' AND state = 'failed' {page}"), "tenant_state_id_idx"),
        (
            OPEN.replace("$1", "'t'").replace("$2", "'f'").replace("$3", "9"),
            "tenant_state_id_idx",
        ),
        (format!("SELECT id FROM executions WHERE parent = {id} ORDER BY id LIMIT 10"), "parent_id_idx"),
        (
            "SELECT id FROM executions WHERE state = 'scheduled' AND due_at <= 1 ORDER BY due_at LIMIT 9".into(),
            "due_at_idx",
        ),
        (
            "SELECT * FROM outbox WHERE made_at < 1 ORDER BY made_at, execution_id, attempt LIMIT 9".into(),
            "outbox_by_age",
        ),
        (format!("DELETE FROM attempts WHERE execution_id = ANY('{{{}}}')", id.trim_matches('\'')), "_pkey"),
    ] {
        let plan = plan(db, &sql).await;
        assert!(plan.contains(index), "{sql}: {plan}");
        assert!(!plan.contains("Seq Scan") && !plan.contains("Sort  "), "{sql}: {plan}");
    }
}
