//! What operators do with executions whose messages are on their way.

use std::time::Duration;

use wasmill_domain::{Operation, State, Timestamp, Transition};
use wasmill_store::{Agenda as _, Ledger as _, Publication};

use super::{HELLO, System, WAIT_TIMEOUT, dispatch};
use crate::HostSettings;

/// Asks the store about every message.
fn asking() -> HostSettings {
    HostSettings { ask_after: Duration::ZERO, ..HostSettings::default() }
}

#[tokio::test]
async fn what_was_suspended_and_resumed_runs_once() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let dispatch = dispatch("hello", "greeting.requested", r#"{"name": "Ada"}"#);
    let (id, tenant) = (dispatch.execution, dispatch.tenant.clone());
    system.store.enqueue(std::slice::from_ref(&dispatch), Publication::Confirmed).await.unwrap();
    system.publisher.publish(dispatch.clone()).await.unwrap();
    for what in [Transition::Suspend, Transition::Resume] {
        system
            .store
            .transition_execution(&tenant, id, &Operation::new(what, Timestamp::now()))
            .await
            .unwrap();
    }
    // Two messages of one attempt, of which the first is of an earlier epoch.
    let resumed =
        system.store.outbox(Timestamp::now().plus(WAIT_TIMEOUT), 1).await.unwrap().remove(0);
    assert_eq!((resumed.attempt, resumed.epoch), (1, 3));
    let host = system.start_with(asking());
    system.drained("hello").await;
    let waiting = system.execution(id, |_| true).await;
    assert_eq!(
        (waiting.summary.state, waiting.attempts.len()),
        (State::Queued, 0),
        "the earlier message ran nothing"
    );
    system.publisher.publish(resumed).await.unwrap();
    let ended = system.ended(id).await;
    assert_eq!(ended.attempts.len(), 1);
    system.drained("hello").await;
    host.stop().await;
}

#[tokio::test]
async fn the_message_of_a_cancelled_execution_runs_nothing() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let dispatch = dispatch("hello", "greeting.requested", r#"{"name": "Ada"}"#);
    let (id, tenant) = (dispatch.execution, dispatch.tenant.clone());
    system.store.enqueue(std::slice::from_ref(&dispatch), Publication::Confirmed).await.unwrap();
    system
        .store
        .transition_execution(&tenant, id, &Operation::new(Transition::Cancel, Timestamp::now()))
        .await
        .unwrap();
    system.publisher.publish(dispatch).await.unwrap();
    let records = system.store.hook().records();
    let host = system.start_with(asking());
    system.drained("hello").await;
    assert_eq!(system.store.hook().records(), records, "nothing ended that could be recorded");
    assert_eq!(system.execution(id, |_| true).await.summary.state, State::Cancelled);
    host.stop().await;
}
