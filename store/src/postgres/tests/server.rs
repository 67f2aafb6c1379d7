//! A private PostgreSQL for tests that stop it or set it up otherwise.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::PATIENCE;

/// A server in a temporary folder, reached by a socket there.
pub(super) struct Server {
    folder: TempDir,
    programs: PathBuf,
    user: Option<(u32, u32)>,
    process: Option<Child>,
    options: Vec<String>,
}

impl Server {
    /// Starts a new server with these settings (`name=value`).
    pub(super) fn start(options: &[&str]) -> Self {
        let (folder, user) = (tempfile::tempdir().unwrap(), Self::user());
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { folder, programs: programs(), user, process: None, options };
        server.run(&["initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"], true);
        server.start_again();
        server
    }

    /// The user and the group that the server's files must belong to, where that is not who runs the test: PostgreSQL
    /// refuses to run as root.
    pub(super) fn user() -> Option<(u32, u32)> {
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        is_root.then(|| user("postgres"))
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn url(&self) -> String {
        let folder = self.folder().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}/postgres")
    }

    fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir("/").stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Runs one of PostgreSQL's programs; the data folder is the last argument.
    fn run(&self, arguments: &[&str], must_succeed: bool) -> bool {
        let output = self.program(arguments[0]).args(&arguments[1..]).arg(self.data()).output().unwrap();
        let succeeded = output.status.success();
        assert!(succeeded || !must_succeed, "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        succeeded
    }

    /// Starts the server after it was stopped, and waits until it answers.
    pub(super) fn start_again(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder().join("log")).unwrap();
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder()).stdout(Stdio::null()).stderr(log);
        // What a crash of the server can lose is not what a crash of the machine can lose.
        for option in ["listen_addresses=", "fsync=off"].into_iter().chain(self.options.iter().map(String::as_str)) {
            command.args(["-c", option]);
        }
        self.process = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while !self.answers() {
            let log = || fs::read_to_string(self.folder().join("log")).unwrap();
            assert!(begun.elapsed() < PATIENCE, "it does not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        let mut command = self.program("pg_isready");
        let port = self.options.iter().find_map(|option| option.strip_prefix("port=")).unwrap_or("5432");
        command.arg("-q").arg("-h").arg(self.folder()).args(["-U", "postgres", "-p", port]);
        command.status().unwrap().success()
    }

    /// Stops it at once, as a crash does.
    pub(super) fn crash(&mut self) {
        if let Some(mut process) = self.process.take() {
            self.run(&["pg_ctl", "stop", "-m", "immediate", "-s", "-D"], false);
            process.wait().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Where PostgreSQL's programs are: in Debian's folder of the newest version, or on the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.max_by_key(|version| version.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    newest.map_or_else(PathBuf::new, |version| version.path().join("bin"))
}

/// Ids of a user and its group.
fn user(name: &str) -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with(&format!("{name}:")));
    let line = line.unwrap_or_else(|| panic!("PostgreSQL does not run as root, and there is no user '{name}'"));
    let mut ids = line.split(':').skip(2).map(|id| id.parse().unwrap());
    (ids.next().unwrap(), ids.next().unwrap())
}
