//! Executions as they are written and read.

mod values;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmill_domain::{
    Digest, Dispatch, Event, EventParts, ExecutionId, Outcome, State, TenantName, Timestamp,
};

pub(crate) use self::values::{
    any_event_is_read_back, any_text_round_trips, large_values_are_kept,
};
use super::sample::{
    detail, dispatch, dispatches, event_parts, finished, line, listed, made, name, now, outbox,
    retried, soon, started, state_of, tenant,
};
use crate::conformance::Store;
use crate::port::{
    ExecutionDetail, ExecutionQuery, ExecutionSummary, Finished, LogEntry, LogPosition, Publication,
};

fn accepted(dispatch: &Dispatch) -> ExecutionSummary {
    ExecutionSummary {
        id: dispatch.execution,
        tenant: dispatch.tenant.clone(),
        function: dispatch.function.clone(),
        state: State::Queued,
        epoch: dispatch.epoch,
        attempt: dispatch.attempt,
        max_attempts: dispatch.max_attempts,
        version: None,
        outcome: None,
        message: None,
        event_type: dispatch.event.event_type.clone(),
        event_id: dispatch.event.id.clone(),
        event_source: dispatch.event.source.clone(),
        origin: dispatch.origin.clone(),
        root: dispatch.root,
        trace_id: dispatch.trace.trace_id(),
        accepted_at: dispatch.accepted_at,
        due_at: None,
        started_at: None,
        finished_at: None,
        changed_at: None,
        held_by: None,
        reason: None,
    }
}

pub(crate) async fn it_answers(store: Arc<dyn Store>) {
    store.ping().await.unwrap();
}

pub(crate) async fn an_accepted_execution_is_queued(store: Arc<dyn Store>) {
    let mut binary = dispatch("thumbnail").emitted_by(&dispatch("elsewhere"));
    let parts = EventParts {
        datacontenttype: Some("image/png".into()),
        data: Some(Bytes::from_static(&[0, 159, 146, 150])),
        ..event_parts()
    };
    binary.event = made(parts);
    let empty =
        Dispatch { event: made(EventParts { data: None, ..event_parts() }), ..dispatch("total") };
    let all = [dispatch("total"), binary, empty];
    store.enqueue(&all, Publication::Confirmed).await.unwrap();
    store.enqueue(&[], Publication::Pending).await.unwrap();
    for dispatch in &all {
        let expected = ExecutionDetail {
            summary: accepted(dispatch),
            event: Ok(Event::clone(&dispatch.event)),
            output: None,
            attempts: vec![],
            children: vec![],
        };
        assert_eq!(detail(&*store, dispatch.execution).await, expected);
    }
    assert!(outbox(&*store).await.is_empty(), "the broker has confirmed them");
    assert_eq!(store.execution(&tenant(), ExecutionId::new()).await.unwrap(), None);
    let other: TenantName = "other".parse().unwrap();
    assert_eq!(store.execution(&other, all[0].execution).await.unwrap(), None);
}

pub(crate) async fn what_is_there_is_left_as_it_is(store: Arc<dyn Store>) {
    let [done, runs, new] = [dispatch("total"), dispatch("total"), dispatch("total")];
    store.record(&[finished(&done, Outcome::Success)]).await.unwrap();
    store.start(&[started(&runs)]).await.unwrap();
    let before = (detail(&*store, done.execution).await, detail(&*store, runs.execution).await);
    store.enqueue(&[done.clone(), runs.clone(), new.clone()], Publication::Pending).await.unwrap();
    store.enqueue(&[done.clone(), new.clone(), new.clone()], Publication::Pending).await.unwrap();
    assert_eq!(
        (detail(&*store, done.execution).await, detail(&*store, runs.execution).await),
        before
    );
    let entries: BTreeSet<_> = outbox(&*store).await.into_iter().collect();
    assert_eq!(
        entries,
        BTreeSet::from([(runs.execution, 1), (new.execution, 1)]),
        "what ended needs no publishing"
    );
}

pub(crate) async fn a_start_is_informative(store: Arc<dyn Store>) {
    let [known, unknown] = [dispatch("total"), dispatch("total")];
    store.enqueue(std::slice::from_ref(&known), Publication::Confirmed).await.unwrap();
    let notified = [started(&known), started(&unknown)];
    store.start(&notified).await.unwrap();
    for begun in &notified {
        let expected = ExecutionSummary {
            state: State::Running,
            version: Some(begun.version),
            started_at: Some(begun.at),
            ..accepted(&begun.dispatch)
        };
        assert_eq!(detail(&*store, begun.dispatch.execution).await.summary, expected);
    }
    // Its host died and another one began: twice in one batch, even.
    let again = |version: &[u8], later: u64| crate::port::Started {
        version: Digest::of(version),
        at: now().plus(Duration::from_secs(later)),
        ..started(&known)
    };
    let last = again(b"third", 2);
    store.start(&[again(b"second", 1), last.clone()]).await.unwrap();
    let summary = detail(&*store, known.execution).await.summary;
    assert_eq!((summary.version, summary.started_at), (Some(last.version), Some(last.at)));
    // Of one that has no row, too.
    let new = dispatch("total");
    store.start(&[started(&new), started(&new)]).await.unwrap();
    assert_eq!(state_of(&*store, &new).await, (State::Running, 1));
}

pub(crate) async fn a_result_is_kept_with_all_that_belongs_to_it(store: Arc<dyn Store>) {
    let queued = dispatch("total");
    store.enqueue(std::slice::from_ref(&queued), Publication::Confirmed).await.unwrap();
    let child = dispatch("mail").emitted_by(&queued);
    let entry = Finished {
        logs: vec![line(0, "begun"), line(1, "done")],
        emitted: vec![child.clone()],
        ..finished(&queued, Outcome::Success)
    };
    assert_eq!(store.record(std::slice::from_ref(&entry)).await.unwrap(), [true]);
    let mut report = entry.report.clone();
    let output = report.output.take();
    let expected = ExecutionDetail {
        summary: ExecutionSummary {
            state: State::Succeeded,
            version: report.version,
            outcome: Some(Outcome::Success),
            started_at: Some(report.started_at),
            finished_at: Some(report.finished_at),
            ..accepted(&queued)
        },
        event: Ok(Event::clone(&queued.event)),
        output,
        attempts: vec![(1, report)],
        children: vec![child.execution],
    };
    assert_eq!(detail(&*store, queued.execution).await, expected);
    assert_eq!(detail(&*store, child.execution).await.summary, accepted(&child));
    let logs = store.logs(&tenant(), queued.execution, None, 10).await.unwrap();
    assert_eq!(
        logs,
        entry.logs.into_iter().map(|line| LogEntry { attempt: 1, line }).collect::<Vec<_>>()
    );
    assert_eq!(store.outbox(soon(), 10).await.unwrap(), [child]);
}

pub(crate) async fn a_retry_is_delayed(store: Arc<dyn Store>) {
    let first = dispatch("total");
    let due = now().plus(Duration::from_secs(5));
    let entry = Finished { logs: vec![line(0, "one")], ..retried(&first, due) };
    assert_eq!(store.record(std::slice::from_ref(&entry)).await.unwrap(), [true]);
    let seen = detail(&*store, first.execution).await;
    assert_eq!(
        (seen.summary.state, seen.summary.attempt, seen.summary.max_attempts),
        (State::Delayed, 2, 3)
    );
    assert_eq!((seen.summary.due_at, seen.summary.outcome), (Some(due), Some(Outcome::Error)));
    assert_eq!(seen.summary.message.as_deref(), Some("it was error"));
    assert!(outbox(&*store).await.is_empty(), "it is not due");
    let second = store.promote_due(due, 10).await.unwrap().remove(0);
    assert_eq!(second, Dispatch { attempt: 2, queued_at: due, ..first.clone() });
    let done = Finished { logs: vec![line(0, "two")], ..finished(&second, Outcome::Success) };
    assert_eq!(store.record(std::slice::from_ref(&done)).await.unwrap(), [true]);
    let seen = detail(&*store, first.execution).await;
    assert_eq!(
        (seen.summary.state, seen.summary.attempt, seen.summary.due_at),
        (State::Succeeded, 2, None)
    );
    assert_eq!((seen.summary.outcome, seen.summary.message), (Some(Outcome::Success), None));
    let attempts: Vec<_> =
        seen.attempts.iter().map(|(number, report)| (*number, report.outcome)).collect();
    assert_eq!(attempts, [(1, Outcome::Error), (2, Outcome::Success)]);
    let lines = store.logs(&tenant(), first.execution, None, 10).await.unwrap();
    assert_eq!(
        lines.iter().map(|entry| (entry.attempt, entry.line.message.as_str())).collect::<Vec<_>>(),
        [(1, "one"), (2, "two")]
    );
}

pub(crate) async fn emitted_events_follow_a_success_only(store: Arc<dyn Store>) {
    let child = || dispatch("mail");
    let entries: Vec<Finished> =
        [Outcome::Success, Outcome::Trap, Outcome::Rejected, Outcome::Cancelled]
            .map(|outcome| Finished {
                emitted: vec![child(), child()],
                ..finished(&dispatch("total"), outcome)
            })
            .into();
    let retry = Finished { emitted: vec![child()], ..retried(&dispatch("total"), soon()) };
    let late =
        Finished { emitted: vec![child()], ..finished(&entries[1].dispatch, Outcome::Success) };
    let all = [entries, vec![retry, late]].concat();
    assert_eq!(store.record(&all).await.unwrap(), [true, true, true, true, true, false]);
    let expected: BTreeSet<_> =
        all[0].emitted.iter().map(|dispatch| (dispatch.execution, 1)).collect();
    assert_eq!(outbox(&*store).await.into_iter().collect::<BTreeSet<_>>(), expected);
    assert!(store.outbox(now(), 10).await.unwrap().is_empty(), "a host publishes them");
    let mails =
        ExecutionQuery { function: Some(name("mail")), ..ExecutionQuery::all_of(tenant(), 100) };
    assert_eq!(listed(&*store, &mails).await.len(), 2);
}

pub(crate) async fn filters_hold_together(store: Arc<dyn Store>) {
    let typed = |function: &str, event_type: &str, id: &str| {
        let event =
            EventParts { event_type: event_type.parse().unwrap(), id: id.into(), ..event_parts() };
        Dispatch { event: made(event), ..dispatch(function) }
    };
    let a = typed("total", "order.created", "e1");
    let b = typed("total", "order.paid", "e2");
    let c = typed("mail", "order.created", "e1");
    let d = typed("mail", "order.paid", "e2");
    let elsewhere =
        Dispatch { tenant: "other".parse().unwrap(), ..typed("total", "order.created", "e1") };
    store
        .enqueue(
            &[a.clone(), b.clone(), c.clone(), d.clone(), elsewhere.clone()],
            Publication::Confirmed,
        )
        .await
        .unwrap();
    store
        .record(&[
            finished(&a, Outcome::Success),
            finished(&b, Outcome::Trap),
            finished(&c, Outcome::TimedOut),
        ])
        .await
        .unwrap();
    let all = || ExecutionQuery::all_of(tenant(), 100);
    let [a, b, c, d] = [a, b, c, d].map(|dispatch| dispatch.execution);
    let total = Some(name("total"));
    let created = Some("order.created".parse().unwrap());
    for (query, expected) in [
        (all(), vec![d, c, b, a]),
        (ExecutionQuery { function: total.clone(), ..all() }, vec![b, a]),
        (ExecutionQuery { state: Some(State::Failed), ..all() }, vec![c, b]),
        (ExecutionQuery { outcome: Some(Outcome::TimedOut), ..all() }, vec![c]),
        (ExecutionQuery { event_type: created.clone(), ..all() }, vec![c, a]),
        (ExecutionQuery { event_id: Some("e2".into()), ..all() }, vec![d, b]),
        (ExecutionQuery { function: total.clone(), state: Some(State::Failed), ..all() }, vec![b]),
        (
            ExecutionQuery {
                state: Some(State::Failed),
                event_type: created,
                outcome: Some(Outcome::TimedOut),
                ..all()
            },
            vec![c],
        ),
        (
            ExecutionQuery {
                function: total,
                event_id: Some("e1".into()),
                before: Some(b),
                ..all()
            },
            vec![a],
        ),
        (ExecutionQuery { state: Some(State::Suspended), ..all() }, vec![]),
        (ExecutionQuery { limit: 0, ..all() }, vec![]),
        (ExecutionQuery::all_of("other".parse().unwrap(), 9), vec![elsewhere.execution]),
    ] {
        assert_eq!(listed(&*store, &query).await, expected, "{query:?}");
    }
}

pub(crate) async fn pages_follow_each_other(store: Arc<dyn Store>) {
    let all = dispatches(25);
    store.enqueue(&all, Publication::Confirmed).await.unwrap();
    let mut seen = Vec::new();
    let mut query = ExecutionQuery::all_of(tenant(), 10);
    loop {
        let page = listed(&*store, &query).await;
        let Some(last) = page.last() else { break };
        query.before = Some(*last);
        seen.extend(page);
        // What is accepted meanwhile is newer and disturbs no page.
        store.enqueue(&dispatches(3), Publication::Confirmed).await.unwrap();
    }
    assert_eq!(seen, all.iter().rev().map(|dispatch| dispatch.execution).collect::<Vec<_>>());
}

pub(crate) async fn times_bound_the_list(store: Arc<dyn Store>) {
    let start = now();
    let at = |millis: i64| Timestamp::from_micros(start.as_micros() + millis * 1000);
    let all: Vec<Dispatch> =
        (0..4).map(|i| Dispatch { accepted_at: at(i), ..dispatch("total") }).collect();
    store.enqueue(&all, Publication::Confirmed).await.unwrap();
    let ids: Vec<ExecutionId> = all.iter().map(|dispatch| dispatch.execution).collect();
    let query =
        |since, until| ExecutionQuery { since, until, ..ExecutionQuery::all_of(tenant(), 10) };
    assert_eq!(listed(&*store, &query(Some(at(2)), None)).await, [ids[3], ids[2]]);
    assert_eq!(listed(&*store, &query(None, Some(at(2)))).await, [ids[1], ids[0]]);
    assert_eq!(listed(&*store, &query(Some(at(1)), Some(at(3)))).await, [ids[2], ids[1]]);
    assert!(listed(&*store, &query(Some(at(5)), None)).await.is_empty());
}

pub(crate) async fn logs_are_in_order(store: Arc<dyn Store>) {
    let first = dispatch("total");
    let lines = |range: std::ops::Range<u32>| {
        range.map(|seq| line(seq, &format!("line {seq}"))).collect::<Vec<_>>()
    };
    store.record(&[Finished { logs: lines(0..3), ..retried(&first, now()) }]).await.unwrap();
    let second = store.promote_due(soon(), 1).await.unwrap().remove(0);
    store
        .record(&[Finished { logs: lines(0..12), ..finished(&second, Outcome::Success) }])
        .await
        .unwrap();
    let read = async |after: Option<(u32, u32)>, limit| {
        let after = after.map(|(attempt, seq)| LogPosition { attempt, seq });
        let entries = store.logs(&tenant(), first.execution, after, limit).await.unwrap();
        entries.iter().map(|entry| (entry.attempt, entry.line.seq)).collect::<Vec<_>>()
    };
    assert_eq!(read(None, 4).await, [(1, 0), (1, 1), (1, 2), (2, 0)]);
    assert_eq!(read(Some((1, 1)), 2).await, [(1, 2), (2, 0)]);
    assert_eq!(read(Some((2, 9)), 100).await, [(2, 10), (2, 11)]);
    assert!(read(Some((2, 11)), 100).await.is_empty());
    let other: TenantName = "other".parse().unwrap();
    assert!(store.logs(&other, first.execution, None, 10).await.unwrap().is_empty());
}
