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
            let hostnames = answer["hostnames"].as_array().into_iter().flatten();
            let rows: Vec<Vec<String>> = hostnames
                .map(|h| {
                    let by = if h["configured"] == true { "configuration" } else { "API" };
                    vec![cell(&h["hostname"]), cell(&h["tenant"]), by.into(), cell(&h["granted_at"])]
                })
                .collect();
            output::table(&["HOSTNAME", "TENANT", "GRANTED BY", "AT"], &rows);
        }
        Hostnames::Grant { hostname } => {
            let answer = client.send(Request::new(Method::PUT, &["v1", "hostnames", hostname.as_str()])).await?.body;
            if client.prints_json() {
                output::json(&answer);
            } else {
                output::line(format!("{hostname} is the tenant {}'s", cell(&answer["tenant"])));
            }
        }
        Hostnames::Revoke { hostname } => {
            client.send(Request::new(Method::DELETE, &["v1", "hostnames", hostname.as_str()])).await?;
            if !client.prints_json() {
                output::line(format!(
                    "{hostname} is granted no more by the API; triggers under it answer only where another grant covers it (hostnames list)"
                ));
            }
        }
    }
    Ok(())
}
