//! A pool: gateways, hosts and schedulers as processes of their own, on a PostgreSQL schema and
//! RabbitMQ queues of their own.

use std::fs::File;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use super::api::Api;
use super::{eventually, sample, wasmill, wasmill_of};

/// Where a pool's backends are, and what keeps them apart from others'.
#[derive(Clone, Debug)]
pub(crate) struct Backends {
    /// For `database.url`.
    pub(crate) database: String,
    /// For `broker.url`.
    pub(crate) broker: String,
    /// For `broker.queue_prefix`.
    pub(crate) prefix: String,
}

/// A role's process. Killed when dropped.
pub(crate) struct Process {
    /// What it does.
    pub(crate) role: &'static str,
    binary: Option<PathBuf>,
    child: Child,
    log: File,
    backends: Backends,
    settings: Vec<(String, String)>,
    /// Where it serves its API or its probes.
    pub(crate) url: String,
}

impl Process {
    /// Starts one. `settings` are variables and their values, after `WASMILL_`.
    pub(crate) fn start(
        role: &'static str,
        backends: &Backends,
        settings: &[(&str, &str)],
    ) -> Self {
        Self::start_as(None, role, backends, settings)
    }

    /// Starts one of another binary, such as another release's.
    pub(crate) fn start_of(
        binary: &Path,
        role: &'static str,
        backends: &Backends,
        settings: &[(&str, &str)],
    ) -> Self {
        Self::start_as(Some(binary.to_owned()), role, backends, settings)
    }

    fn start_as(
        binary: Option<PathBuf>,
        role: &'static str,
        backends: &Backends,
        settings: &[(&str, &str)],
    ) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let mut all = vec![(format!("{}_LISTEN", role.to_uppercase()), address.clone())];
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let log = tempfile::tempfile().expect("a temporary file");
        let child = launch(binary.as_deref(), role, backends, &all, &log);
        Self {
            role,
            binary,
            child,
            log,
            backends: backends.clone(),
            settings: all,
            url: format!("http://{address}"),
        }
    }

    /// Starts it again, where it was.
    pub(crate) fn restart(&mut self) {
        self.child =
            launch(self.binary.as_deref(), self.role, &self.backends, &self.settings, &self.log);
    }

    /// Starts it again, where it was, as another binary.
    pub(crate) fn restart_as(&mut self, binary: &Path) {
        self.binary = Some(binary.to_owned());
        self.restart();
    }

    /// Ends it as a crash would.
    pub(crate) fn kill_9(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process can be waited for");
    }

    /// Its number in the system.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process can be signalled");
    }

    /// Waits until it has ended by itself, and gives its exit code.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        let (role, child) = (self.role, &mut self.child);
        eventually(&format!("the {role} ends"), async || {
            child.try_wait().expect("it can be waited for")
        })
        .await
        .code()
    }

    /// Its API.
    pub(crate) fn api(&self) -> Api {
        Api::new(&self.url)
    }

    /// The status of `/readyz`, where anybody answers.
    pub(crate) async fn readiness(&self) -> Option<u16> {
        Some(self.api().request("GET", "/readyz").send().await.ok()?.status().as_u16())
    }

    /// Waits until it can do its work.
    pub(crate) async fn ready(&self) {
        eventually(&format!("the {} is ready", self.role), async || {
            (self.readiness().await == Some(200)).then_some(())
        })
        .await;
    }

    /// Deploys sample functions to this gateway.
    pub(crate) async fn deploy(&self, names: &[&str]) {
        for name in names {
            self.deploy_folder(&sample(name)).await;
        }
    }

    /// Deploys a sample function's component with another manifest.
    pub(crate) async fn deploy_as(&self, sample_name: &str, manifest: &str) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let component = sample(sample_name).join(format!("{sample_name}.wasm"));
        let manifest = format!("component = '{}'\n{manifest}", component.display());
        std::fs::write(folder.path().join("wasmill.toml"), manifest)
            .expect("the folder can be written to");
        self.deploy_folder(folder.path()).await;
    }

    /// Deploys the function in a folder.
    pub(crate) async fn deploy_folder(&self, folder: &Path) {
        let deploy = wasmill()
            .args(["--url", &self.url, "deploy"])
            .arg(folder)
            .stdout(Stdio::null())
            .spawn();
        let mut deploy = deploy.expect("the binary runs");
        let status = eventually("the deploy ends", async || {
            deploy.try_wait().expect("it can be waited for")
        })
        .await;
        assert!(status.success(), "{} cannot be deployed", folder.display());
    }

    /// Waits until this gateway knows of a function.
    pub(crate) async fn knows(&self, function: &str) {
        let api = self.api();
        eventually(&format!("the gateway knows {function}"), async || {
            let answer =
                api.request("GET", &format!("/v1/functions/{function}")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// What it has logged.
    pub(crate) fn logged(&self) -> String {
        use std::io::Seek as _;
        let mut log = self.log.try_clone().expect("the file is open");
        let mut text = String::new();
        log.rewind().and_then(|()| log.read_to_string(&mut text)).expect("the log can be read");
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.logged();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            #[expect(clippy::print_stderr, reason = "what a failed test is read with")]
            {
                eprintln!(
                    "the end of the log of the {} at {}:\n{}",
                    self.role,
                    self.url,
                    tail.join("\n")
                );
            }
        }
    }
}

fn launch(
    binary: Option<&Path>,
    role: &str,
    backends: &Backends,
    settings: &[(String, String)],
    log: &File,
) -> Child {
    // Appended to, whoever else writes or reads.
    let log = File::options()
        .append(true)
        .open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(log)))
        .expect("the log can be opened again");
    let mut command = binary.map_or_else(wasmill, wasmill_of);
    command
        .arg(role)
        .env("WASMILL_DATABASE_URL", &backends.database)
        .env("WASMILL_BROKER_URL", &backends.broker)
        .env("WASMILL_BROKER_QUEUE_PREFIX", &backends.prefix)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    for (name, value) in settings {
        command.env(format!("WASMILL_{name}"), value);
    }
    command.spawn().expect("the binary runs")
}

/// A port of loopback that nobody listens on, outside the range that the system gives to clients: a
/// process that is started again finds it free.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 1_000).expect("it fits") * 10;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
