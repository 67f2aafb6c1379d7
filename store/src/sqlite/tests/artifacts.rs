//! Artifacts: those of databases that an earlier release made, and the files that their bytes are
//! in.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tempfile::TempDir;
use wasmill_domain::{Digest, Manifest, TenantName, Timestamp};

use super::{SqliteSettings, SqliteStore, file_in, open, settings, stranger};
use crate::conformance::sample::{name, prune, tenant};
use crate::migrations::OF_SQLITE as MIGRATIONS;
use crate::port::{Artifacts as _, Catalog as _, Change, StoreError};
use crate::quota::{Quotas, TenantQuota};

#[tokio::test]
async fn artifacts_are_those_of_the_tenants_whose_versions_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    // The stranger does not make files.
    File::create(&path).unwrap();
    let mut old = stranger(&path).await;
    MIGRATIONS.run_to(2, &mut old).await.unwrap();
    let [named, unnamed] = [b"named", b"other"].map(|bytes| Digest::of(bytes));
    let literal = |digest: Digest| format!("x'{}'", digest.to_hex());
    let statements = format!(
        "BEGIN; INSERT INTO artifacts (digest, put_at, bytes) VALUES ({named}, 7, CAST('named' AS BLOB)), ({unnamed}, 7, CAST('other' AS BLOB)); \
         INSERT INTO functions (tenant, name, current_version) VALUES ('acme', 'total', 2); \
         INSERT INTO versions (tenant, function, number, digest, manifest, deployed_at) VALUES \
         ('acme', 'total', 1, {named}, '{{}}', 7), ('acme', 'total', 2, {named}, '{{}}', 8); COMMIT",
        named = literal(named),
        unnamed = literal(unnamed),
    );
    old.execute(AssertSqlSafe(statements)).await.unwrap();
    old.close().await.unwrap();
    let store = open(&path).await;
    let [acme, other] = ["acme", "other"].map(|name| name.parse::<TenantName>().unwrap());
    assert_eq!(store.tenant_artifact(&acme, named).await.unwrap().as_deref(), Some(&b"named"[..]));
    assert!(!store.put_artifact(&acme, named, "named".into()).await.unwrap(), "its row is there");
    for (tenant, digest) in [(&other, named), (&other, unnamed), (&acme, unnamed)] {
        assert_eq!(store.tenant_artifact(tenant, digest).await.unwrap(), None);
    }
    let rows = "SELECT tenant, size FROM tenant_artifacts";
    let rows: Vec<(String, i64)> =
        sqlx::query_as(rows).fetch_all(&mut stranger(&path).await).await.unwrap();
    assert_eq!(rows, [("acme".to_owned(), 5)]);
}

fn file_of(folder: &TempDir, digest: Digest) -> PathBuf {
    folder.path().join("store.db-artifacts").join(digest.to_hex())
}

#[tokio::test]
async fn bytes_are_in_files_of_their_owner() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&file_in(&folder)).await;
    let digest = Digest::of(b"wasm");
    assert!(store.put_artifact(&tenant(), digest, "wasm".into()).await.unwrap());
    let file = file_of(&folder, digest);
    assert_eq!(fs::read(&file).unwrap(), b"wasm");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    let kept: (i64, i64) = sqlx::query_as("SELECT length(bytes), size FROM artifacts")
        .fetch_one(&mut stranger(&file_in(&folder)).await)
        .await
        .unwrap();
    assert_eq!(kept, (0, 4));
}

#[tokio::test]
async fn a_file_that_is_lost_or_damaged_is_told_and_mended_by_another_upload() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&file_in(&folder)).await;
    let digest = Digest::of(b"wasm");
    store.put_artifact(&tenant(), digest, "wasm".into()).await.unwrap();
    let file = file_of(&folder, digest);
    assert!(store.lost_artifacts().await.unwrap().is_empty());
    for (damaged, what) in [(None, "missing"), (Some("was"), "damaged"), (Some("west"), "damaged")]
    {
        match damaged {
            None => fs::remove_file(&file).unwrap(),
            Some(bytes) => fs::write(&file, bytes).unwrap(),
        }
        // Whoever runs it waits for it; its tenant is told to upload it.
        let error = store.artifact(digest).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        let lost = store.lost_artifacts().await.unwrap();
        for named in [what, file.to_str().unwrap(), "wasmill deploy"] {
            assert!(
                error.to_string().contains(named) && lost[0].contains(named),
                "{error} {lost:?}"
            );
        }
        assert_eq!(store.tenant_artifact(&tenant(), digest).await.unwrap(), None);
        assert!(!store.put_artifact(&tenant(), digest, "wasm".into()).await.unwrap());
        assert_eq!(
            store.tenant_artifact(&tenant(), digest).await.unwrap().as_deref(),
            Some(&b"wasm"[..])
        );
        assert!(store.artifact(digest).await.unwrap().is_some());
    }
}

/// A size that stands behind bytes in the same row costs all their pages.
#[tokio::test]
async fn sizes_are_read_without_what_stands_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&file_in(&folder)).await;
    for bytes in [&b"in a file"[..], b"in a row"] {
        let digest = Digest::of(bytes);
        store.put_artifact(&tenant(), digest, Bytes::from_static(bytes)).await.unwrap();
        let manifest = Manifest::from_json(serde_json::json!({"name": "total"})).unwrap();
        let change = Change::Deploy {
            tenant: tenant(),
            digest,
            manifest,
            hostnames: Arc::default(),
            at: Timestamp::now(),
        };
        store.define(&change).await.unwrap();
    }
    // Were it read, it would be told.
    let statement = format!(
        "UPDATE artifacts SET bytes = CAST('in a row' AS BLOB), size = 1000 WHERE digest = x'{}'",
        Digest::of(b"in a row").to_hex()
    );
    stranger(&file_in(&folder)).await.execute(AssertSqlSafe(statement)).await.unwrap();
    let versions = store.versions(&tenant(), &name("total")).await.unwrap();
    assert_eq!(versions.iter().map(|version| version.size).collect::<Vec<_>>(), [8, 9]);
}

#[tokio::test]
async fn files_go_with_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let quota = TenantQuota { artifacts: 1, ..TenantQuota::default() };
    let quotas = Quotas { default: quota, unused_artifacts: Duration::ZERO, ..Quotas::default() };
    let settings = SqliteSettings { quotas, ..settings() };
    let store = SqliteStore::open(&file_in(&folder), settings).await.unwrap();
    let [kept, refused] = [b"kept", b"more"].map(|bytes| Digest::of(bytes));
    store.put_artifact(&tenant(), kept, "kept".into()).await.unwrap();
    let error = store.put_artifact(&tenant(), refused, "more".into()).await.unwrap_err();
    assert!(matches!(error, StoreError::QuotaExceeded { .. }), "{error}");
    assert!(!file_of(&folder, refused).exists() && file_of(&folder, kept).exists());
    prune(&store, Timestamp::now().plus(Duration::from_secs(1)), 10).await;
    assert_eq!(store.artifact(kept).await.unwrap(), None);
    assert!(!file_of(&folder, kept).exists());
}

/// Puts files into the folder that no row names: of a crash, or of an upload whose row could not be
/// written.
async fn is_cleared_by(clear: impl AsyncFn(SqliteStore, PathBuf) -> SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&file_in(&folder)).await;
    let [kept, old, young] = [b"kept", b"olds", b"youn"].map(|bytes| Digest::of(bytes));
    store.put_artifact(&tenant(), kept, "kept".into()).await.unwrap();
    let unfinished = folder.path().join("store.db-artifacts/1-0.tmp");
    for file in [&file_of(&folder, old), &file_of(&folder, young), &unfinished] {
        fs::write(file, "left").unwrap();
    }
    for file in [&file_of(&folder, kept), &file_of(&folder, old), &unfinished] {
        let day = SystemTime::now() - Duration::from_secs(24 * 3600);
        File::options().append(true).open(file).unwrap().set_modified(day).unwrap();
    }
    let store = clear(store, file_in(&folder)).await;
    assert_eq!(store.artifact(kept).await.unwrap().as_deref(), Some(&b"kept"[..]));
    let there = [old, young].map(|digest| file_of(&folder, digest).exists());
    // Another process may be about to add the row of the young one.
    assert_eq!((there, unfinished.exists()), ([false, true], false));
}

#[tokio::test]
async fn what_a_crash_left_behind_goes_at_the_next_start() {
    is_cleared_by(async |store, path| {
        store.close().await;
        open(&path).await
    })
    .await;
}

#[tokio::test]
async fn what_no_row_names_goes_while_the_process_runs() {
    is_cleared_by(async |store, _| {
        prune(&store, Timestamp::now().minus(Duration::from_secs(3600)), 10).await;
        store
    })
    .await;
}
