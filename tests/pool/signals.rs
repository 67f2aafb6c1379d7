//! Processes that are told to stop.

use rustix::process::Signal;
use serde_json::json;

use crate::support::backends::SharedBackends;
use crate::support::eventually;
use crate::support::pool::{Backends, Process};

/// Starts an execution that takes a while, and waits until it runs.
async fn running(gateway: &Process, milliseconds: u64) -> String {
    let api = gateway.api();
    let id = api.accepted("hostile.slow", &json!({"ms": milliseconds})).await.remove(0);
    eventually("it runs", async || {
        (api.state_of(&id).await.as_deref() == Some("running")).then_some(())
    })
    .await;
    id
}

async fn gateway(backends: &Backends) -> Process {
    let gateway = Process::start("gateway", backends, &[]);
    gateway.ready().await;
    gateway
        .deploy_as("hostile", "name = 'hostile-slow'\n[[trigger]]\nevent = 'hostile.slow'\n")
        .await;
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_finishes_what_it_runs_and_takes_nothing_more() {
    let shared = SharedBackends::new().await;
    let gateway = gateway(shared.backends()).await;
    let mut host = Process::start("host", shared.backends(), &[]);
    host.ready().await;
    let id = running(&gateway, 3_000).await;
    host.signal(Signal::TERM);
    eventually("it says that it drains", async || {
        (host.readiness().await == Some(503)).then_some(())
    })
    .await;
    let later = gateway.api().accepted("hostile.slow", &json!({"ms": 1})).await;
    assert_eq!(host.exit_code().await, Some(0));
    let execution = gateway.api().get(&format!("/v1/executions/{id}")).await;
    assert_eq!(
        (&execution["state"], &execution["attempt"]),
        (&json!("succeeded"), &json!(1)),
        "{execution}"
    );
    assert_eq!(gateway.api().state_of(&later[0]).await.as_deref(), Some("queued"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_in_time_is_handed_back() {
    let shared = SharedBackends::new().await;
    let gateway = gateway(shared.backends()).await;
    let mut host = Process::start(
        "host",
        shared.backends(),
        &[("HOST_GRACE", "100ms"), ("HOST_NAME", "first")],
    );
    host.ready().await;
    let id = running(&gateway, 4_000).await;
    host.signal(Signal::TERM);
    assert_eq!(host.exit_code().await, Some(0));
    let _other = Process::start("host", shared.backends(), &[("HOST_NAME", "second")]);
    let execution = gateway.api().ended(&id).await;
    assert_eq!(
        (&execution["state"], &execution["attempts"][0]["host"]),
        (&json!("succeeded"), &json!("second"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_cuts() {
    let shared = SharedBackends::new().await;
    let gateway = gateway(shared.backends()).await;
    let mut host = Process::start("host", shared.backends(), &[]);
    host.ready().await;
    let id = running(&gateway, 20_000).await;
    host.signal(Signal::TERM);
    eventually("it says that it drains", async || {
        (host.readiness().await == Some(503)).then_some(())
    })
    .await;
    host.signal(Signal::TERM);
    assert_eq!(host.exit_code().await, Some(143));
    assert_eq!(
        gateway.api().state_of(&id).await.as_deref(),
        Some("running"),
        "nobody has recorded an end"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_and_schedulers_end_well() {
    let shared = SharedBackends::new().await;
    let mut gateway = gateway(shared.backends()).await;
    let mut scheduler = Process::start("scheduler", shared.backends(), &[]);
    scheduler.ready().await;
    for process in [&mut gateway, &mut scheduler] {
        process.signal(Signal::TERM);
        assert_eq!(process.exit_code().await, Some(0));
    }
}
