//! A private PostgreSQL for tests that stop it or set it up otherwise.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{command, free_port, give_away, wait};

/// A server with its files in a temporary folder, on a port of its own that it keeps. It trusts
/// this machine, has the user `postgres`, and is gone with this object.
pub struct Server {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    options: Vec<String>,
    process: Option<Child>,
}

impl Server {
    /// Makes a server with these settings (`name=value`) and starts it.
    pub fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        give_away(folder.path());
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server =
            Self { folder, programs: programs(), port: free_port(), options, process: None };
        let initdb =
            ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"];
        let made = server.program("initdb").args(initdb).arg(server.data()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.start_again();
        server
    }

    /// Where it listens: host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address())
    }

    /// Starts it after it was stopped or killed, and waits until it answers.
    pub fn start_again(&mut self) {
        let log = self.folder.path().join("log");
        let output = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut postgres = self.program("postgres");
        postgres
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.folder.path())
            .args(["-p", &self.port.to_string()]);
        // What a crash of the server can lose is not what a crash of the machine can lose.
        for option in ["listen_addresses=127.0.0.1", "fsync=off"]
            .into_iter()
            .chain(self.options.iter().map(String::as_str))
        {
            postgres.args(["-c", option]);
        }
        self.process = Some(postgres.stdout(Stdio::null()).stderr(output).spawn().unwrap());
        wait("PostgreSQL answers", || {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "it does not start: {}", fs::read_to_string(&log).unwrap());
            let port = self.port.to_string();
            let asked = self
                .program("pg_isready")
                .args(["-q", "-h", "127.0.0.1", "-U", "postgres", "-p", &port])
                .status();
            asked.unwrap().success()
        });
    }

    /// Stops it as its administrator does: whoever is connected is cut off, what runs is rolled
    /// back.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let stopped = self
            .program("pg_ctl")
            .args(["stop", "-s", "-m", "fast", "-D"])
            .arg(self.data())
            .status()
            .unwrap();
        assert!(stopped.success());
        process.wait().unwrap();
    }

    /// Ends all its processes by kill -9.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // Those of sessions are asked for first: they are nobody's children once their parent is
        // gone.
        let sessions = children_of(process.id());
        process.kill().unwrap();
        process.wait().unwrap();
        let alive = || {
            sessions.iter().filter(|pid| Path::new("/proc").join(pid).exists()).collect::<Vec<_>>()
        };
        wait("all of the server's processes are gone", || {
            let alive = alive();
            // It fails for one that has ended since, and for nothing else.
            let _ =
                Command::new("kill").arg("-9").args(&alive).stderr(Stdio::null()).status().unwrap();
            alive.is_empty()
        });
    }

    fn program(&self, name: &str) -> Command {
        command(&self.programs.join(name))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where PostgreSQL's programs are: in Debian's folder of the newest version, or on the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .max_by_key(|version| version.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    newest.map_or_else(PathBuf::new, |version| version.path().join("bin"))
}

/// The processes that a process has started.
fn children_of(pid: u32) -> Vec<String> {
    let processes = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_child = |process: &String| {
        // The parent is the second field after the name, which is in brackets.
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1))
            == Some(pid.to_string().as_str())
    };
    processes
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(is_child)
        .collect()
}
