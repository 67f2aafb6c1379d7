//! What releases left behind, opened by this one: a data folder of `wasmill dev` and a dump of a
//! pool's PostgreSQL database of each, with work of every kind in them, as `scripts/keep-release`
//! makes them. Those of earlier releases are in `tests/released/`; this one's own are made here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use wasmill_broker::rabbitmq::testing::address;
use wasmill_store::postgres::testing::shared_server;

use super::support::api::Api;
use super::support::backends::SharedBackends;
use super::support::pool::Process;
use super::support::{Dev, eventually, root, wasmill};

/// What a dump calls its schema.
const SCHEMA: &str = "wasmill_kept";

/// Nothing is too old: 99 years.
const RETENTION: &str = "36135d";

/// A release's folder, and what it showed of itself.
struct Release {
    folder: PathBuf,
    kept: Value,
}

/// Every release: `own` is the folder of what this one leaves behind.
fn releases(own: &Path) -> Vec<Release> {
    let made = Command::new(root().join("scripts/keep-release"))
        .arg(wasmill().get_program())
        .arg(own)
        .env("DATABASE_URL", shared_server())
        .env("AMQP_URL", address())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let earlier = fs::read_dir(root().join("tests/released")).into_iter().flatten();
    let folders = earlier.map(|entry| entry.unwrap().path()).chain([own.to_owned()]);
    let releases = folders.map(|folder| {
        let kept = fs::read(folder.join("kept.json")).unwrap();
        Release { folder, kept: serde_json::from_slice(&kept).unwrap() }
    });
    releases.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_releases_left_behind_is_opened() {
    let own = tempfile::tempdir().unwrap();
    for release in tokio::task::block_in_place(|| releases(own.path())) {
        data_folder_is_opened(&release).await;
        database_of_a_pool_is_opened(&release).await;
    }
}

async fn data_folder_is_opened(release: &Release) {
    let data = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(release.folder.join("dev.tar.gz"))
        .arg("-C")
        .arg(data.path())
        .status();
    assert!(unpacked.unwrap().success());
    let dev = Dev::start_on(data, &["--retention", RETENTION]);
    everything_goes_on(&dev.api(), &dev.url, &release.kept["dev"]).await;
}

async fn database_of_a_pool_is_opened(release: &Release) {
    let dump = Command::new("gzip")
        .args(["--decompress", "--stdout"])
        .arg(release.folder.join("postgres.sql.gz"))
        .output()
        .unwrap();
    assert!(dump.status.success());
    let shared = SharedBackends::of_dump(std::str::from_utf8(&dump.stdout).unwrap(), SCHEMA).await;
    shared.backends().migrate();
    let kept = &release.kept["postgres"];
    let key = tempfile::NamedTempFile::new().unwrap();
    fs::write(key.path(), kept["secrets_key"].as_str().unwrap()).unwrap();
    let settings =
        [("SECRETS_KEY_FILE", key.path().to_str().unwrap()), ("SCHEDULER_RETENTION", RETENTION)];
    let pool = ["host", "scheduler", "gateway"]
        .map(|role| Process::start(role, shared.backends(), &settings));
    for process in &pool {
        process.ready().await;
    }
    everything_goes_on(&pool[2].api(), &pool[2].url, kept).await;
}

/// What has ended is as it was shown, what was on its way ends, and what was defined still works.
async fn everything_goes_on(api: &Api, url: &str, kept: &Value) {
    for before in kept["executions"].as_array().unwrap() {
        goes_on(api, before).await;
    }
    let names = |functions: &Value| -> Vec<(String, String)> {
        let rows = functions["functions"].as_array().unwrap();
        let text = |row: &Value, key: &str| row[key].to_string();
        rows.iter().map(|row| (text(row, "name"), text(row, "version"))).collect()
    };
    assert_eq!(names(&api.get("/v1/functions").await), names(&kept["functions"]));

    // Files, routes, secrets, schemas, buckets and earlier versions.
    let greeted = api.run("greeting.requested", &json!({ "name": "again" })).await;
    assert_eq!(greeted["result"]["data"]["greeting"], "Good day, again!", "{greeted}");
    let told = api.run("teller", &json!({})).await;
    assert_eq!(told["state"], "succeeded", "{told}");
    let echoed = api.request("GET", "/http/default/web-echo/show").send().await.unwrap();
    assert!(echoed.status().is_success(), "{echoed:?}");
    let refused = api.post_plain("page.visited", &json!({})).await;
    assert_eq!(refused.status(), 400);
    let seen = api.run("page.visited", &json!({ "page": "/a", "visitor": "Bo" })).await;
    assert_eq!(seen["state"], "succeeded", "{seen}");
    let list = ["--url", url, "keyvalue", "list", "visits", "--function", "page-counter"];
    let visits = wasmill().args(list).output().unwrap();
    assert!(visits.status.success() && !visits.stdout.is_empty(), "{visits:?}");
    let back = wasmill().args(["--url", url, "functions", "rollback", "hello"]).output().unwrap();
    assert!(back.status.success(), "{back:?}");
    eventually("the version before is used", async || {
        let greeted = api.run("greeting.requested", &json!({ "name": "back" })).await;
        (greeted["result"]["data"]["greeting"] == "Hello, back!").then_some(())
    })
    .await;
}

/// An execution is as it was, or ends.
async fn goes_on(api: &Api, before: &Value) {
    let id = before["id"].as_str().unwrap();
    let path = format!("/v1/executions/{id}");
    match before["state"].as_str().unwrap() {
        state @ ("succeeded" | "failed" | "cancelled") => {
            let now = api.get(&path).await;
            assert_eq!(now["state"], state);
            for key in ["function", "version", "outcome", "message", "event", "reason"] {
                assert_eq!(now[key], before[key], "{key} of {id}: {now}");
            }
            let outcomes = |document: &Value| -> Vec<Value> {
                let attempts = document["attempts"].as_array().unwrap();
                attempts.iter().map(|attempt| attempt["outcome"].clone()).collect()
            };
            assert_eq!(outcomes(&now), outcomes(before), "{id}: {now}");
        }
        "suspended" => {
            assert_eq!(api.get(&path).await["state"], "suspended");
            let resumed = api.request("POST", &format!("{path}/resume")).send().await.unwrap();
            assert!(resumed.status().is_success(), "{resumed:?}");
            assert_eq!(api.ended(id).await["state"], "succeeded");
        }
        // They were queued, running, or due in a minute.
        _ => assert_eq!(api.ended(id).await["state"], "succeeded"),
    }
}
