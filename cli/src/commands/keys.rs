//! `wasmill keys …`.

use reqwest::Method;
use serde_json::json;

use crate::args::{Keys, Remote};
use crate::client::{Client, Request};
use crate::exit::Result;
use crate::output::{self, cell};

pub(crate) async fn run(verb: Keys, remote: Remote) -> Result {
    let tenant = remote.tenant.clone();
    let client = Client::new(remote)?;
    match verb {
        Keys::List => {
            let answer = client.get(&["v1", "keys"]).await?;
            if client.prints_json() {
                output::json(&answer);
                return Ok(());
            }
            let keys = answer.get("keys").items().into_iter();
            let rows: Vec<Vec<String>> = keys
                .map(|k| {
                    ["id", "tenant", "role", "label", "created_at"]
                        .map(|name| cell(k.get(name)))
                        .to_vec()
                })
                .collect();
            output::table(&["ID", "TENANT", "ROLE", "LABEL", "CREATED"], &rows);
        }
        Keys::Create { label, role } => {
            let mut body = json!({"label": label, "role": role});
            if let Some(tenant) = tenant {
                body["tenant"] = json!(tenant);
            }
            let answer =
                client.send(Request::new(Method::POST, &["v1", "keys"]).json(&body)).await?.body;
            if client.prints_json() {
                output::json(&answer);
            } else {
                output::line(cell(answer.get("key")));
                output::line(
                    "Keep it: it is not stored and cannot be shown again. From now on every request needs a key.",
                );
            }
        }
        Keys::Delete { id } => {
            client.send(Request::new(Method::DELETE, &["v1", "keys", &id.to_string()])).await?;
            if !client.prints_json() {
                output::line(format!("key {id} is deleted"));
            }
        }
    }
    Ok(())
}
