//! `wasmill nodes`.

use crate::args::Remote;
use crate::client::Client;
use crate::exit::Result;
use crate::json::Json;
use crate::output::{self, cell};

pub(crate) async fn run(remote: Remote) -> Result {
    let client = Client::new(remote)?;
    let answer = client.get(&["v1", "nodes"]).await?;
    if client.prints_json() {
        output::json(&answer);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = answer.get("nodes").items().into_iter().map(row).collect();
    output::table(
        &["ROLE", "NAME", "RELEASE", "SCHEMA", "LABELS", "READS", "STARTED", "HEARTBEAT"],
        &rows,
    );
    Ok(())
}

fn row(node: Json<'_>) -> Vec<String> {
    let labels: Vec<String> = node.get("labels").items().into_iter().map(cell).collect();
    let labels = if labels.is_empty() { "-".into() } else { labels.join(",") };
    let reads = ["batch", "http", "control", "streams", "preflight"]
        .map(|format| format!("{format} {}", cell(node.get("reads").get(format))));
    let [role, name, release, schema] =
        ["role", "name", "release", "schema_version"].map(|key| cell(node.get(key)));
    let [started, beat] = ["started_at", "beat_at"].map(|key| cell(node.get(key)));
    vec![role, name, release, schema, labels, reads.join(", "), started, beat]
}
