//! Changes that somebody else makes.

use std::sync::Arc;

use sqlx::Executor as _;

use crate::conformance::changes::{old_notes_are_deleted, the_release_before_is_heard_of};

use super::{Schema, connect};

#[tokio::test]
async fn the_release_before_may_write() {
    let schema = Schema::make().await;
    the_release_before_is_heard_of(Arc::new(connect(&schema).await), async |statements| {
        let mut db = schema.stranger().await;
        for statement in statements {
            db.execute(*statement).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn notes_of_changes_do_not_go_back_for_ever() {
    let schema = Schema::make().await;
    let run = async |statements: &[&'static str]| {
        let mut db = schema.stranger().await;
        for statement in statements {
            db.execute(*statement).await.unwrap();
        }
    };
    old_notes_are_deleted(Arc::new(connect(&schema).await), run, async || {
        sqlx::query_scalar("SELECT count(*) FROM definition_changes")
            .fetch_one(&mut schema.stranger().await)
            .await
            .unwrap()
    })
    .await;
}
