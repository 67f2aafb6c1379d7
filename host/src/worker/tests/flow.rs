//! What is published is run, recorded and acknowledged.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use wasmill_domain::{LogSource, Outcome, State, TenantName, Timestamp};
use wasmill_store::{Agenda as _, Change, History as _};

use super::{
    FLAKY, HELLO, HOSTILE, ORDER_AUDIT, ORDER_TOTAL, System, WAIT_TIMEOUT, dispatch, only_attempt,
};
use crate::HostSettings;

#[tokio::test]
async fn an_event_is_run_recorded_and_acknowledged() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let host = system.start();
    let id = system.publish("hello", "greeting.requested", r#"{"name": "Ada"}"#).await;
    let detail = system.ended(id).await;
    assert_eq!(
        (detail.summary.state, detail.summary.outcome),
        (State::Succeeded, Some(Outcome::Success))
    );
    let output: Value = serde_json::from_slice(&detail.output.as_ref().unwrap().data).unwrap();
    assert_eq!(output["greeting"], "Hello, Ada!");
    let attempt = only_attempt(&detail);
    assert_eq!(attempt.host, "test-host");
    assert!(attempt.fuel_used > 0 && attempt.peak_memory > 0 && attempt.run_time > Duration::ZERO);
    let logs = system.store.logs(&TenantName::default(), id, None, 10).await.unwrap();
    assert_eq!(logs[0].line.message, "greeted");
    system.drained("hello").await;
    host.stop().await;
}

#[tokio::test]
async fn many_events_each_have_one_attempt() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'\n[limits]\nconcurrency = 8").await;
    let host = system.start();
    let ids = join_all(
        (0..500).map(|_| system.publish("hello", "greeting.requested", r#"{"name": "Ada"}"#)),
    )
    .await;
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 500);
    for id in ids {
        let detail = system.ended(id).await;
        assert_eq!(detail.summary.state, State::Succeeded);
        only_attempt(&detail);
    }
    system.drained("hello").await;
    host.stop().await;
}

#[tokio::test]
async fn an_error_is_tried_again_later_and_a_rejection_is_not() {
    let system = System::new().await;
    system.deploy(FLAKY, "name = 'flaky'").await;
    let host = system.start();
    let before = Timestamp::now();
    let id = system
        .publish("flaky", "payment.requested", r#"{"succeed_at": 2, "delay_ms": 60000}"#)
        .await;
    let detail = system.execution(id, |detail| detail.summary.state == State::Delayed).await;
    let due = detail.summary.due_at.unwrap();
    assert!(
        due.since(before) >= Duration::from_secs(60)
            && due.since(Timestamp::now()) <= Duration::from_secs(60)
    );
    assert_eq!(only_attempt(&detail).outcome, Outcome::Error);

    let again = system.store.promote_due(due, 10).await.unwrap();
    assert_eq!((again.len(), again[0].execution, again[0].attempt), (1, id, 2));
    system.publisher.publish(again[0].clone()).await.unwrap();
    let detail = system.ended(id).await;
    assert_eq!((detail.summary.state, detail.attempts.len()), (State::Succeeded, 2));

    let id = system.publish("flaky", "payment.requested", r#"{"reject": true}"#).await;
    let detail = system.ended(id).await;
    assert_eq!(
        (detail.summary.state, only_attempt(&detail).outcome),
        (State::Failed, Outcome::Rejected)
    );
    host.stop().await;
}

#[tokio::test]
async fn the_last_attempt_s_error_is_the_end() {
    let system = System::new().await;
    system.deploy(FLAKY, "name = 'flaky'").await;
    let host = system.start();
    let mut last = dispatch("flaky", "payment.requested", r#"{"succeed_at": 9}"#);
    last.attempt = 3;
    let id = last.execution;
    system.publisher.publish(last).await.unwrap();
    let detail = system.ended(id).await;
    assert_eq!(
        (detail.summary.state, detail.summary.outcome),
        (State::Failed, Some(Outcome::Error))
    );
    host.stop().await;
}

#[tokio::test]
async fn emitted_events_run_the_functions_that_they_reach() {
    let system = System::new().await;
    system.deploy(ORDER_TOTAL, "name = 'order-total'\n[[trigger]]\nevent = 'order.created'").await;
    system.deploy(ORDER_AUDIT, "name = 'order-audit'\n[[trigger]]\nevent = 'order.priced'").await;
    let host = system.start();
    let order = r#"{"customer": "Ada", "currency": "EUR", "items": [{"sku": "a", "qty": 2, "price_cents": 90000}]}"#;
    let id = system.publish("order-total", "order.created", order).await;
    let detail = system.ended(id).await;
    assert_eq!(detail.summary.state, State::Succeeded, "{detail:?}");
    assert_eq!(detail.children.len(), 1);
    let child = system.ended(detail.children[0]).await;
    assert_eq!((child.summary.state, child.summary.origin.parent()), (State::Succeeded, Some(id)));
    assert_eq!(child.summary.trace_id, detail.summary.trace_id);
    assert_eq!(child.event.as_ref().unwrap().id, format!("{id}-0"));
    // It was flagged, and nobody listens to that.
    let logs = system.store.logs(&TenantName::default(), id, None, 10).await.unwrap();
    let note = logs.iter().find(|entry| entry.line.source == LogSource::Host).unwrap();
    assert!(note.line.message.contains("'order.flagged'"), "{note:?}");
    // Published, and so no work for the scheduler.
    let ahead = Timestamp::now().plus(Duration::from_secs(3_600));
    let outbox = async {
        while !system.store.outbox(ahead, 10).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, outbox).await.expect("the outbox is empty in time");
    host.stop().await;
}

#[tokio::test]
async fn emitting_what_its_subscriber_refuses_is_a_trap() {
    let system = System::new().await;
    system.deploy(ORDER_TOTAL, "name = 'order-total'").await;
    let at = Timestamp::now();
    let schema = serde_json::json!({"required": ["no-such-member"]});
    let event_type = "order.priced".parse().unwrap();
    system
        .define(Change::PutSchema { tenant: TenantName::default(), event_type, schema, at })
        .await;
    let host = system.start();
    let order = r#"{"customer": "Ada", "currency": "EUR", "items": []}"#;
    let id = system.publish("order-total", "order.created", order).await;
    let detail = system.ended(id).await;
    assert_eq!(only_attempt(&detail).outcome, Outcome::Trap);
    let message = detail.summary.message.unwrap();
    assert!(
        message.contains("emitted event 0") && message.contains("event type order.priced"),
        "{message}"
    );
    assert!(detail.children.is_empty() && detail.output.is_none());
    host.stop().await;
}

#[tokio::test]
async fn a_reply_comes_when_the_end_is_committed() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let host = system.start();
    let dispatch = dispatch("hello", "greeting.requested", r#"{"name": "Ada"}"#);
    let id = dispatch.execution;
    let reply = system.publisher.request(dispatch).await.unwrap();
    assert!(reply.wait(WAIT_TIMEOUT).await.unwrap().is_empty());
    let detail = system.store.execution(&TenantName::default(), id).await.unwrap().unwrap();
    assert_eq!(detail.summary.state, State::Succeeded);
    host.stop().await;
}

#[tokio::test]
async fn a_new_version_takes_over() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'\n[limits]\nconcurrency = 2").await;
    let host = system.start();
    let id = system.publish("hello", "greeting.requested", r#"{"name": "Ada"}"#).await;
    let first = system.ended(id).await.summary.version.unwrap();
    system.deploy(ORDER_AUDIT, "name = 'hello'\n[limits]\nconcurrency = 3").await;
    // It is compiled while the one before goes on: sooner or later it is there.
    let deadline = tokio::time::Instant::now() + WAIT_TIMEOUT;
    loop {
        let id = system.publish("hello", "greeting.requested", r#"{"name": "Ada"}"#).await;
        let detail = system.ended(id).await;
        assert_eq!(detail.summary.state, State::Succeeded);
        if detail.summary.version.unwrap() != first {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline);
    }
    system.drained("hello").await;
    host.stop().await;
}

#[tokio::test]
async fn a_version_that_cannot_run_says_so() {
    let system = System::new().await;
    system.deploy(b"\0asm\x0d\0\x01\0", "name = 'broken'").await;
    let host = system.start();
    let id = system.publish("broken", "test.event", "{}").await;
    let detail = system.ended(id).await;
    assert_eq!(
        (detail.summary.state, detail.summary.outcome),
        (State::Failed, Some(Outcome::Trap))
    );
    let message = detail.summary.message.unwrap();
    assert!(message.starts_with("version 1 cannot be run: "), "{message}");
    // A sound version, and everything is well again.
    system.deploy(ORDER_AUDIT, "name = 'broken'").await;
    system.comes_to_succeed("broken", "test.event", "{}").await;
    host.stop().await;
}

#[tokio::test]
async fn a_function_runs_as_many_at_once_as_it_may() {
    let system = System::new().await;
    system.deploy(HOSTILE, "name = 'slow'\n[limits]\nconcurrency = 2").await;
    let host = system.start();
    let ids =
        join_all((0..10).map(|_| system.publish("slow", "hostile.slow", r#"{"ms": 30}"#))).await;
    let mut edges = Vec::new();
    for id in ids {
        let detail = system.ended(id).await;
        let attempt = only_attempt(&detail);
        edges.extend([(attempt.started_at, 1_i32), (attempt.finished_at, -1)]);
    }
    // Ends before beginnings of the same microsecond.
    edges.sort_unstable();
    let at_once = edges.iter().scan(0, |running, (_, change)| {
        *running += change;
        Some(*running)
    });
    assert_eq!(at_once.max(), Some(2));
    host.stop().await;
}

#[tokio::test]
async fn a_host_runs_as_many_at_once_as_it_may() {
    let system = System::new().await;
    for function in ["one", "two", "three"] {
        system.deploy(HOSTILE, &format!("name = '{function}'")).await;
    }
    let host = system.start_with(HostSettings { in_flight: 1, ..HostSettings::default() });
    let publish = |function| system.publish(function, "hostile.slow", r#"{"ms": 10}"#);
    let ids = join_all((0..12).map(|i| publish(["one", "two", "three"][i % 3]))).await;
    let mut spans = Vec::new();
    for id in ids {
        let detail = system.ended(id).await;
        let attempt = only_attempt(&detail);
        spans.push((attempt.started_at, attempt.finished_at));
    }
    spans.sort_unstable();
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{spans:?}");
    host.stop().await;
}

#[tokio::test]
async fn a_long_execution_is_announced() {
    let system = System::new().await;
    system.deploy(HOSTILE, "name = 'slow'").await;
    let settings =
        HostSettings { announce_after: Duration::from_millis(20), ..HostSettings::default() };
    let host = system.start_with(settings);
    let id = system.publish("slow", "hostile.slow", r#"{"ms": 1500}"#).await;
    let detail = system.execution(id, |detail| detail.summary.state == State::Running).await;
    assert!(detail.summary.version.is_some());
    assert_eq!(system.ended(id).await.summary.state, State::Succeeded);
    host.stop().await;
}
