//! The schema is compared with this release's, and brought up to date after a copy was made.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sqlx::{Connection as _, Executor as _};
use wasmill_domain::Revision;

use super::{SqliteSettings, SqliteStore, file_in, open, settings, stranger};
use crate::SchemaMode;
use crate::conformance::sample::{deploy, tenant};
use crate::migrations::{OF_SQLITE, latest};
use crate::port::{Catalog as _, StoreError};

const MODES: [SchemaMode; 3] = [SchemaMode::Migrate, SchemaMode::Require, SchemaMode::Inspect];

async fn open_as(path: &Path, schema: SchemaMode) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, SqliteSettings { schema, ..settings() }).await
}

async fn refused(path: &Path, schema: SchemaMode) -> String {
    match open_as(path, schema).await {
        Err(StoreError::Schema(why)) => why,
        Err(other) => panic!("{schema:?}: {other:?}"),
        Ok(_) => panic!("{schema:?}: it was opened"),
    }
}

async fn run(path: &Path, sql: &'static str) {
    let mut db = stranger(path).await;
    db.execute(sql).await.unwrap();
    db.close().await.unwrap();
}

/// Makes a file whose schema is at an earlier step.
async fn old_file(path: &Path, step: i64) {
    std::fs::File::create(path).unwrap();
    let mut old = stranger(path).await;
    OF_SQLITE.run_to(step, &mut old).await.unwrap();
    old.close().await.unwrap();
}

fn backups(path: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains("backup")).collect()
}

#[tokio::test]
async fn the_last_step_says_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    open(&path).await.close().await;
    let version: i64 = sqlx::query_scalar("SELECT version FROM schema_info")
        .fetch_one(&mut stranger(&path).await)
        .await
        .unwrap();
    assert_eq!(
        version,
        latest(&OF_SQLITE),
        "every migration sets schema_info: migrations/README.md"
    );
}

#[tokio::test]
async fn a_newer_schema_is_worked_on_where_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    open(&path).await.close().await;
    run(&path, "INSERT INTO _sqlx_migrations VALUES (9999, 'later', '', TRUE, x'00', 0); UPDATE schema_info SET version = 9999").await;
    for mode in MODES {
        let store = open_as(&path, mode).await.unwrap();
        deploy(&store, serde_json::json!({"name": "total"}), b"wasm").await;
        assert!(!store.versions(&tenant(), &"total".parse().unwrap()).await.unwrap().is_empty());
        store.close().await;
    }
    for change in ["UPDATE schema_info SET min_reader = 9999", "DROP TABLE schema_info"] {
        run(&path, change).await;
        for mode in MODES {
            let why = refused(&path, mode).await;
            assert!(
                why.contains("newer wasmill (step 9999") && why.contains("store.db"),
                "{change}: {why}"
            );
        }
    }
    assert!(backups(&path).is_empty());
}

#[tokio::test]
async fn what_is_too_old_is_refused_by_who_only_works_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    old_file(&path, 1).await;
    for mode in [SchemaMode::Require, SchemaMode::Inspect] {
        let why = refused(&path, mode).await;
        assert!(why.contains("at step 1") && why.contains("`wasmill migrate`"), "{why}");
        let none = folder.path().join("none.db");
        assert!(open_as(&none, mode).await.is_err() && !none.exists(), "{mode:?}");
    }
    let steps: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations")
        .fetch_one(&mut stranger(&path).await)
        .await
        .unwrap();
    assert_eq!(steps, 1);
}

#[tokio::test]
async fn a_copy_is_kept_of_what_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    let (old, older) = (latest(&OF_SQLITE) - 1, folder.path().join("store.db.schema-1.backup"));
    old_file(&path, old).await;
    run(&path, "INSERT INTO deleted_functions VALUES ('default', 'before')").await;
    std::fs::write(&older, "an older copy").unwrap();
    open(&path).await.close().await;
    let copy = folder.path().join(format!("store.db.schema-{old}.backup"));
    assert_eq!(backups(&path), std::slice::from_ref(&copy), "one is kept");
    assert_eq!(
        std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
        0o600,
        "its owner's alone"
    );

    // Nothing is to do any more, so nothing is copied.
    let before = std::fs::metadata(&copy).unwrap().modified().unwrap();
    open(&path).await.close().await;
    assert_eq!(std::fs::metadata(&copy).unwrap().modified().unwrap(), before);

    // The copy is what there was.
    run(&path, "DELETE FROM deleted_functions").await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    std::fs::rename(&copy, &path).unwrap();
    assert!(refused(&path, SchemaMode::Require).await.contains(&format!("at step {old}")));
    let store = open(&path).await;
    let deleted = store.definitions(Revision(-1)).await.unwrap().unwrap().deleted;
    assert_eq!(deleted.len(), 1);
    assert_eq!(backups(&path), [copy]);
}

#[tokio::test]
async fn processes_bring_a_file_up_to_date_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    old_file(&path, 1).await;
    let open = async || open(&path).await.close().await;
    tokio::join!(open(), open(), open(), open());
    let copy = folder.path().join("store.db.schema-1.backup");
    assert_eq!(backups(&path), std::slice::from_ref(&copy));
    let at = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(&mut stranger(&copy).await)
        .await;
    let at: i64 = at.unwrap();
    assert_eq!(at, 1, "whoever came late copied nothing");
}
