//! Artifacts: those of databases that an earlier release made, and the files that their bytes are in.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tempfile::TempDir;
use wasmill_domain::{Digest, TenantName, Timestamp};

use super::{SqliteSettings, SqliteStore, file_in, open, settings, stranger};
use crate::conformance::sample::tenant;
use crate::migrations::OF_SQLITE as MIGRATIONS;
use crate::port::{Agenda as _, Catalog as _, Error};
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
    let rows: Vec<(String, i64)> = sqlx::query_as(rows).fetch_all(&mut stranger(&path).await).await.unwrap();
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
    fs::remove_file(&file).unwrap();
    let error = store.artifact(digest).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(why) if why.contains(file.to_str().unwrap())), "{error}");
    for damaged in [None, Some("was"), Some("west")] {
        damaged.inspect(|bytes| fs::write(&file, bytes).unwrap());
        assert!(!store.put_artifact(&tenant(), digest, "wasm".into()).await.unwrap());
        assert_eq!(store.tenant_artifact(&tenant(), digest).await.unwrap().as_deref(), Some(&b"wasm"[..]));
    }
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
    assert!(matches!(error, Error::QuotaExceeded { .. }), "{error}");
    assert!(!file_of(&folder, refused).exists() && file_of(&folder, kept).exists());
    store.prune(Timestamp::now().plus(Duration::from_secs(1)), 10).await.unwrap();
    assert_eq!(store.artifact(kept).await.unwrap(), None);
    assert!(!file_of(&folder, kept).exists());
}

#[tokio::test]
async fn what_a_crash_left_behind_goes_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&file_in(&folder)).await;
    let [kept, old, young] = [b"kept", b"olds", b"youn"].map(|bytes| Digest::of(bytes));
    store.put_artifact(&tenant(), kept, "kept".into()).await.unwrap();
    store.close().await;
    let unfinished = folder.path().join("store.db-artifacts/1-0.tmp");
    for file in [&file_of(&folder, old), &file_of(&folder, young), &unfinished] {
        fs::write(file, "left").unwrap();
    }
    for file in [&file_of(&folder, kept), &file_of(&folder, old), &unfinished] {
        let day = SystemTime::now() - Duration::from_secs(24 * 3600);
        File::options().append(true).open(file).unwrap().set_modified(day).unwrap();
    }
    let store = open(&file_in(&folder)).await;
    assert_eq!(store.artifact(kept).await.unwrap().as_deref(), Some(&b"kept"[..]));
    let there = [old, young].map(|digest| file_of(&folder, digest).exists());
    // Another process may be about to add the row of the young one.
    assert_eq!((there, unfinished.exists()), ([false, true], false));
}
