//! What operators do with executions.

use std::sync::Arc;

use wasmill_domain::{Dispatch, ExecutionId, Operation, Origin, Outcome, State, Transition};

use super::sample::{
    at_attempt, dispatch, execution_in, finished, now, outbox, retried, soon, started, state_of,
    tenant,
};
use crate::conformance::Store;
use crate::port::{Finished, Publication, StoreError};

const OF_OPERATORS: [Transition; 4] =
    [Transition::Suspend, Transition::Resume, Transition::Cancel, Transition::Replay];

pub(crate) async fn the_table_is_obeyed(store: Arc<dyn Store>) {
    for state in State::ALL {
        for what in Transition::ALL {
            let execution = execution_in(&*store, state).await;
            let before = store.execution(&tenant(), execution.execution).await.unwrap().unwrap();
            let moved = store
                .transition_execution(&tenant(), execution.execution, &Operation::new(what, now()))
                .await;
            match state.after(what) {
                Ok(expected) if OF_OPERATORS.contains(&what) => {
                    assert_eq!(moved.unwrap().state, expected, "{state} {what}");
                    assert_eq!(state_of(&*store, &execution).await.0, expected, "{state} {what}");
                    let entry =
                        outbox(&*store).await.iter().any(|(id, _)| *id == execution.execution);
                    assert_eq!(entry, expected == State::Queued, "{state} {what}");
                }
                _ => {
                    assert!(
                        matches!(moved, Err(StoreError::Conflict(_))),
                        "{state} {what}: {moved:?}"
                    );
                    let after =
                        store.execution(&tenant(), execution.execution).await.unwrap().unwrap();
                    assert_eq!(after, before, "{state} {what}");
                }
            }
        }
    }
}

pub(crate) async fn a_suspended_execution_waits(store: Arc<dyn Store>) {
    let dispatch = dispatch("total");
    store.enqueue(std::slice::from_ref(&dispatch), Publication::Pending).await.unwrap();
    store
        .transition_execution(
            &tenant(),
            dispatch.execution,
            &Operation::new(Transition::Suspend, now()),
        )
        .await
        .unwrap();
    assert!(outbox(&*store).await.is_empty());
    // Its message may be on its way already: what comes of it does not stand.
    assert_eq!(store.record(&[finished(&dispatch, Outcome::Success)]).await.unwrap(), [false]);
    store
        .transition_execution(
            &tenant(),
            dispatch.execution,
            &Operation::new(Transition::Resume, now()),
        )
        .await
        .unwrap();
    assert_eq!(outbox(&*store).await, [(dispatch.execution, 1)]);
    // A message of the first epoch may be published meanwhile, and may come to a host: neither
    // counts any more.
    store.published(&[dispatch.key()]).await.unwrap();
    assert_eq!(outbox(&*store).await, [(dispatch.execution, 1)]);
    assert_eq!(store.unfinished(std::slice::from_ref(&dispatch)).await.unwrap(), [false]);
    store.start(&[started(&dispatch)]).await.unwrap();
    assert_eq!(state_of(&*store, &dispatch).await, (State::Queued, 1));
    assert_eq!(store.record(&[finished(&dispatch, Outcome::Success)]).await.unwrap(), [false]);
    let resumed = store.outbox(soon(), 10).await.unwrap().remove(0);
    assert_eq!(resumed, Dispatch { epoch: 3, queued_at: resumed.queued_at, ..dispatch.clone() });
    store.published(&[resumed.key()]).await.unwrap();
    assert!(outbox(&*store).await.is_empty());
    assert_eq!(store.unfinished(std::slice::from_ref(&resumed)).await.unwrap(), [true]);
    assert_eq!(store.record(&[finished(&resumed, Outcome::Success)]).await.unwrap(), [true]);

    let delayed = execution_in(&*store, State::Delayed).await;
    store
        .transition_execution(
            &tenant(),
            delayed.execution,
            &Operation::new(Transition::Suspend, now()),
        )
        .await
        .unwrap();
    assert!(
        store
            .promote_due(soon().plus(std::time::Duration::from_secs(3600)), 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        store.execution(&tenant(), delayed.execution).await.unwrap().unwrap().summary.due_at,
        None
    );
    store
        .transition_execution(
            &tenant(),
            delayed.execution,
            &Operation::new(Transition::Resume, now()),
        )
        .await
        .unwrap();
    assert_eq!(outbox(&*store).await, [(delayed.execution, delayed.attempt)]);
}

pub(crate) async fn a_replay_begins_the_next_attempt(store: Arc<dyn Store>) {
    let failed = execution_in(&*store, State::Failed).await;
    let at = now();
    store
        .transition_execution(&tenant(), failed.execution, &Operation::new(Transition::Replay, at))
        .await
        .unwrap();
    let summary = store.execution(&tenant(), failed.execution).await.unwrap().unwrap().summary;
    assert_eq!((summary.state, summary.attempt, summary.max_attempts), (State::Queued, 2, 4));
    let expected =
        Dispatch { epoch: 2, attempt: 2, max_attempts: 4, queued_at: at, ..failed.clone() };
    assert_eq!(store.outbox(soon(), 10).await.unwrap(), [expected]);
    assert_eq!(
        store.record(&[finished(&failed, Outcome::Success)]).await.unwrap(),
        [false],
        "of the attempt before"
    );
    let second = at_attempt(&failed, 2).with_epoch(2);
    assert_eq!(store.record(&[finished(&second, Outcome::Success)]).await.unwrap(), [true]);
    let seen = store.execution(&tenant(), failed.execution).await.unwrap().unwrap();
    assert_eq!((seen.summary.state, seen.attempts.len()), (State::Succeeded, 2));
    assert!(seen.output.is_some());

    let cancelled = execution_in(&*store, State::Cancelled).await;
    store
        .transition_execution(
            &tenant(),
            cancelled.execution,
            &Operation::new(Transition::Replay, now()),
        )
        .await
        .unwrap();
    assert_eq!(state_of(&*store, &cancelled).await, (State::Queued, 2));
}

pub(crate) async fn a_cancelled_attempt_cannot_end(store: Arc<dyn Store>) {
    let running = execution_in(&*store, State::Running).await;
    let at = now();
    store
        .transition_execution(&tenant(), running.execution, &Operation::new(Transition::Cancel, at))
        .await
        .unwrap();
    let summary = store.execution(&tenant(), running.execution).await.unwrap().unwrap().summary;
    assert_eq!((summary.outcome, summary.finished_at), (Some(Outcome::Cancelled), Some(at)));
    let late = [finished(&running, Outcome::Success), retried(&running, now())];
    assert_eq!(store.record(&late).await.unwrap(), [false, false]);
    // One that waits for its next attempt keeps the outcome of the last one.
    let delayed = execution_in(&*store, State::Delayed).await;
    store
        .transition_execution(&tenant(), delayed.execution, &Operation::new(Transition::Cancel, at))
        .await
        .unwrap();
    let summary = store.execution(&tenant(), delayed.execution).await.unwrap().unwrap().summary;
    assert_eq!(
        (summary.state, summary.outcome, summary.due_at),
        (State::Cancelled, Some(Outcome::Error), None)
    );
    assert!(store.promote_due(soon(), 10).await.unwrap().is_empty());
}

pub(crate) async fn other_tenants_cannot_change_it(store: Arc<dyn Store>) {
    let queued = execution_in(&*store, State::Queued).await;
    let moved = store
        .transition_execution(
            &"other".parse().unwrap(),
            queued.execution,
            &Operation::new(Transition::Cancel, now()),
        )
        .await;
    assert!(matches!(moved, Err(StoreError::NotFound(_))));
    let moved = store
        .transition_execution(
            &tenant(),
            ExecutionId::new(),
            &Operation::new(Transition::Cancel, now()),
        )
        .await;
    assert!(matches!(moved, Err(StoreError::NotFound(_))));
    assert_eq!(state_of(&*store, &queued).await, (State::Queued, 1));
}

pub(crate) async fn every_transition_begins_an_epoch(store: Arc<dyn Store>) {
    let queued = execution_in(&*store, State::Queued).await;
    let epoch =
        async || store.execution(&tenant(), queued.execution).await.unwrap().unwrap().summary.epoch;
    assert_eq!(epoch().await, 1);
    for (what, expected) in [
        (Transition::Suspend, 2),
        (Transition::Resume, 3),
        (Transition::Cancel, 4),
        (Transition::Replay, 5),
    ] {
        store
            .transition_execution(&tenant(), queued.execution, &Operation::new(what, now()))
            .await
            .unwrap();
        assert_eq!(epoch().await, expected, "{what}");
    }
    // What does not say its epoch is of every one, as messages of the release before are.
    let unsaid = at_attempt(&queued, 2).with_epoch(0);
    assert_eq!(store.unfinished(std::slice::from_ref(&unsaid)).await.unwrap(), [true]);
    assert_eq!(store.record(&[retried(&unsaid, now())]).await.unwrap(), [true]);
    assert_eq!(epoch().await, 5, "a retry is of the same");
    let promoted = store.promote_due(soon(), 10).await.unwrap();
    assert_eq!((promoted[0].epoch, promoted[0].attempt), (5, 3));
}

pub(crate) async fn a_row_without_an_epoch_is_of_every_one(store: Arc<dyn Store>) {
    let unsaid = dispatch("total").with_epoch(0);
    store.start(&[started(&unsaid)]).await.unwrap();
    let said = unsaid.clone().with_epoch(1);
    assert_eq!(store.unfinished(std::slice::from_ref(&said)).await.unwrap(), [true]);
    assert_eq!(store.record(&[finished(&said, Outcome::Rejected)]).await.unwrap(), [true]);
    store
        .transition_execution(
            &tenant(),
            unsaid.execution,
            &Operation::new(Transition::Replay, now()),
        )
        .await
        .unwrap();
    assert_eq!(store.outbox(soon(), 10).await.unwrap()[0].epoch, 2);
}

pub(crate) async fn origins_are_kept(store: Arc<dyn Store>) {
    let other = ExecutionId::new();
    for origin in [
        Origin::Event,
        Origin::Invocation,
        Origin::EmittedBy { execution: other, depth: 1 },
        Origin::EmittedBy { execution: other, depth: 7 },
        Origin::ReplayOf { execution: other },
        Origin::Schedule { name: "nightly \0 ü".into(), due: now() },
        Origin::WorkflowStep { run: other, path: "pay/0".into() },
    ] {
        let of_origin =
            Dispatch { root: ExecutionId::new(), ..dispatch("total").with_origin(origin.clone()) };
        store.enqueue(std::slice::from_ref(&of_origin), Publication::Pending).await.unwrap();
        let read = store.outbox(soon(), 10).await.unwrap().remove(0);
        assert_eq!(read, of_origin);
        let summary =
            store.execution(&tenant(), of_origin.execution).await.unwrap().unwrap().summary;
        assert_eq!((summary.origin, summary.root), (origin, of_origin.root));
        store.published(&[read.key()]).await.unwrap();
    }
    // What an attempt emitted is written by its outcome.
    let origin = Origin::EmittedBy { execution: other, depth: 7 };
    let emitted = Dispatch { root: ExecutionId::new(), ..dispatch("mail").with_origin(origin) };
    let emitter = Finished {
        emitted: vec![emitted.clone()],
        ..finished(&dispatch("total"), Outcome::Success)
    };
    assert_eq!(store.record(&[emitter]).await.unwrap(), [true]);
    let read = store.outbox(soon(), 10).await.unwrap().remove(0);
    assert_eq!((&read, read.origin.depth()), (&emitted, 7));
    let first = execution_in(&*store, State::Queued).await;
    let summary = store.execution(&tenant(), first.execution).await.unwrap().unwrap().summary;
    assert_eq!(summary.root, first.execution);
}
