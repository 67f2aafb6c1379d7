//! `wasmill logs`.

use serde_json::Value;
use wasmill_domain::ExecutionId;

use crate::args::{Logs, Remote};
use crate::client::{Client, Request};
use crate::exit::Result;
use crate::output::{self, cell};

pub(crate) async fn run(args: Logs, remote: Remote) -> Result {
    let client = Client::new(remote)?;
    let lines = fetch(&client, args.id).await?;
    if client.prints_json() {
        output::json(&serde_json::json!({"logs": lines}));
    } else {
        lines.iter().for_each(|line| output::line(text(line)));
    }
    Ok(())
}

/// Every line of an execution's log, page by page.
pub(crate) async fn fetch(client: &Client, id: ExecutionId) -> Result<Vec<Value>> {
    let mut lines: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let request = Request::get(&["v1", "executions", &id.to_string(), "logs"]).query("cursor", cursor);
        let mut page = client.send(request).await?.body;
        if let Value::Array(more) = page["logs"].take() {
            lines.extend(more);
        }
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(lines);
        }
    }
}

/// A log line for people.
pub(crate) fn text(line: &Value) -> String {
    let source =
        line["source"].as_str().filter(|source| *source != "log").map(|s| format!("[{s}] ")).unwrap_or_default();
    let fields = line["fields"]
        .as_object()
        .map(|fields| fields.iter().map(|(name, value)| format!(" {name}={}", cell(value))).collect::<String>());
    let (at, level, message) = (cell(&line["at"]), cell(&line["level"]), line["message"].as_str().unwrap_or_default());
    format!("{at} #{} {level:<5} {source}{message}{}", line["attempt"], fields.unwrap_or_default())
}
