//! Orders about what a host runs, or is about to run.

use std::time::Duration;

use wasmill_broker::{Broadcasts as _, Depth};
use wasmill_domain::http_message::Download;
use wasmill_domain::wire::Broadcast;
use wasmill_domain::{
    Dispatch, ExecutionId, Operation, Order, OrderKind, Outcome, State, Timestamp, Transition,
};
use wasmill_store::{Agenda as _, Ledger as _, OperationResult, Publication};

use super::calls::{MANIFEST, WEB_ECHO, call, received};
use super::{HELLO, HOSTILE, System, WAIT_TIMEOUT, Working, dispatch, only_attempt};
use crate::HostSettings;

const SPIN: &str = "name = 'spin'\n[limits]\nfuel = 1_000_000_000_000\ntimeout = '10m'";
const SLOW: &str = "name = 'slow'\n[limits]\ntimeout = '10m'";
const FOREVER: Duration = Duration::from_secs(3_600);

/// Receives orders by broadcasts only.
fn by_broadcast() -> HostSettings {
    HostSettings {
        announce_after: Duration::from_millis(10),
        beat: FOREVER,
        ask_after: FOREVER,
        ..HostSettings::default()
    }
}

/// Finds orders by asking only.
fn by_beat() -> HostSettings {
    HostSettings { beat: Duration::from_millis(20), ..by_broadcast() }
}

impl System {
    async fn operate(&self, id: ExecutionId, what: Transition) -> OperationResult {
        let operation = Operation::new(what, Timestamp::now())
            .with_reason(Some("too dear".into()))
            .before_row(true);
        let tenant = Default::default();
        self.store.inner().transition_execution(&tenant, id, &operation).await.unwrap()
    }

    async fn notify(&self, execution: ExecutionId, epoch: u32, kind: OrderKind) {
        let tenant = Some(Default::default());
        let order = Order { tenant, execution, epoch, kind, reason: Some("too dear".into()) };
        let body = Broadcast { orders: vec![order] }.encode(self.publisher.writes());
        self.broker.broadcast(body.into()).await.unwrap();
    }

    /// Moves an execution and notifies hosts, as a gateway does it.
    async fn order(&self, id: ExecutionId, what: Transition) -> OperationResult {
        let moved = self.operate(id, what).await;
        self.notify(id, moved.epoch, OrderKind::of(what).unwrap()).await;
        moved
    }

    /// Begins an execution, and waits until it runs.
    async fn running(&self, function: &str, data: &str) -> ExecutionId {
        let id = self.publish(function, &format!("hostile.{function}"), data).await;
        self.execution(id, |detail| detail.summary.state == State::Running).await;
        id
    }

    /// Publishes what waits in the outbox, as the scheduler does it.
    async fn publish_outbox(&self) -> Vec<Dispatch> {
        let all = self.store.outbox(Timestamp::now().plus(WAIT_TIMEOUT), 10).await.unwrap();
        for dispatch in &all {
            self.publisher.publish(dispatch.clone()).await.unwrap();
            self.store.published(&[dispatch.key()]).await.unwrap();
        }
        all
    }
}

/// Cancels what runs, and looks at what is left of it.
async fn is_cancelled(system: &System, host: Working, function: &str, data: &str, notified: bool) {
    let id = system.running(function, data).await;
    if notified {
        system.order(id, Transition::Cancel).await;
    } else {
        system.operate(id, Transition::Cancel).await;
    }
    let ended = system.execution(id, |detail| !detail.attempts.is_empty()).await;
    let attempt = only_attempt(&ended);
    assert_eq!((ended.summary.state, ended.summary.epoch), (State::Cancelled, 2));
    assert_eq!(attempt.outcome, Outcome::Cancelled);
    assert_eq!(attempt.message.as_deref(), Some("cancelled by an operator: too dear"));
    assert_eq!((attempt.host.as_str(), attempt.version.is_some()), ("test-host", true));
    system.drained(function).await;
    host.stop().await;
}

#[tokio::test]
async fn a_guest_that_spins_is_cancelled() {
    let system = System::new().await;
    system.deploy(HOSTILE, SPIN).await;
    let host = system.start_with(by_broadcast());
    is_cancelled(&system, host, "spin", "{}", true).await;
}

#[tokio::test]
async fn a_guest_that_waits_is_cancelled() {
    let system = System::new().await;
    system.deploy(HOSTILE, SLOW).await;
    let host = system.start_with(by_broadcast());
    is_cancelled(&system, host, "slow", r#"{"ms": 500000}"#, true).await;
}

#[tokio::test]
async fn what_no_broadcast_brings_is_asked_for() {
    let system = System::new().await;
    system.deploy(HOSTILE, SPIN).await;
    let host = system.start_with(by_beat());
    is_cancelled(&system, host, "spin", "{}", false).await;
}

#[tokio::test]
async fn a_suspended_attempt_is_made_again() {
    let system = System::new().await;
    system.deploy(HOSTILE, SLOW).await;
    let host = system.start_with(by_broadcast());
    let id = system.running("slow", r#"{"ms": 1500}"#).await;
    system.order(id, Transition::Suspend).await;
    system.drained("slow").await;
    let held = system.execution(id, |_| true).await;
    assert_eq!((held.summary.state, held.attempts.len()), (State::Suspended, 0));
    assert_eq!(held.summary.reason.as_deref(), Some("too dear"));
    system.operate(id, Transition::Resume).await;
    let resumed = system.publish_outbox().await.remove(0);
    assert_eq!((resumed.execution, resumed.attempt, resumed.epoch), (id, 1, 3));
    let ended = system.ended(id).await;
    assert_eq!((ended.summary.state, ended.summary.attempt), (State::Succeeded, 1));
    assert_eq!(only_attempt(&ended).outcome, Outcome::Success);
    system.drained("slow").await;
    host.stop().await;
}

/// It is younger than what is asked about, and its row is not written yet.
#[tokio::test]
async fn what_was_cancelled_before_its_first_delivery_does_not_run() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let host = system.start_with(by_broadcast());
    let first = system.publish("hello", "greeting.requested", r#"{"name": "Ada"}"#).await;
    system.ended(first).await;
    let records = system.store.hook().records();
    let cancelled = dispatch("hello", "greeting.requested", r#"{"name": "Ada"}"#);
    let id = cancelled.execution;
    system.order(id, Transition::Cancel).await;
    system.publisher.publish(cancelled.clone()).await.unwrap();
    system.drained("hello").await;
    assert_eq!(system.store.hook().records(), records, "nothing ended");
    // Its message has brought what the row lacked.
    let detail = system.execution(id, |_| true).await;
    assert_eq!((detail.summary.state, detail.attempts.len()), (State::Cancelled, 0));
    assert_eq!(detail.event.as_ref(), Ok(&*cancelled.event));
    host.stop().await;
}

#[tokio::test]
async fn what_was_suspended_before_its_first_delivery_runs_when_it_is_resumed() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let host = system.start_with(by_broadcast());
    // Resumed before its event has come: its message runs it, though hosts were notified.
    let first = dispatch("hello", "greeting.requested", r#"{"name": "Ada"}"#);
    system.order(first.execution, Transition::Suspend).await;
    system.operate(first.execution, Transition::Resume).await;
    system.publisher.publish(first.clone()).await.unwrap();
    let ended = system.ended(first.execution).await;
    assert_eq!((ended.summary.epoch, ended.attempts.len()), (1, 1));
    // Resumed after that: it is published again.
    let second = dispatch("hello", "greeting.requested", r#"{"name": "Ada"}"#);
    let id = second.execution;
    system.order(id, Transition::Suspend).await;
    system.publisher.publish(second).await.unwrap();
    system.drained("hello").await;
    system.operate(id, Transition::Resume).await;
    let resumed = system.publish_outbox().await.remove(0);
    assert_eq!((resumed.execution, resumed.epoch), (id, 3));
    let ended = system.ended(id).await;
    assert_eq!((ended.summary.state, ended.attempts.len()), (State::Succeeded, 1));
    host.stop().await;
}

/// Those who publish to it may not have notified a host that was not there.
#[tokio::test]
async fn what_was_published_before_the_host_listened_is_asked_about() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let dispatch = dispatch("hello", "greeting.requested", r#"{"name": "Ada"}"#);
    let id = dispatch.execution;
    system.publisher.publish(dispatch).await.unwrap();
    system.operate(id, Transition::Cancel).await;
    let host = system.start_with(by_broadcast());
    system.drained("hello").await;
    assert_eq!(system.store.hook().records(), 0);
    assert_eq!(system.execution(id, |_| true).await.summary.state, State::Cancelled);
    host.stop().await;
}

/// An unacknowledged message waits for a permit, and nobody was notified of the operation.
#[tokio::test]
async fn what_waits_in_hand_is_asked_about_again() {
    let system = System::new().await;
    system.deploy(HOSTILE, "name = 'slow'\n[limits]\nconcurrency = 1\ntimeout = '10m'").await;
    let both = [
        dispatch("slow", "hostile.slow", r#"{"ms": 600}"#),
        dispatch("slow", "hostile.slow", r#"{"ms": 600}"#),
    ];
    let [first, second] = [both[0].execution, both[1].execution];
    let settings = HostSettings { ask_after: Duration::from_millis(300), ..by_broadcast() };
    let host = system.start_with(settings);
    // One message, so that both are in hand.
    system.publish_redelivered("slow", both.to_vec(), 0).await;
    system.execution(first, |detail| detail.summary.state == State::Running).await;
    system.operate(second, Transition::Cancel).await;
    system.drained("slow").await;
    assert_eq!(system.ended(first).await.summary.state, State::Succeeded);
    let other = system.execution(second, |_| true).await;
    assert_eq!((other.summary.state, other.attempts.len()), (State::Cancelled, 0));
    host.stop().await;
}

/// Whoever can write to the broker can make an order: the store decides.
#[tokio::test]
async fn an_order_that_is_none_changes_nothing() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    system.deploy(HOSTILE, SLOW).await;
    let host = system.start_with(by_broadcast());
    // One that does not run yet, with a row and without.
    for publication in [Some(Publication::Confirmed), None] {
        let dispatch = dispatch("hello", "greeting.requested", r#"{"name": "Ada"}"#);
        let id = dispatch.execution;
        if let Some(publication) = publication {
            let one = std::slice::from_ref(&dispatch);
            system.store.enqueue(one, publication).await.unwrap();
        }
        system.notify(id, 7, OrderKind::Cancel).await;
        system.publisher.publish(dispatch).await.unwrap();
        assert_eq!(system.ended(id).await.summary.state, State::Succeeded);
    }
    // One that runs is begun again.
    let id = system.running("slow", r#"{"ms": 400}"#).await;
    system.notify(id, 7, OrderKind::Cancel).await;
    let ended = system.ended(id).await;
    assert_eq!((ended.summary.state, ended.attempts.len()), (State::Succeeded, 1));
    assert_eq!(ended.summary.epoch, 1);
    system.drained("slow").await;
    host.stop().await;
}

#[tokio::test]
async fn a_caller_that_waits_is_answered_by_the_cancellation() {
    let system = System::new().await;
    system.deploy(WEB_ECHO, MANIFEST).await;
    let host = system.start_with(by_broadcast());
    let (id, mut stream) = call(&system, "GET", "/silent").await;
    system.execution(id, |detail| detail.summary.state == State::Running).await;
    system.order(id, Transition::Cancel).await;
    let received = received(&mut stream).await;
    let Some(Download::Failed { outcome, message }) = received.last() else {
        panic!("{received:?}")
    };
    assert_eq!(*outcome, Outcome::Cancelled);
    assert_eq!(message, "cancelled by an operator: too dear");
    let ended = system.execution(id, |detail| !detail.attempts.is_empty()).await;
    assert_eq!(only_attempt(&ended).outcome, Outcome::Cancelled);
    host.stop().await;
}

#[tokio::test]
async fn nothing_is_asked_for_while_nothing_runs() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let host = system.start_with(HostSettings { beat: Duration::from_millis(1), ..by_broadcast() });
    let id = system.publish("hello", "greeting.requested", r#"{"name": "Ada"}"#).await;
    system.ended(id).await;
    system.drained("hello").await;
    let before = system.store.hook().asked();
    // Fifty times as long as there is between two.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(system.store.hook().asked(), before);
    assert_eq!(system.depth("hello").await, Depth::default());
    host.stop().await;
}
