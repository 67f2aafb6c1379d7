//! A server of the measurement's own, and what callers of a function notice there.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::promise::Row;

/// Invocations a second.
const RATE: u32 = 100;

/// How often it is measured alone and beside a neighbour, in alternating rounds: what else the
/// machine does meets both alike.
const ROUNDS: u32 = 4;

/// How long each of these measurements takes.
const SECONDS: u32 = 5;

/// The share of a core, in percent, below which a server is taken to be at rest.
const AT_REST: u64 = 10;

/// How long a server may take to come to rest.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A running `wasmill dev`, killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Kept open: the server ends when nobody reads any more.
    _stdout: BufReader<ChildStdout>,
    pub(crate) url: String,
    _data: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub(crate) fn start(binary: &Path) -> Result<Self> {
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
        Ok(Self { child, _stdout: stdout, url, _data: data })
    }

    /// Deploys the function in a folder.
    pub(crate) fn deploy(&self, binary: &Path, folder: &Path, key: &str) -> Result<()> {
        let mut deploy = Command::new(binary);
        deploy.args(["--url", &self.url, "deploy"]).arg(folder).stdout(Stdio::null());
        if !key.is_empty() {
            deploy.env("WASMILL_KEY", key);
        }
        ensure!(deploy.status()?.success(), "{} was not deployed", folder.display());
        Ok(())
    }

    /// Measures beside a neighbour and alone, in alternating rounds, and prints what both were
    /// like. `begin` starts the neighbour, whose tasks are ended after each round.
    pub(crate) async fn compare(
        &self,
        what: &str,
        http: &reqwest::Client,
        key: &str,
        mut begin: impl FnMut() -> Vec<JoinHandle<()>>,
    ) -> Result<Row> {
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            self.rest().await?;
            alone.extend(self.measure(http, key, SECONDS).await?);
            let neighbour = begin();
            beside.extend(self.measure(http, key, SECONDS).await?);
            neighbour.iter().for_each(JoinHandle::abort);
        }
        alone.sort_unstable();
        beside.sort_unstable();
        Ok(self.row(what, &alone, &beside))
    }

    /// Waits until the server has done what it was asked before.
    async fn rest(&self) -> Result<()> {
        let begin = Instant::now();
        let mut before = self.busy_ms()?;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let after = self.busy_ms()?;
            if after - before < 10 * AT_REST && self.children()? == 0 {
                return Ok(());
            }
            ensure!(
                begin.elapsed() < WAIT_TIMEOUT,
                "the server is still busy a minute after it was asked for something"
            );
            before = after;
        }
    }

    /// How long the server's threads have been running, in milliseconds.
    fn busy_ms(&self) -> Result<u64> {
        let mut nanoseconds = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may have ended meanwhile.
            let account =
                std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            nanoseconds +=
                account.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or_default();
        }
        Ok(nanoseconds / 1_000_000)
    }

    /// How many processes of its own the server has.
    fn children(&self) -> Result<usize> {
        let mut children = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let of_thread =
                std::fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
            children += of_thread.split_whitespace().count();
        }
        Ok(children)
    }

    /// Invokes `hello` at the fixed rate, and gives the latencies in microseconds.
    pub(crate) async fn measure(
        &self,
        http: &reqwest::Client,
        key: &str,
        seconds: u32,
    ) -> Result<Vec<u64>> {
        let url = format!("{}/v1/functions/hello/invoke", self.url);
        let begin = Instant::now();
        let mut calls = Vec::new();
        for i in 0..RATE * seconds {
            let due = begin + Duration::from_secs(1) * i / RATE;
            tokio::time::sleep_until(due.into()).await;
            let request =
                http.post(&url).bearer_auth(key).json(&json!({"name": format!("caller {i}")}));
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
        Ok(latencies)
    }

    /// Prints what was measured, and gives it; both are sorted.
    #[expect(clippy::print_stdout, reason = "the report of this program")]
    fn row(&self, what: &str, alone: &[u64], beside: &[u64]) -> Row {
        let percentile = |latencies: &[u64], p: usize| {
            latencies[(latencies.len() - 1) * p / 100] as f64 / 1000.0
        };
        let [a, b] = [alone, beside].map(|latencies| percentile(latencies, 99));
        let most_mib = memory_mib(self.child.id(), "VmHWM:");
        println!(
            "{what:14} p50 {:6.2} ms, alone {:6.2}; p99 {b:6.2} ms, alone {a:6.2} ({:.2} x); resident {} MiB, at most {}",
            percentile(beside, 50),
            percentile(alone, 50),
            b / a,
            memory_mib(self.child.id(), "VmRSS:"),
            most_mib,
        );
        Row { alone_p99_ms: a, beside_p99_ms: b, most_mib }
    }
}

/// A line of the process's memory accounts, in MiB; 0 where it cannot be read, as is said by
/// whoever checks it.
fn memory_mib(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = status
        .lines()
        .find_map(|l| l.strip_prefix(line)?.split_whitespace().next()?.parse::<u64>().ok());
    value.unwrap_or_default() / 1024
}
