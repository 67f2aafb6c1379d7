//! What emitted events lead to is bounded: how many executions, how many bytes, and how long a
//! chain becomes.

use std::time::Duration;

use wasmill_domain::{Outcome, State, TenantName, Timestamp};
use wasmill_store::{Agenda as _, ExecutionDetail};

use super::{HELLO, System, only_attempt};
use crate::{EmissionSettings, HostSettings};

/// A core module whose function emits so many events of a type, without data.
pub(super) fn emitter(event_type: &str, count: u32) -> Vec<u8> {
    let length = event_type.len();
    let text = format!(
        r#"(module
        (memory (export "memory") 4)
        (global $next (mut i32) (i32.const 131072))
        (data (i32.const 1024) "{event_type}")
        (data (i32.const 1280) "{{}}")
        (func (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
            (global.set $next (i32.add (local.get $at) (local.get $size)))
            (local.get $at))
        (func (export "wasmill:function/handler@0.1.0#handle") (param i32) (result i32)
            (local $i i32)
            (loop $again
                ;; An event takes 64 bytes; its type is the first of them.
                (i32.store (i32.add (i32.const 2048) (i32.mul (local.get $i) (i32.const 64))) (i32.const 1024))
                (i32.store (i32.add (i32.const 2052) (i32.mul (local.get $i) (i32.const 64))) (i32.const {length}))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $i) (i32.const {count}))))
            (i32.store (i32.const 36) (i32.const 1280))
            (i32.store (i32.const 40) (i32.const 2))
            (i32.store (i32.const 44) (i32.const 2048))
            (i32.store (i32.const 48) (i32.const {count}))
            (i32.const 16)))"#
    );
    wat::parse_str(text).unwrap()
}

fn settings(emissions: EmissionSettings) -> HostSettings {
    HostSettings { emissions, ..HostSettings::default() }
}

fn listener(name: &str, event_type: &str) -> String {
    format!("name = '{name}'\n[[trigger]]\nevent = '{event_type}'")
}

/// That nothing was published of what an execution emitted, and that it says why.
async fn published_nothing(system: &System, detail: &ExecutionDetail, words: &[&str]) {
    assert_eq!(detail.summary.state, State::Failed, "{detail:?}");
    assert_eq!(only_attempt(detail).outcome, Outcome::Trap, "it is not tried again");
    let message = detail.summary.message.as_deref().unwrap();
    for word in words {
        assert!(message.contains(word), "{word}: {message}");
    }
    assert!(detail.children.is_empty() && detail.output.is_none());
    assert!(system.store.outbox(Timestamp::now(), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_an_attempt_leads_to_is_bounded() {
    let system = System::new().await;
    system.deploy(&emitter("loud.said", 8), "name = 'loud'").await;
    for name in ["one", "two", "three"] {
        system.deploy(HELLO, &listener(name, "loud.*")).await;
    }
    let bounded = |executions, bytes| {
        settings(EmissionSettings { executions, bytes, ..EmissionSettings::default() })
    };
    // Each event is 9 bytes, and reaches three functions.
    let (most, all) = (24, 24 * 9);
    for (settings, words) in [
        (bounded(most - 1, all), &["event 7", "24 executions", "host.max_emitted_executions"][..]),
        (bounded(most, all - 1), &["event 7", "216B", "host.max_emitted_bytes"]),
    ] {
        let host = system.start_with(settings);
        let detail = system.ended(system.publish("loud", "a.b", "{}").await).await;
        published_nothing(&system, &detail, words).await;
        published_nothing(&system, &detail, &["'loud.said'", "3 functions"]).await;
        host.stop().await;
    }
    let host = system.start_with(bounded(most, all));
    let detail = system.ended(system.publish("loud", "a.b", "{}").await).await;
    assert_eq!((detail.summary.state, detail.children.len()), (State::Succeeded, most));
    host.stop().await;
}

#[tokio::test]
async fn a_chain_ends_at_its_depth() {
    let system = System::new().await;
    system.deploy(&emitter("loop.next", 1), &listener("again", "loop.next")).await;
    let chain_depth = 3;
    let host = system
        .start_with(settings(EmissionSettings { chain_depth, ..EmissionSettings::default() }));
    let first = system.publish("again", "loop.next", "{}").await;
    let mut id = first;
    for depth in 0..chain_depth {
        let detail = system.execution(id, |detail| !detail.children.is_empty()).await;
        assert_eq!(
            (detail.summary.state, detail.summary.origin.depth(), detail.summary.root),
            (State::Succeeded, depth, first)
        );
        id = detail.children[0];
    }
    let last = system.ended(id).await;
    assert_eq!((last.summary.origin.depth(), last.summary.root), (chain_depth, first));
    let words = ["'loop.next'", "3 executions led to this one", "host.max_chain_depth"];
    published_nothing(&system, &last, &words).await;
    system.drained("again").await;
    host.stop().await;
}

/// The depth is that of the chain, not of one process: what was stored and published again has it.
#[tokio::test]
async fn a_chain_is_counted_through_the_store() {
    let system = System::new().await;
    system.deploy(&emitter("loop.next", 1), &listener("again", "loop.next")).await;
    // Not 1, which is what is assumed where nothing is stored.
    let chain_depth = 3;
    let bounded = || settings(EmissionSettings { chain_depth, ..EmissionSettings::default() });
    let host = system.start_with(bounded());
    let first = system.publish("again", "loop.next", "{}").await;
    let mut last = first;
    for _ in 0..chain_depth {
        last = system.ended(last).await.children[0];
    }
    published_nothing(&system, &system.ended(last).await, &["host.max_chain_depth"]).await;
    // An operator has it made again, which goes by way of the outbox.
    let tenant = TenantName::default();
    let replay =
        wasmill_domain::Operation::new(wasmill_domain::Transition::Replay, Timestamp::now());
    wasmill_store::Ledger::transition_execution(&*system.store, &tenant, last, &replay)
        .await
        .unwrap();
    let later = Timestamp::now().plus(Duration::from_secs(3600));
    let again = system.store.outbox(later, 10).await.unwrap().remove(0);
    assert_eq!((again.execution, again.epoch, again.origin.depth()), (last, 2, chain_depth));
    system.publisher.publish(again).await.unwrap();
    let detail = system
        .execution(last, |detail| detail.summary.epoch == 2 && detail.summary.state.is_terminal())
        .await;
    assert!(detail.summary.message.unwrap().contains("host.max_chain_depth"));
    assert!(detail.children.is_empty());
    host.stop().await;
}
