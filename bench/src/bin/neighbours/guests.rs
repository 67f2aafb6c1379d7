//! Hostile guests, each kept in flight.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::server::Server;

const HOSTILE_IN_FLIGHT: usize = 4;
const KINDS: [&str; 10] = [
    "spin",
    "memory-bomb",
    "recursion",
    "panic",
    "log-flood",
    "huge-output",
    "call-storm",
    "slow",
    "emit-flood",
    "resource-bomb",
];

/// Deploys them all, and measures beside each.
pub(crate) async fn run(root: &Path, binary: &Path, http: &reqwest::Client) -> Result<()> {
    let server = Server::start(binary)?;
    server.deploy(binary, &root.join("functions/hello"), "")?;
    for kind in KINDS {
        server.deploy(binary, &root.join("functions/hostile").join(kind), "")?;
    }
    server.measure(http, "", 2).await?;
    for kind in KINDS {
        let url = format!("{}/v1/functions/hostile-{kind}/invoke", server.url);
        let begin = || {
            (0..HOSTILE_IN_FLIGHT)
                .map(|_| tokio::spawn(keep_invoking(http.clone(), url.clone(), kind)))
                .collect()
        };
        server.compare(kind, http, "", begin).await?;
    }
    Ok(())
}

async fn keep_invoking(http: reqwest::Client, url: String, kind: &'static str) {
    loop {
        let request = http.post(format!("{url}?wait=60s&type=hostile.{kind}")).json(&json!({}));
        // Its end does not matter here; a refusal (too many in flight) must not become a busy loop.
        match request.send().await {
            Ok(response) if response.status().is_success() => drop(response.bytes().await),
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
