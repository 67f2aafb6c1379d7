//! Many hosts and schedulers at once, each with a store of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{Executor as _, Row as _};
use tokio::sync::Barrier;
use wasmill_domain::{Dispatch, ExecutionId, Operation, Outcome, State, Transition};

use super::super::agenda;
use super::{PostgresSettings, PostgresStore, Schema, connect, settings};
use crate::conformance::sample::{
    dispatch, dispatches, finished, key, line, now, outbox, retried, soon, started, tenant,
};
use crate::port::{Agenda as _, ExecutionQuery, Finished, History as _, Ledger as _, Publication};

/// What one host makes of a batch: a result, a log and a child for each, all marked with its name.
fn ends(batch: &[Dispatch], host: &str) -> Vec<Finished> {
    let end = |parent: &Dispatch| {
        let child = dispatch("mail").emitted_by(parent);
        let mut entry = Finished {
            logs: vec![line(0, host), line(1, host)],
            emitted: vec![child],
            ..finished(parent, Outcome::Success)
        };
        entry.report.host = host.into();
        entry
    };
    batch.iter().map(end).collect()
}

/// The same messages are delivered to four hosts of two processes at the same moment, again and
/// again, while the gateway writes their rows behind: of each execution exactly one outcome stands,
/// with all that belongs to it and nothing of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_hosts_one_wins() {
    let schema = Schema::make().await;
    let stores = [connect(&schema).await, connect(&schema).await];
    for round in 0..25 {
        let batch = dispatches(1 + (round * 7) % 40);
        let start = Arc::new(Barrier::new(5));
        let gateway = {
            let (store, batch, start) = (stores[0].clone(), batch.clone(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                store.enqueue(&batch, Publication::Confirmed).await.unwrap();
            })
        };
        let hosts: Vec<_> = (0..4)
            .map(|host| {
                let (store, start, mut batch) =
                    (stores[host % 2].clone(), Arc::clone(&start), batch.clone());
                let shift = host * batch.len() / 4;
                batch.rotate_left(shift);
                tokio::spawn(async move {
                    let name = format!("host-{host}");
                    let ends = ends(&batch, &name);
                    start.wait().await;
                    if host % 2 == 0 {
                        store.start(&batch.iter().map(started).collect::<Vec<_>>()).await.unwrap();
                    }
                    let stands = store.record(&ends).await.unwrap();
                    let won: Vec<Finished> = ends
                        .into_iter()
                        .zip(stands)
                        .filter(|(_, won)| *won)
                        .map(|(end, _)| end)
                        .collect();
                    (name, won)
                })
            })
            .collect();
        gateway.await.unwrap();
        let mut winners: BTreeMap<ExecutionId, (String, ExecutionId)> = BTreeMap::new();
        for host in hosts {
            let (name, won) = host.await.unwrap();
            for end in won {
                let twice = winners
                    .insert(end.dispatch.execution, (name.clone(), end.emitted[0].execution));
                assert!(twice.is_none(), "two outcomes stand");
            }
        }
        assert_eq!(winners.len(), batch.len());
        check_winners(&stores[0], &winners).await;
    }
}

async fn check_winners(
    store: &PostgresStore,
    winners: &BTreeMap<ExecutionId, (String, ExecutionId)>,
) {
    for (id, (host, child)) in winners {
        let seen = store.execution(&tenant(), *id).await.unwrap().unwrap();
        assert_eq!(
            (seen.summary.state, seen.children.as_slice()),
            (State::Succeeded, [*child].as_slice())
        );
        assert_eq!(
            seen.attempts.iter().map(|(_, report)| report.host.as_str()).collect::<Vec<_>>(),
            [host]
        );
        let logs = store.logs(&tenant(), *id, None, 10).await.unwrap();
        assert_eq!(
            logs.iter().map(|entry| entry.line.message.as_str()).collect::<Vec<_>>(),
            [host, host]
        );
    }
    let entries: Vec<_> = outbox(store).await;
    let children: BTreeSet<_> = winners.values().map(|(_, child)| (*child, 1)).collect();
    assert_eq!(entries.iter().copied().collect::<BTreeSet<_>>(), children);
    let entries: Vec<_> = entries.into_iter().map(|(id, attempt)| key(id, attempt)).collect();
    store.published(&entries).await.unwrap();
}

/// An execution is promoted by one of three schedulers, and its message can be found in the outbox.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_schedulers_one_promotes() {
    let schema = Schema::make().await;
    let store = connect(&schema).await;
    let all = dispatches(300);
    let batch: Vec<Finished> = all.iter().map(|dispatch| retried(dispatch, now())).collect();
    store.record(&batch).await.unwrap();
    let schedulers: Vec<_> = (0..3)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut promoted = Vec::new();
                loop {
                    let page = store.promote_due(soon(), 20).await.unwrap();
                    if page.is_empty() {
                        return promoted;
                    }
                    promoted.extend(
                        page.into_iter().map(|dispatch| (dispatch.execution, dispatch.attempt)),
                    );
                }
            })
        })
        .collect();
    let mut promoted = Vec::new();
    for scheduler in schedulers {
        promoted.extend(scheduler.await.unwrap());
    }
    let expected: BTreeSet<_> = all.iter().map(|dispatch| (dispatch.execution, 2)).collect();
    assert_eq!(promoted.len(), 300, "none twice");
    assert_eq!(promoted.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(outbox(&store).await.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// A scheduler finds an entry to be of no use, and before it sweeps it out the execution is
/// resumed.
#[tokio::test]
async fn what_is_resumed_meanwhile_is_not_swept_out() {
    let schema = Schema::make().await;
    let store = connect(&schema).await;
    let [resumed, cancelled] = [dispatch("total"), dispatch("total")];
    store.enqueue(&[resumed.clone(), cancelled.clone()], Publication::Pending).await.unwrap();
    let operate = async |dispatch: &Dispatch, what| {
        store
            .transition_execution(&tenant(), dispatch.execution, &Operation::new(what, now()))
            .await
            .unwrap();
    };
    operate(&resumed, Transition::Suspend).await;
    operate(&cancelled, Transition::Cancel).await;
    let page = store
        .inner
        .read(|session| Box::pin(agenda::outbox_page(session, soon(), 10)))
        .await
        .unwrap();
    assert_eq!(page.stale.len(), 2);
    operate(&resumed, Transition::Resume).await;
    store.inner.write(|session| Box::pin(agenda::clear(session, &page))).await.unwrap();
    let mut stranger = schema.stranger().await;
    let left = stranger.fetch_all("SELECT execution_id FROM outbox").await.unwrap();
    assert_eq!(
        left.iter().map(|row| row.get::<uuid::Uuid, _>(0)).collect::<Vec<_>>(),
        [resumed.execution.0]
    );
    // While an operator's operation is not committed, the sweep waits for what it comes to.
    operate(&resumed, Transition::Suspend).await;
    let page = store
        .inner
        .read(|session| Box::pin(agenda::outbox_page(session, soon(), 10)))
        .await
        .unwrap();
    let resume =
        format!("BEGIN; UPDATE executions SET state = 'queued' WHERE id = '{}'", resumed.execution);
    stranger.execute(sqlx::AssertSqlSafe(resume)).await.unwrap();
    let sweep = {
        let store = store.clone();
        tokio::spawn(async move {
            store.inner.write(|session| Box::pin(agenda::clear(session, &page))).await
        })
    };
    let mut observer = schema.stranger().await;
    super::until("the sweep waits", async || is_waiting(&mut observer, "FOR SHARE").await).await;
    stranger.execute("COMMIT").await.unwrap();
    sweep.await.unwrap().unwrap();
    assert_eq!(outbox(&store).await, [(resumed.execution, 1)]);
}

/// Whether some statement in this schema waits for a lock.
async fn is_waiting(observer: &mut sqlx::postgres::PgConnection, text: &str) -> bool {
    let waiting = sqlx::query_scalar::<_, i64>(
        "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.query LIKE '%' || $1 || '%' \
         AND EXISTS (SELECT 1 FROM pg_locks h WHERE h.pid = a.pid AND h.relation = 'executions'::regclass)",
    );
    waiting.bind(text).fetch_one(observer).await.unwrap() > 0
}

#[tokio::test]
async fn a_collision_is_tried_again() {
    let schema = Schema::make().await;
    let store = connect(&schema).await;
    for code in ["40001", "40P01"] {
        let tries = AtomicU32::new(0);
        let raise =
            format!("DO $$ BEGIN RAISE EXCEPTION 'collided' USING ERRCODE = '{code}'; END $$");
        assert_eq!(
            store
                .inner
                .write(|session| Box::pin(collide_twice(session, &tries, &raise)))
                .await
                .unwrap(),
            3
        );
    }
}

async fn collide_twice(
    session: &mut super::super::session::Session<'_>,
    tries: &AtomicU32,
    raise: &str,
) -> super::super::error::Result<u32> {
    let tries = tries.fetch_add(1, Ordering::Relaxed) + 1;
    if tries < 3 {
        session.run(raise.to_owned()).await?;
    }
    Ok(tries)
}

/// Batches of one execution each, many in flight: what a quiet system does when it wakes up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_than_connections_take_turns() {
    let schema = Schema::make().await;
    let settings =
        PostgresSettings { connections: 2, call_timeout: Duration::from_secs(60), ..settings() };
    let store = PostgresStore::connect(&schema.url(), settings).await.unwrap();
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                store.record(&[finished(&dispatch("total"), Outcome::Success)]).await.unwrap()
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), [true]);
    }
    let done =
        ExecutionQuery { state: Some(State::Succeeded), ..ExecutionQuery::all_of(tenant(), 1_000) };
    assert_eq!(store.executions(&done).await.unwrap().len(), 100);
}
