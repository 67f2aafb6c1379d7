//! A RabbitMQ of a test's own: its files are in a temporary directory, and nobody but this machine
//! can reach it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

/// How long a node may take to start or to stop.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A running node. It ends with this, with all its processes.
pub struct Node {
    directory: TempDir,
    scripts: PathBuf,
    ports: [u16; 4],
    port_mapper: Child,
    server: Child,
}

impl Node {
    /// Starts a node and waits until it listens, which takes some seconds; it blocks.
    /// `configuration` is its `rabbitmq.conf`; in it `{directory}` is the node's directory, which
    /// `prepare` fills, and `{tls}` a port for TLS.
    ///
    /// # Panics
    /// Where RabbitMQ is not installed (`RABBITMQ_HOME` says where, if not where packages put it),
    /// or does not start.
    pub fn start(configuration: &str, prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ports = free_ports();
        prepare(directory.path());
        let configuration = configuration
            .replace("{directory}", &directory.path().display().to_string())
            .replace("{tls}", &ports[3].to_string());
        fs::write(directory.path().join("rabbitmq.conf"), configuration).unwrap();
        fs::write(directory.path().join("rabbitmq-env.conf"), "").unwrap();
        fs::write(directory.path().join("enabled_plugins"), "[].").unwrap();
        let port_mapper = Command::new("epmd")
            .args(["-address", "127.0.0.1", "-port", &ports[2].to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("epmd, which comes with Erlang, cannot be started");
        let scripts = scripts()
            .expect("RabbitMQ is not installed; say where it is by RABBITMQ_HOME, the directory that has its sbin");
        let server = launch(&scripts, directory.path(), ports);
        let mut node = Self { directory, scripts, ports, port_mapper, server };
        node.await_port();
        node
    }

    /// Its URL, with the virtual host `/`.
    pub fn address(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.ports[0])
    }

    /// The port that its configuration knows as `{tls}`.
    pub fn tls_port(&self) -> u16 {
        self.ports[3]
    }

    /// A file in its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Stops it as an operator would, and waits until it has.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    /// Stops it as a power failure would.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Starts it again, with what it had stored, and waits until it listens.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start_again(&mut self) {
        self.server = launch(&self.scripts, self.directory.path(), self.ports);
        self.await_port();
    }

    /// Runs `rabbitmqctl` on it.
    ///
    /// # Panics
    /// Where that fails.
    pub fn control(&self, arguments: &[&str]) {
        let program = self.scripts.join("rabbitmqctl");
        let output =
            command(&program, self.directory.path(), self.ports).args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "rabbitmqctl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn end(&mut self, signal: Signal) {
        let file = self.file("pid");
        let pid = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        self.server.wait().unwrap();
        // A killed one cannot do so itself.
        let _ = fs::remove_file(file);
    }

    fn await_port(&mut self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.ports[0])).is_err()
            || !self.file("pid").exists()
        {
            let ended = self.server.try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < TIMEOUT,
                "RabbitMQ does not start: {}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.file("output")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.server), Signal::KILL);
        let pid = fs::read_to_string(self.file("pid"))
            .ok()
            .and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?));
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.server.wait();
        let _ = self.port_mapper.kill();
        let _ = self.port_mapper.wait();
    }
}

fn launch(scripts: &Path, directory: &Path, ports: [u16; 4]) -> Child {
    let output = fs::File::create(directory.join("output")).unwrap();
    command(&scripts.join("rabbitmq-server"), directory, ports)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap()
}

/// A command about the node.
fn command(program: &Path, directory: &Path, [port, distribution, mapper, _]: [u16; 4]) -> Command {
    let mut command = Command::new(program);
    command
        .env("HOME", directory)
        .env("ERL_CRASH_DUMP", directory.join("crash"))
        .env("RABBITMQ_NODENAME", format!("wasmill-test-{port}@localhost"))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("ERL_EPMD_PORT", mapper.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
        .env("RABBITMQ_MNESIA_BASE", directory.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", directory.join("log"))
        .env("RABBITMQ_PID_FILE", directory.join("pid"))
        .env("RABBITMQ_CONFIG_FILE", directory.join("rabbitmq"))
        .env("RABBITMQ_CONF_ENV_FILE", directory.join("rabbitmq-env.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", directory.join("enabled_plugins"));
    command
}

/// Where RabbitMQ's own scripts are; those in the path want to be another user.
pub(super) fn scripts() -> Option<PathBuf> {
    if let Some(home) = std::env::var_os("RABBITMQ_HOME") {
        return Some(Path::new(&home).join("sbin"));
    }
    let installed = ["/usr/lib/rabbitmq/lib", "/opt"]
        .iter()
        .filter_map(|parent| fs::read_dir(parent).ok())
        .flatten();
    let scripts = installed.filter_map(|entry| Some(entry.ok()?.path().join("sbin")));
    scripts.filter(|scripts| scripts.join("rabbitmq-server").is_file()).max()
}

/// Ports that nobody listens on. They are held until all are found, so that they differ.
fn free_ports() -> [u16; 4] {
    let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
