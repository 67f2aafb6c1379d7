//! `wasmill schemas …`.

use std::path::Path;

use anyhow::Context as _;
use reqwest::Method;
use wasmill_domain::EventType;

use crate::args::{Remote, Schemas};
use crate::client::{Client, Request};
use crate::exit::Result;
use crate::output::{self, cell};

pub(crate) async fn run(verb: Schemas, remote: Remote) -> Result {
    let client = Client::new(remote)?;
    match verb {
        Schemas::List => list(&client).await,
        Schemas::Show { event_type } => {
            let answer = client.get(&["v1", "schemas", &event_type]).await?;
            // People want to see the schema itself; programs also its version.
            output::json(if client.prints_json() { &answer } else { &answer["schema"] });
            Ok(())
        }
        Schemas::Put { event_type, file } => put(&client, &event_type, &file).await,
        Schemas::Delete { event_type } => {
            client.send(Request::new(Method::DELETE, &["v1", "schemas", &event_type])).await?;
            if !client.prints_json() {
                output::line(format!(
                    "the schema of {event_type} is deleted: its events are no longer checked against it"
                ));
            }
            Ok(())
        }
    }
}

async fn list(client: &Client) -> Result {
    let answer = client.get(&["v1", "schemas"]).await?;
    if client.prints_json() {
        output::json(&answer);
        return Ok(());
    }
    let schemas = answer["schemas"].as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> =
        schemas.map(|s| vec![cell(&s["type"]), cell(&s["version"]), cell(&s["updated_at"])]).collect();
    output::table(&["TYPE", "VERSION", "UPDATED"], &rows);
    Ok(())
}

async fn put(client: &Client, event_type: &EventType, file: &Path) -> Result {
    let named = || format!("'{}'", file.display());
    let text = std::fs::read_to_string(file).with_context(named)?;
    let schema = wasmill_domain::json::parse(text.as_bytes()).with_context(named)?;
    let answer = client.send(Request::new(Method::PUT, &["v1", "schemas", event_type]).json(&schema)).await?.body;
    if client.prints_json() {
        output::json(&answer);
    } else {
        output::line(format!("{event_type} is checked against version {} of its schema", answer["version"]));
    }
    Ok(())
}
