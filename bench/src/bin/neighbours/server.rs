//! A server of the measurement's own, and what callers of a function notice there.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

/// Invocations a second.
const RATE: u32 = 100;

/// For how long one row is measured.
pub(crate) const SECONDS: u32 = 20;

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

    /// Invokes `hello` at the fixed rate, and gives the sorted latencies in microseconds.
    pub(crate) async fn measure(&self, http: &reqwest::Client, key: &str, seconds: u32) -> Result<Vec<u64>> {
        let url = format!("{}/v1/functions/hello/invoke", self.url);
        let begin = Instant::now();
        let mut calls = Vec::new();
        for i in 0..RATE * seconds {
            let due = begin + Duration::from_secs(1) * i / RATE;
            tokio::time::sleep_until(due.into()).await;
            let request = http.post(&url).bearer_auth(key).json(&json!({"name": format!("caller {i}")}));
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

    /// Prints what was measured.
    #[expect(clippy::print_stdout, reason = "the report of this program")]
    pub(crate) fn row(&self, what: &str, latencies: &[u64], alone: &[u64]) {
        let percentile = |latencies: &[u64], p: usize| latencies[(latencies.len() - 1) * p / 100] as f64 / 1000.0;
        let p99 = percentile(latencies, 99);
        println!(
            "{what:14} p50 {:7.2} ms  p99 {p99:7.2} ms  ({:.2} x alone)  resident {} MiB, at the peak {} MiB",
            percentile(latencies, 50),
            p99 / percentile(alone, 99),
            memory_mib(self.child.id(), "VmRSS:"),
            memory_mib(self.child.id(), "VmHWM:"),
        );
    }
}

/// A line of the process's memory accounts, in MiB; 0 where it cannot be read.
fn memory_mib(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = status.lines().find_map(|l| l.strip_prefix(line)?.split_whitespace().next()?.parse::<u64>().ok());
    value.unwrap_or_default() / 1024
}
