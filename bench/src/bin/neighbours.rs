//! What a well-behaved function's callers notice of hostile guests beside it.
//!
//!     cargo build --release -p wasmill && cargo run --release -p wasmill-bench --bin neighbours
//!
//! Starts `wasmill dev`, invokes `hello` at a fixed rate (open loop: latency counts from the intended time of sending, until the
//! recorded result is back), first alone, then with each hostile guest kept in flight, and prints a table. Only the ratios of one
//! run mean anything.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

const RATE: u32 = 100;
const SECONDS: u32 = 20;
const HOSTILE_IN_FLIGHT: usize = 4;
const KINDS: [&str; 10] = [
    "spin",
    "memory-bomb",
    "recursion",
    "panic",
    "log-flood",
    "huge-output",
    "call-storm",
    "slow",
    "emit-flood",
    "resource-bomb",
];

struct Server {
    child: Child,
    /// Kept open: the server ends when nobody reads any more.
    _stdout: BufReader<ChildStdout>,
    url: String,
    _data: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the project's folder")?.to_owned();
    let binary = std::env::current_exe()?.with_file_name("wasmill");
    ensure!(binary.is_file(), "build it first: cargo build --release -p wasmill");
    let server = start(&binary)?;
    let mut functions = vec![root.join("functions/hello")];
    functions.extend(KINDS.map(|kind| root.join("functions/hostile").join(kind)));
    for function in functions {
        let status = Command::new(&binary)
            .args(["--url", &server.url, "deploy"])
            .arg(&function)
            .stdout(Stdio::null())
            .status()?;
        ensure!(status.success(), "{} was not deployed", function.display());
    }
    // Whoever comes first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
    measure(&http, &server.url, 2).await?;
    let alone = measure(&http, &server.url, SECONDS).await?;
    row("alone", &alone, &alone, &server);
    for kind in KINDS {
        let hostile: Vec<_> = (0..HOSTILE_IN_FLIGHT)
            .map(|_| {
                tokio::spawn(keep_invoking(
                    http.clone(),
                    format!("{}/v1/functions/hostile-{kind}/invoke", server.url),
                    kind,
                ))
            })
            .collect();
        let beside = measure(&http, &server.url, SECONDS).await?;
        hostile.iter().for_each(tokio::task::JoinHandle::abort);
        row(kind, &beside, &alone, &server);
    }
    let again = measure(&http, &server.url, SECONDS).await?;
    row("alone", &again, &alone, &server);
    Ok(())
}

fn start(binary: &PathBuf) -> Result<Server> {
    let data = tempfile::tempdir()?;
    let mut child = Command::new(binary)
        .args(["dev", "--listen", "127.0.0.1:0", "--data"])
        .arg(data.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("standard output is piped")?;
    let mut stdout = BufReader::new(stdout);
    let mut first = String::new();
    stdout.read_line(&mut first)?;
    let url = first.split_whitespace().last().context("the line ends with the URL")?.to_owned();
    Ok(Server { child, _stdout: stdout, url, _data: data })
}

/// Invokes `hello` at the fixed rate, and gives the sorted latencies in microseconds.
async fn measure(http: &reqwest::Client, url: &str, seconds: u32) -> Result<Vec<u64>> {
    let url = format!("{url}/v1/functions/hello/invoke");
    let begin = Instant::now();
    let mut calls = Vec::new();
    for i in 0..RATE * seconds {
        let due = begin + Duration::from_secs(1) * i / RATE;
        tokio::time::sleep_until(due.into()).await;
        let request = http.post(&url).json(&json!({"name": format!("caller {i}")}));
        calls.push(tokio::spawn(async move {
            let response = request.send().await?;
            ensure!(response.status() == 200, "hello answered {}", response.status());
            response.bytes().await?;
            Ok(u64::try_from(due.elapsed().as_micros())?)
        }));
    }
    let mut latencies = Vec::new();
    for call in calls {
        latencies.push(call.await??);
    }
    latencies.sort_unstable();
    Ok(latencies)
}

async fn keep_invoking(http: reqwest::Client, url: String, kind: &'static str) {
    loop {
        let request = http.post(format!("{url}?wait=60s&type=hostile.{kind}")).json(&json!({}));
        // Its end does not matter here; a refusal (too many in flight) must not become a busy loop.
        match request.send().await {
            Ok(response) if response.status().is_success() => drop(response.bytes().await),
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

#[expect(clippy::print_stdout, reason = "the report of this program")]
fn row(what: &str, latencies: &[u64], alone: &[u64], server: &Server) {
    let percentile = |latencies: &[u64], p: usize| latencies[(latencies.len() - 1) * p / 100] as f64 / 1000.0;
    let p99 = percentile(latencies, 99);
    println!(
        "{what:14} p50 {:7.2} ms  p99 {p99:7.2} ms  ({:.2} x alone)  resident {} MiB, at the peak {} MiB",
        percentile(latencies, 50),
        p99 / percentile(alone, 99),
        memory_mib(server.child.id(), "VmRSS:"),
        memory_mib(server.child.id(), "VmHWM:"),
    );
}

/// A line of the process's memory accounts, in MiB; 0 where it cannot be read.
fn memory_mib(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = status.lines().find_map(|l| l.strip_prefix(line)?.split_whitespace().next()?.parse::<u64>().ok());
    value.unwrap_or_default() / 1024
}
