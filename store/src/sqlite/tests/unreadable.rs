//! Rows that somebody else wrote.

use std::sync::Arc;

use crate::conformance::agenda::{SPOILED, an_unreadable_event_is_given_up};

use super::{file_in, open};

#[tokio::test]
async fn an_unreadable_event_is_shown_and_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&file_in(&folder)).await);
    let spoiled = Arc::clone(&store);
    an_unreadable_event_is_given_up(store, async |id| spoiled.spoil_event(id, SPOILED).await.unwrap()).await;
}
