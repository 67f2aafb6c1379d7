//! The server goes away, or the network falls silent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wasmill_domain::{ExecutionId, Operation, Outcome, Revision, State, Transition};

use super::super::testing::{Mood, Proxy, Server, address_of, shared_server, url_at};
use super::{PostgresSettings, PostgresStore, Schema, settings};
use crate::conformance::sample::{dispatch, finished, line, now, retried, soon, started, tenant};
use crate::port::{
    Agenda as _, Artifacts as _, Catalog as _, Change, ExecutionQuery, Finished, History as _,
    Identity as _, Leases as _, Ledger as _, Publication, Result, Retention as _, Secrets as _,
    StoreError,
};

/// What a host does: it keeps what it has until it is recorded.
async fn record_at_last(store: &PostgresStore, batch: &[Finished]) -> Vec<bool> {
    loop {
        match store.record(batch).await {
            Ok(stands) => return stands,
            Err(StoreError::Unavailable(_)) => sleep(Duration::from_millis(20)).await,
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// The server is stopped once and killed once while four hosts record: each execution is there
/// once, whole, and was never told to be lost; what was committed before is there after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_under_load_loses_nothing() {
    let mut server = Server::start(&[]);
    let store = PostgresStore::connect(&server.url(), settings()).await.unwrap();
    let (recorded, goal) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(usize::MAX)));
    let hosts: Vec<_> = (0..4)
        .map(|_| {
            let (store, recorded, goal) = (store.clone(), Arc::clone(&recorded), Arc::clone(&goal));
            tokio::spawn(async move {
                let mut ids: Vec<ExecutionId> = Vec::new();
                while recorded.load(Ordering::Relaxed) < goal.load(Ordering::Relaxed) {
                    let end = |_| Finished {
                        logs: vec![line(0, "a")],
                        ..finished(&dispatch("total"), Outcome::Success)
                    };
                    let batch: Vec<Finished> = (0..10).map(end).collect();
                    record_at_last(&store, &batch).await;
                    recorded.fetch_add(batch.len(), Ordering::Relaxed);
                    ids.extend(batch.iter().map(|entry| entry.dispatch.execution));
                }
                ids
            })
        })
        .collect();
    let reach = async |count: usize| {
        super::until("they record", async || recorded.load(Ordering::Relaxed) >= count).await;
        recorded.load(Ordering::Relaxed)
    };
    for end in [Server::stop, Server::kill] {
        let before = reach(recorded.load(Ordering::Relaxed) + 200).await;
        end(&mut server);
        for (verb, answer) in every_verb(&store).await {
            assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{verb}: {answer:?}");
        }
        server.start_again();
        reach(before + 200).await;
    }
    goal.store(0, Ordering::Relaxed);
    let mut ids = BTreeSet::new();
    for host in hosts {
        ids.extend(host.await.unwrap());
    }
    let done = ExecutionQuery {
        state: Some(State::Succeeded),
        ..ExecutionQuery::all_of(tenant(), 1_000_000)
    };
    let listed: Vec<ExecutionId> = store
        .executions(&done)
        .await
        .unwrap()
        .into_iter()
        .map(|listed| listed.unwrap().id)
        .collect();
    assert_eq!(listed.len(), ids.len());
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), ids);
    for id in ids.iter().step_by(50) {
        let seen = store.execution(&tenant(), *id).await.unwrap().unwrap();
        assert_eq!((seen.attempts.len(), seen.output.is_some()), (1, true));
        assert_eq!(store.logs(&tenant(), *id, None, 10).await.unwrap().len(), 1);
    }
}

/// Connections that a restart has cut are not handed to callers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_the_first_call_succeeds() {
    let mut server = Server::start(&[]);
    let store = PostgresStore::connect(&server.url(), settings()).await.unwrap();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .inner
                    .read(|session| Box::pin(session.run("SELECT pg_sleep(0.2)".into())))
                    .await
                    .unwrap();
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    server.stop();
    server.start_again();
    store.record(&[finished(&dispatch("total"), Outcome::Success)]).await.unwrap();
    for _ in 0..8 {
        store.ping().await.unwrap();
    }
}

/// Every verb that asks the database.
async fn every_verb(store: &PostgresStore) -> Vec<(&'static str, Result<()>)> {
    let one = dispatch("total");
    let entry = [one.key()];
    let digest = wasmill_domain::Digest::of(b"a");
    let key = Change::DeleteKey { id: uuid::Uuid::nil() };
    vec![
        ("ping", store.ping().await),
        ("definitions", store.definitions(Revision(-1)).await.map(drop)),
        ("define", store.define(&key).await.map(drop)),
        ("versions", store.versions(&tenant(), &one.function).await.map(drop)),
        (
            "put_artifact",
            store.put_artifact(&tenant(), digest, bytes::Bytes::from_static(b"a")).await.map(drop),
        ),
        ("artifact", store.artifact(digest).await.map(drop)),
        ("tenant_artifact", store.tenant_artifact(&tenant(), digest).await.map(drop)),
        ("sealing_keys", store.sealing_keys().await.map(drop)),
        ("enqueue", store.enqueue(std::slice::from_ref(&one), Publication::Pending).await),
        ("start", store.start(&[started(&one)]).await),
        ("unfinished", store.unfinished(std::slice::from_ref(&one)).await.map(drop)),
        ("record", store.record(&[retried(&one, now())]).await.map(drop)),
        (
            "move_execution",
            store
                .transition_execution(
                    &tenant(),
                    one.execution,
                    &Operation::new(Transition::Suspend, now()),
                )
                .await
                .map(drop),
        ),
        ("executions", store.executions(&ExecutionQuery::all_of(tenant(), 10)).await.map(drop)),
        ("execution", store.execution(&tenant(), one.execution).await.map(drop)),
        ("logs", store.logs(&tenant(), one.execution, None, 10).await.map(drop)),
        ("promote_due", store.promote_due(soon(), 10).await.map(drop)),
        ("outbox", store.outbox(soon(), 10).await.map(drop)),
        ("published", store.published(&entry).await),
        ("lease", store.lease("leader", "a", Duration::from_secs(1)).await.map(drop)),
        ("prune", store.prune_executions(now(), None, 10).await.map(drop)),
    ]
}

async fn through_a_proxy() -> (Schema, Proxy, PostgresStore) {
    let schema = Schema::make().await;
    let proxy = Proxy::before(address_of(&shared_server())).await;
    let settings = PostgresSettings {
        connect_timeout: Duration::from_millis(200),
        call_timeout: Duration::from_millis(400),
        upkeep_timeout: Duration::from_secs(60),
        ..settings()
    };
    let long_timeout = PostgresSettings {
        connect_timeout: super::WAIT_TIMEOUT,
        call_timeout: super::WAIT_TIMEOUT,
        ..settings.clone()
    };
    // The schema is made at leisure; only what follows is in a hurry.
    PostgresStore::connect(&schema.url(), long_timeout).await.unwrap();
    let url = schema.url_at(&url_at(&proxy.address(), &shared_server()));
    let mut store = PostgresStore::connect(&url, settings.clone()).await;
    let begun = Instant::now();
    while store.is_err() && begun.elapsed() < super::WAIT_TIMEOUT {
        store = PostgresStore::connect(&url, settings.clone()).await;
    }
    (schema, proxy, store.unwrap())
}

/// A server that accepts and says nothing is not available, and nobody waits for it longer than was
/// said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_holds_up_nobody() {
    let (_schema, proxy, store) = through_a_proxy().await;
    proxy.be(Mood::Stalled);
    let begun = Instant::now();
    let answers = every_verb(&store).await;
    assert!(
        begun.elapsed() < Duration::from_secs(1) * answers.len() as u32,
        "{:?}",
        begun.elapsed()
    );
    for (verb, answer) in answers {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{verb}: {answer:?}");
    }
    let (url, settings) = (url_at(&proxy.address(), &shared_server()), settings());
    let settings = PostgresSettings { connect_timeout: Duration::from_millis(200), ..settings };
    let refused = PostgresStore::connect(&url, settings).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(why)) if why.contains("200ms")));
    proxy.be(Mood::Fine);
    super::until("it is back", async || store.ping().await.is_ok()).await;
}

/// The network forgets every connection without a word, as a firewall does: one call finds out for
/// all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_connections_are_given_up_together() {
    let (_schema, proxy, store) = through_a_proxy().await;
    let several: Vec<_> = (0..6)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .inner
                    .read(|session| Box::pin(session.run("SELECT pg_sleep(0.1)".into())))
                    .await
            })
        })
        .collect();
    for one in several {
        // However many came through in time: they have left their connections.
        let _ = one.await.unwrap();
    }
    proxy.be(Mood::Forgetful);
    let mut failures = 0;
    let begun = Instant::now();
    while store.ping().await.is_err() {
        failures += 1;
        assert!(begun.elapsed() < super::WAIT_TIMEOUT, "it never came back");
    }
    // The first finds out; on a busy machine a new connection may take too long as well.
    assert!(failures >= 1);
    store.ping().await.unwrap();
}
