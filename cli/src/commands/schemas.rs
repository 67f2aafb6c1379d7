//! `wasmill schemas …`.

use std::path::Path;

use anyhow::Context as _;
use reqwest::Method;
use wasmill_domain::EventType;

use crate::args::{Remote, Schemas};
use crate::client::{Client, Request};
use crate::exit::Result;
use crate::json::without_mark;
use crate::output::{self, cell};

pub(crate) async fn run(verb: Schemas, remote: Remote) -> Result {
    let client = Client::new(remote)?;
    match verb {
        Schemas::List => list(&client).await,
        Schemas::Show { event_type } => {
            let answer = client.get(&["v1", "schemas", &event_type]).await?;
            // People want to see the schema itself; programs also its version.
            if client.prints_json() {
                output::json(&answer);
            } else {
                output::json_for_people(answer.get("schema"));
            }
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
    let schemas = answer.get("schemas").items().into_iter();
    let rows: Vec<Vec<String>> = schemas
        .map(|s| ["type", "version", "updated_at"].map(|column| cell(s.get(column))).to_vec())
        .collect();
    output::table(&["TYPE", "VERSION", "UPDATED"], &rows);
    Ok(())
}

async fn put(client: &Client, event_type: &EventType, file: &Path) -> Result {
    let named = || format!("'{}'", file.display());
    let text = std::fs::read(file).with_context(named)?;
    let schema = without_mark(&text).with_context(named)?;
    wasmill_domain::json::parse(schema).with_context(named)?;
    let request = Request::new(Method::PUT, &["v1", "schemas", event_type])
        .body("application/json", schema.to_vec());
    let answer = client.send(request).await?.body;
    if client.prints_json() {
        output::json(&answer);
    } else {
        output::line(format!(
            "{event_type} is checked against version {} of its schema",
            cell(answer.get("version"))
        ));
    }
    Ok(())
}
