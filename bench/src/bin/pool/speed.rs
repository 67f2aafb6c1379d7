//! Events from HTTP to the database and back to sight, alternating with a bare pipeline of the same
//! parts.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::percentile;
use crate::support::api::Api;
use crate::support::backends::{SharedBackends, queue_of};
use crate::support::pool::{Backends, Process};
use crate::support::{eventually, http};
use wasmill_broker::Queues as _;
use wasmill_domain::{ExecutionId, TenantName};
use wasmill_store::History as _;
use wasmill_store::postgres::{PostgresSettings, PostgresStore};

/// How many rounds each has.
const ROUNDS: usize = 3;

/// How long each is loaded.
const SECONDS: u32 = 15;

/// Connections of the generator of load.
const CONNECTIONS: u32 = 256;

/// Where the bare pipeline listens.
const PIPE_PORT: u16 = 8082;

/// The smallest function, as the bare pipeline runs it too.
const ECHO: &str = include_str!("../../../benches/invoke/echo.wat");

/// Where events are posted.
const PATH: &str = "/v1/events/order.created";

/// What one round came to.
#[derive(Clone, Copy)]
struct Round {
    /// Events recorded for each second, until none was left.
    rate: f64,
    /// Milliseconds from sending an event to its end, at half of the bare pipeline's rate.
    p50: f64,
    p99: f64,
}

pub(crate) async fn run(pipe: &str, load: &str) {
    let mut half = 0;
    for round in 1..=ROUNDS {
        let bare = bare_round(pipe, load, &mut half).await;
        let ours = our_round(load, half).await;
        println!("round {round}, half load {half}/s:");
        for (what, Round { rate, p50, p99 }) in [("bare", bare), ("wasmill", ours)] {
            println!("  {what:8} {rate:7.0} events/s drained, p50 {p50:6.2} ms, p99 {p99:6.2} ms");
        }
        println!(
            "  ratio    {:7.2}                    p99 {:6.2}",
            ours.rate / bare.rate,
            ours.p99 / bare.p99
        );
    }
}

/// A program that ends with this.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sets `half` to half of its rate the first time.
async fn bare_round(pipe: &str, load: &str, half: &mut u32) -> Round {
    let mut command = Command::new(pipe);
    let child = command
        .args(["rabbit", "pg", "quorum", "2"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _pipe = Program(child.expect("the bare pipeline runs"));
    let http = http().build().expect("a client");
    let stats = async || {
        let answer = http.get(format!("http://127.0.0.1:{PIPE_PORT}/stats")).send().await.ok()?;
        answer.text().await.ok()
    };
    eventually("the bare pipeline listens", async || stats().await).await;
    let done = async || number_after(&stats().await.expect("it answers"), "done_total=");
    generate(load, PIPE_PORT, 0, 2, "/").await;
    let (before, begun) = (done().await, Instant::now());
    generate(load, PIPE_PORT, 0, SECONDS, "/").await;
    let mut last = done().await;
    let mut ended = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = done().await;
        if now == last {
            break;
        }
        (last, ended) = (now, Instant::now());
    }
    let rate = (last - before) / ended.duration_since(begun).as_secs_f64();
    if *half == 0 {
        *half = (rate / 2.0) as u32;
    }
    // Asking sets its latencies back.
    stats().await;
    generate(load, PIPE_PORT, *half, SECONDS, "/").await;
    let text = stats().await.expect("it answers");
    Round { rate, p50: number_after(&text, "p50="), p99: number_after(&text, "p99=") }
}

async fn our_round(load: &str, half: u32) -> Round {
    let shared = SharedBackends::new().await;
    // The bare pipeline does without TLS as well.
    let database = format!("{}&sslmode=disable", shared.backends().database);
    let backends = &Backends { database, ..shared.backends().clone() };
    let gateway = Process::start("gateway", backends, &[]);
    gateway.ready().await;
    deploy_echo(&gateway).await;
    let host = Process::start("host", backends, &[]);
    let scheduler = Process::start("scheduler", backends, &[]);
    host.ready().await;
    scheduler.ready().await;
    let port = gateway
        .url
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("the URL has a port");
    generate(load, port, 0, 2, PATH).await;
    gateway.api().quiet(&["echo"]).await;
    let begun = Instant::now();
    let sent = generate(load, port, 0, SECONDS, PATH).await;
    gateway.api().quiet(&["echo"]).await;
    let rate = sent / begun.elapsed().as_secs_f64();
    let store = PostgresStore::connect(&backends.database, PostgresSettings::default())
        .await
        .expect("the database answers");
    let probing = tokio::spawn(probe(gateway.api(), store));
    generate(load, port, half, SECONDS, PATH).await;
    let latencies = probing.await.expect("the probes do not panic");
    gateway.api().quiet(&["echo"]).await;
    drop((gateway, host, scheduler));
    let broker = backends.broker_client();
    broker.delete(&queue_of("echo")).await.expect("the queue can be deleted");
    broker.close().await;
    Round { rate, p50: percentile(&latencies, 50), p99: percentile(&latencies, 99) }
}

async fn deploy_echo(gateway: &Process) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let component = wat::parse_str(ECHO).expect("echo.wat is a component");
    std::fs::write(folder.path().join("echo.wasm"), component)
        .expect("the folder can be written to");
    let schema = json!({"type": "object", "required": ["id", "items"], "properties": {"id": {"type": "string"}, "items": {
        "type": "array", "items": {"type": "object", "required": ["sku", "qty"], "properties": {"qty": {"type": "integer"}}}}}});
    std::fs::write(folder.path().join("schema.json"), schema.to_string())
        .expect("the folder can be written to");
    let manifest = "name = 'echo'\ncomponent = 'echo.wasm'\n[[trigger]]\nevent = 'order.created'\nschema = 'schema.json'\n\
        [limits]\nconcurrency = 256\n";
    std::fs::write(folder.path().join("wasmill.toml"), manifest)
        .expect("the folder can be written to");
    gateway.deploy_folder(folder.path()).await;
}

/// Loads a server, and gives how many requests it answered well.
async fn generate(load: &str, port: u16, rate: u32, seconds: u32, path: &str) -> f64 {
    let mut command = tokio::process::Command::new(load);
    command.args([
        port.to_string(),
        CONNECTIONS.to_string(),
        rate.to_string(),
        seconds.to_string(),
        path.to_owned(),
    ]);
    let output = command.output().await.expect("the generator of load runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(number_after(&text, "bad="), 0.0, "{text}");
    number_after(&text, "-> ") * f64::from(seconds)
}

/// Sends events one after the other for as long as the load lasts, and gives the sorted
/// milliseconds until each one's end is found in the database.
async fn probe(api: Api, store: PostgresStore) -> Vec<f64> {
    let begun = Instant::now();
    let mut latencies = Vec::new();
    while begun.elapsed() < Duration::from_secs(u64::from(SECONDS)) {
        let sent = Instant::now();
        let event: Value = json!({"id": "probe", "items": []});
        let id: ExecutionId =
            api.accepted("order.created", &event).await[0].parse().expect("an id");
        while !has_ended(&store, id).await {
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        latencies.push(sent.elapsed().as_secs_f64() * 1e3);
    }
    latencies.sort_unstable_by(f64::total_cmp);
    latencies
}

async fn has_ended(store: &PostgresStore, id: ExecutionId) -> bool {
    let found = store.execution(&TenantName::default(), id).await.expect("the database answers");
    found.is_some_and(|detail| detail.summary.state.is_terminal())
}

/// The number that follows a word in a text.
fn number_after(text: &str, word: &str) -> f64 {
    let rest = text.split(word).nth(1).unwrap_or_else(|| panic!("'{word}' is missing in '{text}'"));
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().unwrap_or_else(|e| panic!("'{word}' in '{text}': {e}"))
}
