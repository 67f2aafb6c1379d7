//! How fast hosts drain a backlog.

use std::time::Instant;

use serde_json::json;

use crate::support::backends::SharedBackends;
use crate::support::pool::Process;

/// How many executions wait.
const BACKLOG: usize = 20_000;

/// How many events a batch has.
const BATCH: usize = 1_000;

/// Sleeps as long as its event says; a host runs 16 at once.
fn manifest(name: &str, runs_on: &str, event: &str) -> String {
    format!("name = '{name}'\nruns_on = ['{runs_on}']\n[[trigger]]\nevent = '{event}'\n")
}

pub(crate) async fn run() {
    println!("{BACKLOG} executions of 20 ms each, 16 at once on each host");
    let mut alone = None;
    for hosts in [1, 2, 4] {
        let seconds = drain(hosts).await;
        let alone = *alone.get_or_insert(seconds);
        let ideal = BACKLOG as f64 * 0.020 / 16.0 / f64::from(hosts);
        println!(
            "{hosts} hosts: {seconds:6.2} s, {:.2} x one host (at best {ideal:.2} s)",
            alone / seconds
        );
    }
}

/// Drains the backlog with so many hosts, and gives the seconds that it took.
async fn drain(hosts: u32) -> f64 {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let gateway = Process::start("gateway", backends, &[]);
    gateway.ready().await;
    // The same component for a function that hosts may run at once, so that it is compiled before
    // the clock starts.
    gateway.deploy_as("hostile", &manifest("warm", "pool", "never")).await;
    gateway.deploy_as("hostile", &manifest("slow", "nowhere", "hostile.slow")).await;
    let api = gateway.api();
    for batch in 0..BACKLOG / BATCH {
        let events: Vec<_> = (0..BATCH)
            .map(|n| json!({"specversion": "1.0", "id": format!("{batch}-{n}"), "source": "/bench", "type": "hostile.slow", "data": {"ms": 20}}))
            .collect();
        let request = api
            .request("POST", "/v1/events")
            .header("content-type", "application/cloudevents-batch+json");
        let answer =
            request.body(json!(events).to_string()).send().await.expect("the gateway answers");
        assert!(answer.status().is_success(), "{}", answer.status());
    }
    let mut pool = Vec::new();
    for _ in 0..hosts {
        pool.push(Process::start("host", backends, &[("HOST_LABELS", "['pool']")]));
    }
    for host in &pool {
        host.ready().await;
    }
    gateway.deploy_as("hostile", &manifest("slow", "pool", "hostile.slow")).await;
    let begun = Instant::now();
    api.quiet(&["slow"]).await;
    begun.elapsed().as_secs_f64()
}
