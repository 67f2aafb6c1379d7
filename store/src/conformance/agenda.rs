//! Due times, the outbox, leases and retention.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmill_domain::{
    Digest, Dispatch, ExecutionId, Operation, Outcome, State, Timestamp, Transition,
};

use super::sample::{
    at_attempt, deploy, dispatch, dispatches, execution_in, finished, key, line, listed, name, now,
    outbox, prune, retried, soon, state_of, tenant,
};
use crate::conformance::Store;
use crate::port::{Change, ExecutionQuery, Finished, PUBLISH_TIMEOUT, Pruned, Publication, Term};

/// What stands in a row instead of an event.
pub(crate) const SPOILED: &str = r#"{"specversion":"1.0","id":"1""#;

fn ids(dispatches: &[Dispatch]) -> Vec<ExecutionId> {
    dispatches.iter().map(|dispatch| dispatch.execution).collect()
}

pub(crate) async fn what_is_due_is_promoted(store: Arc<dyn Store>) {
    let start = now();
    let at = |second: u64| start.plus(Duration::from_secs(second));
    let all = dispatches(4);
    let due = [at(3), at(1), at(2), at(9)];
    let batch: Vec<Finished> =
        all.iter().zip(due).map(|(dispatch, due)| retried(dispatch, due)).collect();
    store.record(&batch).await.unwrap();
    assert!(store.promote_due(start, 10).await.unwrap().is_empty());
    let first = store.promote_due(at(3), 2).await.unwrap();
    assert_eq!(
        ids(&first),
        [all[1].execution, all[2].execution],
        "those due first, up to the limit"
    );
    let expected = Dispatch { attempt: 2, queued_at: at(3), ..all[1].clone() };
    assert_eq!(first[0], expected);
    assert_eq!(ids(&store.promote_due(at(3), 2).await.unwrap()), [all[0].execution]);
    assert!(store.promote_due(at(8), 2).await.unwrap().is_empty());
    for dispatch in &all[..3] {
        assert_eq!(state_of(&*store, dispatch).await, (State::Queued, 2));
    }
    assert_eq!(state_of(&*store, &all[3]).await, (State::Delayed, 2));
    // They are in the outbox until somebody has published them.
    let entries: BTreeSet<_> = outbox(&*store).await.into_iter().collect();
    assert_eq!(entries, all[..3].iter().map(|dispatch| (dispatch.execution, 2)).collect());
    assert!(store.outbox(soon(), 10).await.unwrap().contains(&expected));
    // And nobody else publishes them for as long as that may take.
    let in_time = at(3).plus(PUBLISH_TIMEOUT);
    assert!(store.outbox(in_time, 10).await.unwrap().is_empty());
}

pub(crate) async fn the_outbox_is_in_order(store: Arc<dyn Store>) {
    let all = dispatches(5);
    let before = now().minus(Duration::from_secs(1));
    store.enqueue(&all[..1], Publication::Confirmed).await.unwrap();
    for dispatch in &all[1..] {
        store.enqueue(std::slice::from_ref(dispatch), Publication::Pending).await.unwrap();
        // The next one is made at a later microsecond.
        let made = now();
        while now() == made {}
    }
    assert!(store.outbox(before, 10).await.unwrap().is_empty(), "none was made before");
    assert_eq!(store.outbox(now(), 10).await.unwrap(), all[1..], "nobody publishes them yet");
    assert_eq!(store.outbox(soon(), 2).await.unwrap(), all[1..3]);
    let entries = [
        key(all[1].execution, 1),
        key(all[3].execution, 1),
        key(all[4].execution, 9),
        key(ExecutionId::new(), 1),
    ];
    store.published(&entries).await.unwrap();
    store.published(&entries).await.unwrap();
    store.published(&[]).await.unwrap();
    assert_eq!(store.outbox(soon(), 10).await.unwrap(), [all[2].clone(), all[4].clone()]);
}

pub(crate) async fn what_went_on_leaves_the_outbox(store: Arc<dyn Store>) {
    let all = dispatches(5);
    store.enqueue(&all, Publication::Pending).await.unwrap();
    store.start(&[super::sample::started(&all[0])]).await.unwrap();
    store.record(&[finished(&all[1], Outcome::Success), retried(&all[2], soon())]).await.unwrap();
    store
        .transition_execution(
            &tenant(),
            all[3].execution,
            &Operation::new(Transition::Cancel, now()),
        )
        .await
        .unwrap();
    // Those in the way do not make the page shorter.
    let open = BTreeSet::from([(all[0].execution, 1), (all[4].execution, 1)]);
    let page: BTreeSet<_> = store
        .outbox(soon(), 2)
        .await
        .unwrap()
        .iter()
        .map(|dispatch| (dispatch.execution, dispatch.attempt))
        .collect();
    assert_eq!(page, open);
    assert_eq!(outbox(&*store).await.into_iter().collect::<BTreeSet<_>>(), open);
}

/// `spoil` makes an execution's event something that is none, as a fault of a disk or of an
/// operator would.
pub(crate) async fn an_unreadable_event_is_given_up(
    store: Arc<dyn Store>,
    spoil: impl AsyncFn(ExecutionId),
) {
    let shown = async |dispatch: &Dispatch| {
        let detail = store.execution(&tenant(), dispatch.execution).await.unwrap().unwrap();
        let unreadable = detail.event.unwrap_err();
        assert_eq!(unreadable.text, SPOILED);
        assert!(unreadable.why.contains("'event'"), "{}", unreadable.why);
        detail.summary
    };
    let [odd, good, later] = [(); 3].map(|()| dispatch("total"));
    store.enqueue(&[odd.clone(), good.clone()], Publication::Pending).await.unwrap();
    store.record(&[retried(&later, now())]).await.unwrap();
    spoil(odd.execution).await;
    spoil(later.execution).await;
    assert_eq!(shown(&odd).await.state, State::Queued);
    // It is in nobody's way.
    assert_eq!(outbox(&*store).await, [(good.execution, 1)]);
    let summary = shown(&odd).await;
    assert_eq!((summary.state, summary.outcome), (State::Failed, Some(Outcome::Rejected)));
    assert!(summary.message.as_deref().is_some_and(|text| text.contains("event")), "{summary:?}");
    store.record(&[retried(&good, now())]).await.unwrap();
    assert_eq!(ids(&store.promote_due(soon(), 10).await.unwrap()), [good.execution]);
    assert_eq!(outbox(&*store).await, [(good.execution, 2)]);
    assert_eq!(shown(&later).await.state, State::Failed);
    let failed =
        ExecutionQuery { state: Some(State::Failed), ..ExecutionQuery::all_of(tenant(), 10) };
    assert_eq!(listed(&*store, &failed).await.len(), 2);
}

/// `spoil` makes the type of an execution's event one that is none.
pub(crate) async fn an_unreadable_row_is_listed_as_such(
    store: Arc<dyn Store>,
    spoil: impl AsyncFn(ExecutionId),
) {
    let [first, odd, last] = [(); 3].map(|()| dispatch("total"));
    store
        .enqueue(&[first.clone(), odd.clone(), last.clone()], Publication::Confirmed)
        .await
        .unwrap();
    spoil(odd.execution).await;
    let page = async |query: ExecutionQuery| -> Vec<_> {
        let listed = store.executions(&query).await.unwrap().into_iter();
        listed
            .map(|listed| listed.map(|summary| summary.id).map_err(|row| (row.id, row.why)))
            .collect()
    };
    let all = page(ExecutionQuery::all_of(tenant(), 10)).await;
    let [Ok(newest), Err((spoiled, why)), Ok(oldest)] = &all[..] else { panic!("{all:?}") };
    assert_eq!(
        [newest, spoiled, oldest],
        [last.execution, odd.execution, first.execution].each_ref()
    );
    assert!(why.contains("'event_type' cannot be read"), "{why}");
    // It is a place to go on from, too.
    let before =
        ExecutionQuery { before: Some(odd.execution), ..ExecutionQuery::all_of(tenant(), 10) };
    assert_eq!(page(before).await, [Ok(first.execution)]);
    let shown = store.execution(&tenant(), odd.execution).await.unwrap_err().to_string();
    assert!(shown.contains(why.as_str()), "{shown}");
}

pub(crate) async fn a_lease_has_one_holder(store: Arc<dyn Store>) {
    let ttl = Duration::from_secs(60);
    let first = store.lease("leader", "a", ttl).await.unwrap().unwrap();
    assert_eq!(store.lease("leader", "a", ttl).await.unwrap(), Some(first), "renewed");
    assert_eq!(store.lease("leader", "b", ttl).await.unwrap(), None);
    assert!(store.lease("other", "b", ttl).await.unwrap().is_some());
    // Renewed for no time at all, it is free.
    assert_eq!(store.lease("leader", "a", Duration::ZERO).await.unwrap(), Some(first));
    let second = store.lease("leader", "b", ttl).await.unwrap().unwrap();
    assert!(second > first);
    assert_eq!(store.lease("leader", "a", ttl).await.unwrap(), None);
    assert!(store.lease("longest", "a", Duration::MAX).await.unwrap().is_some());
    assert_eq!(store.lease("longest", "b", ttl).await.unwrap(), None);
}

pub(crate) async fn a_lease_runs_out(store: Arc<dyn Store>) {
    let ttl = Duration::from_millis(100);
    let asked = Instant::now();
    let first = store.lease("leader", "a", ttl).await.unwrap().unwrap();
    let second = loop {
        if let Some(term) = store.lease("leader", "b", Duration::from_secs(60)).await.unwrap() {
            break term;
        }
        assert!(asked.elapsed() < Duration::from_secs(30), "it never ran out");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    // The database's clock may have a coarser grain than this one.
    assert!(second > first && asked.elapsed() >= ttl - Duration::from_millis(2));
    assert_eq!(store.lease("leader", "a", ttl).await.unwrap(), None);
}

pub(crate) async fn leases_are_taken_by_one(store: Arc<dyn Store>) {
    let contenders: Vec<_> = (0..8)
        .map(|i| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                store.lease("leader", &format!("host-{i}"), Duration::from_secs(60)).await.unwrap()
            })
        })
        .collect();
    let mut terms: Vec<Term> = Vec::new();
    for contender in contenders {
        terms.extend(contender.await.unwrap());
    }
    assert_eq!(terms.len(), 1);
}

/// An execution that was accepted at `at`.
fn accepted_at(at: Timestamp) -> Dispatch {
    Dispatch { execution: crate::convert::first_id_at(at), accepted_at: at, ..dispatch("total") }
}

/// The end of an attempt at `at`.
fn ended_at(dispatch: &Dispatch, at: Timestamp) -> Finished {
    let mut entry = Finished { logs: vec![line(0, "a")], ..finished(dispatch, Outcome::Success) };
    entry.report.started_at = dispatch.accepted_at;
    entry.report.finished_at = at;
    entry
}

pub(crate) async fn what_ended_is_pruned(store: Arc<dyn Store>) {
    let hour = |hours: u64| {
        Timestamp::from_micros(1_700_000_000_000_000).plus(Duration::from_secs(hours * 3600))
    };
    let [old, long, open, waiting] = [hour(0), hour(1), hour(2), hour(3)].map(accepted_at);
    let batch = [
        ended_at(&old, hour(1)),
        ended_at(&long, hour(20)),
        Finished { retry_at: Some(hour(9)), ..ended_at(&waiting, hour(4)) },
    ];
    store.record(&batch).await.unwrap();
    store.enqueue(std::slice::from_ref(&open), Publication::Pending).await.unwrap();
    assert_eq!(prune(&*store, hour(1), 10).await, 0, "none ended before");
    assert_eq!(prune(&*store, hour(10), 10).await, 1);
    assert_eq!(prune(&*store, hour(10), 10).await, 0);
    assert_eq!(store.execution(&tenant(), old.execution).await.unwrap(), None);
    assert!(store.logs(&tenant(), old.execution, None, 10).await.unwrap().is_empty());
    assert_eq!(listed(&*store, &ExecutionQuery::all_of(tenant(), 10)).await.len(), 3);
    assert_eq!(outbox(&*store).await, [(open.execution, 1)]);
    // Nothing of it is left in the way of the same execution, should it come again.
    assert_eq!(store.record(&[ended_at(&old, hour(1))]).await.unwrap(), [true]);
    assert_eq!(store.logs(&tenant(), old.execution, None, 10).await.unwrap().len(), 1);
}

pub(crate) async fn pruning_is_bounded(store: Arc<dyn Store>) {
    let hour = |hours: u64| {
        Timestamp::from_micros(1_700_000_000_000_000).plus(Duration::from_secs(hours * 3600))
    };
    let batch: Vec<Finished> =
        (0..10).map(|i| ended_at(&accepted_at(hour(i)), hour(i + 1))).collect();
    store.record(&batch).await.unwrap();
    assert_eq!(prune(&*store, hour(100), 4).await, 4);
    assert_eq!(listed(&*store, &ExecutionQuery::all_of(tenant(), 10)).await.len(), 6);
    assert_eq!(prune(&*store, hour(100), 4).await, 4);
    assert_eq!(prune(&*store, hour(100), 4).await, 2);
    assert_eq!(prune(&*store, hour(100), 4).await, 0);
}

/// What stays is not looked at again and again.
pub(crate) async fn pruning_goes_on_where_it_stopped(store: Arc<dyn Store>) {
    let hour = |hours: u64| {
        Timestamp::from_micros(1_700_000_000_000_000).plus(Duration::from_secs(hours * 3600))
    };
    // Of each two, one ended late.
    let batch: Vec<Finished> = (0..6)
        .map(|i| ended_at(&accepted_at(hour(i)), hour(if i % 2 == 0 { i } else { 90 })))
        .collect();
    store.record(&batch).await.unwrap();
    let (mut deleted, mut after) = (Vec::new(), None);
    for _ in 0..3 {
        let page = store.prune_executions(hour(50), after, 2).await.unwrap();
        deleted.push(page.deleted);
        after = page.next;
        assert!(after.is_some());
    }
    assert_eq!(deleted, [1, 1, 1]);
    assert_eq!(store.prune_executions(hour(50), after, 2).await.unwrap(), Pruned::default());
    assert_eq!(listed(&*store, &ExecutionQuery::all_of(tenant(), 10)).await.len(), 3);
}

pub(crate) async fn unnamed_artifacts_are_pruned(store: Arc<dyn Store>) {
    deploy(&*store, serde_json::json!({"name": "total"}), b"first").await;
    deploy(&*store, serde_json::json!({"name": "total"}), b"second").await;
    let unnamed = Digest::of(b"unnamed");
    store.put_artifact(&tenant(), unnamed, Bytes::from_static(b"unnamed")).await.unwrap();
    prune(&*store, now().minus(Duration::from_secs(3600)), 10).await;
    assert!(store.artifact(unnamed).await.unwrap().is_some(), "it is not old enough");
    let known = [Digest::of(b"first"), Digest::of(b"never"), unnamed];
    assert_eq!(store.missing_artifacts(&known).await.unwrap(), [known[1]]);
    prune(&*store, soon(), 10).await;
    assert!(store.artifact(unnamed).await.unwrap().is_none());
    assert_eq!(store.missing_artifacts(&known).await.unwrap(), [known[1], unnamed]);
    for named in [b"first".as_slice(), b"second"] {
        assert!(store.artifact(Digest::of(named)).await.unwrap().is_some());
    }
    store
        .define(&Change::DeleteFunction { tenant: tenant(), function: name("total") })
        .await
        .unwrap();
    prune(&*store, soon(), 1).await;
    prune(&*store, soon(), 1).await;
    assert!(store.artifact(Digest::of(b"first")).await.unwrap().is_none());
    assert!(store.artifact(Digest::of(b"second")).await.unwrap().is_none());
    // History needs no artifact.
    let done = execution_in(&*store, State::Succeeded).await;
    assert_eq!(state_of(&*store, &at_attempt(&done, 1)).await, (State::Succeeded, 1));
}
