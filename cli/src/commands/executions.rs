//! `wasmill executions …`.

use serde_json::Value;
use wasmill_domain::ExecutionId;

use crate::args::{Executions, ListExecutions, Remote};
use crate::client::{Client, Request};
use crate::exit::Result;
use crate::output::{self, bytes, cell, count, millis, short_digest};

/// The most that one page of the API holds.
const PAGE: u32 = 500;

pub(crate) async fn run(verb: Executions, remote: Remote) -> Result {
    let client = Client::new(remote)?;
    match verb {
        Executions::List(args) => list(&client, &args).await,
        Executions::Show { id } => {
            let execution = client.get(&["v1", "executions", &id.to_string()]).await?;
            if client.prints_json() {
                output::json(&execution);
            } else {
                print(&execution);
            }
            Ok(())
        }
    }
}

async fn list(client: &Client, args: &ListExecutions) -> Result {
    let executions = fetch(client, args).await?;
    if client.prints_json() {
        output::json(&serde_json::json!({"executions": executions}));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = executions
        .iter()
        .map(|e| {
            ["id", "function", "state", "outcome", "attempt", "type", "accepted_at", "message"]
                .map(|key| cell(&e[key]))
                .to_vec()
        })
        .collect();
    output::table(&["ID", "FUNCTION", "STATE", "OUTCOME", "ATTEMPT", "TYPE", "ACCEPTED", "MESSAGE"], &rows);
    Ok(())
}

/// Follows the pages until there are enough.
async fn fetch(client: &Client, args: &ListExecutions) -> Result<Vec<Value>> {
    let mut executions: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let missing = args.limit.saturating_sub(u32::try_from(executions.len()).unwrap_or(u32::MAX));
        let request = Request::get(&["v1", "executions"])
            .query("function", args.function.as_ref())
            .query("state", args.state)
            .query("outcome", args.outcome)
            .query("type", args.event_type.as_ref())
            .query("limit", Some(missing.min(PAGE)))
            .query("cursor", cursor);
        let mut page = client.send(request).await?.body;
        if let Value::Array(more) = page["executions"].take() {
            executions.extend(more);
        }
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() || executions.len() >= args.limit as usize {
            return Ok(executions);
        }
    }
}

/// An execution for people: what happened, and what it cost.
pub(crate) fn print(execution: &Value) {
    let field = |name: &str, value: String| output::line(format!("  {name:<10} {value}"));
    output::line(format!("{} {} {}", cell(&execution["id"]), cell(&execution["function"]), cell(&execution["state"])));
    let event = &execution["event"];
    match execution["unreadable_event"]["why"].as_str() {
        Some(why) => field("event", format!("cannot be read: {why}")),
        None => {
            field("event", format!("{} {} from {}", cell(&event["type"]), cell(&event["id"]), cell(&event["source"])))
        }
    }
    field("accepted", cell(&execution["accepted_at"]));
    field("trace", cell(&execution["trace_id"]));
    if !execution["due_at"].is_null() {
        field("due", cell(&execution["due_at"]));
    }
    if !execution["parent"].is_null() {
        field("emitted by", cell(&execution["parent"]));
    }
    let children: Vec<String> = execution["children"].as_array().into_iter().flatten().map(cell).collect();
    if !children.is_empty() {
        field("led to", children.join(" "));
    }
    for attempt in execution["attempts"].as_array().into_iter().flatten() {
        let line = format!("{} {}", cell(&attempt["outcome"]), cost(attempt));
        field(&format!("attempt {}", attempt["attempt"]), line);
        if let Some(message) = attempt["message"].as_str() {
            field("", message.replace('\n', "\n             "));
        }
        if let Some(backtrace) = attempt["backtrace"].as_str() {
            field("", backtrace.trim_end().replace('\n', "\n             "));
        }
    }
    let result = &execution["result"];
    if !result.is_null() {
        field("result", format!("{}  {}", cell(&result["content_type"]), result_text(result)));
    }
}

/// What an attempt cost, on one line.
pub(crate) fn cost(attempt: &Value) -> String {
    format!(
        "(version {}, {}{} fuel, {}, ran {}, waited {})",
        short_digest(&attempt["version"]),
        at_least(&attempt["outcome"]),
        count(&attempt["fuel_used"]),
        bytes(&attempt["peak_memory_bytes"]),
        millis(&attempt["run_time_ms"]),
        millis(&attempt["queue_wait_ms"])
    )
}

/// What to say before the fuel: a guest that was interrupted while it computed has not counted all of it.
fn at_least(outcome: &Value) -> &'static str {
    if matches!(outcome.as_str(), Some("timed_out" | "cancelled")) { "at least " } else { "" }
}

/// A result's data: JSON and text as they are, bytes by their number.
pub(crate) fn result_text(result: &Value) -> String {
    match result["data_base64"].as_str() {
        Some(base64) => format!("{} bytes (base64 with --json)", base64.trim_end_matches('=').len() * 3 / 4),
        None => result["data"].to_string(),
    }
}

/// The document of an execution.
pub(crate) async fn document(client: &Client, id: ExecutionId) -> Result<Value> {
    client.get(&["v1", "executions", &id.to_string()]).await
}
