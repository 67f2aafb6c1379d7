//! Every language, every kind: the project that `wasmill new` writes is built from source by its
//! real compiler, passes `wasmill test` and its own unit tests, is deployed to a real `wasmill dev`
//! and runs there. Where `WASMILL_TEST_CELLS` is `some`, one project for each language is.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::serve;
use super::support::Dev;
use super::support::api::Api;
use super::support::languages::{Cell, Workshop, expectations, some_are_enough, succeeded};

/// How often each event is sent: a guest must not break by what an earlier event left, where its
/// instances are used again.
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn every_cell_is_built_tested_deployed_and_run() {
    let dev = Dev::start();
    let workshop = tokio::task::block_in_place(|| Workshop::open("projects"));
    let data = dev.data().to_owned();
    let all = !some_are_enough();
    let chosen: Vec<Cell> =
        workshop.cells().into_iter().filter(|cell| all || cell.is_among_some()).collect();
    let languages =
        |cells: &[Cell]| cells.iter().map(|cell| cell.lang.clone()).collect::<BTreeSet<_>>();
    assert_eq!(languages(&chosen), languages(&workshop.cells()));
    tokio::task::block_in_place(|| {
        workshop.with_each(|cell| {
            if chosen.iter().any(|chosen| chosen.name() == cell.name()) {
                build_and_test(&workshop, cell, &data);
            }
        });
    });
    for cell in chosen {
        let said = dev.cli_ok(&["deploy", cell.folder.to_str().unwrap()]);
        assert!(said.contains("version 1 is live"), "{said}");
        for _ in 0..ROUNDS {
            if cell.kind == "http" { answers(&dev.api(), &cell).await } else { runs(&dev, &cell) }
        }
        // Compilers of other people's runtimes, which know nothing of wasmill.
        if ["js-http", "python-http"].contains(&cell.name().as_str()) {
            let component = cell.folder.join(format!("{}.wasm", cell.name()));
            tokio::task::block_in_place(|| serve::compare(&dev, &component));
        }
    }
}

fn build_and_test(workshop: &Workshop, cell: &Cell, data: &Path) {
    workshop.make(cell);
    let folder = cell.folder.to_str().unwrap();
    let built = succeeded(workshop.wasmill().args(["--json", "build", folder]));
    let built: Value = serde_json::from_slice(&built.stdout).unwrap();
    assert_eq!(
        (&built["name"], &built["kind"]),
        (&json!(cell.name()), &json!(cell.kind)),
        "{built}"
    );
    // What is compiled here, the server need not compile again.
    let data = data.to_str().unwrap();
    let tested = succeeded(workshop.wasmill().args(["--json", "test", folder, "--data", data]));
    let tested: Value = serde_json::from_slice(&tested.stdout).unwrap();
    let events = expectations(&cell.folder).len();
    assert!(events > 0 && tested["passed"] == events && tested["failed"] == 0, "{tested}");
    if let Some(mut unit_tests) = workshop.unit_tests(cell) {
        succeeded(&mut unit_tests);
    }
}

/// Invokes a function with its events.
fn runs(dev: &Dev, cell: &Cell) {
    for (event, expected) in expectations(&cell.folder) {
        let outcome = expected["outcome"].as_str().unwrap_or("success");
        // What may pass is tried again for seconds, and `wasmill test` has seen it.
        if outcome == "error" {
            continue;
        }
        let file =
            format!("@{}", cell.folder.join("events").join(format!("{event}.json")).display());
        let output = dev.cli(&["--json", "invoke", &cell.name(), "--data", &file]);
        let execution: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert_eq!(execution["outcome"], outcome, "{} on {event}: {execution}", cell.name());
        if let Some(wanted) = expected.get("output") {
            assert_eq!(
                &execution["result"]["data"],
                wanted,
                "{} on {event}: {execution}",
                cell.name()
            );
        }
    }
}

/// Sends requests to a function's route.
async fn answers(api: &Api, cell: &Cell) {
    let path = format!("/http/default/{}/Ada", cell.name());
    let response = api.request("GET", &path).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{}", cell.name());
    assert_eq!(response.headers()["content-type"], "application/json");
    let greeting: Value = response.json().await.unwrap();
    assert_eq!(greeting, json!({"greeting": "Hello, Ada!"}), "{}", cell.name());
    let refused = api.request("POST", &path).body("x").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{}", cell.name());
    assert_eq!(refused.headers()["allow"], "GET");
    assert_eq!(refused.text().await.unwrap(), "only GET is answered\n");
}
