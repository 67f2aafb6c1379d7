//! Changes that somebody else makes.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use super::super::{definitions, quota};
use super::{file_in, open, stranger};
use crate::conformance::changes::{
    a_write_without_a_revision_hides_no_change, old_notes_are_deleted,
    the_release_before_is_heard_of,
};

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
async fn a_write_that_raises_no_revision_hides_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    let run = async |statements: &[&'static str]| {
        let mut db = stranger(&path).await;
        for statement in statements {
            db.execute(*statement).await.unwrap();
        }
    };
    a_write_without_a_revision_hides_no_change(Arc::new(open(&path).await), run).await;
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

/// Neither what a change looks for nor what whoever hears of it reads goes through what others have.
#[tokio::test]
async fn nothing_of_others_is_gone_through() {
    let folder = tempfile::tempdir().unwrap();
    let _store = open(&file_in(&folder)).await;
    let db = &mut stranger(&file_in(&folder)).await;
    let of_changed = [
        definitions::TRIGGERS,
        definitions::FUNCTIONS,
        definitions::SCHEMAS,
        definitions::KEYS,
        definitions::HOSTNAMES,
        definitions::DELETED,
    ];
    let of_changed = of_changed.map(|[_, of_changed]| of_changed.replace('?', r#"'[["t","n"]]'"#));
    let checks = [quota::FUNCTIONS, quota::SCHEMAS, quota::KEYS]
        .map(|check| check.replace("?1", "'t'").replace("?2", "'n'"));
    let others = [
        "SELECT kind, tenant, name FROM definition_changes WHERE revision > 7",
        "SELECT 1 FROM versions WHERE tenant = 't' AND digest = x'00'",
        "SELECT 1 FROM api_keys WHERE role = 'operator' LIMIT 2",
        "SELECT 1 FROM routes WHERE tenant = 't' AND host = '' AND path = '/' AND method IN ('*', 'GET')",
        "DELETE FROM routes WHERE tenant = 't' AND function = 'f'",
    ];
    for sql in of_changed.into_iter().chain(checks).chain(others.map(str::to_owned)) {
        let explain = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
        let rows = explain.fetch_all(&mut *db).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        let scan = steps.iter().find(|step| step.starts_with("SCAN") && !step.contains("changed"));
        assert_eq!(scan, None, "{sql}: {steps:?}");
    }
}
