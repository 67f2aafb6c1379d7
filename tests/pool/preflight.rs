//! Deploys that a host checks for the gateway.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::backends::SharedBackends;
use crate::support::eventually;
use crate::support::pool::Process;

/// What a process says whose engine begins.
const ENGINE: &str = "this process starts a WebAssembly engine of its own";

/// What a host says that has checked a version.
const CHECKED: &str = "checked for a deploy: it can run";

/// How many compiled components there are below a folder.
fn compiled(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("a folder of the cache");
    let count = entries.map(|entry| {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => compiled(&path),
            false => usize::from(path.extension().is_some_and(|extension| extension == "cwasm")),
        }
    });
    count.sum()
}

/// How many threads a process has for guests: an engine's, and nothing else's.
fn guest_threads(process: &Process) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.id())).expect("it is alive");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("wasmill-guest")).count()
}

/// The first process that this one has started, as soon as there is one.
async fn child_of(process: &Process) -> Pid {
    let parent = format!("PPid:\t{}\n", process.id());
    loop {
        let entries = fs::read_dir("/proc").expect("there are processes");
        for entry in entries.filter_map(Result::ok) {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            if status.contains(&parent) {
                return Pid::from_raw(id).expect("no process has the number 0");
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_compiles_what_is_deployed() {
    let shared = SharedBackends::new().await;
    let cache = tempfile::tempdir().expect("a temporary folder");
    let dir = cache.path().to_str().expect("its name is text");
    let gateway = Process::start("gateway", shared.backends(), &[]);
    let host = Process::start("host", shared.backends(), &[("ENGINE_CACHE_DIR", dir)]);
    gateway.ready().await;
    host.ready().await;
    assert_eq!(compiled(cache.path()), 0);
    gateway.deploy(&["hello"]).await;
    assert!(host.logged().contains(CHECKED), "{}", host.logged());
    assert_eq!(compiled(cache.path()), 1, "what it compiled is kept");
    assert!(!gateway.logged().contains(ENGINE), "{}", gateway.logged());
    assert_eq!(guest_threads(&gateway), 0);
    assert!(guest_threads(&host) > 0);
    let api = gateway.api();
    let ids = api.accepted("greeting.requested", &json!({"name": "Ada"})).await;
    let execution = api.ended(&ids[0]).await;
    assert_eq!(execution["state"], "succeeded", "{execution}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_outlives_the_host_that_checks_it() {
    let shared = SharedBackends::new().await;
    let gateway = Process::start("gateway", shared.backends(), &[]);
    let mut host = Process::start("host", shared.backends(), &[]);
    gateway.ready().await;
    host.ready().await;
    let dying = async {
        // It compiles. It does not get there, and then it is gone.
        let compiling = child_of(&host).await;
        kill_process(compiling, Signal::STOP).expect("it can be stopped");
        host.kill_9();
        kill_process(compiling, Signal::KILL).expect("it can be killed");
    };
    tokio::join!(gateway.deploy(&["hello"]), dying);
    let logged = gateway.logged();
    assert!(logged.contains("a host did not check a version"), "{logged}");
    assert!(logged.contains(ENGINE), "{logged}");
    assert!(!host.logged().contains(CHECKED), "{}", host.logged());
    gateway.knows("hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_may_check_deploys_itself() {
    let shared = SharedBackends::new().await;
    let gateway = Process::start("gateway", shared.backends(), &[("GATEWAY_PREFLIGHT", "own")]);
    let host = Process::start("host", shared.backends(), &[]);
    gateway.ready().await;
    host.ready().await;
    assert!(guest_threads(&gateway) > 0);
    gateway.deploy(&["hello"]).await;
    assert!(!host.logged().contains(CHECKED), "{}", host.logged());
    // For the next one that starts, its host is asked again.
    let asking = Process::start("gateway", shared.backends(), &[]);
    asking.ready().await;
    asking.deploy(&["word-count"]).await;
    eventually("the host says so", async || host.logged().contains(CHECKED).then_some(())).await;
}
