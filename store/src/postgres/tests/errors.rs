//! What callers are told.

use std::time::Duration;

use sqlx::Row as _;

use super::super::error::Fault;
use super::super::session::Access;
use super::{PostgresSettings, PostgresStore, Schema, connect, settings};
use crate::port::{Identity as _, StoreError};

#[tokio::test]
async fn only_the_datas_fault_is_refused() {
    let schema = Schema::make().await;
    let store = connect(&schema).await;
    for (code, refused) in [
        ("22021", true),  // character_not_in_repertoire
        ("23505", true),  // unique_violation
        ("23514", true),  // check_violation
        ("54000", true),  // program_limit_exceeded
        ("08006", false), // connection_failure
        ("25006", false), // read_only_sql_transaction
        ("42P01", false), // undefined_table
        ("53100", false), // disk_full
        ("53300", false), // too_many_connections
        ("55P03", false), // lock_not_available
        ("57014", false), // query_canceled
        ("57P01", false), // admin_shutdown
        ("58030", false), // io_error
        ("XX000", false), // internal_error
    ] {
        let mut session = store.inner.pool.begin(Access::Write).await.unwrap();
        let raise =
            format!("DO $$ BEGIN RAISE EXCEPTION 'it went wrong' USING ERRCODE = '{code}'; END $$");
        let fault = session.run(raise).await.unwrap_err();
        let ended = session.end::<()>(Err(fault)).await.map_err(Fault::into_error);
        match ended.unwrap_err() {
            StoreError::Rejected(why) if refused => assert!(why.contains("it went wrong"), "{why}"),
            StoreError::Unavailable(why) if !refused => {
                assert!(why.contains("it went wrong") && why.contains(code), "{why}");
            }
            other => panic!("{code}: {other:?}"),
        }
        store.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let schema = Schema::make().await;
    let store = connect(&schema).await;
    store.close().await;
    let error = store.ping().await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("closed")), "{error}");
}

/// The server gives up what its caller has given up, and keeps what it has told.
#[tokio::test]
async fn each_session_has_its_limits() {
    let schema = Schema::make().await;
    for transaction_pooler in [false, true] {
        let settings = PostgresSettings {
            transaction_pooler,
            call_timeout: Duration::from_secs(7),
            ..settings()
        };
        // Somebody has set the database up for speed.
        let url = format!("{}&options[synchronous_commit]=off", schema.url());
        let store = PostgresStore::connect(&url, settings).await.unwrap();
        let mut session = store.inner.pool.begin(Access::Write).await.unwrap();
        for (parameter, expected) in [
            ("statement_timeout", "7s"),
            ("idle_in_transaction_session_timeout", "7s"),
            ("synchronous_commit", "on"),
        ] {
            let row = session
                .row(sqlx::query("SELECT current_setting($1)").bind(parameter))
                .await
                .unwrap();
            assert_eq!(row.get::<&str, _>(0), expected, "{parameter}");
        }
        session.end(Ok(())).await.unwrap();
    }
}

/// A call that takes too long ends, its lock is let go, and the next call has a good connection.
#[tokio::test]
async fn a_call_has_its_time() {
    let schema = Schema::make().await;
    let settings = PostgresSettings { call_timeout: Duration::from_millis(300), ..settings() };
    let store = PostgresStore::connect(&schema.url(), settings).await.unwrap();
    let sleep =
        store.inner.write(|session| Box::pin(session.run("SELECT pg_sleep(600)".into()))).await;
    assert!(matches!(&sleep, Err(StoreError::Unavailable(_))), "{sleep:?}");
    store.ping().await.unwrap();
}
