//! Behind PgBouncer in transaction mode: all that the port promises holds there too.

use std::sync::Arc;

use wasmill_domain::Outcome;

use super::super::testing::PgBouncer;
use super::{PostgresSettings, PostgresStore, Schema, settings};
use crate::conformance::Fresh;
use crate::conformance::sample::{dispatch, finished};
use crate::port::{Ledger as _, StoreError};

fn pooled() -> PostgresSettings {
    PostgresSettings { transaction_pooler: true, ..settings() }
}

async fn fresh() -> Fresh {
    let schema = Schema::make().await;
    let bouncer = PgBouncer::before(&schema);
    let store = PostgresStore::connect(&bouncer.url(), pooled()).await.unwrap();
    // The pooler goes first: its sessions are in the schema.
    let store = Arc::new(store);
    let (nodes, orders) = (Arc::clone(&store) as _, Arc::clone(&store) as _);
    Fresh { store, nodes, orders, _keep: Box::new((bouncer, schema)) }
}

crate::conformance::suite!(fresh);

/// Several processes come at once, and take each other's sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_start_behind_a_pooler() {
    let schema = Schema::make().await;
    let bouncer = PgBouncer::before(&schema);
    let starts: Vec<_> = (0..10)
        .map(|_| {
            let url = bouncer.url();
            tokio::spawn(async move {
                let store = PostgresStore::connect(&url, pooled()).await.unwrap();
                for _ in 0..10 {
                    let new = dispatch("total");
                    assert_eq!(
                        store.record(&[finished(&new, Outcome::Success)]).await.unwrap(),
                        [true]
                    );
                }
            })
        })
        .collect();
    for start in starts {
        start.await.unwrap();
    }
}

/// Nothing of this store is left in a session, whatever it has been used for.
#[tokio::test]
async fn sessions_are_left_as_they_were() {
    let schema = Schema::make().await;
    let store = PostgresStore::connect(&schema.url(), pooled()).await.unwrap();
    let new = dispatch("total");
    store.enqueue(std::slice::from_ref(&new), crate::Publication::Pending).await.unwrap();
    store.record(&[finished(&new, Outcome::Success)]).await.unwrap();
    let left = "SELECT concat_ws(',', (SELECT string_agg(name, ',') FROM pg_prepared_statements), \
                (SELECT string_agg(name, ',') FROM pg_settings WHERE source = 'session'), \
                (SELECT string_agg(relname, ',') FROM pg_class WHERE relpersistence = 't' AND pg_table_is_visible(oid)), \
                (SELECT string_agg(objid::text, ',') FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())) AS left";
    // As the pooler hands it out: the last one's session, without a transaction's settings.
    let mut live = store.inner.pool.take_idle().unwrap();
    let row = sqlx::query(left).persistent(false).fetch_one(&mut live.connection).await.unwrap();
    assert_eq!(sqlx::Row::get::<&str, _>(&row, "left"), "");
}

/// Whoever forgets the setting is told at the start, not by chance later.
#[tokio::test]
async fn the_pooler_has_to_be_named() {
    let schema = Schema::make().await;
    for ignored in ["", "options,extra_float_digits"] {
        let bouncer = PgBouncer::ignoring(&schema, ignored);
        let error = PostgresStore::connect(&bouncer.url(), settings()).await.err().unwrap();
        assert!(
            matches!(&error, StoreError::Unavailable(why) if why.contains("`transaction_pooler`")),
            "{ignored}: {error}"
        );
    }
}
