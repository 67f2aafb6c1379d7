//! Changes of the definitions are notified.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use wasmill_domain::Revision;

use super::super::testing::{PgBouncer, Server, shared_server};
use super::{PostgresSettings, PostgresStore, Schema, WAIT_TIMEOUT, connect, settings};
use crate::RegistryWatch;
use crate::conformance::sample::{now, tenant};
use crate::port::{Catalog, Change};

async fn put_schema(store: &PostgresStore, event_type: &str) -> Revision {
    let event_type = event_type.parse().unwrap();
    let change = Change::PutSchema {
        tenant: tenant(),
        event_type,
        schema: serde_json::json!({}),
        at: now(),
    };
    store.define(&change).await.unwrap().revision
}

#[tokio::test]
async fn a_change_is_heard_by_every_process() {
    let schema = Schema::make().await;
    let (here, there) = (connect(&schema).await, connect(&schema).await);
    let mut notified = there.changes().unwrap();
    for event_type in ["a", "b", "c"] {
        let revision = put_schema(&here, event_type).await;
        timeout(WAIT_TIMEOUT, notified.wait_for(|notified| *notified == revision))
            .await
            .unwrap()
            .unwrap();
    }
    there.close().await;
    assert!(
        timeout(WAIT_TIMEOUT, notified.changed()).await.unwrap().is_err(),
        "listening ends with the store"
    );
}

/// The registry is there long before the next time it would have asked.
#[tokio::test]
async fn the_registry_follows_at_once() {
    let schema = Schema::make().await;
    let (here, there) = (connect(&schema).await, connect(&schema).await);
    let store: Arc<dyn Catalog> = Arc::new(there);
    let registry = RegistryWatch::start(store, Duration::from_secs(3600)).await.unwrap();
    let revision = put_schema(&here, "a").await;
    super::until("the registry follows", async || registry.current().revision() == revision).await;
}

#[tokio::test]
async fn behind_a_pooler_it_needs_a_way_of_its_own() {
    let schema = Schema::make().await;
    let bouncer = PgBouncer::before(&schema);
    let pooled = PostgresSettings { transaction_pooler: true, ..settings() };
    assert!(
        PostgresStore::connect(&bouncer.url(), pooled.clone()).await.unwrap().changes().is_none()
    );
    let with_url = PostgresSettings { listen_url: Some(shared_server()), ..pooled };
    let store = PostgresStore::connect(&bouncer.url(), with_url).await.unwrap();
    let mut notified = store.changes().unwrap();
    let revision = put_schema(&store, "a").await;
    timeout(WAIT_TIMEOUT, notified.wait_for(|notified| *notified == revision))
        .await
        .unwrap()
        .unwrap();
}

/// What happened while nobody could listen is notified afterwards.
#[tokio::test]
async fn listening_goes_on_after_a_restart() {
    let mut server = Server::start(&[]);
    let store = PostgresStore::connect(&server.url(), settings()).await.unwrap();
    let mut notified = store.changes().unwrap();
    let first = put_schema(&store, "a").await;
    timeout(WAIT_TIMEOUT, notified.wait_for(|notified| *notified == first)).await.unwrap().unwrap();
    server.kill();
    server.start_again();
    let second = put_schema(&store, "b").await;
    timeout(WAIT_TIMEOUT, notified.wait_for(|notified| *notified == second))
        .await
        .unwrap()
        .unwrap();
    let third = put_schema(&store, "c").await;
    timeout(WAIT_TIMEOUT, notified.wait_for(|notified| *notified == third)).await.unwrap().unwrap();
}
