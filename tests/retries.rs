//! What is tried again, and what is not.

use serde_json::json;

use super::support::Dev;

#[tokio::test]
async fn a_wish_to_retry_is_met() {
    let dev = Dev::with_samples(&["flaky"]);
    let execution =
        dev.api().run("payment.requested", &json!({"succeed_at": 3, "delay_ms": 50})).await;
    assert_eq!(execution["state"], "succeeded", "{execution}");
    let outcomes: Vec<&str> = execution["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["error", "error", "success"]);
    let traces: Vec<&str> = execution["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["trace_id"].as_str().unwrap())
        .collect();
    assert!(
        traces.iter().all(|trace| *trace == execution["trace_id"]),
        "one trace for all attempts"
    );
}

#[tokio::test]
async fn the_last_attempt_fails_for_good() {
    let dev = Dev::with_samples(&["flaky"]);
    let execution =
        dev.api().run("payment.requested", &json!({"succeed_at": 1000, "delay_ms": 10})).await;
    assert_eq!(execution["state"], "failed", "{execution}");
    assert_eq!(
        execution["attempts"].as_array().unwrap().len() as u64,
        execution["max_attempts"].as_u64().unwrap()
    );
}

#[tokio::test]
async fn a_rejection_is_final() {
    let dev = Dev::with_samples(&["flaky"]);
    let execution = dev.api().run("payment.requested", &json!({"reject": true})).await;
    assert_eq!(execution["state"], "failed", "{execution}");
    assert_eq!(execution["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(execution["outcome"], "rejected");
}
