//! Moves that come while an execution runs, or before its row is there, and what hosts hear of
//! them.

use wasmill_domain::{Dispatch, Operation, Order, OrderKind, Outcome, State, Transition};

use super::sample::{
    at_attempt, dispatch, execution_in, finished, now, outbox, retried, soon, started, state_of,
    tenant,
};
use super::{Fresh, Store};
use crate::port::{ExecutionDetail, Publication, StoreError};

/// An operation on an execution that may have no row.
fn early(what: Transition) -> Operation {
    Operation::new(what, now()).with_reason(Some("why \0 ü".into())).before_row(true)
}

async fn operate(store: &dyn Store, dispatch: &Dispatch, operation: Operation) {
    store.transition_execution(&dispatch.tenant, dispatch.execution, &operation).await.unwrap();
}

async fn shown(store: &dyn Store, dispatch: &Dispatch) -> ExecutionDetail {
    store.execution(&dispatch.tenant, dispatch.execution).await.unwrap().unwrap()
}

/// All of it has come that the dispatch brings, and it stands as it was decided.
async fn has_come(store: &dyn Store, dispatch: &Dispatch, state: State, epoch: u32) {
    let detail = shown(store, dispatch).await;
    assert_eq!(detail.event.as_ref(), Ok(&*dispatch.event));
    let summary = detail.summary;
    assert_eq!((summary.state, summary.epoch), (state, epoch));
    assert_eq!((summary.attempt, summary.max_attempts), (1, dispatch.max_attempts));
    assert_eq!((&summary.function, summary.root), (&dispatch.function, dispatch.root));
    assert_eq!(summary.accepted_at, dispatch.accepted_at);
    assert_eq!(summary.trace_id, dispatch.trace.trace_id());
}

pub(crate) async fn a_move_may_come_before_the_row(fresh: Fresh) {
    let store = &*fresh.store;
    for publication in [Publication::Confirmed, Publication::Pending] {
        let cancelled = dispatch("total");
        let operation = early(Transition::Cancel).by("key 1");
        let moved =
            store.transition_execution(&tenant(), cancelled.execution, &operation).await.unwrap();
        assert_eq!((moved.state, moved.epoch, moved.has_event), (State::Cancelled, 2, false));
        let detail = shown(store, &cancelled).await;
        assert!(detail.event.is_err() && detail.attempts.is_empty());
        assert_eq!(detail.summary.reason, operation.reason);
        assert_eq!(detail.summary.changed_at, Some(operation.at));
        // Its message comes to a host, and its row to be written.
        let one = std::slice::from_ref(&cancelled);
        assert_eq!(store.unfinished(one).await.unwrap(), [false]);
        store.start(&[started(&cancelled)]).await.unwrap();
        store.enqueue(one, publication).await.unwrap();
        has_come(store, &cancelled, State::Cancelled, 2).await;
        assert_eq!(store.record(&[finished(&cancelled, Outcome::Success)]).await.unwrap(), [false]);
        assert!(outbox(store).await.is_empty());
        assert_eq!(shown(store, &cancelled).await.summary.reason, operation.reason);
    }
    // What has a row is moved as ever.
    let queued = execution_in(store, State::Queued).await;
    operate(store, &queued, early(Transition::Suspend)).await;
    assert!(shown(store, &queued).await.event.is_ok());
}

pub(crate) async fn what_was_resumed_before_it_came_is_published_when_it_comes(fresh: Fresh) {
    let store = &*fresh.store;
    for publication in [Publication::Confirmed, Publication::Pending] {
        let early_bird = dispatch("total");
        operate(store, &early_bird, early(Transition::Suspend).by("key 1")).await;
        assert_eq!(shown(store, &early_bird).await.summary.held_by.as_deref(), Some("key 1"));
        operate(store, &early_bird, Operation::new(Transition::Resume, now())).await;
        assert!(outbox(store).await.is_empty(), "nobody knows what to publish");
        assert_eq!(shown(store, &early_bird).await.summary.held_by, None);
        let twice = [early_bird.clone(), early_bird.clone()];
        assert_eq!(store.unfinished(&twice).await.unwrap(), [false, false]);
        store.enqueue(&twice, publication).await.unwrap();
        has_come(store, &early_bird, State::Queued, 3).await;
        let resumed = store.outbox(soon(), 10).await.unwrap().remove(0);
        let expected = Dispatch { epoch: 3, queued_at: resumed.queued_at, ..early_bird.clone() };
        assert_eq!(resumed, expected);
        store.published(&[resumed.key()]).await.unwrap();
        assert_eq!(
            store.record(&[finished(&early_bird, Outcome::Success)]).await.unwrap(),
            [false]
        );
        assert_eq!(store.record(&[finished(&resumed, Outcome::Success)]).await.unwrap(), [true]);
        assert!(outbox(store).await.is_empty());
    }
}

pub(crate) async fn an_outcome_that_does_not_stand_brings_the_event(fresh: Fresh) {
    let store = &*fresh.store;
    let (held, other) = (dispatch("total"), dispatch("total"));
    operate(store, &held, early(Transition::Suspend)).await;
    let ends = [finished(&held, Outcome::Success), finished(&other, Outcome::Success)];
    assert_eq!(store.record(&ends).await.unwrap(), [false, true]);
    has_come(store, &held, State::Suspended, 2).await;
    operate(store, &held, Operation::new(Transition::Resume, now())).await;
    assert_eq!(store.outbox(soon(), 10).await.unwrap()[0].key(), held.clone().with_epoch(3).key());
    // Emitted ones come by the outcome of another.
    let child = dispatch("mail");
    operate(store, &child, early(Transition::Cancel)).await;
    let parent = crate::port::Finished {
        emitted: vec![child.clone()],
        ..finished(&dispatch("total"), Outcome::Success)
    };
    assert_eq!(store.record(&[parent]).await.unwrap(), [true]);
    has_come(store, &child, State::Cancelled, 2).await;
}

pub(crate) async fn a_move_before_the_row_binds_its_tenant_only(fresh: Fresh) {
    let store = &*fresh.store;
    let other = "other".parse().unwrap();
    for by_outcome in [false, true] {
        let ours = dispatch("total");
        store
            .transition_execution(&other, ours.execution, &early(Transition::Cancel))
            .await
            .unwrap();
        let moved =
            store.transition_execution(&tenant(), ours.execution, &early(Transition::Cancel)).await;
        assert!(matches!(moved, Err(StoreError::NotFound(_))), "{moved:?}");
        if by_outcome {
            let end = finished(&ours, Outcome::Success);
            assert_eq!(store.record(&[end]).await.unwrap(), [false]);
        } else {
            store.enqueue(std::slice::from_ref(&ours), Publication::Confirmed).await.unwrap();
        }
        assert_eq!(store.execution(&other, ours.execution).await.unwrap(), None);
        has_come(store, &ours, State::Queued, 1).await;
        let summary = shown(store, &ours).await.summary;
        assert_eq!((summary.reason, summary.changed_at, summary.finished_at), (None, None, None));
        // Its message may have been refused: it is published again.
        assert_eq!(store.outbox(soon(), 10).await.unwrap(), std::slice::from_ref(&ours));
        assert_eq!(store.record(&[finished(&ours, Outcome::Success)]).await.unwrap(), [true]);
    }
}

pub(crate) async fn only_some_moves_may_come_before_the_row(fresh: Fresh) {
    let store = &*fresh.store;
    let none = dispatch("total");
    for operation in [
        Operation::new(Transition::Cancel, now()),
        early(Transition::Resume),
        early(Transition::Replay),
        early(Transition::Start),
    ] {
        let moved = store.transition_execution(&tenant(), none.execution, &operation).await;
        assert!(matches!(moved, Err(StoreError::NotFound(_))), "{operation:?}: {moved:?}");
    }
    assert_eq!(store.execution(&tenant(), none.execution).await.unwrap(), None);
}

pub(crate) async fn the_attempt_that_a_cancellation_ended_is_added(fresh: Fresh) {
    let store = &*fresh.store;
    // One that is queued may run as well: short attempts are not announced.
    for state in [State::Running, State::Queued] {
        let running = execution_in(store, state).await;
        operate(store, &running, Operation::new(Transition::Cancel, now())).await;
        let of_order = running.clone().with_epoch(running.epoch + 1);
        for (epoch, attempt) in [(running.epoch, 1), (running.epoch + 2, 1), (running.epoch + 1, 2)]
        {
            let other = at_attempt(&running, attempt).with_epoch(epoch);
            let end = finished(&other, Outcome::Cancelled);
            assert_eq!(store.record(&[end]).await.unwrap(), [false], "{state} {epoch} {attempt}");
        }
        for end in [finished(&of_order, Outcome::Success), retried(&of_order, now())] {
            assert_eq!(store.record(&[end]).await.unwrap(), [false]);
        }
        let end = finished(&of_order, Outcome::Cancelled);
        let twice = [end.clone(), end.clone()];
        assert_eq!(store.record(&twice).await.unwrap(), [true, false]);
        assert_eq!(store.record(&[end]).await.unwrap(), [false]);
        let detail = shown(store, &running).await;
        assert_eq!(
            (detail.summary.state, detail.summary.outcome),
            (State::Cancelled, Some(Outcome::Cancelled))
        );
        assert_eq!(detail.summary.epoch, of_order.epoch);
        assert_eq!(detail.attempts.len(), 1);
        assert_eq!(detail.attempts[0].1.fuel_used, 123_456);
        operate(store, &running, Operation::new(Transition::Replay, now())).await;
        assert_eq!(state_of(store, &running).await, (State::Queued, 2));
        assert_eq!(shown(store, &running).await.attempts.len(), 1);
    }
}

pub(crate) async fn what_runs_is_suspended_and_made_again(fresh: Fresh) {
    let store = &*fresh.store;
    let running = execution_in(store, State::Running).await;
    let suspend = Operation::new(Transition::Suspend, now()).with_reason(Some("look".into()));
    operate(store, &running, suspend.clone()).await;
    let summary = shown(store, &running).await.summary;
    assert_eq!((summary.state, summary.outcome), (State::Suspended, None));
    assert_eq!((summary.held_by.as_deref(), &summary.reason), (Some("operator"), &suspend.reason));
    assert_eq!(store.record(&[finished(&running, Outcome::Success)]).await.unwrap(), [false]);
    operate(store, &running, Operation::new(Transition::Resume, now())).await;
    let resumed = store.outbox(soon(), 10).await.unwrap().remove(0);
    assert_eq!((resumed.attempt, resumed.epoch), (running.attempt, running.epoch + 2));
    assert_eq!(resumed.max_attempts, running.max_attempts);
    store.start(&[started(&resumed)]).await.unwrap();
    assert_eq!(store.record(&[finished(&resumed, Outcome::Success)]).await.unwrap(), [true]);
    assert_eq!(shown(store, &running).await.attempts.len(), 1);
}

pub(crate) async fn hosts_hear_of_what_they_run(fresh: Fresh) {
    let (store, orders) = (&*fresh.store, &*fresh.orders);
    assert_eq!(orders.orders(&[]).await.unwrap(), []);
    let mut running = Vec::new();
    for _ in 0..4 {
        running.push(execution_in(store, State::Running).await);
    }
    let without_row = dispatch("total");
    let all: Vec<_> = running.iter().chain([&without_row]).map(Dispatch::key).collect();
    assert_eq!(orders.orders(&all).await.unwrap(), []);
    let why = || Some("too dear".to_owned());
    operate(store, &running[0], Operation::new(Transition::Cancel, now()).with_reason(why())).await;
    operate(store, &running[1], Operation::new(Transition::Suspend, now())).await;
    assert_eq!(store.record(&[retried(&running[2], now())]).await.unwrap(), [true]);
    let order =
        |of: &Dispatch, epoch, kind, reason| Order { execution: of.execution, epoch, kind, reason };
    let mut heard = orders.orders(&all).await.unwrap();
    heard.sort_by_key(|order| order.execution);
    let expected = [
        order(&running[0], 2, OrderKind::Cancel, why()),
        order(&running[1], 2, OrderKind::Suspend, None),
        order(&running[2], 1, OrderKind::Abandon, None),
    ];
    assert_eq!(heard, expected);
    operate(store, &running[1], Operation::new(Transition::Resume, now())).await;
    let heard = orders.orders(&[running[1].key()]).await.unwrap();
    assert_eq!(heard, [order(&running[1], 3, OrderKind::Abandon, None)]);
    let resumed = running[1].clone().with_epoch(3);
    assert_eq!(orders.orders(&[resumed.key()]).await.unwrap(), []);
}
