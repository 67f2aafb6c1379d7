//! Which reports stand.

use std::sync::Arc;

use wasmill_domain::{Dispatch, ExecutionId, Outcome, State};

use super::sample::{
    at_attempt, dispatch, dispatches, execution_in, finished, line, now, outbox, retried, soon,
    started, state_of, tenant,
};
use crate::conformance::Store;
use crate::port::{Finished, Publication};

pub(crate) async fn each_outcome_makes_its_transition(store: Arc<dyn Store>) {
    for outcome in Outcome::ALL {
        for from in [State::Queued, State::Running] {
            let execution = execution_in(&*store, from).await;
            assert_eq!(
                store.record(&[finished(&execution, outcome)]).await.unwrap(),
                [true],
                "{outcome}"
            );
            let expected = from.after(outcome.final_transition()).unwrap();
            assert_eq!(state_of(&*store, &execution).await, (expected, 1), "{outcome}");
        }
    }
}

pub(crate) async fn the_first_outcome_stands(store: Arc<dyn Store>) {
    let execution = execution_in(&*store, State::Running).await;
    let first = Finished { logs: vec![line(0, "first")], ..finished(&execution, Outcome::Trap) };
    assert_eq!(store.record(&[first]).await.unwrap(), [true]);
    let before = store.execution(&tenant(), execution.execution).await.unwrap();
    let second = Finished {
        logs: vec![line(0, "second"), line(1, "second")],
        emitted: vec![dispatch("mail")],
        ..finished(&execution, Outcome::Success)
    };
    let retry = Finished { logs: vec![line(7, "third")], ..retried(&execution, now()) };
    assert_eq!(store.record(&[second.clone(), retry]).await.unwrap(), [false, false]);
    assert_eq!(store.record(&[second]).await.unwrap(), [false]);
    assert_eq!(store.execution(&tenant(), execution.execution).await.unwrap(), before);
    let logs = store.logs(&tenant(), execution.execution, None, 10).await.unwrap();
    assert_eq!(logs.iter().map(|entry| entry.line.message.as_str()).collect::<Vec<_>>(), ["first"]);
    assert!(outbox(&*store).await.is_empty());
    assert!(store.promote_due(soon(), 10).await.unwrap().is_empty());
}

pub(crate) async fn a_row_is_made_where_there_is_none(store: Arc<dyn Store>) {
    let unknown = at_attempt(&dispatch("total"), 2);
    assert_eq!(store.record(&[retried(&unknown, soon())]).await.unwrap(), [true]);
    assert_eq!(state_of(&*store, &unknown).await, (State::Delayed, 3));
    let known = [dispatch("total"), dispatch("total"), dispatch("total")];
    store.enqueue(&known[..1], Publication::Confirmed).await.unwrap();
    let entries = known.each_ref().map(|dispatch| finished(dispatch, Outcome::Success));
    assert_eq!(store.record(&entries).await.unwrap(), [true; 3]);
    for dispatch in &known {
        assert_eq!(state_of(&*store, dispatch).await, (State::Succeeded, 1));
        assert_eq!(
            store.execution(&tenant(), dispatch.execution).await.unwrap().unwrap().event.unwrap(),
            *dispatch.event
        );
    }
}

pub(crate) async fn of_two_in_one_batch_the_first_stands(store: Arc<dyn Store>) {
    for from in [None, Some(State::Queued), Some(State::Running)] {
        let execution = match from {
            Some(state) => execution_in(&*store, state).await,
            None => dispatch("total"),
        };
        let child = dispatch("mail");
        let first =
            Finished { logs: vec![line(0, "first")], ..finished(&execution, Outcome::OutOfFuel) };
        let second = Finished {
            logs: vec![line(1, "second")],
            emitted: vec![child],
            ..finished(&execution, Outcome::Success)
        };
        let neighbour = finished(&dispatch("total"), Outcome::Success);
        let batch = [first, second, neighbour, retried(&execution, now())];
        assert_eq!(store.record(&batch).await.unwrap(), [true, false, true, false], "{from:?}");
        assert_eq!(state_of(&*store, &execution).await, (State::Failed, 1));
        assert_eq!(store.logs(&tenant(), execution.execution, None, 10).await.unwrap().len(), 1);
        assert!(outbox(&*store).await.is_empty());
    }
}

/// The second report of a batch is made of what the first has made.
pub(crate) async fn of_an_attempt_and_the_next_in_one_batch_both_stand(store: Arc<dyn Store>) {
    let first = execution_in(&*store, State::Running).await;
    let next = at_attempt(&first, 2);
    let batch = [retried(&first, soon()), finished(&next, Outcome::Cancelled)];
    assert_eq!(store.record(&batch).await.unwrap(), [true, true]);
    assert_eq!(state_of(&*store, &first).await, (State::Cancelled, 2));
}

pub(crate) async fn an_older_attempt_loses(store: Arc<dyn Store>) {
    let first = execution_in(&*store, State::Queued).await;
    store.record(&[retried(&first, now())]).await.unwrap();
    let second = at_attempt(&first, 2);
    // It is delayed: neither attempt can end now.
    assert_eq!(
        store
            .record(&[finished(&first, Outcome::Success), finished(&second, Outcome::Success)])
            .await
            .unwrap(),
        [false; 2]
    );
    store.promote_due(soon(), 1).await.unwrap();
    let third = at_attempt(&first, 3);
    let batch =
        [first.clone(), third, second].map(|dispatch| finished(&dispatch, Outcome::Success));
    assert_eq!(store.record(&batch).await.unwrap(), [false, false, true]);
    assert_eq!(state_of(&*store, &first).await, (State::Succeeded, 2));
}

pub(crate) async fn what_is_unfinished_is_told_in_order(store: Arc<dyn Store>) {
    let mut asked: Vec<Dispatch> = vec![dispatch("total")];
    let mut expected = vec![true];
    for state in State::ALL {
        let execution = execution_in(&*store, state).await;
        let open = matches!(state, State::Queued | State::Running);
        asked.extend([execution.clone(), at_attempt(&execution, execution.attempt + 1)]);
        expected.extend([open, false]);
        if state == State::Delayed {
            asked.push(at_attempt(&execution, execution.attempt - 1));
            expected.push(false);
        }
    }
    assert_eq!(store.unfinished(&asked).await.unwrap(), expected);
    asked.reverse();
    expected.reverse();
    assert_eq!(store.unfinished(&asked).await.unwrap(), expected);
    assert!(store.unfinished(&[]).await.unwrap().is_empty());
}

pub(crate) async fn a_start_that_is_forbidden_is_left_out(store: Arc<dyn Store>) {
    for state in State::ALL {
        let execution = execution_in(&*store, state).await;
        let expected = state.after(wasmill_domain::Transition::Start).unwrap_or(state);
        let other = at_attempt(&execution, execution.attempt + 1);
        let fine = dispatch("total");
        let before = store.execution(&tenant(), execution.execution).await.unwrap();
        store.start(&[started(&other), started(&fine)]).await.unwrap();
        assert_eq!(
            store.execution(&tenant(), execution.execution).await.unwrap(),
            before,
            "{state}"
        );
        store.start(&[started(&execution)]).await.unwrap();
        assert_eq!(state_of(&*store, &execution).await, (expected, execution.attempt), "{state}");
        assert_eq!(state_of(&*store, &fine).await, (State::Running, 1));
    }
    store.start(&[]).await.unwrap();
}

pub(crate) async fn writers_at_once_have_one_winner(store: Arc<dyn Store>) {
    let shared = dispatches(30);
    let writers: Vec<_> = (0..6)
        .map(|writer: usize| {
            let (store, mut entries) = (Arc::clone(&store), shared.clone());
            entries.rotate_left(writer * 5);
            tokio::spawn(async move {
                let mut won = Vec::new();
                for chunk in entries.chunks(7) {
                    store.enqueue(chunk, Publication::Confirmed).await.unwrap();
                    store.start(&chunk.iter().map(started).collect::<Vec<_>>()).await.unwrap();
                    let batch: Vec<Finished> =
                        chunk.iter().map(|dispatch| finished(dispatch, Outcome::Success)).collect();
                    let stands = store.record(&batch).await.unwrap();
                    won.extend(
                        chunk
                            .iter()
                            .zip(stands)
                            .filter(|(_, stands)| *stands)
                            .map(|(dispatch, _)| dispatch.execution),
                    );
                }
                won
            })
        })
        .collect();
    let mut winners = Vec::new();
    for writer in writers {
        winners.extend(writer.await.unwrap());
    }
    winners.sort_unstable();
    let mut expected: Vec<ExecutionId> = shared.iter().map(|dispatch| dispatch.execution).collect();
    expected.sort_unstable();
    assert_eq!(winners, expected);
}

pub(crate) async fn a_large_batch_is_one(store: Arc<dyn Store>) {
    let all = dispatches(1_000);
    store.enqueue(&all[..600], Publication::Confirmed).await.unwrap();
    store.start(&all[300..700].iter().map(started).collect::<Vec<_>>()).await.unwrap();
    let batch: Vec<Finished> = all
        .iter()
        .map(|dispatch| Finished {
            logs: vec![line(0, "a"), line(1, "b")],
            ..finished(dispatch, Outcome::Success)
        })
        .collect();
    assert_eq!(store.record(&batch).await.unwrap(), vec![true; 1_000]);
    assert_eq!(store.record(&batch).await.unwrap(), vec![false; 1_000]);
    assert_eq!(store.unfinished(&all).await.unwrap(), vec![false; 1_000]);
    for dispatch in [&all[0], &all[650], &all[999]] {
        assert_eq!(store.logs(&tenant(), dispatch.execution, None, 10).await.unwrap().len(), 2);
    }
}

pub(crate) async fn a_refused_batch_changes_nothing(store: Arc<dyn Store>) {
    // Two lines in one place are one mistake of a host. Whether the second line goes or the whole
    // call is refused, the call is all or nothing and the next one works.
    let good = dispatch("total");
    let odd = Finished {
        logs: vec![line(0, "a"), line(0, "b")],
        ..finished(&dispatch("total"), Outcome::Success)
    };
    match store.record(&[finished(&good, Outcome::Success), odd.clone()]).await {
        Ok(stands) => assert_eq!(stands, [true, true]),
        Err(_) => assert!(store.execution(&tenant(), good.execution).await.unwrap().is_none()),
    }
    let expected = store.execution(&tenant(), good.execution).await.unwrap().is_none();
    assert_eq!(store.record(&[finished(&good, Outcome::Success)]).await.unwrap(), [expected]);
    assert_eq!(state_of(&*store, &good).await, (State::Succeeded, 1));
}

/// What a forged message says: the id and attempt of an execution, with a tenant or function that
/// it is not of.
fn forged(of: &Dispatch) -> [Dispatch; 3] {
    let other = Dispatch { tenant: "other".parse().unwrap(), ..of.clone() };
    let both = Dispatch { function: "forger".parse().unwrap(), ..other.clone() };
    [other, Dispatch { function: "forger".parse().unwrap(), ..of.clone() }, both]
}

pub(crate) async fn another_owner_changes_nothing(store: Arc<dyn Store>) {
    for state in State::ALL {
        let execution = execution_in(&*store, state).await;
        let before = store.execution(&tenant(), execution.execution).await.unwrap();
        let queue = outbox(&*store).await;
        for forged in forged(&execution) {
            for outcome in Outcome::ALL {
                let end = Finished {
                    logs: vec![line(0, "forged")],
                    emitted: vec![dispatch("mail")],
                    ..finished(&forged, outcome)
                };
                assert_eq!(store.record(&[end]).await.unwrap(), [false], "{state} {outcome}");
            }
            assert_eq!(store.record(&[retried(&forged, now())]).await.unwrap(), [false], "{state}");
            store.start(&[started(&forged)]).await.unwrap();
            assert_eq!(
                store.unfinished(std::slice::from_ref(&forged)).await.unwrap(),
                [false],
                "{state}"
            );
            for publication in [Publication::Confirmed, Publication::Pending] {
                store.enqueue(std::slice::from_ref(&forged), publication).await.unwrap();
            }
            // As what an attempt emits, too.
            let parent = dispatch("total");
            let end =
                Finished { emitted: vec![forged.clone()], ..finished(&parent, Outcome::Success) };
            assert_eq!(store.record(&[end]).await.unwrap(), [true]);
            if forged.tenant != tenant() {
                assert!(
                    store.execution(&forged.tenant, forged.execution).await.unwrap().is_none(),
                    "{state}"
                );
            }
        }
        assert_eq!(
            store.execution(&tenant(), execution.execution).await.unwrap(),
            before,
            "{state}"
        );
        assert_eq!(outbox(&*store).await, queue, "{state}");
    }
}

pub(crate) async fn the_first_owner_in_a_batch_stands(store: Arc<dyn Store>) {
    let first = dispatch("total");
    let [other, ..] = forged(&first);
    store.start(&[started(&first), started(&other)]).await.unwrap();
    assert_eq!(state_of(&*store, &first).await, (State::Running, 1));
    let second = dispatch("total");
    let [other, ..] = forged(&second);
    store.enqueue(&[second.clone(), other.clone()], Publication::Pending).await.unwrap();
    assert_eq!(state_of(&*store, &second).await, (State::Queued, 1));
    assert_eq!(outbox(&*store).await, [(second.execution, 1)]);
    let third = dispatch("total");
    let [other, ..] = forged(&third);
    let batch = [retried(&third, soon()), finished(&at_attempt(&other, 2), Outcome::Success)];
    assert_eq!(store.record(&batch).await.unwrap(), [true, false]);
    assert_eq!(state_of(&*store, &third).await, (State::Delayed, 2));
}
