//! Executions that operators move, with gateways and hosts that know of each other by a real
//! RabbitMQ and a real PostgreSQL only.

use reqwest::StatusCode;
use serde_json::json;

use crate::orders::{cancel_running, manifest, operate, operated, suspend_and_resume_running};
use crate::support::backends::SharedBackends;
use crate::support::eventually;
use crate::support::pool::Process;

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_on_another_host_is_cancelled_and_suspended() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let gateways =
        [Process::start("gateway", backends, &[]), Process::start("gateway", backends, &[])];
    let hosts = [Process::start("host", backends, &[]), Process::start("host", backends, &[])];
    let scheduler = Process::start("scheduler", backends, &[]);
    for process in gateways.iter().chain(&hosts).chain([&scheduler]) {
        process.ready().await;
    }
    for kind in ["spin", "slow"] {
        gateways[0].deploy_as("hostile", &manifest(kind)).await;
        gateways[1].knows(kind).await;
    }
    for (gateway, event_type) in gateways.iter().zip(["hostile.spin", "hostile.slow"]) {
        let api = gateway.api();
        let stopped = cancel_running(&api, event_type).await;
        println!("{event_type} was stopped {stopped:?} after the answer");
        suspend_and_resume_running(&api, event_type).await;
    }
}

/// The other gateway knows nothing of it, and its row is not written yet: there is no host.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_gateway_has_just_accepted_is_cancelled_and_suspended() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let gateways =
        [Process::start("gateway", backends, &[]), Process::start("gateway", backends, &[])];
    for gateway in &gateways {
        gateway.ready().await;
    }
    gateways[0].deploy(&["hello"]).await;
    let [first, second] = [gateways[0].api(), gateways[1].api()];
    let data = json!({"name": "Ada"});
    let mut ids = Vec::new();
    for what in ["cancel", "suspend"] {
        let id = first.accepted("greeting.requested", &data).await.remove(0);
        let (status, document) = operate(&second, &id, what).await;
        // The other gateway writes the row within a second.
        let is_noted = status == StatusCode::ACCEPTED && document["operation"] == what;
        assert!(is_noted || status == StatusCode::OK, "{what}: {document}");
        ids.push(id);
    }
    let [cancelled, suspended] = [&ids[0], &ids[1]];
    // The first one writes what it has accepted.
    for id in &ids {
        eventually("the event has come", async || {
            let execution = second.get(&format!("/v1/executions/{id}")).await;
            execution["event"].is_object().then_some(())
        })
        .await;
    }
    let host = Process::start("host", backends, &[]);
    host.ready().await;
    let scheduler = Process::start("scheduler", backends, &[]);
    scheduler.ready().await;
    first.quiet(&["hello"]).await;
    let execution = second.get(&format!("/v1/executions/{cancelled}")).await;
    assert_eq!((&execution["state"], &execution["attempts"]), (&json!("cancelled"), &json!([])));
    assert_eq!(second.state_of(suspended).await.as_deref(), Some("suspended"));
    operated(&second, suspended, "resume").await;
    let execution = second.ended(suspended).await;
    assert_eq!(
        (&execution["state"], &execution["attempts"].as_array().unwrap().len()),
        (&json!("succeeded"), &1)
    );
}
