//! What tests need of PostgreSQL: schemas of their own, servers of their own, a pooler, and a
//! network that falls silent. For this crate's tests, and by the feature `conformance` for those of
//! others.
//!
//! Like a test, all of it panics where something is not as it must be.

#![allow(
    clippy::unwrap_used,
    reason = "for tests only; clippy knows test code by `cfg(test)` alone"
)]

mod bouncer;
mod history;
mod proxy;
mod schema;
mod server;

pub use bouncer::PgBouncer;
pub use history::seed_history;
pub use proxy::{Mood, Proxy};
pub use schema::Schema;
pub use server::Server;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// How long a program that was started may take until it answers.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// The URL of the server that tests share: `DATABASE_URL`, or the usual one of this machine.
pub fn shared_server() -> String {
    std::env::var("DATABASE_URL")
        .unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/test".into())
}

/// Host and port that a URL leads to.
pub fn address_of(url: &str) -> String {
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    format!("{}:{}", options.get_host(), options.get_port())
}

/// The same database by another address (`host:port`).
pub fn url_at(address: &str, url: &str) -> String {
    let (login, rest) = url.split_once('@').unwrap();
    let (_, rest) = rest.split_once('/').unwrap();
    format!("{login}@{address}/{rest}")
}

/// A port that nobody listens at. It is none that the system gives to whoever connects: such a one
/// could be taken while the server is stopped, even by a client that thereby connects to itself.
fn free_port() -> u16 {
    let mut candidates =
        std::iter::repeat_with(|| 15_000 + (Uuid::new_v4().as_u128() % 15_000) as u16);
    candidates.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// The user and the group that servers run as, where that is not who runs the test: they refuse to
/// run as root.
fn unprivileged() -> Option<(u32, u32)> {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    is_root.then(|| {
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let line = users.lines().find(|line| line.starts_with("postgres:"));
        let line = line.unwrap_or_else(|| {
            panic!("PostgreSQL does not run as root, and there is no user 'postgres'")
        });
        let mut ids = line.split(':').skip(2).map(|id| id.parse().unwrap());
        (ids.next().unwrap(), ids.next().unwrap())
    })
}

/// Gives a file or folder to the user that servers run as.
pub(super) fn give_away(path: &Path) {
    if let Some((uid, gid)) = unprivileged() {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
    }
}

/// A command that runs as a server may.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null());
    if let Some((uid, gid)) = unprivileged() {
        command.uid(uid).gid(gid);
    }
    command
}

/// Waits until `done`, in the thread of the caller.
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < WAIT_TIMEOUT, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
