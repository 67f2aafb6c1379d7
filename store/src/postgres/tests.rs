//! The port's suite on PostgreSQL, and what is PostgreSQL's own.
//!
//! Each test has a schema of its own on the server that all share. Tests that stop the server, or
//! want one with TLS, start a private one.

mod artifacts;
mod changes;
mod concurrency;
mod errors;
mod listen;
mod looks;
mod migration;
mod outage;
mod partitions;
mod plans;
mod pooler;
mod tables;
mod tls;
mod unreadable;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::settings::PostgresSettings;
use super::store::PostgresStore;
use super::testing::Schema;
use crate::conformance::{Fresh, nodes, quotas};

/// How long tests wait for what must happen.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// What tests use: fewer partitions to make.
fn settings() -> PostgresSettings {
    PostgresSettings { days_ahead: 1, ..PostgresSettings::default() }
}

async fn connect(schema: &Schema) -> PostgresStore {
    PostgresStore::connect(&schema.url(), settings()).await.unwrap()
}

async fn fresh() -> Fresh {
    fresh_with(settings()).await
}

async fn fresh_with(settings: PostgresSettings) -> Fresh {
    let schema = Schema::make().await;
    let store = Arc::new(PostgresStore::connect(&schema.url(), settings).await.unwrap());
    let (nodes, orders) = (Arc::clone(&store) as _, Arc::clone(&store) as _);
    Fresh { store, nodes, orders, _keep: Box::new(schema) }
}

async fn small() -> Fresh {
    fresh_with(PostgresSettings { quotas: quotas::small(), ..settings() }).await
}

async fn short_lived() -> Fresh {
    fresh_with(PostgresSettings { node_timeout: nodes::SHORT, ..settings() }).await
}

crate::conformance::suite!(fresh, small);
crate::conformance::nodes_suite!(fresh, short_lived);
crate::conformance::orders_suite!(fresh);

/// Waits until `done` says so.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < WAIT_TIMEOUT, "waited in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
