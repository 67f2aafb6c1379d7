//! `wasmill invoke`.

use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use wasmill_domain::event::is_json_media_type;

use super::executions;
use crate::args::{Invoke, Remote};
use crate::client::{Client, Request};
use crate::exit::{Failure, Result};
use crate::json::{Json, without_mark};
use crate::output::{self, Progress, cell};

pub(crate) async fn run(args: Invoke, remote: Remote) -> Result {
    let client = Client::new(remote)?;
    let (content_type, body) = data(&args)?;
    let request = Request::new(Method::POST, &["v1", "functions", &args.name, "invoke"])
        .query("wait", Some(args.wait))
        .query("type", args.event_type.as_ref())
        .body(&content_type, body)
        .wait_timeout(args.wait.0);
    let progress = Progress::start(format!("running {}", args.name));
    let answer = client.send(request).await?;
    drop(progress);
    if client.prints_json() {
        output::json(&answer.body);
    } else {
        executions::print(answer.body.json());
    }
    let state = cell(answer.body.get("state"));
    if answer.status == StatusCode::ACCEPTED && state != "suspended" {
        let id = cell(answer.body.get("id"));
        return Err(Failure::Unsuccessful(format!(
            "not done within {}: see `wasmill executions show {id}`",
            args.wait
        )));
    }
    match state.as_str() {
        "succeeded" => Ok(()),
        state => Err(Failure::Unsuccessful(format!("the execution is {state}"))),
    }
}

/// The body to send, and its media type.
fn data(args: &Invoke) -> Result<(String, Bytes)> {
    let Some(text) = &args.data else {
        return Ok(("application/json".into(), Bytes::from_static(b"null")));
    };
    let Some(file) = text.strip_prefix('@') else {
        let content_type = args.content_type.clone().unwrap_or_else(|| "application/json".into());
        return Ok((content_type, text.clone().into()));
    };
    let bytes = std::fs::read(file).with_context(|| format!("--data @{file}"))?;
    let content_type =
        args.content_type.clone().unwrap_or_else(|| media_type_of(Path::new(file), &bytes).into());
    if is_json_media_type(&content_type) {
        let json = without_mark(&bytes).with_context(|| format!("--data @{file}"))?;
        return Ok((content_type, Bytes::copy_from_slice(json)));
    }
    Ok((content_type, bytes.into()))
}

/// The media type of a file: a CloudEvent shows itself by its members, the rest by the name.
fn media_type_of(file: &Path, bytes: &[u8]) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => "text/csv",
        Some("txt" | "md") => "text/plain",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("bin") => "application/octet-stream",
        _ if is_cloud_event(bytes) => "application/cloudevents+json",
        _ => "application/json",
    }
}

fn is_cloud_event(bytes: &[u8]) -> bool {
    let has_all = |document: Json<'_>| {
        ["specversion", "id", "source", "type"]
            .iter()
            .all(|name| document.get(name).string().is_some())
    };
    without_mark(bytes).is_ok_and(|text| Json::read(text).is_ok_and(has_all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_event_shows_itself() {
        let event = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
        assert_eq!(media_type_of(Path::new("event.json"), event), "application/cloudevents+json");
        let marked = [b"\xef\xbb\xbf", &event[..]].concat();
        assert_eq!(media_type_of(Path::new("event.json"), &marked), "application/cloudevents+json");
        let odd =
            br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":["\ud800",1e400]}"#;
        assert_eq!(media_type_of(Path::new("event.json"), odd), "application/cloudevents+json");
        assert_eq!(media_type_of(Path::new("data.json"), b"{}"), "application/json");
        assert_eq!(media_type_of(Path::new("a.csv"), b"a,b"), "text/csv");
    }
}
