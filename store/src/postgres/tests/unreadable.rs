//! Rows that somebody else wrote.

use std::sync::Arc;

use sqlx::Executor as _;

use crate::conformance::agenda::{
    SPOILED, an_unreadable_event_is_given_up, an_unreadable_row_is_listed_as_such,
};
use crate::conformance::early_rows::what_another_release_leaves_is_not_counted;
use crate::conformance::quotas;
use crate::conformance::unreadable::{
    a_later_release_says_who_may_read_it, a_state_that_is_not_known_is_closed,
    an_event_leaves_words_that_are_not_known, what_cannot_be_read_breaks_itself_only,
};

use super::{PostgresSettings, PostgresStore, Schema, connect, settings};

/// Runs a statement as somebody else would, and says how many rows it changed.
async fn ran(schema: &Schema, statement: &'static str) -> u64 {
    schema.stranger().await.execute(statement).await.unwrap().rows_affected()
}

#[tokio::test]
async fn an_unreadable_event_is_shown_and_given_up() {
    let schema = Schema::make().await;
    let store = Arc::new(connect(&schema).await);
    an_unreadable_event_is_given_up(store, async |id| {
        let spoil =
            sqlx::query("UPDATE executions SET event = $1 WHERE id = $2").bind(SPOILED).bind(id.0);
        assert_eq!(spoil.execute(&mut schema.stranger().await).await.unwrap().rows_affected(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_row_is_listed() {
    let schema = Schema::make().await;
    let store = Arc::new(connect(&schema).await);
    an_unreadable_row_is_listed_as_such(store, async |id| {
        let spoil = sqlx::query("UPDATE executions SET event_type = '..' WHERE id = $1").bind(id.0);
        assert_eq!(spoil.execute(&mut schema.stranger().await).await.unwrap().rows_affected(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_definition_breaks_itself_only() {
    let schema = Schema::make().await;
    let store = Arc::new(connect(&schema).await);
    what_cannot_be_read_breaks_itself_only(store, async |statement| ran(&schema, statement).await)
        .await;
}

#[tokio::test]
async fn what_a_later_release_stored_is_read_as_it_says() {
    let schema = Schema::make().await;
    let store = Arc::new(connect(&schema).await);
    a_later_release_says_who_may_read_it(store, async |statement| ran(&schema, statement).await)
        .await;
}

#[tokio::test]
async fn a_state_of_a_later_release_is_closed() {
    let schema = Schema::make().await;
    let store = Arc::new(connect(&schema).await);
    a_state_that_is_not_known_is_closed(store, async |statement| ran(&schema, statement).await)
        .await;
}

#[tokio::test]
async fn an_event_comes_to_a_row_of_a_later_release() {
    let schema = Schema::make().await;
    let store = Arc::new(connect(&schema).await);
    let run = async |statement| ran(&schema, statement).await;
    an_event_leaves_words_that_are_not_known(store, run).await;
}

#[tokio::test]
async fn notes_that_another_release_leaves_are_not_counted() {
    let schema = Schema::make().await;
    let settings = PostgresSettings { quotas: quotas::small(), ..settings() };
    let store = Arc::new(PostgresStore::connect(&schema.url(), settings).await.unwrap());
    let run = async |statement| ran(&schema, statement).await;
    what_another_release_leaves_is_not_counted(store, run).await;
}
