//! What must hold of every transition, whatever it is made of.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::event::Event;
use crate::names::TenantName;
use crate::trace::TraceContext;

const OF_OPERATORS: [Transition; 4] =
    [Transition::Suspend, Transition::Resume, Transition::Cancel, Transition::Replay];

fn time() -> impl Strategy<Value = Timestamp> {
    (0_i64..1 << 50).prop_map(Timestamp::from_micros)
}

fn text() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[a-z ü]{0,12}")
}

/// A row as the store may have it: only what is scheduled is due, only what is suspended is held,
/// and what has ended says when.
fn row() -> impl Strategy<Value = Lifecycle> {
    let numbers = (0_u32..5, 1_u32..5, 0_u32..5);
    let ends = (
        prop::option::of(prop::sample::select(Outcome::ALL.to_vec())),
        text(),
        any::<bool>(),
        any::<bool>(),
    );
    let times = (time(), time(), time(), prop::option::of(time()));
    (prop::sample::select(State::ALL.to_vec()), numbers, ends, times, text(), text()).prop_map(
        |(
            state,
            (epoch, attempt, more),
            (outcome, message, has_attempt, has_event),
            times,
            held,
            reason,
        )| {
            let (queued_at, due, finished, changed_at) = times;
            Lifecycle {
                state,
                epoch,
                attempt,
                max_attempts: attempt + more,
                outcome,
                message,
                queued_at,
                due_at: (state == State::Delayed).then_some(due),
                finished_at: state.is_terminal().then_some(finished),
                held_by: held.filter(|_| state == State::Suspended),
                reason,
                changed_at,
                has_attempt,
                has_event,
            }
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    (prop::sample::select(Transition::ALL.to_vec()), time(), text(), text(), any::<bool>())
        .prop_map(|(what, at, reason, by, may_precede_row)| Operation {
            what,
            at,
            reason,
            by,
            may_precede_row,
        })
}

fn dispatch(attempt: u32, max_attempts: u32) -> Dispatch {
    let event = Event::new("1", "/s", "a.b".parse().unwrap(), "{}").unwrap();
    let (tenant, trace) = (TenantName::default(), TraceContext::new_root());
    Dispatch::new(tenant, "f".parse().unwrap(), trace, Arc::new(event))
        .with_attempt(attempt, max_attempts)
}

/// What a store may be asked to keep.
fn check(after: &Lifecycle) {
    assert_eq!(after.due_at.is_some(), after.state == State::Delayed, "{after:?}");
    assert!(after.held_by.is_none() || after.state == State::Suspended, "{after:?}");
    assert!(after.finished_at.is_some() || !after.state.is_terminal(), "{after:?}");
    assert!(after.attempt <= after.max_attempts, "{after:?}");
}

proptest! {
    #[test]
    fn an_operators_move_is_the_tables_and_begins_an_epoch(row in row(), operation in operation()) {
        let legal = row.state.after(operation.what);
        match row.operate(&operation) {
            Ok(Effects { after, archives_attempt, publishes, deletes_row }) => {
                check(&after);
                prop_assert_eq!(Ok(after.state), legal);
                prop_assert!(after.epoch > row.epoch && after.epoch > 1);
                prop_assert_eq!(after.held_by.is_some(), after.state == State::Suspended);
                prop_assert_eq!(after.changed_at, Some(operation.at));
                prop_assert_eq!(&after.reason, &operation.reason);
                prop_assert_eq!(publishes, after.state == State::Queued && row.has_event);
                let is_undone = operation.what == Transition::Resume && !row.has_event;
                prop_assert_eq!(deletes_row, is_undone);
                if after.state == State::Queued {
                    prop_assert_eq!(after.queued_at, operation.at);
                }
                // Only a replay makes another attempt, and it takes none from the others.
                let more = u32::from(operation.what == Transition::Replay);
                prop_assert_eq!(after.attempt, row.attempt + more);
                prop_assert_eq!(after.max_attempts, row.max_attempts + more);
                prop_assert_eq!(archives_attempt, more == 1 && row.has_attempt);
                prop_assert_eq!(after.has_attempt, row.has_attempt && !archives_attempt);
                if row.state != State::Running {
                    prop_assert_eq!((after.outcome, &after.message), (row.outcome, &row.message));
                }
            }
            Err(Refusal::NotOperators(what)) => prop_assert!(!OF_OPERATORS.contains(&what)),
            Err(Refusal::NotAllowed(illegal)) => prop_assert_eq!(Err(illegal), legal),
        }
    }

    #[test]
    fn what_comes_before_its_event_is_not_published_until_it_comes(
        first in operation(), rest in prop::collection::vec(operation(), 0..6), most in 1_u32..5,
    ) {
        let id = ExecutionId::new();
        let Some(mut row) = Lifecycle::before_event(id, &first) else {
            prop_assert!(!matches!(first.what, Transition::Cancel | Transition::Suspend));
            return Ok(());
        };
        prop_assert!(matches!(row.state, State::Cancelled | State::Suspended));
        for operation in rest {
            if let Ok(effects) = row.operate(&operation) {
                prop_assert!(!effects.publishes && !effects.archives_attempt);
                if effects.deletes_row {
                    return Ok(());
                }
                row = effects.after;
            }
            check(&row);
        }
        let dispatch = dispatch(1, most);
        let effects = row.with_event(&dispatch);
        check(&effects.after);
        prop_assert_eq!(effects.publishes, row.state == State::Queued);
        prop_assert_eq!((effects.after.state, effects.after.epoch), (row.state, row.epoch));
        // What was dispatched first is of an earlier epoch, whatever became of it.
        prop_assert!(!is_same_epoch(row.epoch, dispatch.epoch));
    }

    #[test]
    fn a_dead_letter_ends_what_waits_for_it_and_nothing_else(
        row in row(), off in 0_u32..2, epoch in 0_u32..6, at in time(), later in time(),
    ) {
        let key = AttemptKey { execution: ExecutionId::new(), epoch, attempt: row.attempt + off };
        let waits = off == 0 && is_same_epoch(row.epoch, epoch) && row.state.after(Transition::Fail).is_ok();
        let ended = row.end_by_dead_letter(&key, "why", at);
        prop_assert_eq!(ended.is_some(), waits);
        let Some(ended) = ended else { return Ok(()) };
        check(&ended.after);
        prop_assert_eq!(ended.after.epoch, row.epoch);
        prop_assert_eq!(ended.after.outcome, Some(Outcome::Poisoned));
        // A host that gave it up has left an attempt: that is no letter's.
        let reopened = ended.after.reopen(&key, later);
        prop_assert_eq!(reopened.is_some(), !row.has_attempt);
        if let Some(reopened) = reopened {
            check(&reopened.after);
            prop_assert_eq!((reopened.after.state, reopened.publishes), (State::Queued, false));
            prop_assert_eq!(reopened.after.finished_at, None);
            prop_assert!(reopened.after.reopen(&key, later).is_none(), "it waits already");
        }
    }

    #[test]
    fn what_can_never_run_is_given_up(row in row(), at in time()) {
        let given_up = row.give_up("why", at);
        prop_assert_eq!(given_up.is_some(), matches!(row.state, State::Queued | State::Running));
        if let Some(Effects { after, publishes, .. }) = given_up {
            check(&after);
            prop_assert_eq!((after.state, publishes), (State::Failed, false));
        }
    }
}

#[test]
fn the_reason_is_in_the_attempts_message() {
    let running = Lifecycle { state: State::Running, ..Lifecycle::accepted(&dispatch(1, 3)) };
    let cancel = Operation::new(Transition::Cancel, Timestamp::now());
    let message_of = |operation: Operation| running.operate(&operation).unwrap().after.message;
    assert_eq!(message_of(cancel.clone()).unwrap(), "cancelled by an operator");
    assert_eq!(
        message_of(cancel.with_reason(Some("too dear".into()))).unwrap(),
        "cancelled by an operator: too dear"
    );
    let by = Operation::new(Transition::Suspend, Timestamp::now()).by("key 7");
    assert_eq!(running.operate(&by).unwrap().after.held_by.as_deref(), Some("key 7"));
}
