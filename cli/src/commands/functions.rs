//! `wasmill functions …`.

use reqwest::Method;
use serde_json::json;
use wasmill_domain::FunctionName;

use super::deploy::{COMPILATION, warn};
use crate::args::{Functions, Remote};
use crate::client::{Client, Request};
use crate::exit::Result;
use crate::json::Json;
use crate::output::{self, Step, bytes, cell, indented, inline, short_digest};

pub(crate) async fn run(verb: Functions, remote: Remote) -> Result {
    let client = Client::new(remote)?;
    match verb {
        Functions::List => list(&client).await,
        Functions::Show { name } => show(&client, &name).await,
        Functions::Rollback { name, to } => {
            let body = to.map_or_else(|| json!({}), |to| json!({"to": to}));
            let request =
                Request::new(Method::POST, &["v1", "functions", &name, "rollback"]).json(&body);
            // An old version may have to be compiled again.
            let request = request.wait_timeout(COMPILATION);
            let step = Step::new("it is checked and compiled");
            let answer =
                output::awaited(&format!("rolling {name} back"), &step, client.send(request))
                    .await?
                    .body;
            if client.prints_json() {
                output::json(&answer);
            } else {
                output::line(format!("{name} is at version {} again", cell(answer.get("version"))));
                warn(&answer);
            }
            Ok(())
        }
        Functions::Delete { name } => {
            client.send(Request::new(Method::DELETE, &["v1", "functions", &name])).await?;
            if !client.prints_json() {
                output::line(format!("{name} is deleted"));
            }
            Ok(())
        }
    }
}

async fn list(client: &Client) -> Result {
    let answer = client.get(&["v1", "functions"]).await?;
    if client.prints_json() {
        output::json(&answer);
        return Ok(());
    }
    let functions = answer.get("functions").items();
    let rows: Vec<Vec<String>> = functions
        .into_iter()
        .map(|f| {
            vec![
                cell(f.get("name")),
                cell(f.get("version")),
                short_digest(f.get("digest").string()),
                triggers(f.get("triggers")),
                cell(f.get("deployed_at")),
            ]
        })
        .collect();
    output::table(&["NAME", "VERSION", "DIGEST", "TRIGGERS", "DEPLOYED"], &rows);
    for function in answer.get("unreadable").items() {
        output::line(format!(
            "{} is unreadable: {}",
            cell(function.get("name")),
            cell(function.get("why"))
        ));
    }
    Ok(())
}

async fn show(client: &Client, name: &FunctionName) -> Result {
    let function = client.get(&["v1", "functions", name]).await?;
    if client.prints_json() {
        output::json(&function);
        return Ok(());
    }
    let manifest = function.get("manifest");
    output::line(format!(
        "{} version {}  {}",
        name,
        cell(function.get("version")),
        cell(function.get("digest"))
    ));
    if let Some(description) = manifest.get("description").string() {
        output::line(indented(&description, 2));
    }
    output::line(format!("triggers     {}", triggers(function.get("triggers"))));
    for host in function.get("hostnames_not_owned").items() {
        output::line(format!(
            "             under {} it does not answer: the name is not the tenant's",
            cell(host)
        ));
    }
    if let Some(why) = function.get("no_host").string() {
        output::line(format!("hosts        {}", inline(&why)));
    }
    output::line(format!("limits       {}", pairs(manifest.get("limits"))));
    output::line(format!("retry        {}", pairs(manifest.get("retry"))));
    output::line(format!("queue        {}", pairs(function.get("queue"))));
    output::line("");
    let versions = client.get(&["v1", "functions", name, "versions"]).await?;
    let rows: Vec<Vec<String>> = versions
        .get("versions")
        .items()
        .into_iter()
        .map(|v| {
            let current = if v.get("current").is_true() { "current" } else { "" };
            vec![
                cell(v.get("version")),
                short_digest(v.get("digest").string()),
                bytes(v.get("size").as_u64()),
                cell(v.get("deployed_at")),
                current.into(),
            ]
        })
        .collect();
    output::table(&["VERSION", "DIGEST", "SIZE", "DEPLOYED", ""], &rows);
    Ok(())
}

fn triggers(triggers: Json<'_>) -> String {
    let starts = |trigger: Json<'_>| match trigger.get("http").string() {
        Some(path) => {
            let methods: Vec<String> =
                trigger.get("methods").items().into_iter().filter_map(Json::string).collect();
            let host = trigger.get("host").string().unwrap_or_default();
            format!(
                "{} {host}{path}",
                if methods.is_empty() { "*".into() } else { methods.join("|") }
            )
        }
        None => cell(trigger.get("event")),
    };
    let starts: Vec<String> = triggers.items().into_iter().map(starts).collect();
    if starts.is_empty() { "-".into() } else { starts.join(", ") }
}

/// An object's members on one line.
fn pairs(object: Json<'_>) -> String {
    let members = object.members().into_iter();
    members
        .map(|(name, value)| format!("{} {}", inline(&name), cell(value)))
        .collect::<Vec<_>>()
        .join("  ")
}
