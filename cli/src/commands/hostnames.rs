//! `wasmill hostnames …`.

use reqwest::Method;

use crate::args::{Hostnames, Remote};
use crate::client::{Client, Request};
use crate::exit::Result;
use crate::output::{self, cell};

pub(crate) async fn run(verb: Hostnames, remote: Remote) -> Result {
    let client = Client::new(remote)?;
    match verb {
        Hostnames::List => {
            let answer = client.get(&["v1", "hostnames"]).await?;
            if client.prints_json() {
                output::json(&answer);
                return Ok(());
            }
            let hostnames = answer.get("hostnames").items().into_iter();
            let rows: Vec<Vec<String>> = hostnames
                .map(|h| {
                    let by = if h.get("configured").is_true() { "configuration" } else { "API" };
                    vec![
                        cell(h.get("hostname")),
                        cell(h.get("tenant")),
                        by.into(),
                        cell(h.get("granted_at")),
                    ]
                })
                .collect();
            output::table(&["HOSTNAME", "TENANT", "GRANTED BY", "AT"], &rows);
        }
        Hostnames::Grant { hostname } => {
            let answer = client
                .send(Request::new(Method::PUT, &["v1", "hostnames", hostname.as_str()]))
                .await?
                .body;
            if client.prints_json() {
                output::json(&answer);
            } else {
                output::line(format!("{hostname} is the tenant {}'s", cell(answer.get("tenant"))));
            }
        }
        Hostnames::Revoke { hostname } => {
            client
                .send(Request::new(Method::DELETE, &["v1", "hostnames", hostname.as_str()]))
                .await?;
            if !client.prints_json() {
                output::line(format!(
                    "{hostname} is granted no more by the API; triggers under it answer only where another grant covers it (hostnames list)"
                ));
            }
        }
    }
    Ok(())
}
