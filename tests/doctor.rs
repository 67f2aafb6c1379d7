//! `wasmill doctor`: what it finds, and that it finds nothing where all is well.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};
use wasmill_broker::embedded::{EmbeddedBroker, EmbeddedSettings};
use wasmill_broker::{Message, Publishing as _, Queues as _};
use wasmill_domain::{Dispatch, Event, TenantName, TraceContext};
use wasmill_store::sqlite::{SqliteSettings, SqliteStore};
use wasmill_store::{Ledger as _, Publication};

use super::support::backends::{SharedBackends, queue_of};
use super::support::pool::{Backends, Process};
use super::support::{Dev, eventually, sample, wasmill};

/// Runs it, and gives its exit code and what it found by name.
fn examine(mut command: Command) -> (i32, Value) {
    let output = command.env_remove("DATABASE_URL").env_remove("AMQP_URL").output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!(
            "{e}: {} {}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    });
    assert_eq!(report["ok"], output.status.success(), "{report}");
    (output.status.code().unwrap(), report)
}

fn of_data(data: &Path, arguments: &[&str]) -> (i32, Value) {
    let mut command = wasmill();
    command.args(["--json", "doctor", "--data"]).arg(data).args(arguments);
    examine(command)
}

#[track_caller]
fn status<'a>(report: &'a Value, check: &str) -> (&'a str, &'a str) {
    let all = report["checks"].as_array().unwrap();
    let found = all
        .iter()
        .find(|one| one["check"] == check)
        .unwrap_or_else(|| panic!("no {check} in {report}"));
    (found["status"].as_str().unwrap(), found["detail"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_is_looked_at() {
    let mut dev = Dev::start();
    dev.cli_ok(&["deploy", sample("hello").to_str().unwrap()]);
    let mut set = wasmill()
        .args(["--url", &dev.url, "secrets", "set", "api-token"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    set.stdin.take().unwrap().write_all(b"value").unwrap();
    assert!(set.wait().unwrap().success());
    let (code, report) = of_data(dev.data(), &[]);
    assert_eq!((code, status(&report, "broker").0), (0, "skipped"), "{report}");
    assert!(status(&report, "broker").1.contains("a process that runs has it"), "{report}");
    let (code, report) = of_data(dev.data(), &["--accept-broker"]);
    assert_eq!(code, 1, "nothing was marked: {report}");
    let checks = report["checks"].as_array().unwrap().iter();
    let rows: Vec<&Value> = checks.filter(|check| check["check"] == "installation").collect();
    assert_eq!((rows.len(), &rows[0]["status"]), (1, &json!("warning")), "{report}");
    assert_eq!(status(&report, "queues").0, "skipped", "{report}");
    assert!(dev.terminate());
    let (code, report) = of_data(dev.data(), &[]);
    assert_eq!(code, 0, "{report}");
    for check in [
        "version",
        "database",
        "artifacts",
        "broker",
        "installation",
        "definitions",
        "queues",
        "orphans",
        "secrets",
        "files",
    ] {
        assert_eq!(status(&report, check).0, "ok", "{report}");
    }
    let mut table = wasmill();
    let table = table.args(["doctor", "--data"]).arg(dev.data()).output().unwrap();
    assert!(table.status.success());
    assert!(String::from_utf8_lossy(&table.stdout).starts_with("CHECK"), "{table:?}");

    // A file of an artifact that is lost is told, and mended by another deploy.
    let artifacts = dev.data().join("wasmill.sqlite-artifacts");
    let file = fs::read_dir(&artifacts).unwrap().next().unwrap().unwrap().path();
    for damage in [None, Some("else")] {
        match damage {
            None => fs::remove_file(&file).unwrap(),
            Some(text) => fs::write(&file, text).unwrap(),
        }
        let (code, report) = of_data(dev.data(), &[]);
        assert_eq!((code, status(&report, "artifacts").0), (1, "warning"), "{report}");
        assert!(status(&report, "artifacts").1.contains("wasmill deploy"), "{report}");
        dev.restart();
        dev.cli_ok(&["deploy", sample("hello").to_str().unwrap()]);
        assert!(dev.terminate());
        assert_eq!(of_data(dev.data(), &[]).0, 0);
    }

    let key = dev.data().join("secrets.key");
    let copy = dev.data().join("copy");
    fs::rename(&key, &copy).unwrap();
    let (code, report) = of_data(dev.data(), &[]);
    assert_eq!((code, status(&report, "secrets").0), (1, "warning"), "{report}");
    assert!(status(&report, "secrets").1.contains("1 secret(s) are sealed by key"), "{report}");
    fs::rename(&copy, &key).unwrap();

    // Queues that are not those of this database.
    fs::remove_dir_all(dev.data().join("queue")).unwrap();
    dev.restart();
    let ready = dev.api().get("/readyz").await;
    assert_eq!(ready["status"], "ok", "it is no reason to stand still: {ready}");
    assert_eq!(ready["notes"], json!(["the broker does not carry this installation's mark"]));
    assert!(dev.terminate());
    let (code, report) = of_data(dev.data(), &[]);
    assert_eq!((code, status(&report, "installation").0), (1, "warning"), "{report}");
    let (code, report) = of_data(dev.data(), &["--accept-broker"]);
    assert_eq!(code, 0, "{report}");
    dev.restart();
    assert_eq!(dev.api().get("/readyz").await["notes"], Value::Null);
}

#[test]
fn what_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let (code, report) = of_data(&folder.path().join("none"), &[]);
    assert_eq!(
        (code, status(&report, "database").0, status(&report, "broker").0),
        (1, "warning", "warning")
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// An execution of a sample function that the database has as queued.
fn queued() -> Dispatch {
    let event = Event::new("1", "/test", "greeting.requested".parse().unwrap(), "{}").unwrap();
    let (tenant, function) = (TenantName::default(), "hello".parse().unwrap());
    Dispatch::new(tenant, function, TraceContext::new_root(), Arc::new(event))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_queue_and_one_of_nobody_are_told() {
    let mut dev = Dev::start();
    dev.cli_ok(&["deploy", sample("hello").to_str().unwrap()]);
    assert!(dev.terminate());
    let database = dev.data().join("wasmill.sqlite");
    let store = SqliteStore::open(&database, SqliteSettings::default()).await.unwrap();
    store.enqueue(&[queued()], Publication::Confirmed).await.unwrap();
    store.close().await;
    let queues = dev.data().join("queue");
    let broker = EmbeddedBroker::open(&queues, EmbeddedSettings::default()).unwrap();
    broker.delete(&queue_of("hello")).await.unwrap();
    // Empty, it would be no loss.
    broker.declare(&queue_of("empty")).await.unwrap();
    broker.declare(&queue_of("gone")).await.unwrap();
    broker.publish(&queue_of("gone"), Message::new("x")).await.unwrap();
    broker.close().await;
    let (code, report) = of_data(dev.data(), &[]);
    assert_eq!(code, 1, "{report}");
    let lost = "function 'hello' of tenant 'default' has 1 execution(s) that wait, and no message for them";
    assert_eq!(status(&report, "queues"), ("warning", lost), "{report}");
    let orphan = "queue 'wasmill.default.gone' has 1 message(s) for a function that is not known";
    assert_eq!(status(&report, "orphans"), ("warning", orphan), "{report}");
    let found = report["checks"].as_array().unwrap().iter();
    let found: Vec<&Value> = found.filter(|check| check["status"] == "warning").collect();
    assert_eq!(found.len(), 2, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_queue_of_a_real_broker_is_told() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let gateway = Process::start("gateway", backends, &[]);
    gateway.ready().await;
    gateway.deploy(&["hello"]).await;
    gateway.api().accepted("greeting.requested", &json!({"name": "Ada"})).await;
    let (code, report) = of_pool(backends);
    assert_eq!((code, status(&report, "queues").0), (0, "ok"), "its message waits: {report}");
    let (broker, gone) = (backends.broker_client(), queue_of("gone"));
    broker.delete(&queue_of("hello")).await.unwrap();
    broker.declare(&gone).await.unwrap();
    broker.publish(&gone, Message::new("x")).await.unwrap();
    let lost = "function 'hello' of tenant 'default' has 1 execution(s) that wait, and no message for them";
    // The row is written behind the answer.
    let report = eventually("the lost queue is told", async || {
        let (code, report) = of_pool(backends);
        (code == 1).then_some(report)
    })
    .await;
    assert_eq!(status(&report, "queues"), ("warning", lost), "{report}");
    // AMQP lists no queues, so nobody is told of the other one, but how to find it.
    let (status, detail) = status(&report, "orphans");
    assert!(status == "skipped" && detail.contains("rabbitmqctl list_queues"), "{report}");
    broker.delete(&gone).await.unwrap();
    broker.close().await;
}

fn of_pool(backends: &Backends) -> (i32, Value) {
    let mut command = wasmill();
    command
        .args(["--json", "doctor"])
        .env("WASMILL_DATABASE_URL", &backends.database)
        .env("WASMILL_BROKER_URL", &backends.broker)
        .env("WASMILL_BROKER_QUEUE_PREFIX", &backends.prefix);
    examine(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_looked_at() {
    let shared = SharedBackends::without_schema().await;
    let backends = shared.backends();
    let (code, report) = of_pool(backends);
    assert_eq!((code, status(&report, "database").0), (1, "warning"), "{report}");
    assert!(status(&report, "database").1.contains("wasmill migrate"), "{report}");
    backends.migrate();
    let gateway = Process::start("gateway", backends, &[]);
    gateway.ready().await;
    let host = Process::start("host", backends, &[]);
    host.ready().await;
    let (code, report) = of_pool(backends);
    assert_eq!((code, status(&report, "installation").0), (0, "ok"), "{report}");
    assert_eq!(status(&report, "orphans").0, "skipped", "{report}");
    // The same database with the queues of nobody, and then with those of another installation.
    let elsewhere = SharedBackends::new().await;
    let mixed = Backends { database: backends.database.clone(), ..elsewhere.backends().clone() };
    let (code, report) = of_pool(&mixed);
    assert_eq!(code, 1, "{report}");
    assert!(status(&report, "installation").1.contains("does not carry the mark"), "{report}");
    let other = Process::start("gateway", elsewhere.backends(), &[]);
    other.ready().await;
    let (code, report) = of_pool(&mixed);
    assert_eq!(code, 1, "{report}");
    assert!(
        status(&report, "installation").1.contains("belongs to another installation"),
        "{report}"
    );
    let mixed = Process::start("host", &mixed, &[]);
    mixed.ready().await;
    let notes = mixed.api().get("/readyz").await["notes"].clone();
    assert_eq!(notes, json!(["database and broker belong to different installations"]));
    assert!(mixed.logged().contains("belongs to another installation"));
}
