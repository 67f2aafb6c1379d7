//! Any number of schedulers, of which one leads.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::backends::SharedBackends;
use crate::support::pool::Process;

/// How long a leader that is gone may keep the others waiting.
const REPLACED_WITHIN: Duration = Duration::from_secs(5);

/// An execution of which one retry is due at once, which takes a scheduler that leads.
async fn retried(gateway: &Process) -> Value {
    gateway.api().run("payment.requested", &json!({"succeed_at": 2, "delay_ms": 1})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_gone_is_replaced_and_one_that_comes_back_does_no_harm() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let gateway = Process::start("gateway", backends, &[]);
    let host = Process::start("host", backends, &[]);
    gateway.ready().await;
    gateway.deploy(&["flaky"]).await;
    host.ready().await;
    let mut leader = Process::start("scheduler", backends, &[]);
    leader.ready().await;
    // Only once it leads is there a second one.
    assert_eq!(retried(&gateway).await["state"], "succeeded");
    let second = Process::start("scheduler", backends, &[]);
    second.ready().await;

    leader.kill_9();
    let begun = Instant::now();
    let execution = retried(&gateway).await;
    assert_eq!((&execution["state"], &execution["attempt"]), (&json!("succeeded"), &json!(2)));
    // The promise, and the execution itself.
    assert!(begun.elapsed() < REPLACED_WITHIN + Duration::from_secs(5), "{:?}", begun.elapsed());

    // The second leads now. It is paused in the middle of its work, a third takes over, and the
    // second wakes up.
    let third = Process::start("scheduler", backends, &[]);
    third.ready().await;
    second.signal(Signal::STOP);
    let mut executions = Vec::new();
    for _ in 0..20 {
        let ids = gateway
            .api()
            .accepted("payment.requested", &json!({"succeed_at": 3, "delay_ms": 1}))
            .await;
        executions.extend(ids);
    }
    assert_eq!(retried(&gateway).await["state"], "succeeded");
    second.signal(Signal::CONT);
    for id in executions {
        let execution = gateway.api().ended(&id).await;
        assert_eq!(
            (&execution["state"], &execution["attempt"]),
            (&json!("succeeded"), &json!(3)),
            "{execution}"
        );
        assert_eq!(execution["attempts"].as_array().unwrap().len(), 3, "{execution}");
    }
}
