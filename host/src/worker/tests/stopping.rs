//! Hosts that are told to stop.

use std::time::{Duration, Instant};

use wasmill_broker::Depth;
use wasmill_domain::State;

use super::{HELLO, HOSTILE, System};
use crate::HostSettings;

#[tokio::test]
async fn what_runs_comes_to_its_end() {
    let system = System::new().await;
    system.deploy(HOSTILE, "name = 'slow'").await;
    let settings =
        HostSettings { announce_after: Duration::from_millis(10), ..HostSettings::default() };
    let host = system.start_with(settings);
    let id = system.publish("slow", "hostile.slow", r#"{"ms": 300}"#).await;
    system.execution(id, |detail| detail.summary.state == State::Running).await;
    host.stop().await;
    assert_eq!(system.ended(id).await.summary.state, State::Succeeded);
    assert_eq!(system.depth("slow").await, Depth::default());
}

#[tokio::test]
async fn nothing_new_is_taken() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let host = system.start();
    let id = system.publish("hello", "greeting.requested", r#"{"name": "Ada"}"#).await;
    system.ended(id).await;
    host.stop().await;
    system.publish("hello", "greeting.requested", r#"{"name": "Ada"}"#).await;
    assert_eq!(system.depth("hello").await, Depth { ready: 1, unacked: 0 });
}

#[tokio::test]
async fn what_does_not_end_is_given_back() {
    let system = System::new().await;
    system
        .deploy(HOSTILE, "name = 'spin'\n[limits]\nfuel = 1_000_000_000_000\ntimeout = '10m'")
        .await;
    let settings = HostSettings {
        announce_after: Duration::from_millis(10),
        grace: Duration::from_millis(50),
        ..HostSettings::default()
    };
    let host = system.start_with(settings);
    let id = system.publish("spin", "hostile.spin", "{}").await;
    system.execution(id, |detail| detail.summary.state == State::Running).await;
    let asked = Instant::now();
    host.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    assert_eq!(system.depth("spin").await, Depth { ready: 1, unacked: 0 });
    let detail = system.execution(id, |_| true).await;
    assert_eq!((detail.summary.state, detail.attempts.len()), (State::Running, 0));
}

#[tokio::test]
async fn a_host_without_work_stops_at_once() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    system.start().stop().await;
}

/// A version is still being prepared, by a store that does not answer: it is waited for no longer
/// than anything else that has not begun.
#[tokio::test]
async fn a_preparation_holds_nobody_up() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    system.store.hook().hold("artifact");
    let host = system
        .start_with(HostSettings { grace: Duration::from_secs(3_600), ..HostSettings::default() });
    system.store.hook().holds().await;
    host.stop().await;
}

#[tokio::test]
async fn it_stops_while_the_store_is_away() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let host = system
        .start_with(HostSettings { grace: Duration::from_millis(100), ..HostSettings::default() });
    let id = system.publish("hello", "greeting.requested", r#"{"name": "Ada"}"#).await;
    system.ended(id).await;
    system.store.hook().set_away(true);
    system.publish("hello", "greeting.requested", r#"{"name": "Ada"}"#).await;
    while system.depth("hello").await.unacked == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    host.stop().await;
    assert_eq!(system.depth("hello").await, Depth { ready: 1, unacked: 0 });
}
