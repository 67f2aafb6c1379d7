//! [`RegistryWatch`], over a real store that really goes away.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use wasmill_domain::{Definitions, Revision, TenantName};

use super::{file_in, open, stranger};
use crate::conformance::sample::{now, tenant};
use crate::port::{Catalog, Change, Result, StoreError};
use crate::testing::{Hook, Proxy};
use crate::watch::RegistryWatch;

const WAIT_TIMEOUT: Duration = Duration::from_secs(30);
const OFTEN: Duration = Duration::from_millis(5);
const NEVER: Duration = Duration::from_secs(3600);

async fn store() -> (Arc<dyn Catalog>, PathBuf, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    (Arc::new(open(&path).await), path, folder)
}

async fn put_schema(store: &dyn Catalog, event_type: &str) -> Revision {
    let (event_type, schema) = (event_type.parse().unwrap(), serde_json::json!({}));
    store
        .define(&Change::PutSchema { tenant: tenant(), event_type, schema, at: now() })
        .await
        .unwrap()
        .revision
}

/// Takes away what every question for the definitions begins with, or gives it back.
async fn rename_table(path: &std::path::Path, from: &'static str, to: &'static str) {
    let rename = sqlx::AssertSqlSafe(format!("ALTER TABLE {from} RENAME TO {to}"));
    sqlx::query(rename).execute(&mut stranger(path).await).await.unwrap();
}

#[tokio::test]
async fn a_change_reaches_a_subscriber() {
    let (store, _, _folder) = store().await;
    put_schema(&*store, "a").await;
    let watch = RegistryWatch::start(Arc::clone(&store), OFTEN).await.unwrap();
    assert_eq!(watch.current().revision(), Revision(1), "what was there is known at once");
    let mut notified = watch.subscribe();
    put_schema(&*store, "b").await;
    timeout(WAIT_TIMEOUT, notified.changed()).await.unwrap().unwrap();
    assert_eq!(notified.borrow_and_update().revision(), Revision(2));
    assert_eq!(watch.current().revision(), Revision(2));
    assert!(!notified.has_changed().unwrap(), "nothing new is told without a change");
}

#[tokio::test]
async fn who_wants_to_know_the_present_catches_up() {
    let (store, path, _folder) = store().await;
    let watch = RegistryWatch::start(Arc::clone(&store), NEVER).await.unwrap();
    watch.catch_up().await.unwrap();
    assert_eq!(watch.current().revision(), Revision(0));
    put_schema(&*store, "a").await;
    put_schema(&*store, "b").await;
    assert_eq!(watch.current().revision(), Revision(0));
    watch.catch_up().await.unwrap();
    assert_eq!(watch.current().revision(), Revision(2));
    rename_table(&path, "revision", "away").await;
    let away = watch.catch_up().await.unwrap_err();
    assert!(matches!(away, StoreError::Unavailable(_)), "{away}");
}

#[tokio::test]
async fn an_outage_is_survived() {
    let (store, path, _folder) = store().await;
    let watch = RegistryWatch::start(Arc::clone(&store), OFTEN).await.unwrap();
    let mut notified = watch.subscribe();
    rename_table(&path, "revision", "away").await;
    let away = watch.reach(Revision(1)).await.unwrap_err();
    assert!(matches!(away, StoreError::Unavailable(_)), "{away}");
    // Long enough for the task to meet the outage many times over; the test holds if it does not,
    // too.
    tokio::time::sleep(OFTEN * 20).await;
    assert_eq!(watch.current().revision(), Revision(0));
    rename_table(&path, "away", "revision").await;
    put_schema(&*store, "a").await;
    timeout(WAIT_TIMEOUT, notified.changed()).await.unwrap().unwrap();
    assert_eq!(watch.current().revision(), Revision(1));
}

/// The database that comes back may be another one, restored from a copy.
#[tokio::test]
async fn after_an_outage_everything_is_read() {
    let (store, path, _folder) = store().await;
    let watch = RegistryWatch::start(Arc::clone(&store), NEVER).await.unwrap();
    watch.reach(put_schema(&*store, "a").await).await.unwrap();
    rename_table(&path, "revision", "away").await;
    watch.reach(Revision(9)).await.unwrap_err();
    rename_table(&path, "away", "revision").await;
    let restored =
        "DELETE FROM schemas; DELETE FROM definition_changes; UPDATE revision SET revision = 9";
    sqlx::raw_sql(restored).execute(&mut stranger(&path).await).await.unwrap();
    watch.reach(Revision(9)).await.unwrap();
    assert!(watch.current().schemas_of(&tenant()).is_empty());
}

/// Each question for definitions is noted, and waits for a permit.
struct Slow {
    known: Mutex<Vec<Revision>>,
    asked: Semaphore,
    through: Semaphore,
}

#[async_trait]
impl Hook for Slow {
    async fn definitions(
        &self,
        inner: &dyn Catalog,
        known: Revision,
    ) -> Result<Option<Definitions>> {
        self.known.lock().unwrap().push(known);
        self.asked.add_permits(1);
        self.through.acquire().await.unwrap().forget();
        inner.definitions(known).await
    }
}

/// Whoever waits for a change goes away while it is read: others read no more for that.
#[tokio::test]
async fn a_caller_that_goes_away_is_no_outage() {
    let folder = tempfile::tempdir().unwrap();
    let [asked, through] = [(); 2].map(|()| Semaphore::new(0));
    let slow = Slow { known: Mutex::default(), asked, through };
    let store = Arc::new(Proxy::new(Arc::new(open(&file_in(&folder)).await), slow));
    let slow = store.hook();
    slow.through.add_permits(9);
    let watch = RegistryWatch::start(Arc::clone(&store) as _, NEVER).await.unwrap();
    slow.through.forget_permits(9);
    slow.asked.forget_permits(9);
    slow.known.lock().unwrap().clear();
    let first = put_schema(&*store, "a").await;
    tokio::select! {
        reached = watch.reach(first) => panic!("{reached:?}"),
        asked = slow.asked.acquire() => asked.unwrap().forget(),
    }
    let second = put_schema(&*store, "b").await;
    slow.through.add_permits(9);
    timeout(WAIT_TIMEOUT, watch.reach(second)).await.unwrap().unwrap();
    assert!(!slow.known.lock().unwrap().contains(&Revision(-1)), "nothing is read whole");
}

#[tokio::test]
async fn a_tenant_is_followed_alone() {
    let (store, _, _folder) = store().await;
    let watch = RegistryWatch::start(Arc::clone(&store), NEVER).await.unwrap();
    let other: TenantName = "other".parse().unwrap();
    let (mut own, of_other) = (watch.subscribe_to(&tenant()), watch.subscribe_to(&other));
    let second = watch.subscribe_to(&tenant());
    watch.reach(put_schema(&*store, "a").await).await.unwrap();
    assert!(own.has_changed().unwrap() && second.has_changed().unwrap());
    assert!(!of_other.has_changed().unwrap());
    own.borrow_and_update();
    let (event_type, schema) = ("a".parse().unwrap(), serde_json::json!({}));
    let put = Change::PutSchema { tenant: other, event_type, schema, at: now() };
    watch.reach(store.define(&put).await.unwrap().revision).await.unwrap();
    assert!(!own.has_changed().unwrap() && of_other.has_changed().unwrap());
    drop(watch);
    let ended = timeout(WAIT_TIMEOUT, own.changed()).await.unwrap();
    assert!(ended.is_err(), "it ends with the watch");
}

#[tokio::test]
async fn a_revision_is_reached_at_once() {
    let (store, _, _folder) = store().await;
    let watch = RegistryWatch::start(Arc::clone(&store), NEVER).await.unwrap();
    let revision = put_schema(&*store, "a").await;
    assert_eq!(watch.current().revision(), Revision(0));
    timeout(WAIT_TIMEOUT, watch.reach(revision)).await.unwrap().unwrap();
    assert_eq!(watch.current().revision(), revision);
    watch.reach(Revision(0)).await.unwrap();
    let asked = Instant::now();
    let unknown = watch.reach(Revision(99)).await.unwrap_err();
    assert!(unknown.to_string().contains("revision 99"), "{unknown}");
    assert!(asked.elapsed() < WAIT_TIMEOUT);
}

#[tokio::test]
async fn it_ends_with_its_last_clone() {
    let (store, _, _folder) = store().await;
    let watch = RegistryWatch::start(Arc::clone(&store), NEVER).await.unwrap();
    let mut notified = watch.subscribe();
    let clone = watch.clone();
    drop(watch);
    assert!(notified.has_changed().is_ok(), "a clone is left");
    drop(clone);
    assert!(timeout(WAIT_TIMEOUT, notified.changed()).await.unwrap().is_err());
    assert_eq!(Arc::strong_count(&store), 1);
}

#[tokio::test]
async fn it_begins_with_what_is_defined_or_not_at_all() {
    let (store, path, _folder) = store().await;
    rename_table(&path, "revision", "away").await;
    assert!(RegistryWatch::start(store, OFTEN).await.is_err());
}
