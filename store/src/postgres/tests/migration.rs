//! The schema is brought up to date by one of many, and never by guess.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use super::super::testing::shared_server;
use wasmill_domain::wire::Reads;

use super::super::error::Fault;
use super::super::migration::refuse_left_behind;
use super::super::session::Access;
use super::{PostgresSettings, PostgresStore, Schema, connect, settings};
use crate::conformance::sample::now;
use crate::migrations::{OF_POSTGRES, SchemaMode, latest};
use crate::nodes::Node;
use crate::port::{Identity as _, Nodes as _, StoreError};

/// Another database of the server that tests share.
fn database(name: &str) -> String {
    let server = shared_server();
    let (base, query) = server
        .split_once('?')
        .map_or((server.as_str(), String::new()), |(base, query)| (base, format!("?{query}")));
    let (base, _) = base.rsplit_once('/').unwrap();
    format!("{base}/{name}{query}")
}

async fn connect_as(schema: &Schema, mode: SchemaMode) -> Result<PostgresStore, StoreError> {
    PostgresStore::connect(&schema.url(), PostgresSettings { schema: mode, ..settings() }).await
}

async fn count(stranger: &mut PgConnection, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(stranger).await.unwrap()
}

#[tokio::test]
async fn ten_processes_start_at_once() {
    let schema = Schema::make().await;
    let starts: Vec<_> = (0..10)
        .map(|_| {
            let url = schema.url();
            tokio::spawn(async move { PostgresStore::connect(&url, settings()).await })
        })
        .collect();
    for start in starts {
        start.await.unwrap().unwrap().ping().await.unwrap();
    }
    let mut stranger = schema.stranger().await;
    let migrations = std::fs::read_dir("../migrations/postgres").unwrap().count() as i64;
    assert_eq!(
        count(&mut stranger, "SELECT count(*) FROM _sqlx_migrations WHERE success").await,
        migrations
    );
    assert_eq!(count(&mut stranger, "SELECT count(*) FROM revision").await, 1);
    // Today, tomorrow, and the default.
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'executions'::regclass";
    assert_eq!(count(&mut stranger, partitions).await, 3);
}

#[tokio::test]
async fn a_schema_that_is_not_known_is_left_alone() {
    let schema = Schema::make().await;
    connect(&schema).await.close().await;
    let mut stranger = schema.stranger().await;
    for (change, complaint) in [
        (
            "INSERT INTO _sqlx_migrations VALUES (9999, 'later', now(), true, '', 0); \
             UPDATE schema_info SET version = 9999, min_reader = 9999",
            "of a newer wasmill (step 9999",
        ),
        (
            "DELETE FROM _sqlx_migrations WHERE version = 9999; UPDATE _sqlx_migrations SET checksum = 'x'",
            "differs",
        ),
    ] {
        stranger.execute(AssertSqlSafe(change.to_owned())).await.unwrap();
        for mode in [SchemaMode::Migrate, SchemaMode::Require, SchemaMode::Inspect] {
            let error = connect_as(&schema, mode).await.err().unwrap();
            assert!(
                matches!(&error, StoreError::Schema(why) if why.contains(complaint)),
                "{mode:?}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_newer_schema_is_worked_on_where_it_says_so() {
    let schema = Schema::make().await;
    connect(&schema).await.close().await;
    let mut stranger = schema.stranger().await;
    assert_eq!(
        count(&mut stranger, "SELECT version FROM schema_info").await,
        latest(&OF_POSTGRES),
        "migrations/README.md"
    );
    let later = "INSERT INTO _sqlx_migrations VALUES (9999, 'later', now(), true, '', 0); UPDATE schema_info SET version = 9999";
    stranger.execute(later).await.unwrap();
    for mode in [SchemaMode::Migrate, SchemaMode::Require, SchemaMode::Inspect] {
        connect_as(&schema, mode).await.unwrap().ping().await.unwrap();
    }
}

/// The roles leave it to `wasmill migrate`, and say so at once.
#[tokio::test]
async fn what_is_too_old_is_refused_by_who_only_works_on_it() {
    let schema = Schema::make().await;
    let mut stranger = schema.stranger().await;
    for (steps, words) in [(0, "no schema yet"), (2, "at step 2")] {
        if steps > 0 {
            OF_POSTGRES.run_to(steps, &mut stranger).await.unwrap();
        }
        for mode in [SchemaMode::Require, SchemaMode::Inspect] {
            let error = connect_as(&schema, mode).await.err().unwrap();
            let fits = |why: &str| {
                why.contains(words)
                    && why.contains("`wasmill migrate`")
                    && why.contains("database '")
            };
            assert!(matches!(&error, StoreError::Schema(why) if fits(why)), "{mode:?}: {error:?}");
        }
    }
    assert_eq!(count(&mut stranger, "SELECT count(*) FROM _sqlx_migrations").await, 2);
    connect(&schema).await;
    connect_as(&schema, SchemaMode::Require).await.unwrap().ping().await.unwrap();
}

/// Where one step cannot be made now, those before it are, and the next try goes on from there.
#[tokio::test]
async fn each_step_is_a_transaction_of_its_own() {
    let schema = Schema::make().await;
    let mut stranger = schema.stranger().await;
    OF_POSTGRES.run_to(7, &mut stranger).await.unwrap();
    // Step 8 does not touch this table, and step 9 adds columns to it.
    let lock = "BEGIN; LOCK TABLE executions IN ACCESS SHARE MODE";
    stranger.execute(lock).await.unwrap();
    let hasty = PostgresSettings { call_timeout: std::time::Duration::from_secs(1), ..settings() };
    let error = PostgresStore::connect(&schema.url(), hasty).await.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let steps = "SELECT count(*) FROM _sqlx_migrations WHERE success";
    assert_eq!(count(&mut stranger, steps).await, 8);
    assert_eq!(count(&mut stranger, "SELECT version FROM schema_info").await, 8);
    stranger.execute("COMMIT").await.unwrap();
    connect(&schema).await.ping().await.unwrap();
    assert_eq!(count(&mut stranger, steps).await, latest(&OF_POSTGRES));
}

/// Whoever brings the schema up to date is refused where a process that lives would not know the
/// result.
#[tokio::test]
async fn no_process_that_lives_is_left_behind() {
    let schema = Schema::make().await;
    let store = connect(&schema).await;
    let node = Node {
        id: uuid::Uuid::now_v7(),
        name: "one".into(),
        role: "host".into(),
        release: "0.0.1".into(),
        labels: Vec::new(),
        reads: Reads::HERE,
        started_at: now(),
    };
    let check = async || {
        let mut session = store.inner.pool.begin(Access::Read).await.unwrap();
        let checked = refuse_left_behind(&mut session, store.inner.settings.node_timeout).await;
        session.end(checked).await.map_err(Fault::into_error)
    };
    store.beat(&node).await.unwrap();
    check().await.unwrap();
    schema.stranger().await.execute("UPDATE nodes SET schema_version = 1").await.unwrap();
    let why = check().await.unwrap_err();
    assert!(
        matches!(&why, StoreError::Schema(why) if why.contains("host 'one' of release 0.0.1")),
        "{why}"
    );
    // It is dead.
    schema.stranger().await.execute("UPDATE nodes SET beat_at = 0").await.unwrap();
    check().await.unwrap();
}

/// The migrations of both databases make the same tables with the same columns, but for what is
/// said at the top of PostgreSQL's, and for the size of artifacts, whose bytes SQLite has in files.
#[tokio::test]
async fn both_databases_have_the_same_tables() {
    let schema = Schema::make().await;
    connect(&schema).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    crate::sqlite::SqliteStore::open(&path, crate::sqlite::SqliteSettings::default())
        .await
        .unwrap()
        .close()
        .await;
    let sqlite = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut sqlite = sqlx::ConnectOptions::connect(&sqlite).await.unwrap();
    let here = sqlx::query(
        "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = current_schema() \
         AND table_name !~ '_(d[0-9]{8}|rest)$' AND table_name <> '_sqlx_migrations' \
         AND (table_name, column_name) <> ('executions', 'writes') ORDER BY 1, 2",
    );
    let there = sqlx::query(
        "SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) c WHERE m.type = 'table' \
         AND m.name NOT LIKE 'sqlite_%' AND m.name <> '_sqlx_migrations' AND c.name <> 'trace_id' \
         AND (m.name, c.name) <> ('artifacts', 'size') ORDER BY 1, 2",
    );
    let here = here.fetch_all(&mut schema.stranger().await).await.unwrap();
    let there = there.fetch_all(&mut sqlite).await.unwrap();
    let here: Vec<(String, String)> = here.iter().map(|row| (row.get(0), row.get(1))).collect();
    let there: Vec<(String, String)> = there.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(here, there);
    assert!(here.len() > 60, "{here:?}");
}

#[tokio::test]
async fn a_database_that_will_not_do_is_refused() {
    let refused = async |url: &str| match PostgresStore::connect(url, settings()).await {
        Err(StoreError::Unavailable(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{url} is fine"),
    };
    let why = refused("not a url").await;
    assert!(why.contains("URL"), "{why}");
    let why = refused(&database("no_such_database")).await;
    assert!(why.contains("no_such_database") && why.contains("3D000"), "{why}");
    // The password is nobody's business.
    let why = refused("postgres://user:secret@127.0.0.1:1/database").await;
    assert!(why.contains("'database' at 127.0.0.1:1") && !why.contains("secret"), "{why}");
}

#[tokio::test]
async fn text_of_any_kind_needs_utf_8() {
    let name = format!("wasmill_latin_{}", uuid::Uuid::new_v4().simple());
    let schema = Schema::make().await;
    let mut stranger = schema.stranger().await;
    let create = format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    );
    stranger.execute(AssertSqlSafe(create)).await.unwrap();
    let refused = PostgresStore::connect(&database(&name), settings()).await;
    stranger.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("LATIN1") && error.contains("ENCODING 'UTF8'"), "{error}");
}
