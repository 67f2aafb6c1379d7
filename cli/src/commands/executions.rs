//! `wasmill executions …`.

use reqwest::Method;
use serde::Serialize;
use wasmill_domain::ExecutionId;

use crate::args::{Executions, ListExecutions, Operated, Remote};
use crate::client::{Client, Request};
use crate::exit::Result;
use crate::json::{Document, Json};
use crate::output::{
    self, bytes, cell, count, indented, inline, millis, short_digest, single_line,
};

/// What a list shows of an execution, before its message.
const COLUMNS: [&str; 7] = ["id", "function", "state", "outcome", "attempt", "type", "accepted_at"];

/// What stands above them.
const HEADING: [&str; 8] =
    ["ID", "FUNCTION", "STATE", "OUTCOME", "ATTEMPT", "TYPE", "ACCEPTED", "MESSAGE"];

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
                print(execution.json());
            }
            Ok(())
        }
        Executions::Cancel(operated) => operate(&client, "cancel", operated).await,
        Executions::Suspend(operated) => operate(&client, "suspend", operated).await,
        Executions::Resume(operated) => operate(&client, "resume", operated).await,
    }
}

/// Moves one execution, and says where it stands then.
async fn operate(client: &Client, what: &str, operated: Operated) -> Result {
    let id = operated.id.to_string();
    let request = Request::new(Method::POST, &["v1", "executions", &id, what])
        .query("reason", operated.reason);
    let moved = client.send(request).await?.body;
    if client.prints_json() {
        output::json(&moved);
    } else {
        output::line(match moved.get("detail").string() {
            Some(detail) => format!("execution {id}: {}", inline(&detail)),
            None => format!("execution {id} is {}", cell(moved.get("state"))),
        });
    }
    Ok(())
}

async fn list(client: &Client, args: &ListExecutions) -> Result {
    let executions = fetch(client, args).await?;
    if client.prints_json() {
        output::json(&Executed { executions });
        return Ok(());
    }
    let rows: Vec<Vec<String>> = executions.iter().map(row).collect();
    output::table(&HEADING, &rows);
    Ok(())
}

/// An execution in a list.
fn row(execution: &Document) -> Vec<String> {
    let mut row = COLUMNS.map(|key| cell(execution.get(key))).to_vec();
    let unreadable = execution
        .get("unreadable")
        .string()
        .map(|why| single_line(&format!("cannot be read: {why}")));
    row.push(unreadable.unwrap_or_else(|| cell(execution.get("message"))));
    row
}

/// A list as the API has it.
#[derive(Serialize)]
struct Executed {
    executions: Vec<Document>,
}

/// Follows the pages until there are enough.
async fn fetch(client: &Client, args: &ListExecutions) -> Result<Vec<Document>> {
    let mut executions: Vec<Document> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let missing =
            args.limit.saturating_sub(u32::try_from(executions.len()).unwrap_or(u32::MAX));
        let request = Request::get(&["v1", "executions"])
            .query("function", args.function.as_ref())
            .query("state", args.state)
            .query("outcome", args.outcome)
            .query("type", args.event_type.as_ref())
            .query("limit", Some(missing.min(PAGE)))
            .query("cursor", cursor);
        let page = client.send(request).await?.body;
        executions.extend(page.get("executions").items().into_iter().map(Json::to_document));
        cursor = page.get("next").string();
        if cursor.is_none() || executions.len() >= args.limit as usize {
            return Ok(executions);
        }
    }
}

/// An execution for people: what happened, and what it cost.
pub(crate) fn print(execution: Json<'_>) {
    shown(execution).iter().for_each(output::line);
}

/// The same as text: a line for each thing to say, and further ones below it for a text of several.
fn shown(execution: Json<'_>) -> Vec<String> {
    let mut shown = vec![format!(
        "{} {} {}",
        cell(execution.get("id")),
        cell(execution.get("function")),
        cell(execution.get("state"))
    )];
    let mut field = |name: &str, value: String| shown.push(format!("  {name:<10} {value}"));
    let event = execution.get("event");
    match execution.get("unreadable_event").get("why").string() {
        Some(why) => field("event", format!("cannot be read: {why}")),
        None => {
            let [event_type, id, source] =
                ["type", "id", "source"].map(|name| cell(event.get(name)));
            field("event", format!("{event_type} {id} from {source}"));
        }
    }
    field("accepted", cell(execution.get("accepted_at")));
    field("trace", cell(execution.get("trace_id")));
    if !execution.get("due_at").is_null() {
        field("due", cell(execution.get("due_at")));
    }
    for (name, label) in [("held_by", "held by"), ("changed_at", "moved"), ("reason", "reason")] {
        if let Some(text) = execution.get(name).string() {
            field(label, indented(&text, 13));
        }
    }
    if let Some(why) = execution.get("no_host").string() {
        field("waits", inline(&why));
    }
    if let Some(origin) = origin(execution) {
        field("origin", origin);
    }
    if execution.get("epoch").as_u64().is_some_and(|epoch| epoch > 1) {
        field("epoch", cell(execution.get("epoch")));
    }
    let children: Vec<String> = execution.get("children").items().into_iter().map(cell).collect();
    if !children.is_empty() {
        field("led to", children.join(" "));
    }
    for attempt in execution.get("attempts").items() {
        let line = format!("{} {}", cell(attempt.get("outcome")), cost(attempt));
        field(&format!("attempt {}", cell(attempt.get("attempt"))), line);
        for text in
            ["message", "backtrace"].into_iter().filter_map(|name| attempt.get(name).string())
        {
            field("", indented(&text, 13));
        }
    }
    for (name, label) in [("result", "result"), ("standard_output", "output")] {
        let result = execution.get(name);
        if !result.is_null() {
            field(label, format!("{}  {}", cell(result.get("content_type")), result_text(result)));
        }
    }
    shown
}

/// Why an execution exists, where it is not just an event: the kind and what belongs to it, and the
/// first of its chain.
fn origin(execution: Json<'_>) -> Option<String> {
    let origin = execution.get("origin");
    let kind = origin.get("kind").string().filter(|kind| kind != "event")?;
    let mut text = kind.replace('_', " ");
    for name in ["execution", "name", "due", "run", "path"] {
        if let Some(value) = origin.get(name).string() {
            text.push(' ');
            text.push_str(&single_line(&value));
        }
    }
    let [root, id] = ["root", "id"].map(|name| execution.get(name).string());
    let known = [id, origin.get("execution").string()];
    if let Some(root) = root.filter(|root| !known.contains(&Some(root.clone()))) {
        text.push_str(&format!(", in the chain of {root}"));
    }
    Some(text)
}

/// What an attempt cost, on one line.
fn cost(attempt: Json<'_>) -> String {
    format!(
        "(version {}, {}{} fuel, {}, ran {}, waited {})",
        short_digest(attempt.get("version").string()),
        at_least(attempt.get("outcome")),
        count(attempt.get("fuel_used").as_u64()),
        bytes(attempt.get("peak_memory_bytes").as_u64()),
        millis(attempt.get("run_time_ms").as_f64()),
        millis(attempt.get("queue_wait_ms").as_f64())
    )
}

/// What to say before the fuel: a guest that was interrupted while it computed has not counted all
/// of it.
fn at_least(outcome: Json<'_>) -> &'static str {
    if matches!(
        outcome.string().as_deref(),
        Some("timed_out" | "cancelled" | "trap" | "out_of_memory")
    ) {
        "at least "
    } else {
        ""
    }
}

/// A result's data: JSON and text as they are, bytes by their number.
fn result_text(result: Json<'_>) -> String {
    match result.get("data_base64").string() {
        Some(base64) => {
            format!("{} bytes (base64 with --json)", base64.trim_end_matches('=').len() * 3 / 4)
        }
        None => result.get("data").text(),
    }
}

/// The document of an execution.
pub(crate) async fn document(client: &Client, id: ExecutionId) -> Result<Document> {
    client.get(&["v1", "executions", &id.to_string()]).await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wasmill_domain::Event;
    use wasmill_domain::event::arbitrary::any_event;
    use wasmill_domain::event::json::JsonFormat;

    use super::*;

    /// What the API says of an execution, as far as its event is in it.
    #[derive(Serialize)]
    struct OfApi<'a> {
        id: &'a str,
        function: &'a str,
        state: &'a str,
        outcome: &'a str,
        attempt: u32,
        message: Option<&'a str>,
        #[serde(rename = "type")]
        event_type: &'a str,
        event_id: &'a str,
        event_source: &'a str,
        event: JsonFormat<'a>,
        result: Echoed<'a>,
    }

    /// A function's result that is its event's data.
    #[derive(Serialize)]
    struct Echoed<'a> {
        content_type: &'a str,
        data: &'a str,
    }

    fn of_api(event: &Event) -> Vec<u8> {
        let text = String::from_utf8_lossy(event.data.as_deref().unwrap_or_default());
        let said = OfApi {
            id: "0190",
            function: "total",
            state: "failed",
            outcome: "rejected",
            attempt: 1,
            message: event.subject.as_deref(),
            event_type: &event.event_type,
            event_id: &event.id,
            event_source: &event.source,
            event: JsonFormat(event),
            result: Echoed { content_type: event.media_type().unwrap_or_default(), data: &text },
        };
        serde_json::to_vec(&said).unwrap()
    }

    /// Whether a terminal shows all of a text, and in its order.
    fn is_harmless(text: &str) -> bool {
        text == output::escaped(text) && !text.contains('\r')
    }

    proptest! {
        #[test]
        fn whatever_was_accepted_is_shown(events in proptest::collection::vec(any_event(), 1..4)) {
            let documents: Vec<Document> =
                events.iter().map(|event| Document::read(&of_api(event)).unwrap()).collect();
            for (event, document) in events.iter().zip(&documents) {
                let shown = shown(document.json());
                prop_assert_eq!(&shown[0], "0190 total failed");
                let reported = shown[1].strip_prefix("  event      ").unwrap();
                prop_assert!(reported.starts_with(&*event.event_type) && reported.contains(" from "));
                // Nothing of the event looks like another line of what is printed.
                for line in &shown[1..] {
                    let printed = output::escaped(line);
                    prop_assert!(is_harmless(&printed), "{printed:?}");
                    prop_assert!(printed.lines().all(|line| line.starts_with("  ")), "{printed:?}");
                }
            }
            let rows: Vec<Vec<String>> = documents.iter().map(row).collect();
            let table = output::table_lines(&HEADING, &rows);
            prop_assert_eq!(table.len(), 1 + rows.len());
            prop_assert!(table.iter().all(|line| is_harmless(line) && !line.contains('\n')));

            // For programs there is nothing between the tokens but space that is more or less.
            for document in documents.iter().map(Document::json) {
                let [piped, on_terminal] =
                    [false, true].map(|is_for_terminal| output::json_text(&document, is_for_terminal));
                prop_assert_eq!(Json::read(piped.as_bytes()).unwrap().text(), document.text());
                prop_assert!(is_harmless(&on_terminal));
                let seen = Json::read(on_terminal.as_bytes()).unwrap();
                for name in ["id", "source", "subject"] {
                    prop_assert_eq!(
                        seen.get("event").get(name).exact_string(),
                        document.get("event").get(name).exact_string()
                    );
                }
            }
        }
    }

    #[test]
    fn an_interrupted_attempt_took_at_least_its_fuel() {
        for (outcome, fuel) in [
            ("success", "1,234 fuel"),
            ("rejected", "1,234 fuel"),
            ("error", "1,234 fuel"),
            ("out_of_fuel", "1,234 fuel"),
            ("trap", "at least 1,234 fuel"),
            ("timed_out", "at least 1,234 fuel"),
            ("cancelled", "at least 1,234 fuel"),
            ("out_of_memory", "at least 1,234 fuel"),
        ] {
            let attempt = serde_json::json!({
                "version": "sha256:0123456789abcdef", "outcome": outcome, "fuel_used": 1234, "peak_memory_bytes": 2048,
                "run_time_ms": 1.5, "queue_wait_ms": 0.25,
            });
            let reported = cost(Json::read(attempt.to_string().as_bytes()).unwrap());
            assert_eq!(
                reported,
                format!("(version 0123456789ab, {fuel}, 2.0 KiB, ran 1.50 ms, waited 0.25 ms)")
            );
        }
    }
}
