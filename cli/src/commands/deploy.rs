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
use crate::json::{Document, Json};
use crate::output::{self, Step, inline};
use crate::project::Project;

pub(crate) async fn run(args: Deploy, remote: Remote) -> Result {
    let client = Client::new(remote)?;
    build_if_stale(&args.path, args.build, output::aside).await?;
    let project = read(&args.path)?;
    let what = format!("deploying {}", project.manifest.name);
    let step = Step::new(LOOKED_FOR);
    let answer = output::awaited(&what, &step, deploy(&client, &project, &step)).await?;
    if client.prints_json() {
        output::json(&answer.body);
    } else {
        output::line(summary(&answer, &project));
        warn(&answer.body);
    }
    Ok(())
}

fn read(path: &Path) -> Result<Project> {
    Project::read(path).map_err(Failure::Failed)
}

/// How much longer than any other answer one may take that a compilation comes before: the
/// component waits for a permit, 5 min at most (`CompileSettings::wait_timeout`), and is compiled.
/// The server ends both at its time, so that a client has its answer.
pub(crate) const COMPILATION: Duration =
    Duration::from_secs(300).saturating_add(LONGEST_COMPILATION);

/// What a deploy waits for first.
const LOOKED_FOR: &str = "the server looks for the component";

/// Uploads the artifact, unless the server has it, and makes the manifest's version current. The
/// server compiles on where a connection ends meanwhile, and what it has it takes again, so the
/// same is asked again until there is an answer.
pub(crate) async fn deploy(client: &Client, project: &Project, step: &Step) -> Result<Answer> {
    let digest = project.digest.to_string();
    step.set(LOOKED_FOR);
    match send(client, Request::new(Method::HEAD, &["v1", "artifacts", &digest])).await {
        Ok(_) => {}
        Err(Failure::NotFound(_)) => {
            // It is read and validated in turns, behind all else.
            step.set("the component is uploaded and inspected");
            let upload = Request::new(Method::POST, &["v1", "artifacts"]);
            send(client, upload.body("application/wasm", project.component.clone())).await?;
        }
        Err(failure) => return Err(failure),
    }
    upload_files(client, project, step).await?;
    step.set("it is checked and compiled");
    let manifest = serde_json::to_value(&project.manifest).map_err(anyhow::Error::from)?;
    let request = Request::new(Method::PUT, &["v1", "functions", &project.manifest.name]);
    send(client, request.json(&json!({"manifest": manifest, "digest": digest}))).await
}

/// Sends one of a deploy's requests, each of which may have to wait for a permit.
async fn send(client: &Client, request: Request<'_>) -> Result<Answer> {
    client.send_until_answered(request.wait_timeout(COMPILATION)).await
}

/// Uploads those of its files that the server does not have.
async fn upload_files(client: &Client, project: &Project, step: &Step) -> Result {
    if project.files.is_empty() {
        return Ok(());
    }
    step.set("the server looks for the files");
    let digests: Vec<String> = project.files.keys().map(ToString::to_string).collect();
    let question =
        Request::new(Method::POST, &["v1", "files", "missing"]).json(&json!({"digests": digests}));
    let answer = send(client, question).await?;
    let missing: Vec<String> =
        answer.body.get("missing").items().into_iter().filter_map(Json::string).collect();
    for (i, digest) in missing.iter().enumerate() {
        step.set(format!("file {} of {} is uploaded", i + 1, missing.len()));
        let content = digest.parse::<Digest>().ok().and_then(|digest| project.files.get(&digest));
        let content = content.ok_or_else(|| {
            anyhow::anyhow!("the server asks for a file that was not named: {digest}")
        })?;
        let upload = Request::new(Method::POST, &["v1", "files"])
            .body("application/octet-stream", content.clone());
        send(client, upload).await?;
    }
    Ok(())
}

/// Prints what a deploy or a rollback warns of.
pub(crate) fn warn(deployed: &Document) {
    for warning in deployed.get("warnings").items().into_iter().filter_map(Json::string) {
        output::aside(&format!("warning: {}", inline(&warning)));
    }
}

/// One line that says what is live now.
pub(crate) fn summary(answer: &Answer, project: &Project) -> String {
    let name = &project.manifest.name;
    let version = output::cell(answer.body.get("version"));
    let digest = output::short_digest(Some(project.digest.to_string()));
    if answer.status == StatusCode::CREATED {
        let triggers: Vec<String> = project.manifest.triggers.iter().map(starts).collect();
        let on = if triggers.is_empty() {
            "nothing: invoke it by name".into()
        } else {
            triggers.join(", ")
        };
        format!(
            "{name} version {version} is live ({digest}, {} bytes), on {on}",
            project.component.len()
        )
    } else {
        format!("{name} version {version} is unchanged ({digest})")
    }
}

/// What a trigger listens to.
fn starts(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Event(trigger) => trigger.event.to_string(),
        Trigger::Http(trigger) => {
            let host = trigger.host.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{host}{}", trigger.http)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::{DEPLOYED, client_at, serve};

    #[test]
    fn a_route_is_told_with_its_host() {
        let manifest = wasmill_domain::Manifest::from_json(json!({"name": "f", "trigger": [
            {"event": "a.*"}, {"http": "/x/{id}"}, {"http": "/x", "host": "shop.example.com"},
        ]}));
        let told: Vec<String> = manifest.unwrap().triggers.iter().map(starts).collect();
        assert_eq!(told, ["a.*", "/x/{id}", "shop.example.com/x"]);
    }

    /// Whatever ends the connection: looking for the component, its upload, those of files, and the
    /// deploy.
    #[tokio::test]
    async fn every_request_of_a_deploy_is_sent_until_it_is_answered() {
        const NOT_THERE: &str =
            "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        const TAKEN: &str =
            "HTTP/1.1 201 Created\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f.wasm"), wat::parse_str("(component)").unwrap()).unwrap();
        std::fs::write(dir.path().join("a.txt"), "a file").unwrap();
        let manifest = "name = 'f'\ncomponent = 'f.wasm'\nfiles = ['a.txt']\n";
        std::fs::write(dir.path().join("wasmill.toml"), manifest).unwrap();
        let project = read(dir.path()).unwrap();
        let missing = format!("{{\"missing\": [\"{}\"]}}", Digest::of(b"a file"));
        let missing = format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{missing}",
            missing.len()
        );

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = client_at(&listener);
        let answers = ["", NOT_THERE, "", TAKEN, "", &missing, "", TAKEN, "", DEPLOYED];
        let serving = serve(listener, answers.map(str::to_owned).to_vec());
        let step = Step::new("");
        let answer = deploy(&client, &project, &step).await.unwrap();
        assert_eq!(answer.body.get("version").as_u64(), Some(7));
        let seen = serving.await.unwrap();
        let lines: Vec<&str> =
            seen.iter().map(|request| request.split(" HTTP/1.1").next().unwrap()).collect();
        let head = format!("HEAD /v1/artifacts/{}", project.digest);
        let put = "PUT /v1/functions/f";
        let asked = [&*head, "POST /v1/artifacts", "POST /v1/files/missing", "POST /v1/files", put];
        assert_eq!(lines, asked.iter().flat_map(|line| [*line; 2]).collect::<Vec<_>>());
    }
}
