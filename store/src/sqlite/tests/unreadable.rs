//! Rows that somebody else wrote.

use std::path::Path;
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

use super::{SqliteSettings, SqliteStore, file_in, open, settings, stranger};

/// Runs a statement as somebody else would, and says how many rows it changed.
async fn ran(path: &Path, statement: &'static str) -> u64 {
    stranger(path).await.execute(statement).await.unwrap().rows_affected()
}

#[tokio::test]
async fn an_unreadable_event_is_shown_and_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&file_in(&folder)).await);
    let spoiled = Arc::clone(&store);
    an_unreadable_event_is_given_up(store, async |id| {
        spoiled.spoil_event(id, SPOILED).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_row_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&file_in(&folder)).await);
    let spoiled = Arc::clone(&store);
    an_unreadable_row_is_listed_as_such(store, async |id| spoiled.spoil_type(id).await.unwrap())
        .await;
}

#[tokio::test]
async fn an_unreadable_definition_breaks_itself_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    let store = Arc::new(open(&path).await);
    what_cannot_be_read_breaks_itself_only(store, async |statement| ran(&path, statement).await)
        .await;
}

#[tokio::test]
async fn what_a_later_release_stored_is_read_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    let store = Arc::new(open(&path).await);
    a_later_release_says_who_may_read_it(store, async |statement| ran(&path, statement).await)
        .await;
}

#[tokio::test]
async fn a_state_of_a_later_release_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    let store = Arc::new(open(&path).await);
    a_state_that_is_not_known_is_closed(store, async |statement| ran(&path, statement).await).await;
}

#[tokio::test]
async fn an_event_comes_to_a_row_of_a_later_release() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    let store = Arc::new(open(&path).await);
    let run = async |statement| ran(&path, statement).await;
    an_event_leaves_words_that_are_not_known(store, run).await;
}

#[tokio::test]
async fn notes_that_another_release_leaves_are_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    let settings = SqliteSettings { quotas: quotas::small(), ..settings() };
    let store = Arc::new(SqliteStore::open(&path, settings).await.unwrap());
    let run = async |statement| ran(&path, statement).await;
    what_another_release_leaves_is_not_counted(store, run).await;
}
