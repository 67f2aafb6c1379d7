//! `wasmill demo`: the main job, once, on real functions and events, with everything that became of
//! them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wasmill_domain::{ExecutionId, State};
use wasmill_schema::SchemaLimits;

use crate::args::{Demo, Remote};
use crate::client::{Client, Request};
use crate::commands::{deploy, executions, logs};
use crate::config::{Compilation, MAX_ARTIFACT_BYTES};
use crate::exit::{Failure, Result};
use crate::json::{Document, without_mark};
use crate::output::{self, Progress, Step, cell, line};
use crate::project::{self, Project};
use crate::wiring::embedded::{Options, System};

/// How long the executions may take altogether.
const WAIT_TIMEOUT: Duration = Duration::from_secs(120);

/// How often to look whether they are done.
const INTERVAL: Duration = Duration::from_millis(50);

/// What became of one event file.
struct Posted {
    file: PathBuf,
    /// The ids of its executions, or what the gateway said against it.
    answer: Result<Vec<ExecutionId>, String>,
}

pub(crate) async fn run(args: Demo, json: bool) -> Result {
    let manifests = project::find_manifests(&args.functions)?;
    if manifests.is_empty() {
        return Err(Failure::NotFound(format!(
            "no functions in '{}': run this at wasmill's root or give --functions",
            args.functions.display()
        )));
    }
    let data = tempfile::tempdir().context("a temporary folder")?;
    let options = Options {
        listen: ([127, 0, 0, 1], 0).into(),
        data: data.path().to_owned(),
        retention: Duration::from_secs(86_400),
        hostnames: Vec::new(),
        allowed_networks: Vec::new(),
        tls: None,
        wasi_0_3: false,
        max_artifact_bytes: MAX_ARTIFACT_BYTES,
        compilation: Compilation::default(),
        schemas: SchemaLimits::default(),
    };
    let system = System::open(&options).await?;
    let url = system.url()?;
    let client = Client::new(Remote { url, ca_file: None, key: None, tenant: None, json })?;
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(system.run(shutdown.clone()));
    let shown = show(&client, &manifests).await;
    shutdown.cancel();
    serving.await.context("the system ended badly")??;
    shown
}

async fn show(client: &Client, manifests: &[PathBuf]) -> Result {
    let quiet = client.prints_json();
    let say = |text: String| {
        if !quiet {
            line(text);
        }
    };
    say("wasmill demo: gateway, host and scheduler in this process, on SQLite and the embedded queue\n".into());
    for manifest in manifests {
        let project = Project::read(manifest)?;
        let step = Step::new("the server looks for the component");
        let what = format!("deploying {}", project.manifest.name);
        let answer = output::awaited(&what, &step, deploy::deploy(client, &project, &step)).await?;
        say(deploy::summary(&answer, &project));
    }
    let mut posted = Vec::new();
    for manifest in manifests {
        for file in event_files(manifest)? {
            posted.push(post(client, file).await?);
        }
    }
    say(String::new());
    for Posted { file, answer } in &posted {
        match answer {
            Ok(ids) => say(format!("POST {}: 202, {} execution(s)", file.display(), ids.len())),
            Err(problem) => say(format!("POST {}: 400 {problem}", file.display())),
        }
    }
    let ids = posted.iter().filter_map(|p| p.answer.as_ref().ok()).flatten().copied().collect();
    let documents = wait_for_all(client, ids).await?;
    report(client, &documents, &posted).await
}

/// The event files of a function, sorted.
fn event_files(manifest: &Path) -> Result<Vec<PathBuf>> {
    let folder = manifest.with_file_name("events");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(&folder).and_then(|entries| {
        entries.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>()
    });
    let mut files = entries.with_context(|| format!("folder '{}'", folder.display()))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    Ok(files)
}

/// Posts one event file. A file called `invalid…` must be refused, every other one accepted.
async fn post(client: &Client, file: PathBuf) -> Result<Posted> {
    let named = || format!("'{}'", file.display());
    let event = std::fs::read(&file).with_context(named)?;
    let event = without_mark(&event).with_context(named)?.to_vec();
    let request =
        Request::new(Method::POST, &["v1", "events"]).body("application/cloudevents+json", event);
    let must_be_refused =
        file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("invalid"));
    let answer = match client.send(request).await {
        Ok(answer) if !must_be_refused => {
            let ids = answer.body.get("executions").items().into_iter();
            let parsed: Option<Vec<ExecutionId>> =
                ids.map(|e| e.get("id").string()?.parse().ok()).collect();
            Ok(parsed.ok_or_else(|| {
                anyhow!("the answer to '{}' has no execution ids", file.display())
            })?)
        }
        Ok(_) => {
            return Err(anyhow!("'{}' was accepted, though it is invalid", file.display()).into());
        }
        Err(Failure::Failed(problem)) if must_be_refused => Err(problem.to_string()),
        Err(failure) => return Err(failure),
    };
    Ok(Posted { file, answer })
}

/// Waits until the executions have ended, and those that their emitted events led to.
async fn wait_for_all(client: &Client, mut waiting: Vec<ExecutionId>) -> Result<Vec<Document>> {
    let _progress = Progress::start("running");
    let started = Instant::now();
    let mut ended = Vec::new();
    while let Some(id) = waiting.pop() {
        let document = loop {
            let document = match executions::document(client, id).await {
                // The row is written behind the 202.
                Err(Failure::NotFound(_)) => Document::default(),
                other => other?,
            };
            let state = document.get("state").string();
            if state.and_then(|s| s.parse::<State>().ok()).is_some_and(State::is_terminal) {
                break document;
            }
            if started.elapsed() > WAIT_TIMEOUT {
                return Err(anyhow!(
                    "execution {id} has not ended within {WAIT_TIMEOUT:?}: it is {}",
                    cell(document.get("state"))
                )
                .into());
            }
            tokio::time::sleep(INTERVAL).await;
        };
        let children = document.get("children").items().into_iter();
        waiting.extend(children.filter_map(|child| child.string()?.parse::<ExecutionId>().ok()));
        ended.push(document);
    }
    ended.sort_by_key(|document| document.get("id").string());
    Ok(ended)
}

/// An execution and its log, as the API has them.
#[derive(Serialize)]
struct Shown<'a> {
    execution: &'a Document,
    logs: Vec<Document>,
}

/// What the demo has to show, for programs.
#[derive(Serialize)]
struct All<'a> {
    executions: Vec<Shown<'a>>,
    refused: Vec<Value>,
}

async fn report(client: &Client, documents: &[Document], posted: &[Posted]) -> Result {
    let mut executions = Vec::new();
    for execution in documents {
        let id =
            execution.get("id").string().unwrap_or_default().parse().map_err(anyhow::Error::msg)?;
        executions.push(Shown { execution, logs: logs::fetch(client, id).await? });
    }
    if client.prints_json() {
        let refused = posted
            .iter()
            .filter_map(|p| Some(json!({"file": p.file, "problem": p.answer.as_ref().err()?})));
        output::json(&All { executions, refused: refused.collect() });
        return Ok(());
    }
    for Shown { execution, logs } in &executions {
        line("");
        executions::print(execution.json());
        logs.iter()
            .map(Document::json)
            .for_each(|entry| line(format!("  log        {}", logs::text(entry))));
    }
    let succeeded =
        documents.iter().filter(|document| cell(document.get("state")) == "succeeded").count();
    let refused = posted.iter().filter(|p| p.answer.is_err()).count();
    line(format!(
        "\n{} executions: {succeeded} succeeded, {} did not; {refused} invalid event(s) refused.",
        documents.len(),
        documents.len() - succeeded
    ));
    line(
        "Go on with `wasmill dev functions`, then from another shell: `wasmill functions list`, `wasmill executions list`.",
    );
    Ok(())
}
