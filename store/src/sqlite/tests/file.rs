//! The file: crashes, other processes, a full disk.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use wasmill_domain::{Dispatch, ExecutionId, Outcome, State};

use super::{SqliteSettings, SqliteStore, file_in, open, settings, stranger};
use crate::conformance::sample::{dispatches, finished, line, listed, outbox, state_of, tenant};
use crate::port::{ExecutionQuery, Finished, Identity as _, Ledger as _, Publication, StoreError};

const SIDE_FILES: [&str; 2] = ["", "-wal"];

fn batch(dispatches: &[Dispatch]) -> Vec<Finished> {
    let entry =
        |dispatch| Finished { logs: vec![line(0, "a")], ..finished(dispatch, Outcome::Success) };
    dispatches.iter().map(entry).collect()
}

/// Copies the database as a crash would leave it: nothing is closed or written back first, and the
/// shared-memory file is lost.
fn copy(from: &Path, to: &Path) {
    for side in SIDE_FILES {
        let name = |path: &Path| format!("{}{side}", path.display());
        std::fs::copy(name(from), name(to)).unwrap();
    }
}

async fn assert_sound(path: &Path) {
    let db = &mut stranger(path).await;
    let check: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut *db).await.unwrap();
    assert_eq!(check, "ok");
    for (what, sql) in [
        (
            "executions",
            "SELECT count(*) FROM attempts a LEFT JOIN executions e ON e.id = a.execution_id WHERE e.id IS NULL",
        ),
        (
            "outcomes and logs",
            "SELECT count(*) FROM executions WHERE state = 'succeeded' AND (span IS NULL OR logs IS NULL OR output IS NULL)",
        ),
    ] {
        let missing: i64 = sqlx::query_scalar(sql).fetch_one(&mut *db).await.unwrap();
        assert_eq!(missing, 0, "{what} are missing");
    }
}

async fn ids_in(store: &SqliteStore, state: State) -> BTreeSet<ExecutionId> {
    let query = ExecutionQuery { state: Some(state), ..ExecutionQuery::all_of(tenant(), 100_000) };
    listed(store, &query).await.into_iter().collect()
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    // A short log, so that it is moved into the database now and then.
    let store =
        SqliteStore::open(&file_in(&folder), SqliteSettings { wal_bytes: 256 << 10, ..settings() })
            .await
            .unwrap();
    let mut done = BTreeSet::new();
    for round in 0..12 {
        let all = dispatches(40);
        store.enqueue(&all, Publication::Pending).await.unwrap();
        store.record(&batch(&all[..30])).await.unwrap();
        done.extend(all[..30].iter().map(|dispatch| dispatch.execution));
        let image = folder.path().join(format!("crash-{round}.db"));
        copy(&file_in(&folder), &image);
        assert_sound(&image).await;
        let survivor = open(&image).await;
        assert_eq!(ids_in(&survivor, State::Succeeded).await, done);
        assert_eq!(ids_in(&survivor, State::Queued).await.len(), (round + 1) * 10);
        assert_eq!(outbox(&survivor).await.len(), (round + 1) * 10);
    }
}

#[tokio::test]
async fn a_crash_within_a_commit_leaves_all_or_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&file_in(&folder)).await;
    let batches: Vec<Vec<Dispatch>> = (0..6).map(|_| dispatches(25)).collect();
    for all in &batches {
        store.record(&batch(all)).await.unwrap();
    }
    let log = std::fs::metadata(format!("{}-wal", file_in(&folder).display())).unwrap().len();
    // Wherever the write to the log was cut off.
    for part in 0..20 {
        let image = folder.path().join(format!("cut-{part}.db"));
        copy(&file_in(&folder), &image);
        let cut =
            std::fs::File::options().write(true).open(format!("{}-wal", image.display())).unwrap();
        cut.set_len(log * part / 20).unwrap();
        drop(cut);
        let survivor = open(&image).await;
        assert_sound(&image).await;
        let done = ids_in(&survivor, State::Succeeded).await;
        let whole = done.len() / 25;
        let expected =
            batches[..whole].iter().flatten().map(|dispatch| dispatch.execution).collect();
        assert_eq!(done, expected, "the first {whole} batches, whole");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_all_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&file_in(&folder)).await;
    for rounds in 0..40 {
        let all = dispatches(20);
        let entries = batch(&all);
        let mut call = Box::pin(store.record(&entries));
        for _ in 0..rounds {
            if call.as_mut().now_or_never().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        drop(call);
        let done = ids_in(&store, State::Succeeded).await;
        let mine = all.iter().filter(|dispatch| done.contains(&dispatch.execution)).count();
        assert!(mine == 0 || mine == 20, "{mine} of 20");
        let again = store.record(&entries).await.unwrap();
        assert!(again.iter().all(|stands| *stands == again[0]), "{again:?}");
    }
    assert_sound(&file_in(&folder)).await;
    assert_eq!(ids_in(&store, State::Succeeded).await.len(), 40 * 20);
}

#[tokio::test]
async fn processes_alternate() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    // All of them find no file and make it.
    let stores = futures_util::future::join_all((0..4).map(|_| open(&path))).await;
    let shared = dispatches(20);
    let writers = stores.into_iter().map(|store| {
        let shared = shared.clone();
        tokio::spawn(async move {
            let mut won = 0;
            for _ in 0..10 {
                let own = dispatches(5);
                store.enqueue(&own, Publication::Confirmed).await.unwrap();
                assert_eq!(store.record(&batch(&own)).await.unwrap(), [true; 5]);
            }
            for entry in batch(&shared) {
                won += store
                    .record(&[entry])
                    .await
                    .unwrap()
                    .into_iter()
                    .filter(|stands| *stands)
                    .count();
            }
            won
        })
    });
    let won: usize =
        futures_util::future::join_all(writers).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(won, shared.len());
    let store = open(&path).await;
    assert_eq!(ids_in(&store, State::Succeeded).await.len(), 4 * 50 + 20);
}

#[tokio::test]
async fn a_database_that_stays_locked_is_not_available() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    let impatient = SqliteSettings { busy_timeout: Duration::from_millis(50), ..settings() };
    let store = SqliteStore::open(&path, impatient).await.unwrap();
    let all = dispatches(2);
    store.enqueue(&all, Publication::Confirmed).await.unwrap();
    let mut other = stranger(&path).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    for _ in 0..3 {
        let error = store.record(&batch(&all)).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Unavailable(why) if why.contains("another process")),
            "{error}"
        );
    }
    // Reading goes on.
    assert_eq!(state_of(&store, &all[0]).await, (State::Queued, 1));
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(store.record(&batch(&all)).await.unwrap(), [true, true]);
}

#[tokio::test]
async fn a_full_disk_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&file_in(&folder)).await;
    let before = dispatches(10);
    store.record(&batch(&before)).await.unwrap();
    // SQLite meets this bound as it does the end of the disk: it may roll the transaction back by
    // itself.
    let mut transaction = store.writer.begin().await.unwrap();
    let pages: i64 =
        sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *transaction).await.unwrap();
    let bound = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 4));
    sqlx::query(bound).execute(&mut *transaction).await.unwrap();
    transaction.end(Ok(())).await.unwrap();
    let all = dispatches(500);
    let error = store.record(&batch(&all)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("full")), "{error}");
    assert_eq!(ids_in(&store, State::Succeeded).await.len(), 10, "nothing of it is there");
    // The next call has a new connection, which does not know the bound: there is room again.
    assert!(store.record(&batch(&all)).await.unwrap().iter().all(|stands| *stands));
    assert_sound(&file_in(&folder)).await;
}

#[tokio::test]
async fn what_the_database_refuses_leaves_the_writer_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&file_in(&folder)).await;
    for _ in 0..3 {
        let mut transaction = store.writer.begin().await.unwrap();
        let refused = sqlx::query("INSERT INTO leases VALUES ('a', 'b', 0, 0)")
            .execute(&mut *transaction)
            .await;
        let refused = refused.map(drop).map_err(super::super::error::of);
        assert!(matches!(transaction.end(refused).await, Err(StoreError::Rejected(_))));
        let all = dispatches(1);
        assert_eq!(store.record(&batch(&all)).await.unwrap(), [true]);
    }
}

#[tokio::test]
async fn a_closed_store_is_not_available() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&file_in(&folder)).await);
    store.close().await;
    store.close().await;
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.record(&batch(&dispatches(1))).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn what_is_not_a_database_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    std::fs::write(&path, "this is a text and not a database at all".repeat(100)).unwrap();
    for path in [path, folder.path().join("no/such/folder.db")] {
        let Err(error) = SqliteStore::open(&path, settings()).await else {
            panic!("it was opened")
        };
        assert!(
            matches!(&error, StoreError::Unavailable(why) if why.contains(&*path.to_string_lossy())),
            "{error}"
        );
    }
}
