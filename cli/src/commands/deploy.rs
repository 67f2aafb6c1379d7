//! `wasmill deploy`.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use wasmill_domain::Digest;
use wasmill_domain::manifest::Trigger;

use crate::args::{Deploy, Remote};
use crate::building::build_if_stale;
use crate::client::{Answer, Client, Request};
use crate::config::LONGEST_COMPILATION;
use crate::exit::{Failure, Result};
use crate::output;
use crate::project::Project;

pub(crate) async fn run(args: Deploy, remote: Remote) -> Result {
    let client = Client::new(remote)?;
    build_if_stale(&args.path, args.build, output::aside).await?;
    let project = read(&args.path)?;
    let what = format!("deploying {}", project.manifest.name);
    let answer = output::awaited(&what, deploy(&client, &project)).await?;
    if client.prints_json() {
        output::json(&answer.body);
    } else {
        output::line(summary(&answer, &project));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Project> {
    Project::read(path).map_err(Failure::Failed)
}

/// How much longer than any other answer one may take that a compilation comes before: the component waits for its turn, 5 min at
/// most (`CompileSettings::patience`), and is compiled. The server ends both at its time, so that a client has its answer.
pub(crate) const COMPILATION: Duration = Duration::from_secs(300).saturating_add(LONGEST_COMPILATION);

/// Uploads the artifact, unless the server has it, and makes the manifest's version current. The server compiles on where a
/// connection ends meanwhile, so the same is asked again until there is an answer.
pub(crate) async fn deploy(client: &Client, project: &Project) -> Result<Answer> {
    let digest = project.digest.to_string();
    match client.send(Request::new(Method::HEAD, &["v1", "artifacts", &digest])).await {
        Ok(_) => {}
        Err(Failure::NotFound(_)) => {
            // It is read and validated in turns, behind all else.
            let upload = Request::new(Method::POST, &["v1", "artifacts"])
                .body("application/wasm", project.component.clone())
                .patience(COMPILATION);
            client.send(upload).await?;
        }
        Err(failure) => return Err(failure),
    }
    upload_files(client, project).await?;
    let manifest = serde_json::to_value(&project.manifest).map_err(anyhow::Error::from)?;
    let request = Request::new(Method::PUT, &["v1", "functions", &project.manifest.name])
        .json(&json!({"manifest": manifest, "digest": digest}))
        .patience(COMPILATION);
    client.send_until_answered(request).await
}

/// Uploads those of its files that the server does not have.
async fn upload_files(client: &Client, project: &Project) -> Result {
    if project.files.is_empty() {
        return Ok(());
    }
    let digests: Vec<String> = project.files.keys().map(ToString::to_string).collect();
    let question = Request::new(Method::POST, &["v1", "files", "missing"]).json(&json!({"digests": digests}));
    let answer = client.send(question).await?;
    for digest in answer.body.get("missing").items().into_iter().filter_map(crate::json::Json::string) {
        let content = digest.parse::<Digest>().ok().and_then(|digest| project.files.get(&digest));
        let content =
            content.ok_or_else(|| anyhow::anyhow!("the server asks for a file that was not named: {digest}"))?;
        let upload = Request::new(Method::POST, &["v1", "files"]).body("application/octet-stream", content.clone());
        client.send(upload).await?;
    }
    Ok(())
}

/// One line that says what is live now.
pub(crate) fn summary(answer: &Answer, project: &Project) -> String {
    let name = &project.manifest.name;
    let version = output::cell(answer.body.get("version"));
    let digest = output::short_digest(Some(project.digest.to_string()));
    if answer.status == StatusCode::CREATED {
        let triggers: Vec<&str> = project.manifest.triggers.iter().map(starts).collect();
        let on = if triggers.is_empty() { "nothing: invoke it by name".into() } else { triggers.join(", ") };
        format!("{name} version {version} is live ({digest}, {} bytes), on {on}", project.component.len())
    } else {
        format!("{name} version {version} is unchanged ({digest})")
    }
}

/// What a trigger listens to.
fn starts(trigger: &Trigger) -> &str {
    match trigger {
        Trigger::Event(trigger) => trigger.event.as_str(),
        Trigger::Http(trigger) => trigger.http.as_str(),
    }
}
