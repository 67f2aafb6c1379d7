//! What one tenant notices of another's backlog.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::percentile;
use crate::support::api::Api;
use crate::support::backends::SharedBackends;
use crate::support::pool::Process;
use crate::support::wasmill;

/// How many events the other tenant has waiting.
const BACKLOG: usize = 50_000;

/// How many events a batch has.
const BATCH: usize = 1_000;

/// How many events are measured, and how far apart they are sent.
const PROBES: u32 = 1_000;
const APART: Duration = Duration::from_millis(20);

pub(crate) async fn run() {
    for (what, event_type, data) in [
        ("executions that wait for 20 ms", "hostile.slow", json!({"ms": 20})),
        ("executions that compute", "hostile.log-flood", json!({"lines": 20})),
    ] {
        let (alone, beside, left) = measure(event_type, &data).await;
        println!("a backlog of {BACKLOG} {what}, {left} of them left at the end:");
        for (when, latencies) in [("alone", &alone), ("beside it", &beside)] {
            let (p50, p99) = (percentile(latencies, 50), percentile(latencies, 99));
            println!(
                "  {when:10} p50 {p50:7.2} ms, p99 {p99:7.2} ms ({:.2} x)",
                p99 / percentile(&alone, 99)
            );
        }
    }
}

/// Latencies of an invocation, alone and beside a backlog of such events, and what is left of the
/// backlog.
async fn measure(event_type: &str, data: &Value) -> (Vec<f64>, Vec<f64>, u64) {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let migrated = wasmill()
        .args(["migrate", "--first-key"])
        .env("WASMILL_DATABASE_URL", &backends.database)
        .output()
        .expect("the binary runs");
    let printed = String::from_utf8(migrated.stdout).expect("UTF-8");
    let key =
        printed.lines().find_map(|line| line.strip_prefix("API key")).expect("the key is printed");
    let key = key.split_whitespace().next().expect("the key is printed");
    let gateway = Process::start("gateway", backends, &[]);
    gateway.ready().await;
    let (noisy, quiet) =
        (gateway.api().with_key(key, "noisy"), gateway.api().with_key(key, "quiet"));
    deploy(&noisy, "hostile", event_type).await;
    deploy(&quiet, "hello", "greeting.requested").await;
    let host = Process::start("host", backends, &[]);
    host.ready().await;

    probe(&quiet, PROBES / 10).await;
    let alone = probe(&quiet, PROBES).await;
    for batch in 0..BACKLOG / BATCH {
        let events: Vec<_> = (0..BATCH)
            .map(|n| json!({"specversion": "1.0", "id": format!("{batch}-{n}"), "source": "/bench", "type": event_type, "data": data}))
            .collect();
        let request = noisy
            .request("POST", "/v1/events")
            .header("content-type", "application/cloudevents-batch+json");
        let answer =
            request.body(json!(events).to_string()).send().await.expect("the gateway answers");
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
    }
    let beside = probe(&quiet, PROBES).await;
    let left = noisy.get("/v1/functions/hostile").await["queue"]["ready"]
        .as_u64()
        .expect("a number of messages");
    (alone, beside, left)
}

/// Deploys a sample's component as a tenant of its own.
async fn deploy(api: &Api, sample: &str, event: &str) {
    let file = crate::support::sample(sample).join(format!("{sample}.wasm"));
    let component = std::fs::read(file).expect("the sample's component is there");
    let request = api
        .request("POST", "/v1/artifacts")
        .header("content-type", "application/wasm")
        .body(component);
    let uploaded: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    let manifest = json!({"name": sample, "trigger": [{"event": event}]});
    let request = api.request("PUT", &format!("/v1/functions/{sample}"));
    let answer = request
        .json(&json!({"digest": uploaded["digest"], "manifest": manifest}))
        .send()
        .await
        .expect("an answer");
    assert!(answer.status().is_success(), "{:?}", answer.text().await);
}

/// Invokes `hello` at a fixed rate, through its queue like any event, and gives the sorted
/// milliseconds until the recorded end of each is back.
async fn probe(api: &Api, count: u32) -> Vec<f64> {
    let begun = Instant::now();
    let mut probes = Vec::new();
    for number in 0..count {
        let due = begun + APART * number;
        tokio::time::sleep_until(due.into()).await;
        let request =
            api.request("POST", "/v1/functions/hello/invoke").json(&json!({"name": "Ada"}));
        probes.push(tokio::spawn(async move {
            let answer = request.send().await.expect("the gateway answers");
            let document: Value = answer.json().await.expect("JSON");
            assert_eq!(document["state"], "succeeded", "{document}");
            due.elapsed().as_secs_f64() * 1e3
        }));
    }
    let mut latencies = Vec::new();
    for probe in probes {
        latencies.push(probe.await.expect("a probe does not panic"));
    }
    latencies.sort_unstable_by(f64::total_cmp);
    latencies
}
