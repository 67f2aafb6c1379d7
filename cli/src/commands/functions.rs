//! `wasmill functions …`.

use reqwest::Method;
use serde_json::{Value, json};
use wasmill_domain::FunctionName;

use crate::args::{Functions, Remote};
use crate::client::{Client, Request};
use crate::exit::Result;
use crate::output::{self, bytes, cell, short_digest};

pub(crate) async fn run(verb: Functions, remote: Remote) -> Result {
    let client = Client::new(remote)?;
    match verb {
        Functions::List => list(&client).await,
        Functions::Show { name } => show(&client, &name).await,
        Functions::Rollback { name, to } => {
            let body = to.map_or_else(|| json!({}), |to| json!({"to": to}));
            let request = Request::new(Method::POST, &["v1", "functions", &name, "rollback"]).json(&body);
            let answer = client.send(request).await?.body;
            if client.prints_json() {
                output::json(&answer);
            } else {
                output::line(format!("{name} is at version {} again", answer["version"]));
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
    let functions = answer["functions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = functions
        .iter()
        .map(|f| {
            vec![
                cell(&f["name"]),
                cell(&f["version"]),
                short_digest(&f["digest"]),
                triggers(&f["triggers"]),
                cell(&f["deployed_at"]),
            ]
        })
        .collect();
    output::table(&["NAME", "VERSION", "DIGEST", "TRIGGERS", "DEPLOYED"], &rows);
    Ok(())
}

async fn show(client: &Client, name: &FunctionName) -> Result {
    let function = client.get(&["v1", "functions", name]).await?;
    if client.prints_json() {
        output::json(&function);
        return Ok(());
    }
    let manifest = &function["manifest"];
    output::line(format!("{} version {}  {}", name, function["version"], cell(&function["digest"])));
    if let Some(description) = manifest["description"].as_str() {
        output::line(description);
    }
    output::line(format!("triggers     {}", triggers(&function["triggers"])));
    for host in function["hostnames_not_owned"].as_array().into_iter().flatten() {
        output::line(format!("             under {} it does not answer: the name is not the tenant's", cell(host)));
    }
    output::line(format!("limits       {}", pairs(&manifest["limits"])));
    output::line(format!("retry        {}", pairs(&manifest["retry"])));
    output::line(format!("queue        {}", pairs(&function["queue"])));
    output::line("");
    let versions = client.get(&["v1", "functions", name, "versions"]).await?;
    let rows: Vec<Vec<String>> = versions["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|v| {
            let current = if v["current"] == true { "current" } else { "" };
            vec![
                cell(&v["version"]),
                short_digest(&v["digest"]),
                bytes(&v["size"]),
                cell(&v["deployed_at"]),
                current.into(),
            ]
        })
        .collect();
    output::table(&["VERSION", "DIGEST", "SIZE", "DEPLOYED", ""], &rows);
    Ok(())
}

fn triggers(triggers: &Value) -> String {
    let starts = |trigger: &Value| match trigger["http"].as_str() {
        Some(path) => {
            let methods: Vec<&str> =
                trigger["methods"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let host = trigger["host"].as_str().unwrap_or_default();
            format!("{} {host}{path}", if methods.is_empty() { "*".into() } else { methods.join("|") })
        }
        None => cell(&trigger["event"]),
    };
    let starts: Vec<String> = triggers.as_array().into_iter().flatten().map(starts).collect();
    if starts.is_empty() { "-".into() } else { starts.join(", ") }
}

/// An object's members on one line.
fn pairs(object: &Value) -> String {
    let members = object.as_object().into_iter().flatten();
    members.map(|(name, value)| format!("{name} {}", cell(value))).collect::<Vec<_>>().join("  ")
}
