//! `wasmill logs`.

use serde::Serialize;
use wasmill_domain::ExecutionId;

use crate::args::{Logs, Remote};
use crate::client::{Client, Request};
use crate::exit::Result;
use crate::json::{Document, Json};
use crate::output::{self, cell, indented, inline};

pub(crate) async fn run(args: Logs, remote: Remote) -> Result {
    let client = Client::new(remote)?;
    let lines = fetch(&client, args.id).await?;
    if client.prints_json() {
        output::json(&Log { logs: lines });
    } else {
        lines.iter().for_each(|line| output::line(text(line.json())));
    }
    Ok(())
}

/// A log as the API has it.
#[derive(Serialize)]
struct Log {
    logs: Vec<Document>,
}

/// Every line of an execution's log, page by page.
pub(crate) async fn fetch(client: &Client, id: ExecutionId) -> Result<Vec<Document>> {
    let mut lines: Vec<Document> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let request =
            Request::get(&["v1", "executions", &id.to_string(), "logs"]).query("cursor", cursor);
        let page = client.send(request).await?.body;
        lines.extend(page.get("logs").items().into_iter().map(Json::to_document));
        cursor = page.get("next").string();
        if cursor.is_none() {
            return Ok(lines);
        }
    }
}

/// A log line for people; a text of several lines stands indented under its first.
pub(crate) fn text(line: Json<'_>) -> String {
    let source = line.get("source").string().filter(|source| source != "log");
    let source = source.map(|source| format!("[{source}] ")).unwrap_or_default();
    let fields: String = line
        .get("fields")
        .members()
        .into_iter()
        .map(|(name, value)| format!(" {}={}", inline(&name), cell(value)))
        .collect();
    let [at, attempt, level] = ["at", "attempt", "level"].map(|name| cell(line.get(name)));
    let message = indented(&line.get("message").string().unwrap_or_default(), 4);
    format!("{at} #{attempt} {level:<5} {source}{message}{fields}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_looks_like_another_line() {
        let line = br#"{"attempt":1,"at":"T","level":"info","source":"stdout","message":"a\nT #1 error forged",
            "fields":{"k\nT":"v\nT","n":1e400,"lone":"\udead"}}"#;
        let text = text(Json::read(line).unwrap());
        assert_eq!(
            text,
            "T #1 info  [stdout] a\n    T #1 error forged k\\nT=v n=1e400 lone=\u{fffd}"
        );
    }
}
