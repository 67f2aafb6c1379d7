//! Who does what: leases of duties, and the one lease of the releases before.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use wasmill_domain::Timestamp;
use wasmill_store::testing::{Hook, Proxy};
use wasmill_store::{Agenda as _, Leases, Ledger as _, Publication, Result, Term};

use super::{Bench, dispatch, ended, settings, until};
use crate::{SchedulerParts, SchedulerSettings, SchedulerStore, run};

/// Far longer than a test takes.
const LONG: Duration = Duration::from_secs(86_400);

const DUTIES: [&str; 5] = ["due", "outbox", "retention", "partitions", "nodes"];

#[tokio::test]
async fn a_duty_of_another_scheduler_is_left_to_it_and_no_other_duty_is() {
    let bench = Bench::new().await;
    assert!(bench.store.lease("scheduler/outbox", "another", LONG).await.unwrap().is_some());
    let left = dispatch();
    bench.store.enqueue(std::slice::from_ref(&left), Publication::Pending).await.unwrap();
    let due = ended(wasmill_domain::Outcome::Error, Some(Timestamp::now()));
    bench.store.record(std::slice::from_ref(&due)).await.unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run(bench.parts(settings()), shutdown.clone()));
    let published = bench.next_published().await;
    assert_eq!(published[0].execution, due.dispatch.execution);
    // What is due was taken out of the outbox; what only the sweep finds is in it still.
    until(async || {
        let all = bench.store.outbox(Timestamp::from_micros(i64::MAX), 10).await.unwrap();
        all.iter().map(|entry| entry.execution).eq([left.execution])
    })
    .await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn two_schedulers_share_the_duties() {
    let bench = Bench::new().await;
    // Each has a lease already when they start.
    let of = |holder: &str| SchedulerSettings { holder: holder.into(), lease: LONG, ..settings() };
    let store = &bench.store;
    assert!(store.lease("scheduler/outbox", "one", LONG).await.unwrap().is_some());
    assert!(store.lease("scheduler/due", "two", LONG).await.unwrap().is_some());
    let left = dispatch();
    store.enqueue(std::slice::from_ref(&left), Publication::Pending).await.unwrap();
    let due = ended(wasmill_domain::Outcome::Error, Some(Timestamp::now()));
    store.record(std::slice::from_ref(&due)).await.unwrap();
    let shutdown = CancellationToken::new();
    let both =
        ["one", "two"].map(|holder| tokio::spawn(run(bench.parts(of(holder)), shutdown.clone())));
    // With no grace, the sweep may find what is due as well.
    let mut expected = HashSet::from([left.execution, due.dispatch.execution]);
    while !expected.is_empty() {
        for dispatch in bench.next_published().await {
            expected.remove(&dispatch.execution);
        }
    }
    for (duty, holder) in [("outbox", "two"), ("due", "one")] {
        let name = format!("scheduler/{duty}");
        assert!(store.lease(&name, holder, LONG).await.unwrap().is_none(), "{duty} is the other's");
    }
    shutdown.cancel();
    for scheduler in both {
        scheduler.await.unwrap().unwrap();
    }
    // Whoever ends gives its leases back.
    for duty in DUTIES {
        let name = format!("scheduler/{duty}");
        assert!(store.lease(&name, "third", Duration::ZERO).await.unwrap().is_some(), "{duty}");
    }
}

/// Remembers which leases were asked for.
#[derive(Default)]
struct Asked(Mutex<Vec<String>>);

impl Asked {
    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Hook for Asked {
    async fn lease(
        &self,
        inner: &dyn Leases,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Term>> {
        self.0.lock().unwrap().push(name.to_owned());
        inner.lease(name, holder, ttl).await
    }
}

/// A scheduler of a release before holds one lease for all that it does.
#[tokio::test]
async fn nothing_is_done_beside_a_scheduler_of_an_earlier_release() {
    let bench = Bench::new().await;
    let old = "an old one";
    assert!(bench.store.lease("scheduler", old, LONG).await.unwrap().is_some());
    let left = dispatch();
    bench.store.enqueue(std::slice::from_ref(&left), Publication::Pending).await.unwrap();
    let shutdown = CancellationToken::new();
    let proxy = Arc::new(Proxy::new(Arc::clone(&bench.store), Asked::default()));
    let parts = SchedulerParts { store: SchedulerStore::of(&proxy), ..bench.parts(settings()) };
    let running = tokio::spawn(run(parts, shutdown.clone()));
    until(async || proxy.hook().names().len() >= 3).await;
    assert!(proxy.hook().names().iter().all(|name| name == "scheduler"), "no duty is begun");
    assert_eq!(bench.store.outbox(Timestamp::from_micros(i64::MAX), 10).await.unwrap().len(), 1);
    // The old one ends, and gives its lease back.
    bench.store.lease("scheduler", old, Duration::ZERO).await.unwrap();
    assert_eq!(bench.next_published().await[0].execution, left.execution);
    // And another old one would have to wait now.
    assert!(bench.store.lease("scheduler", "another old one", LONG).await.unwrap().is_none());
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

/// New ones hold the old lease together: that one of them ends lets no old one in.
#[tokio::test]
async fn an_old_scheduler_waits_for_the_last_new_one() {
    let bench = Bench::new().await;
    let ends = [CancellationToken::new(), CancellationToken::new()];
    let running: Vec<_> =
        ends.iter().map(|end| tokio::spawn(run(bench.parts(settings()), end.clone()))).collect();
    let store = Arc::clone(&bench.store);
    let may_lead = async || store.lease("scheduler", "an old one", Duration::ZERO).await.unwrap();
    until(async || may_lead().await.is_none()).await;
    let mut running = running.into_iter();
    ends[0].cancel();
    running.next().unwrap().await.unwrap().unwrap();
    assert!(may_lead().await.is_none());
    // The one that is left does all of it.
    let left = dispatch();
    store.enqueue(std::slice::from_ref(&left), Publication::Pending).await.unwrap();
    assert_eq!(bench.next_published().await[0].execution, left.execution);
    ends[1].cancel();
    running.next().unwrap().await.unwrap().unwrap();
    // Nobody renews it, so it runs out.
    until(async || may_lead().await.is_some()).await;
}
