//! Executions that operators cancel, suspend and resume.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};
use wasmill_domain::ExecutionId;

use super::support::api::Api;
use super::support::{Dev, eventually, sample};

/// Moves an execution by the API, and gives the answer's status and document.
pub(crate) async fn operate(api: &Api, id: &str, what: &str) -> (StatusCode, Value) {
    let path = format!("/v1/executions/{id}/{what}?reason=too%20dear");
    let response = api.request("POST", &path).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

/// The same, where it must be done.
pub(crate) async fn operated(api: &Api, id: &str, what: &str) -> Value {
    let (status, document) = operate(api, id, what).await;
    assert_eq!(status, StatusCode::OK, "{what}: {document}");
    document
}

/// Begins an execution that runs for minutes, and waits until it runs.
pub(crate) async fn running(api: &Api, event_type: &str) -> String {
    let id = api.accepted(event_type, &json!({"ms": 600_000})).await.remove(0);
    eventually("it runs", async || {
        (api.state_of(&id).await.as_deref() == Some("running")).then_some(())
    })
    .await;
    id
}

/// Cancels what runs; gives how long after the answer the guest was stopped.
pub(crate) async fn cancel_running(api: &Api, event_type: &str) -> Duration {
    let id = running(api, event_type).await;
    assert_eq!(operated(api, &id, "cancel").await["state"], "cancelled");
    let answered = Instant::now();
    let execution = eventually("the attempt is recorded", async || {
        let execution = api.get(&format!("/v1/executions/{id}")).await;
        (!execution["attempts"].as_array()?.is_empty()).then_some(execution)
    })
    .await;
    let stopped = answered.elapsed();
    assert_eq!(
        (&execution["state"], &execution["epoch"], &execution["reason"]),
        (&json!("cancelled"), &json!(2), &json!("too dear")),
        "{execution}"
    );
    let attempt = &execution["attempts"][0];
    assert_eq!(
        (&attempt["outcome"], &attempt["message"]),
        (&json!("cancelled"), &json!("cancelled by an operator: too dear")),
        "{execution}"
    );
    stopped
}

/// Suspends what runs, and resumes it: it runs again, at the same attempt.
pub(crate) async fn suspend_and_resume_running(api: &Api, event_type: &str) {
    let id = running(api, event_type).await;
    assert_eq!(operated(api, &id, "suspend").await["state"], "suspended");
    let held = api.get(&format!("/v1/executions/{id}")).await;
    assert_eq!(
        (&held["state"], &held["reason"], &held["attempts"]),
        (&json!("suspended"), &json!("too dear"), &json!([])),
        "{held}"
    );
    assert!(held["held_by"].is_string() && held["changed_at"].is_string(), "{held}");
    assert_eq!(operated(api, &id, "resume").await["state"], "queued");
    eventually("it runs again", async || {
        (api.state_of(&id).await.as_deref() == Some("running")).then_some(())
    })
    .await;
    let again = api.get(&format!("/v1/executions/{id}")).await;
    assert_eq!((&again["attempt"], &again["epoch"]), (&json!(1), &json!(3)), "{again}");
    assert_eq!(operated(api, &id, "cancel").await["state"], "cancelled");
    assert_eq!(api.ended(&id).await["state"], "cancelled");
}

/// The manifest of a guest that runs for minutes, by what it does: `spin` or `slow`.
pub(crate) fn manifest(kind: &str) -> String {
    format!(
        "name = '{kind}'\n[[trigger]]\nevent = 'hostile.{kind}'\n\
         [limits]\nfuel = 1_000_000_000_000\ntimeout = '10m'\n"
    )
}

/// A system with a guest that computes and one that waits, for minutes.
fn dev() -> Dev {
    let dev = Dev::with_samples(&["hello"]);
    let component = sample("hostile").join("hostile.wasm");
    for kind in ["spin", "slow"] {
        let folder = tempfile::tempdir().unwrap();
        let manifest = format!("component = '{}'\n{}", component.display(), manifest(kind));
        std::fs::write(folder.path().join("wasmill.toml"), manifest).unwrap();
        dev.cli_ok(&["deploy", folder.path().to_str().unwrap()]);
    }
    dev
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_cancelled_at_once() {
    let dev = dev();
    for event_type in ["hostile.spin", "hostile.slow"] {
        let stopped = cancel_running(&dev.api(), event_type).await;
        // Far less than the store is asked after.
        println!("{event_type} was stopped {stopped:?} after the answer");
        assert!(stopped < Duration::from_secs(10), "{event_type}: {stopped:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_suspended_and_runs_again() {
    let dev = dev();
    for event_type in ["hostile.spin", "hostile.slow"] {
        suspend_and_resume_running(&dev.api(), event_type).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_moves_executions() {
    let dev = dev();
    let api = dev.api();
    let id = running(&api, "hostile.slow").await;
    let reason = "to be looked at\nby \u{1b}[1mAda";
    let said = dev.cli_ok(&["executions", "suspend", &id, "--reason", reason]);
    assert_eq!(said, format!("execution {id} is suspended\n"));
    let shown = dev.cli_ok(&["executions", "show", &id]);
    assert!(
        shown.contains("to be looked at\n             by ") && shown.contains("held by"),
        "{shown}"
    );
    assert!(!shown.contains('\u{1b}') && shown.contains("[1mAda"), "{shown}");
    let said = dev.cli_fails(1, &["executions", "suspend", &id]);
    assert!(said.contains("the execution is suspended already"), "{said}");
    let moved = dev.cli_json(&["executions", "resume", &id]);
    assert_eq!((&moved["state"], &moved["epoch"]), (&json!("queued"), &json!(3)));
    dev.cli_ok(&["executions", "cancel", &id]);
    let said = dev.cli_fails(1, &["executions", "cancel", &id]);
    assert!(said.contains("cancelled"), "{said}");
    // Nobody has told it.
    let unknown = ExecutionId::new().to_string();
    for (what, expected) in
        [("suspend", "it is suspended if it comes within 7d"), ("resume", "it runs when it comes")]
    {
        let said = dev.cli_ok(&["executions", what, &unknown]);
        let note = format!("nothing is known of this execution yet: {expected}");
        assert_eq!(said, format!("execution {unknown}: {note}\n"));
    }
    dev.cli_fails(3, &["executions", "show", &unknown]);
    let old = "01800000-0000-7000-8000-000000000000";
    dev.cli_fails(3, &["executions", "cancel", old]);
    dev.cli_fails(3, &["executions", "resume", "00000000-0000-4000-8000-000000000000"]);
}

/// It may be on its way to the queue, to a host, or about to run: the answer holds wherever it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_cancelled_in_time_does_not_run() {
    let dev = dev();
    let api = dev.api();
    let mut cancelled = 0;
    for n in 0..50 {
        let id = api.accepted("greeting.requested", &json!({"name": format!("n{n}")})).await;
        let (status, document) = operate(&api, &id[0], "cancel").await;
        let execution = api.ended(&id[0]).await;
        if status == StatusCode::OK {
            cancelled += 1;
            assert_eq!(execution["state"], "cancelled", "{execution}");
            assert_eq!(execution["result"], Value::Null, "{execution}");
        } else {
            // The function was faster.
            assert_eq!(status, StatusCode::CONFLICT, "{document}");
            assert_eq!(execution["state"], "succeeded", "{execution}");
        }
    }
    println!("{cancelled} of 50 were cancelled in time");
}
