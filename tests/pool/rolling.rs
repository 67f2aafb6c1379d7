//! Versions and processes that change under load.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};
use wasmill_domain::Timestamp;

use crate::support::api::{Api, execution_ids};
use crate::support::backends::SharedBackends;
use crate::support::pool::Process;
use crate::support::upgrade::forth_and_back;
use crate::support::wasmill;

/// How many events are accepted while every process is replaced.
const REPLACED_UNDER: usize = 3_000;

/// How many versions follow each other, one a second.
const VERSIONS: usize = 30;

/// A gateway that was not told of a deploy itself may accept events by the version before for so
/// long.
const EVERYWHERE_WITHIN: Duration = Duration::from_secs(1);

/// A version greets by its number.
fn manifest(version: usize) -> String {
    format!(
        "name = 'hello'\n[[trigger]]\nevent = 'greeting.requested'\n[env]\nGREETING = '{version}'\n"
    )
}

/// As an upgrade does it, of which `scripts/upgrade-test` makes one between two releases.
#[tokio::test(flavor = "multi_thread")]
async fn every_process_is_replaced_under_load() {
    let shared = SharedBackends::without_schema().await;
    let binary = PathBuf::from(wasmill().get_program());
    let orders = [["host", "gateway", "scheduler"], ["scheduler", "gateway", "host"]];
    forth_and_back(shared.backends(), [&binary, &binary], &binary, orders, REPLACED_UNDER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_meets_a_version_that_was_current() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let gateways =
        [Process::start("gateway", backends, &[]), Process::start("gateway", backends, &[])];
    let hosts = [Process::start("host", backends, &[]), Process::start("host", backends, &[])];
    for process in gateways.iter().chain(&hosts) {
        process.ready().await;
    }
    // A version may be current from when its deploy was asked for until the next one's was
    // answered.
    let mut asked = Vec::new();
    let mut answered = Vec::new();
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for version in 0..VERSIONS {
        let mut begun = Instant::now();
        let gateway = &gateways[version % 2];
        asked.push(Timestamp::now());
        gateway.deploy_as("hello", &manifest(version)).await;
        answered.push(Timestamp::now());
        if version == 0 {
            let client =
                |n: usize| tokio::spawn(post_until(gateways[n % 2].api(), Arc::clone(&stop)));
            clients.extend((0..4).map(client));
            // The first one's second begins with the events.
            begun = Instant::now();
        }
        tokio::time::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed())).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut accepted = Vec::new();
    for client in clients {
        accepted.extend(client.await.unwrap());
    }
    assert!(accepted.len() > 1_000, "{} events", accepted.len());

    let api = gateways[0].api();
    let mut used = vec![0; VERSIONS];
    for id in accepted {
        let execution = api.ended(&id).await;
        assert_eq!(execution["state"], "succeeded", "{execution}");
        let greeting = execution["result"]["data"]["greeting"].as_str().unwrap();
        let version: usize = greeting.split(',').next().unwrap().parse().unwrap();
        let accepted_at = time(&execution["accepted_at"]);
        let started_at = time(&execution["attempts"][0]["started_at"]);
        let over = answered.get(version + 1);
        assert!(
            asked[version] <= started_at
                && over.is_none_or(|over| accepted_at <= over.plus(EVERYWHERE_WITHIN)),
            "version {version}, asked for at {}, over at {over:?}: {execution}",
            asked[version]
        );
        used[version] += 1;
    }
    assert!(used.iter().all(|count| *count > 0), "each had its second: {used:?}");
}

fn time(value: &Value) -> Timestamp {
    serde_json::from_value(value.clone()).unwrap()
}

/// Posts event after event, and gives the executions.
async fn post_until(api: Api, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut executions = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let response = api.post_plain("greeting.requested", &json!({"name": "Ada"})).await;
        let status = response.status();
        // Before this gateway has heard of the first version.
        if status != StatusCode::NOT_FOUND {
            assert_eq!(status, StatusCode::ACCEPTED);
            executions.extend(execution_ids(&response.json().await.unwrap()));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    executions
}
