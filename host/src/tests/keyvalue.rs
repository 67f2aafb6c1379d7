//! Functions that keep something: the sample page-counter, on a real store.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use wasmill_component::Preflight as _;
use wasmill_domain::{
    Digest, Dispatch, LogLevel, LogSource, Manifest, Outcome, TenantName, Timestamp,
};
use wasmill_store::sqlite::{SqliteSettings, SqliteStore};
use wasmill_store::{
    Artifacts as _, Bucket, BucketQuota, BucketSummary, Buckets, Catalog as _, Change, KeyPage,
    Result, Swap, ValueVersion,
};

use super::{dispatch, event, function, invoke, manifest, prepare};
use crate::{Attempt, Capabilities, Engine, EngineSettings, KeyvalueStore, Prepared};

const PAGE_COUNTER: &[u8] = include_bytes!("../../../functions/page-counter/page-counter.wasm");

const OWN: &str = "[keyvalue]\nvisits = 'function'";

/// An engine whose functions keep what they keep in `buckets`.
pub(super) fn engine_on(buckets: Arc<dyn Buckets>, quota: BucketQuota) -> Arc<Engine> {
    let keyvalue = Some(KeyvalueStore::new(buckets, quota));
    let settings = EngineSettings { threads: 2, slots: 16, ..EngineSettings::default() };
    Engine::new(settings, Capabilities { keyvalue, ..Capabilities::default() }).unwrap()
}

/// A store in which the functions `test` and `other` are defined.
pub(super) async fn store() -> (TempDir, Arc<SqliteStore>) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("store.sqlite"), SqliteSettings::default())
        .await
        .unwrap();
    let digest = Digest::of(b"any");
    store.put_artifact(&TenantName::default(), digest, Bytes::from_static(b"any")).await.unwrap();
    for name in ["test", "other"] {
        let manifest = Manifest::from_json(json!({ "name": name })).unwrap();
        let deploy = Change::Deploy {
            tenant: TenantName::default(),
            digest,
            manifest,
            hostnames: Arc::default(),
            at: Timestamp::now(),
        };
        store.define(&deploy).await.unwrap();
    }
    (folder, Arc::new(store))
}

struct KeyvalueFixture {
    engine: Arc<Engine>,
    counter: Arc<Prepared>,
    store: Arc<SqliteStore>,
    _folder: TempDir,
}

impl KeyvalueFixture {
    async fn new(quota: BucketQuota) -> Self {
        let (folder, store) = store().await;
        let engine = engine_on(Arc::clone(&store) as _, quota);
        let counter = prepare(&engine, PAGE_COUNTER).await;
        Self { engine, counter, store, _folder: folder }
    }

    async fn run(&self, dispatch: Dispatch, sections: &str) -> Attempt {
        invoke(&self.engine, &self.counter, &manifest(sections), dispatch).await
    }

    /// What the function `test` says to an event.
    async fn says(&self, event_type: &str, data: Value, sections: &str) -> Value {
        said(self.run(dispatch(event(event_type, &data.to_string())), sections).await)
    }
}

fn said(attempt: Attempt) -> Value {
    let Some(output) = attempt.report.output else {
        panic!("{:?}: {:?}", attempt.report, attempt.logs)
    };
    serde_json::from_slice(&output.data).unwrap()
}

fn visit(page: &str, visitor: &str) -> Value {
    json!({ "page": page, "visitor": visitor })
}

#[tokio::test]
async fn what_is_kept_is_there_the_next_time() {
    let fixture = KeyvalueFixture::new(BucketQuota::default()).await;
    let visited = async |page: &str, visitor: &str| {
        fixture.says("page.visited", visit(page, visitor), OWN).await
    };
    assert_eq!(visited("/a", "Ada").await, json!({ "page": "/a", "visits": 1, "previous": null }));
    assert_eq!(
        visited("/a", "Grace").await,
        json!({ "page": "/a", "visits": 2, "previous": "Ada" })
    );
    assert_eq!(visited("/b", "Ada").await["visits"], 1);
    let report = async || fixture.says("page.report", json!({}), OWN).await;
    assert_eq!(report().await, json!({ "visits": { "/a": 2, "/b": 1 } }));
    let forgotten =
        async |page: &str| fixture.says("page.forgotten", json!({ "page": page }), OWN).await;
    assert_eq!(forgotten("/a").await["known"], true);
    assert_eq!(forgotten("/a").await["known"], false);
    assert_eq!(report().await, json!({ "visits": { "/b": 1 } }));
    assert_eq!(visited("/a", "Ada").await, json!({ "page": "/a", "visits": 1, "previous": null }));
}

#[tokio::test]
async fn wasi_logging_is_the_same_log() {
    let fixture = KeyvalueFixture::new(BucketQuota::default()).await;
    let attempt =
        fixture.run(dispatch(event("page.visited", &visit("/a", "Ada").to_string())), OWN).await;
    let lines: Vec<_> = attempt
        .logs
        .iter()
        .map(|l| (l.level, l.source, &*l.message, l.fields.as_deref()))
        .collect();
    assert_eq!(lines, [(LogLevel::Info, LogSource::Log, "visit 1", Some(r#"{"context":"/a"}"#))]);
}

#[tokio::test]
async fn a_bucket_is_the_function_s_own_or_the_tenant_s() {
    let fixture = KeyvalueFixture::new(BucketQuota::default()).await;
    let shared = "[keyvalue]\nvisits = 'tenant'";
    let visits = async |name: &str, tenant: &str, sections: &str| {
        let dispatch = Dispatch {
            function: function(name),
            tenant: tenant.parse().unwrap(),
            ..dispatch(event("page.visited", &visit("/a", name).to_string()))
        };
        said(fixture.run(dispatch, sections).await)["visits"].as_i64().unwrap()
    };
    assert_eq!(
        [visits("test", "default", OWN).await, visits("other", "default", OWN).await],
        [1, 1]
    );
    assert_eq!(
        [visits("test", "default", shared).await, visits("other", "default", shared).await],
        [1, 2]
    );
    assert_eq!(visits("test", "elsewhere", shared).await, 1);
    assert_eq!(visits("test", "default", OWN).await, 2);
}

#[tokio::test]
async fn visits_at_once_are_all_counted() {
    const VISITS: usize = 12;
    let fixture = Arc::new(KeyvalueFixture::new(BucketQuota::default()).await);
    let visits: Vec<_> = (0..VISITS)
        .map(|i| {
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move {
                fixture.says("page.visited", visit("/a", &i.to_string()), OWN).await
            })
        })
        .collect();
    let (mut counts, mut previous) = (BTreeSet::new(), BTreeSet::new());
    for visit in visits {
        let said = visit.await.unwrap();
        counts.insert(said["visits"].as_u64().unwrap());
        previous.insert(said["previous"].to_string());
    }
    assert_eq!(counts, (1..=VISITS as u64).collect());
    // Each took the place of another one: nobody was overwritten unseen.
    assert_eq!(previous.len(), VISITS, "{previous:?}");
}

#[tokio::test]
async fn a_bucket_that_is_not_named_is_not_there() {
    let fixture = KeyvalueFixture::new(BucketQuota::default()).await;
    let visit = event("page.visited", &visit("/a", "Ada").to_string());
    let attempt = fixture.run(dispatch(visit), "[keyvalue]\nothers = 'function'").await;
    assert_eq!(attempt.report.outcome, Outcome::Rejected);
    assert_eq!(attempt.report.message.as_deref(), Some("there is no bucket 'visits'"));
    let line = &attempt.logs[0];
    assert_eq!((line.level, line.source), (LogLevel::Warn, LogSource::Host));
    let advice = r#"there is no bucket 'visits': name it in the manifest's [keyvalue] table, as in "visits" = "function""#;
    assert_eq!(line.message, advice);
    assert!(fixture.store.buckets(&TenantName::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_deploy_without_the_grant_is_told_the_line() {
    let fixture = KeyvalueFixture::new(BucketQuota::default()).await;
    let check = async |sections: &str| {
        let bytes = Bytes::from_static(PAGE_COUNTER);
        fixture
            .engine
            .check(&TenantName::default(), Digest::of(PAGE_COUNTER), &bytes, &manifest(sections))
            .await
            .map_err(|e| e.to_string())
    };
    let said = check("").await.unwrap_err();
    let line = "'wasi:keyvalue/store@0.2.0-draft2' is not granted: add keyvalue = { default = \"function\" } to wasmill.toml";
    assert!(said.contains(line), "{said}");
    check(r#"keyvalue = { default = "function" }"#).await.unwrap();
}

#[tokio::test]
async fn a_quota_is_an_error_that_names_its_setting() {
    let quota = BucketQuota { value_bytes: 10, keys: 2, bytes: 100 };
    let fixture = KeyvalueFixture::new(quota).await;
    fixture.says("page.visited", visit("/a", "Ada"), OWN).await;
    for (page, visitor, setting) in [
        ("/b", "Ada", "bucket 'visits' may have 2 keys (keyvalue.max_keys)"),
        (
            "/a",
            "Ada Lovelace",
            "the value of 'last /a' has 12B; at most 10B are kept (keyvalue.max_value_bytes)",
        ),
        (&"/".repeat(600), "Ada", "a key has 1 to 512 bytes, and this one has 606"),
    ] {
        let event = event("page.visited", &visit(page, visitor).to_string());
        let attempt = fixture.run(dispatch(event), OWN).await;
        assert_eq!(attempt.report.outcome, Outcome::Error, "{page}");
        assert!(
            attempt.report.message.as_ref().unwrap().contains(setting),
            "{:?}",
            attempt.report.message
        );
    }
}

#[tokio::test]
async fn without_the_store_there_is_an_error_and_no_trap() {
    let fixture = KeyvalueFixture::new(BucketQuota::default()).await;
    fixture.store.close().await;
    for (event_type, data) in [("page.visited", visit("/a", "Ada")), ("page.report", json!({}))] {
        let attempt = fixture.run(dispatch(event(event_type, &data.to_string())), OWN).await;
        assert_eq!(attempt.report.outcome, Outcome::Error);
        assert_eq!(attempt.report.message.as_deref(), Some("not available now"));
    }
    // A host that keeps nothing says so.
    let engine = super::engine();
    let counter = prepare(&engine, PAGE_COUNTER).await;
    let attempt =
        invoke(&engine, &counter, &manifest(OWN), dispatch(event("page.report", "{}"))).await;
    assert_eq!(attempt.report.message.as_deref(), Some("this host keeps nothing for functions"));
}

/// Never answers, and tells how many calls wait.
#[derive(Clone)]
struct NeverAnswering(watch::Sender<u32>);

/// A call that waits.
struct Waiting<'a>(&'a watch::Sender<u32>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

impl NeverAnswering {
    async fn wait<T>(&self) -> T {
        self.0.send_modify(|waiting| *waiting += 1);
        let _waiting = Waiting(&self.0);
        std::future::pending().await
    }
}

#[async_trait]
impl Buckets for NeverAnswering {
    async fn values(&self, _: &Bucket, _: &[String]) -> Result<Vec<Option<Bytes>>> {
        self.wait().await
    }
    async fn value_version(&self, _: &Bucket, _: &str) -> Result<Option<ValueVersion>> {
        self.wait().await
    }
    async fn keys(&self, _: &Bucket, _: Option<u64>, _: u32) -> Result<KeyPage> {
        self.wait().await
    }
    async fn set_values(&self, _: &Bucket, _: &[(String, Bytes)], _: &BucketQuota) -> Result<()> {
        self.wait().await
    }
    async fn swap_value(
        &self,
        _: &Bucket,
        _: &str,
        _: Option<ValueVersion>,
        _: &Bytes,
        _: &BucketQuota,
    ) -> Result<Swap> {
        self.wait().await
    }
    async fn increment(&self, _: &Bucket, _: &str, _: i64, _: &BucketQuota) -> Result<i64> {
        self.wait().await
    }
    async fn delete_values(&self, _: &Bucket, _: &[String]) -> Result<u64> {
        self.wait().await
    }
    async fn buckets(&self, _: &TenantName) -> Result<Vec<BucketSummary>> {
        self.wait().await
    }
}

#[tokio::test]
async fn a_call_ends_with_its_attempt() {
    let (sender, mut waiting) = watch::channel(0);
    let engine = engine_on(Arc::new(NeverAnswering(sender)), BucketQuota::default());
    let counter = prepare(&engine, PAGE_COUNTER).await;
    let manifest = manifest(&format!("{OWN}\n[limits]\ntimeout = '100ms'"));
    let running = {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            invoke(&engine, &counter, &manifest, dispatch(event("page.report", "{}"))).await
        })
    };
    waiting.wait_for(|waiting| *waiting == 1).await.unwrap();
    assert_eq!(running.await.unwrap().report.outcome, Outcome::TimedOut);
    waiting.wait_for(|waiting| *waiting == 0).await.unwrap();
}
