//! `wasmill dead-letters …`.

use std::path::Path;

use reqwest::Method;
use serde::Serialize;
use uuid::Uuid;

use crate::args::{DeadLetters, Remote};
use crate::client::{Client, Request};
use crate::exit::Result;
use crate::json::{Document, Json};
use crate::output::{self, bytes, cell};

/// The most that one page of the API holds.
const PAGE: u32 = 500;

pub(crate) async fn run(verb: DeadLetters, remote: Remote) -> Result {
    let client = Client::new(remote)?;
    match verb {
        DeadLetters::List { limit } => list(&client, limit).await,
        DeadLetters::Export { id, output } => export(&client, id, output.as_deref()).await,
        DeadLetters::Redrive { id } => {
            let request =
                Request::new(Method::POST, &["v1", "dead-letters", &id.to_string(), "redrive"]);
            let answer = client.send(request).await?.body;
            if client.prints_json() {
                output::json(&answer);
            } else {
                let (all, reopened) =
                    (answer.get("executions").items().len(), cell(answer.get("reopened")));
                output::line(format!(
                    "{id} is in its queue again; {reopened} of the {all} executions in it had failed by it"
                ));
            }
            Ok(())
        }
        DeadLetters::Delete { id } => {
            client
                .send(Request::new(Method::DELETE, &["v1", "dead-letters", &id.to_string()]))
                .await?;
            if !client.prints_json() {
                output::line(format!("{id} is deleted; its executions stay as they are"));
            }
            Ok(())
        }
    }
}

/// A list as the API has it.
#[derive(Serialize)]
struct Listed {
    dead_letters: Vec<Document>,
}

async fn list(client: &Client, limit: u32) -> Result {
    let dead_letters = fetch(client, limit).await?;
    if client.prints_json() {
        output::json(&Listed { dead_letters });
        return Ok(());
    }
    let row = |letter: &Document| {
        let [id, tenant, function] =
            ["id", "tenant", "function"].map(|name| cell(letter.get(name)));
        let size = bytes(letter.get("size").as_u64());
        vec![
            id,
            cell(letter.get("at")),
            tenant,
            function,
            size,
            cell(letter.get("executions")),
            cell(letter.get("reason")),
        ]
    };
    let rows: Vec<Vec<String>> = dead_letters.iter().map(row).collect();
    output::table(&["ID", "AT", "TENANT", "FUNCTION", "SIZE", "EXECUTIONS", "REASON"], &rows);
    Ok(())
}

/// Follows the pages until there are enough.
async fn fetch(client: &Client, limit: u32) -> Result<Vec<Document>> {
    let mut letters: Vec<Document> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let missing = limit.saturating_sub(u32::try_from(letters.len()).unwrap_or(u32::MAX));
        let request = Request::get(&["v1", "dead-letters"])
            .query("limit", Some(missing.min(PAGE)))
            .query("cursor", cursor);
        let page = client.send(request).await?.body;
        letters.extend(page.get("dead_letters").items().into_iter().map(Json::to_document));
        cursor = page.get("next").string();
        if cursor.is_none() || letters.len() >= limit as usize {
            return Ok(letters);
        }
    }
}

/// Writes a letter's bytes to a file, or to standard output.
async fn export(client: &Client, id: Uuid, file: Option<&Path>) -> Result {
    let (_, bytes) = client.fetch(Request::get(&["v1", "dead-letters", &id.to_string()])).await?;
    match file {
        Some(path) => {
            std::fs::write(path, &bytes)
                .map_err(|e| anyhow::anyhow!("cannot write {}: {e}", path.display()))?;
        }
        None => output::raw(&bytes),
    }
    Ok(())
}
