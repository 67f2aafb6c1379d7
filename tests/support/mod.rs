//! What the end-to-end tests share: a `wasmill dev` process of their own, its command line, and its
//! API.

pub(crate) mod api;
pub(crate) mod backends;
pub(crate) mod languages;
pub(crate) mod load;
pub(crate) mod pool;
pub(crate) mod upgrade;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use api::Api;
use serde_json::Value;

/// How long anything may take before a test gives up. Generous: the machine may be busy, and
/// waiting costs nothing where the condition is met at once.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(300);

/// A client of HTTP that trusts no certificate.
pub(crate) fn http() -> reqwest::ClientBuilder {
    // Whoever comes first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

/// The top folder of the project.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the project")
        .to_owned()
}

/// A sample function's folder.
pub(crate) fn sample(name: &str) -> PathBuf {
    root().join("functions").join(name)
}

/// A command of the binary under test, with nothing of the developer's own settings.
pub(crate) fn wasmill() -> Command {
    // Cargo tells the tests of its package; the benchmarks, which share this module, have it beside
    // them.
    let binary = option_env!("CARGO_BIN_EXE_wasmill").map(PathBuf::from);
    let binary = binary.or_else(|| Some(std::env::current_exe().ok()?.with_file_name("wasmill")));
    wasmill_of(&binary.expect("a program knows its own path"))
}

/// The same of another binary, such as another release's.
pub(crate) fn wasmill_of(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WASMILL_")) {
        command.env_remove(name);
    }
    // Compilers give way to all else: where much else is done, two minutes are too few for the
    // runtimes of some languages. What is tested of the bound itself sets its own.
    command.env("WASMILL_ENGINE_COMPILE_TIMEOUT", "10m");
    command
}

/// The system in a process of its own, on a folder and port of its own. Killed when dropped.
pub(crate) struct Dev {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
    data: tempfile::TempDir,
    log: Option<tempfile::NamedTempFile>,
    arguments: Vec<String>,
    /// Its URL.
    pub(crate) url: String,
}

impl Dev {
    /// Starts one with nothing deployed.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with further arguments of `wasmill dev`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_saying(arguments, Stdio::inherit(), None)
    }

    /// Starts one whose log is written in full, for [`Dev::traces`].
    pub(crate) fn start_traced() -> Self {
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let stderr = log.reopen().expect("the file can be opened again").into();
        Self::start_saying(&["--log", "trace"], stderr, Some(log))
    }

    fn start_saying(
        arguments: &[&str],
        stderr: Stdio,
        log: Option<tempfile::NamedTempFile>,
    ) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        Self::start_in(data, arguments, stderr, log)
    }

    /// Starts one on the data that another one left in a folder.
    pub(crate) fn start_on(data: tempfile::TempDir, arguments: &[&str]) -> Self {
        Self::start_in(data, arguments, Stdio::inherit(), None)
    }

    fn start_in(
        data: tempfile::TempDir,
        arguments: &[&str],
        stderr: Stdio,
        log: Option<tempfile::NamedTempFile>,
    ) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let (child, lines) = spawn(data.path(), &arguments, "127.0.0.1:0", stderr);
        let mut dev =
            Self { child, lines, seen: Vec::new(), data, log, arguments, url: String::new() };
        dev.await_url();
        dev
    }

    /// Starts one and deploys the sample functions called `names`.
    pub(crate) fn with_samples(names: &[&str]) -> Self {
        let dev = Self::start();
        for name in names {
            dev.cli_ok(&["deploy", sample(name).to_str().expect("a UTF-8 path")]);
        }
        dev
    }

    fn await_url(&mut self) {
        let line = self.await_line(|line| line.contains(" is at http"));
        self.url = line.split_whitespace().last().expect("the line ends with the URL").to_owned();
    }

    /// Waits for a line of standard output.
    pub(crate) fn await_line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + WAIT_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|e| {
                panic!("{e}: the line did not come; there was {:#?}", self.seen)
            });
            self.seen.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Ends the process as a crash would: no handler runs, nothing is flushed.
    pub(crate) fn kill_9(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process can be waited for");
    }

    /// Starts it again on what it left, at the same address.
    pub(crate) fn restart(&mut self) {
        let address = self.address().to_string();
        let (child, lines) = spawn(self.data.path(), &self.arguments, &address, Stdio::inherit());
        (self.child, self.lines) = (child, lines);
        self.await_url();
    }

    /// Asks it to stop and waits until it has; whether it ended well.
    pub(crate) fn terminate(&mut self) -> bool {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .expect("the process can be signalled");
        self.child.wait().expect("the process can be waited for").success()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.url.trim_start_matches("http://").parse().expect("the URL is an address")
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder of its data.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// What one that was started with [`Dev::start_traced`] has logged.
    pub(crate) fn traces(&self) -> String {
        let log = self.log.as_ref().expect("its log is written to a file");
        String::from_utf8_lossy(&std::fs::read(log.path()).expect("the log can be read"))
            .into_owned()
    }

    /// Its API.
    pub(crate) fn api(&self) -> Api {
        Api::new(&self.url)
    }

    /// Runs a client verb.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        wasmill().args(["--url", &self.url]).args(arguments).output().expect("the binary runs")
    }

    /// Runs a client verb that must succeed, and gives what it printed.
    pub(crate) fn cli_ok(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs a client verb that must succeed with `--json`.
    pub(crate) fn cli_json(&self, arguments: &[&str]) -> Value {
        let text = self.cli_ok(&[&["--json"], arguments].concat());
        serde_json::from_str(&text).expect("JSON")
    }

    /// Runs a client verb that must fail with `code`, and gives what it said.
    pub(crate) fn cli_fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(
    data: &Path,
    arguments: &[String],
    listen: &str,
    stderr: Stdio,
) -> (Child, mpsc::Receiver<String>) {
    let mut child = wasmill()
        .arg("dev")
        .args(["--listen", listen])
        .arg("--data")
        .arg(data)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .expect("the binary runs");
    let stdout = child.stdout.take().expect("standard output is piped");
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    (child, lines)
}

/// Waits until `condition` gives something.
pub(crate) async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {WAIT_TIMEOUT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
