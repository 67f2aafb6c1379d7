//! Guests that mean harm, beside guests that mean well: each gets its own named end, and the others
//! do not notice.
//!
//! How long the neighbours take is measured by `bench/src/bin/neighbours.rs`; here it only matters
//! that they all succeed.

use serde_json::{Value, json};

use super::support::api::Api;
use super::support::{Dev, sample};

/// Each kind of hostility, the outcomes that it may end with, and a word that its message must
/// have.
const HOSTILE: [(&str, &str, &str); 11] = [
    ("spin", "out_of_fuel", "limits.fuel"),
    ("memory-bomb", "out_of_memory", "limits.memory"),
    ("recursion", "trap", "stack"),
    ("panic", "trap", "unreachable"),
    ("log-flood", "success", ""),
    ("huge-output", "trap", "limits.output_bytes"),
    ("call-storm", "trap", "limits.host_calls"),
    ("slow", "timed_out", "limits.timeout"),
    ("emit-flood", "trap", "limits.emitted_events"),
    ("exit", "trap", "exit"),
    ("resource-bomb", "trap", ""),
];

/// The most resident memory that the process may have, with every hostile guest in it at once.
const MAX_RESIDENT_KIB: u64 = 1_500_000;

#[tokio::test(flavor = "multi_thread")]
async fn each_has_its_own_end_and_the_neighbours_succeed() {
    let dev = Dev::with_samples(&["hello"]);
    for (kind, _, _) in HOSTILE {
        dev.cli_ok(&["deploy", sample("hostile").join(kind).to_str().unwrap()]);
    }
    let api = dev.api();
    let (neighbours, ()) = tokio::join!(greet(&api, 500), attack(&api, 4));
    for execution in neighbours {
        assert_eq!(execution["state"], "succeeded", "{execution}");
    }
    let peak = resident_peak_kib(dev.pid());
    assert!(peak < MAX_RESIDENT_KIB, "{peak} KiB resident at the peak");
}

/// Sends every kind of hostile event `rounds` times, all at once, and checks how each ends.
async fn attack(api: &Api, rounds: usize) {
    let mut hostile = Vec::new();
    for round in 0..rounds {
        for (kind, outcome, word) in HOSTILE {
            let id =
                api.accepted(&format!("hostile.{kind}"), &json!({"round": round})).await.remove(0);
            hostile.push((kind, outcome, word, id));
        }
    }
    for (kind, outcome, word, id) in hostile {
        let execution = api.ended(&id).await;
        let attempt = &execution["attempts"][0];
        assert_eq!(attempt["outcome"], outcome, "{kind}: {execution}");
        let message = attempt["message"].as_str().unwrap_or_default();
        assert!(message.contains(word), "{kind}: '{word}' is missing in '{message}'");
    }
}

async fn greet(api: &Api, count: usize) -> Vec<Value> {
    let mut ids = Vec::new();
    for i in 0..count {
        ids.extend(api.accepted("greeting.requested", &json!({"name": format!("n{i}")})).await);
    }
    let mut executions = Vec::new();
    for id in ids {
        executions.push(api.ended(&id).await);
    }
    executions
}

/// The most memory that a process has had resident so far.
fn resident_peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_panic_shows_where() {
    let dev = Dev::with_samples(&["hostile/panic"]);
    let api = dev.api();
    let execution = api.run("hostile.panic", &json!({})).await;
    assert_eq!(execution["state"], "failed");
    let backtrace = execution["attempts"][0]["backtrace"].as_str().unwrap();
    assert!(backtrace.contains("panic"), "{backtrace}");
    let logs = api.logs(execution["id"].as_str().unwrap()).await;
    assert!(
        logs.iter()
            .any(|l| l["source"] == "stderr"
                && l["message"].as_str().unwrap().contains("panicked at")),
        "{logs:?}"
    );
}

#[tokio::test]
async fn a_log_flood_is_cut_and_counted() {
    let dev = Dev::with_samples(&["hostile/log-flood"]);
    let api = dev.api();
    let execution = api.run("hostile.log-flood", &json!({})).await;
    assert!(execution["attempts"][0]["log_lines_dropped"].as_u64().unwrap() > 0, "{execution}");
}

#[tokio::test]
async fn nothing_of_the_host_is_seen() {
    let dev = Dev::with_samples(&["hostile/env"]);
    let execution = dev.api().run("hostile.env", &json!({})).await;
    assert_eq!(execution["state"], "succeeded", "{execution}");
    let text = execution["result"]["data"].to_string();
    assert!(!text.contains("PATH") && !text.contains("/etc"), "{text}");
}
