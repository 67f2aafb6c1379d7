//! Moves that come while an execution runs, or before its row is there, and the orders that hosts
//! get about them.

use wasmill_domain::{
    Dispatch, Operation, Order, OrderKind, Outcome, State, TenantName, Timestamp, Transition,
};

use super::sample::{
    at_attempt, dispatch, execution_in, finished, name, now, outbox, retried, soon, started,
    state_of, tenant,
};
use super::{Fresh, Store};
use crate::port::{ExecutionDetail, OPEN_LOOKED_AT, PUBLISH_TIMEOUT, Publication, StoreError};

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
        has_come(store, &cancelled, State::Cancelled, 2).await;
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

pub(crate) async fn what_is_resumed_before_it_came_is_as_if_it_never_was_held(fresh: Fresh) {
    let store = &*fresh.store;
    for publication in [Publication::Confirmed, Publication::Pending] {
        let held = dispatch("total");
        let one = std::slice::from_ref(&held);
        for _ in 0..2 {
            operate(store, &held, early(Transition::Suspend).by("key 1")).await;
            assert_eq!(shown(store, &held).await.summary.held_by.as_deref(), Some("key 1"));
            assert_eq!(store.unfinished(one).await.unwrap(), [false]);
            let resume = early(Transition::Resume);
            let moved =
                store.transition_execution(&tenant(), held.execution, &resume).await.unwrap();
            assert_eq!((moved.has_event, moved.to_publish), (false, None));
            assert_eq!(store.execution(&tenant(), held.execution).await.unwrap(), None);
        }
        // Its message, on its way all the time, is what runs it.
        assert_eq!(store.unfinished(one).await.unwrap(), [true]);
        store.enqueue(one, publication).await.unwrap();
        has_come(store, &held, State::Queued, 1).await;
        let expected: &[Dispatch] = if publication == Publication::Pending { one } else { &[] };
        assert_eq!(store.outbox(soon(), 10).await.unwrap(), expected);
        let end = finished(&held, Outcome::Success);
        assert_eq!(store.record(&[end.clone(), end]).await.unwrap(), [true, false]);
        assert!(outbox(store).await.is_empty());
    }
}

pub(crate) async fn what_is_resumed_is_given_to_be_published(fresh: Fresh) {
    let store = &*fresh.store;
    let held = execution_in(store, State::Running).await;
    let operate_at = async |at, what| {
        let operation = Operation::new(what, at);
        store.transition_execution(&tenant(), held.execution, &operation).await.unwrap()
    };
    let operate = async |what| operate_at(now(), what).await;
    assert_eq!(operate(Transition::Suspend).await.to_publish, None);
    let at = now();
    let resumed = operate_at(at, Transition::Resume).await.to_publish.unwrap();
    assert_eq!((resumed.epoch, resumed.attempt), (held.epoch + 2, held.attempt));
    // Whoever has resumed it publishes it: nobody else does for as long as that may take.
    assert_eq!(store.outbox(at.plus(PUBLISH_TIMEOUT), 10).await.unwrap(), []);
    assert_eq!(store.outbox(soon(), 10).await.unwrap(), std::slice::from_ref(&resumed));
    store.published(&[resumed.key()]).await.unwrap();
    assert!(outbox(store).await.is_empty());
    // An entry that was left is as young as the last operation: it is not for the scheduler yet.
    let (long_ago, just_now) = (now().minus(std::time::Duration::from_secs(60)), now());
    for at in [long_ago, just_now] {
        for what in [Transition::Suspend, Transition::Resume] {
            operate_at(at, what).await;
        }
    }
    assert_eq!(store.outbox(just_now.plus(PUBLISH_TIMEOUT), 10).await.unwrap(), []);
    assert_eq!(store.outbox(soon(), 10).await.unwrap()[0].epoch, held.epoch + 6);
    operate(Transition::Cancel).await;
    let at = now();
    assert!(operate_at(at, Transition::Replay).await.to_publish.is_some());
    assert_eq!(store.outbox(at.plus(PUBLISH_TIMEOUT), 10).await.unwrap(), []);
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

/// Another tenant's operator knows the id, and is faster than whoever writes the row.
async fn anothers(store: &dyn Store, what: &[Transition]) -> Dispatch {
    let ours = dispatch("total");
    for what in what {
        store
            .transition_execution(&"other".parse().unwrap(), ours.execution, &early(*what))
            .await
            .unwrap();
    }
    ours
}

/// Nothing is left of what another tenant's operator has decided.
async fn is_ours(store: &dyn Store, ours: &Dispatch, state: State) {
    let other = "other".parse().unwrap();
    assert_eq!(store.execution(&other, ours.execution).await.unwrap(), None);
    let cancel = early(Transition::Cancel);
    let again = store.transition_execution(&other, ours.execution, &cancel).await;
    assert!(matches!(again, Err(StoreError::NotFound(_))));
    has_come(store, ours, state, 1).await;
    let summary = shown(store, ours).await.summary;
    assert_eq!((summary.reason, summary.changed_at, summary.held_by), (None, None, None));
}

const BY_ANOTHER: [&[Transition]; 3] = [
    &[Transition::Cancel],
    &[Transition::Suspend],
    &[Transition::Suspend, Transition::Cancel, Transition::Replay],
];

pub(crate) async fn a_move_before_the_row_binds_its_tenant_only(fresh: Fresh) {
    let (store, orders) = (&*fresh.store, &*fresh.orders);
    for what in BY_ANOTHER {
        let ours = anothers(store, what).await;
        let one = std::slice::from_ref(&ours);
        let moved =
            store.transition_execution(&tenant(), ours.execution, &early(Transition::Cancel)).await;
        assert!(matches!(moved, Err(StoreError::NotFound(_))), "{moved:?}");
        // Our hosts run it, and go on.
        assert_eq!(store.unfinished(one).await.unwrap(), [true]);
        assert_eq!(orders.orders(&[(tenant(), ours.key())]).await.unwrap(), []);
        store.enqueue(one, Publication::Confirmed).await.unwrap();
        is_ours(store, &ours, State::Queued).await;
        assert!(outbox(store).await.is_empty(), "its message is on its way");
        assert_eq!(store.unfinished(one).await.unwrap(), [true]);
        let end = finished(&ours, Outcome::Success);
        assert_eq!(store.record(&[end.clone(), end]).await.unwrap(), [true, false]);
        assert_eq!(state_of(store, &ours).await, (State::Succeeded, 1));
    }
}

pub(crate) async fn what_was_not_published_is_once_whatever_another_tenant_does(fresh: Fresh) {
    let store = &*fresh.store;
    for what in BY_ANOTHER {
        let ours = anothers(store, what).await;
        let one = std::slice::from_ref(&ours);
        for _ in 0..2 {
            store.enqueue(one, Publication::Pending).await.unwrap();
            is_ours(store, &ours, State::Queued).await;
            assert_eq!(store.outbox(soon(), 10).await.unwrap(), one);
        }
        store.published(&[ours.key()]).await.unwrap();
        // What an attempt emits is as much at an id that others may know.
        let child = anothers(store, what).await;
        let parent = crate::port::Finished {
            emitted: vec![child.clone()],
            ..finished(&ours, Outcome::Success)
        };
        assert_eq!(store.record(&[parent]).await.unwrap(), [true]);
        is_ours(store, &child, State::Queued).await;
        assert_eq!(store.outbox(soon(), 10).await.unwrap(), std::slice::from_ref(&child));
        store.published(&[child.key()]).await.unwrap();
    }
}

pub(crate) async fn an_outcome_stands_whatever_another_tenant_does(fresh: Fresh) {
    let store = &*fresh.store;
    for what in BY_ANOTHER {
        let ours = anothers(store, what).await;
        store.start(&[started(&ours)]).await.unwrap();
        is_ours(store, &ours, State::Running).await;
        // In one batch with others, and twice, as its message may be delivered again.
        let ours = anothers(store, what).await;
        let (other, end) = (dispatch("total"), finished(&ours, Outcome::Success));
        let ends = [finished(&other, Outcome::Success), end.clone(), end];
        assert_eq!(store.record(&ends).await.unwrap(), [true, true, false]);
        is_ours(store, &ours, State::Succeeded).await;
        assert_eq!(shown(store, &ours).await.attempts.len(), 1);
        let ours = anothers(store, what).await;
        assert_eq!(store.record(&[retried(&ours, now())]).await.unwrap(), [true]);
        assert_eq!(state_of(store, &ours).await, (State::Delayed, 2));
        assert_eq!(shown(store, &ours).await.attempts.len(), 1);
        assert_eq!(store.promote_due(soon(), 10).await.unwrap().len(), 1);
        let any = Timestamp::from_micros(i64::MAX);
        let due = store.outbox(any, 10).await.unwrap().remove(0);
        store.published(&[due.key()]).await.unwrap();
        assert!(outbox(store).await.is_empty());
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

pub(crate) async fn hosts_get_orders_about_what_they_run(fresh: Fresh) {
    let (store, orders) = (&*fresh.store, &*fresh.orders);
    assert_eq!(orders.orders(&[]).await.unwrap(), []);
    let mut running = Vec::new();
    for _ in 0..4 {
        running.push(execution_in(store, State::Running).await);
    }
    let without_row = dispatch("total");
    let of = |dispatch: &Dispatch| (dispatch.tenant.clone(), dispatch.key());
    let all: Vec<_> = running.iter().chain([&without_row]).map(of).collect();
    assert_eq!(orders.orders(&all).await.unwrap(), []);
    let why = || Some("too dear".to_owned());
    operate(store, &running[0], Operation::new(Transition::Cancel, now()).with_reason(why())).await;
    operate(store, &running[1], Operation::new(Transition::Suspend, now())).await;
    assert_eq!(store.record(&[retried(&running[2], now())]).await.unwrap(), [true]);
    let order = |of: &Dispatch, epoch, kind, reason| {
        let (tenant, execution) = (Some(tenant()), of.execution);
        (of.key(), Order { tenant, execution, epoch, kind, reason })
    };
    let mut received = orders.orders(&all).await.unwrap();
    received.sort_by_key(|(attempt, _)| attempt.execution);
    let expected = [
        order(&running[0], 2, OrderKind::Cancel, why()),
        order(&running[1], 2, OrderKind::Suspend, None),
        order(&running[2], 1, OrderKind::Abandon, None),
    ];
    assert_eq!(received, expected);
    // The attempt that follows is of the same epoch, and none of the order's.
    let next = at_attempt(&running[2], 2);
    assert_eq!(store.promote_due(soon(), 10).await.unwrap().len(), 1);
    let received = orders.orders(&[of(&next), of(&running[2])]).await.unwrap();
    assert_eq!(received, [order(&running[2], 1, OrderKind::Abandon, None)]);
    operate(store, &running[1], Operation::new(Transition::Resume, now())).await;
    let received = orders.orders(&[of(&running[1])]).await.unwrap();
    assert_eq!(received, [order(&running[1], 3, OrderKind::Abandon, None)]);
    let resumed = running[1].clone().with_epoch(3);
    assert_eq!(orders.orders(&[of(&resumed)]).await.unwrap(), []);
    // Two attempts of it: the earlier one is about to be stopped.
    let received = orders.orders(&[of(&resumed), of(&running[1])]).await.unwrap();
    assert_eq!(received, [order(&running[1], 3, OrderKind::Abandon, None)]);
    let of_another = ("other".parse().unwrap(), running[0].key());
    assert_eq!(orders.orders(&[of_another]).await.unwrap(), []);
}

pub(crate) async fn a_function_has_open_executions_until_all_have_ended(fresh: Fresh) {
    let (store, orders) = (&*fresh.store, &*fresh.orders);
    let is_open =
        async |of: TenantName, function: &str| orders.has_open(&of, &name(function)).await.unwrap();
    assert!(!is_open(tenant(), "total").await);
    for state in State::ALL {
        let execution = execution_in(store, state).await;
        let is_coming = !state.is_terminal() && state != State::Suspended;
        assert_eq!(is_open(tenant(), "total").await, is_coming, "{state}");
        assert!(!is_open(tenant(), "mail").await, "another function's, {state}");
        assert!(!is_open("other".parse().unwrap(), "total").await, "another tenant's, {state}");
        if is_coming {
            operate(store, &execution, Operation::new(Transition::Cancel, now())).await;
        }
    }
    // Among more than are looked at there may be one.
    let of_another = |_| dispatch("mail");
    let many: Vec<Dispatch> = (0..OPEN_LOOKED_AT).map(of_another).collect();
    let (last, most) = many.split_last().unwrap();
    store.enqueue(most, Publication::Confirmed).await.unwrap();
    assert!(!is_open(tenant(), "total").await);
    store.enqueue(std::slice::from_ref(last), Publication::Confirmed).await.unwrap();
    assert!(is_open(tenant(), "total").await && is_open(tenant(), "mail").await);
}
