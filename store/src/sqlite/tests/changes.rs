//! Changes that somebody else makes.

use std::sync::Arc;

use sqlx::Executor as _;

use crate::conformance::changes::{old_notes_are_deleted, the_release_before_is_heard_of};

use super::{file_in, open, stranger};

#[tokio::test]
async fn the_release_before_may_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    the_release_before_is_heard_of(Arc::new(open(&path).await), async |statements| {
        let mut db = stranger(&path).await;
        for statement in statements {
            db.execute(*statement).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn notes_of_changes_do_not_go_back_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    let run = async |statements: &[&'static str]| {
        let mut db = stranger(&path).await;
        for statement in statements {
            db.execute(*statement).await.unwrap();
        }
    };
    old_notes_are_deleted(Arc::new(open(&path).await), run, async || {
        sqlx::query_scalar("SELECT count(*) FROM definition_changes")
            .fetch_one(&mut stranger(&path).await)
            .await
            .unwrap()
    })
    .await;
}
