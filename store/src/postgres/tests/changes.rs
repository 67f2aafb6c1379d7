//! Changes that somebody else makes.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use super::super::{definitions, quota};
use super::{Schema, connect};
use crate::conformance::changes::{
    a_write_without_a_revision_hides_no_change, old_notes_are_deleted,
    the_release_before_is_heard_of,
};

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
async fn a_write_that_raises_no_revision_hides_no_change() {
    let schema = Schema::make().await;
    let run = async |statements: &[&'static str]| {
        let mut db = schema.stranger().await;
        for statement in statements {
            db.execute(*statement).await.unwrap();
        }
    };
    a_write_without_a_revision_hides_no_change(Arc::new(connect(&schema).await), run).await;
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

/// As many definitions as make reading whole tables the worse choice.
const MANY: &str = "BEGIN; \
    INSERT INTO artifacts (digest, put_at, bytes) VALUES (sha256('a'), 0, 'a'); \
    INSERT INTO functions SELECT 't' || i / 10, 'f' || i, 1 FROM generate_series(1, 5000) AS i; \
    INSERT INTO versions SELECT 't' || i / 10, 'f' || i, 1, sha256('a'), '{}', 0 FROM generate_series(1, 5000) AS i; \
    INSERT INTO triggers SELECT 't' || i / 10, 'f' || i, 1, 0, 'a', NULL, NULL FROM generate_series(1, 5000) AS i; \
    INSERT INTO schemas SELECT 't' || i / 10, 'e' || i, 1, '{}', 0 FROM generate_series(1, 5000) AS i; \
    INSERT INTO api_keys SELECT gen_random_uuid(), 't' || i / 10, 'tenant', '', sha256(i::text::bytea), 0 \
        FROM generate_series(1, 5000) AS i; \
    INSERT INTO hostnames SELECT 'h' || i || '.example.com', 't' || i / 10, 0 FROM generate_series(1, 5000) AS i; \
    INSERT INTO deleted_functions SELECT 't' || i / 10, 'd' || i FROM generate_series(1, 5000) AS i; \
    COMMIT";

/// Neither what a change looks for nor what whoever hears of it reads goes through what others have,
/// whether or not the server knows yet how much there is.
#[tokio::test]
async fn nothing_of_others_is_gone_through() {
    let schema = Schema::make().await;
    connect(&schema).await;
    let db = &mut schema.stranger().await;
    db.execute(MANY).await.unwrap();
    let of_changed = [
        definitions::TRIGGERS,
        definitions::FUNCTIONS,
        definitions::SCHEMAS,
        definitions::HOSTNAMES,
        definitions::DELETED,
    ];
    let of_changed =
        of_changed.map(|[_, sql]| sql.replace("$1", "'{t7}'").replace("$2", "'{f77}'"));
    let [_, keys] = definitions::KEYS;
    let keys = keys.replace("$1", "'{00000000-0000-7000-8000-000000000000}'");
    let checks = [quota::FUNCTIONS, quota::SCHEMAS, quota::KEYS]
        .map(|check| check.replace("$1", "'t7'").replace("$2", "'n'"));
    let others = [
        "SELECT kind, tenant, name FROM definition_changes WHERE revision BETWEEN 2 AND 3",
        "SELECT 1 FROM versions WHERE tenant = 't7' AND digest = sha256('a')",
    ];
    let all = || {
        let all = of_changed.iter().chain([&keys]).chain(&checks).cloned();
        all.chain(others.map(str::to_owned))
    };
    for prepare in ["SELECT 1", "ANALYZE"] {
        db.execute(prepare).await.unwrap();
        for sql in all() {
            let explain = sqlx::query(AssertSqlSafe(format!("EXPLAIN (COSTS OFF) {sql}")));
            let rows = explain.fetch_all(&mut *db).await.unwrap();
            let plan =
                rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n");
            assert!(!plan.contains("Seq Scan"), "{prepare}: {sql}: {plan}");
        }
    }
}
