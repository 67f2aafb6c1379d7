//! Asking hosts whether a version could run.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use tokio::time::timeout;
use uuid::Uuid;
use wasmill_broker::embedded::{EmbeddedBroker, EmbeddedSettings};
use wasmill_broker::{IncomingStreams, QueueName, Streams as _};
use wasmill_component::{Artifact, Preflight, PreflightError};
use wasmill_domain::preflight::{PreflightAnswer, PreflightRequest};
use wasmill_domain::wire::Reads;
use wasmill_domain::{Digest, Manifest, TenantName, Timestamp};
use wasmill_gateway::{HostPreflight, HostPreflightSettings};
use wasmill_store::sqlite::{SqliteSettings, SqliteStore};
use wasmill_store::{Node, Nodes as _};

use crate::harness::WAIT_TIMEOUT;

/// The gateway's own check: counts, and passes everything.
#[derive(Default)]
struct Own(AtomicUsize);

#[async_trait]
impl Preflight for Own {
    async fn check(
        &self,
        _: &TenantName,
        _: Digest,
        _: &dyn Artifact,
        _: &Manifest,
    ) -> Result<(), PreflightError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// What a host does with a question.
#[derive(Clone)]
enum Host {
    Answers(PreflightAnswer),
    /// Lets go of it, as one that dies does.
    Dies,
    /// Never takes it.
    Sleeps,
    /// Takes it and never answers.
    Hangs,
}

struct PreflightPool {
    _folder: tempfile::TempDir,
    store: Arc<SqliteStore>,
    broker: Arc<EmbeddedBroker>,
    own: Arc<Own>,
    preflight: HostPreflight,
}

impl PreflightPool {
    async fn new() -> Self {
        Self::with(HostPreflightSettings::default()).await
    }

    async fn with(settings: HostPreflightSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let store = SqliteStore::open(&path.join("db"), SqliteSettings::default()).await.unwrap();
        let broker =
            EmbeddedBroker::open(&path.join("queue"), EmbeddedSettings::default()).unwrap();
        let (store, broker, own) = (Arc::new(store), Arc::new(broker), Arc::new(Own::default()));
        let nodes = Arc::clone(&store) as _;
        let preflight =
            HostPreflight::new(Arc::clone(&broker) as _, nodes, Arc::clone(&own) as _, settings);
        Self { _folder: folder, store, broker, own, preflight }
    }

    /// Lists a process, and has it answer questions as `host` says.
    async fn start(&self, name: &str, labels: &[&str], reads: Reads, host: Host) {
        let node = Node {
            id: Uuid::now_v7(),
            name: name.into(),
            role: "host".into(),
            release: "0.1.0".into(),
            labels: labels.iter().map(ToString::to_string).collect(),
            reads,
            started_at: Timestamp::now(),
        };
        self.store.beat(&node).await.unwrap();
        let service = QueueName::of_preflights(node.id);
        let streams = self.broker.accept_streams(&service, NonZeroU16::MIN).await.unwrap();
        tokio::spawn(serve(streams, host));
    }

    async fn check(&self, runs_on: &[&str]) -> Result<(), PreflightError> {
        let manifest = json!({"name": "f", "runs_on": runs_on});
        let manifest = Manifest::from_json(manifest).unwrap();
        let (tenant, artifact) = (TenantName::default(), Bytes::from_static(b"code"));
        let checking = self.preflight.check(&tenant, Digest::of(&artifact), &artifact, &manifest);
        timeout(WAIT_TIMEOUT, checking).await.expect("it takes too long")
    }

    fn own(&self) -> usize {
        self.own.0.load(Ordering::SeqCst)
    }
}

async fn serve(mut streams: Box<dyn IncomingStreams>, host: Host) {
    if matches!(host, Host::Sleeps) {
        return std::future::pending().await;
    }
    let mut hanging = Vec::new();
    while let Some(incoming) = streams.next().await {
        let request = PreflightRequest::decode(&incoming.opening).unwrap();
        assert_eq!(request.digest, Digest::of(b"code"));
        match &host {
            Host::Answers(answer) => {
                incoming.stream.sender.send(answer.encode()).await.unwrap();
            }
            Host::Hangs => hanging.push(incoming),
            Host::Dies | Host::Sleeps => {}
        }
    }
}

const PASSED: Host = Host::Answers(PreflightAnswer::Passed);

#[tokio::test]
async fn what_a_host_says_is_what_counts() {
    let refused =
        PreflightError::Manifest { key: "limits.memory".into(), message: "is too little".into() };
    for (answer, expected) in [
        (PreflightAnswer::Passed, Ok(())),
        (
            PreflightAnswer::Refused("it has no handle".into()),
            Err(PreflightError::Refused("it has no handle".into())),
        ),
        (refused.to_answer(), Err(refused)),
        (
            PreflightAnswer::Unavailable("too many wait".into()),
            Err(PreflightError::Unavailable("too many wait".into())),
        ),
    ] {
        let pool = PreflightPool::new().await;
        pool.start("one", &[], Reads::HERE, Host::Answers(answer)).await;
        assert_eq!(pool.check(&[]).await, expected);
        assert_eq!(pool.own(), 0, "a host has answered");
    }
}

#[tokio::test]
async fn the_gateway_checks_what_no_host_does() {
    let pool = PreflightPool::new().await;
    assert_eq!(pool.check(&[]).await, Ok(()));
    assert_eq!(pool.own(), 1, "there is none");
    // One that would refuse, if it were asked.
    let refuses = Host::Answers(PreflightAnswer::Refused("it was asked".into()));
    pool.start("older", &["gpu"], Reads { preflight: 0, ..Reads::HERE }, refuses.clone()).await;
    pool.start("other", &["arm"], Reads::HERE, refuses).await;
    assert_eq!(pool.check(&["gpu"]).await, Ok(()));
    assert_eq!(pool.own(), 2, "none that may run it knows how to be asked");
    let unread = Host::Answers(PreflightAnswer::Unread("a newer key".into()));
    pool.start("behind", &["gpu"], Reads::HERE, unread).await;
    pool.start("dying", &["gpu"], Reads::HERE, Host::Dies).await;
    assert_eq!(pool.check(&["gpu"]).await, Ok(()));
    assert_eq!(pool.own(), 3, "neither checks it");
    pool.start("well", &["gpu", "eu"], Reads::HERE, PASSED).await;
    assert_eq!(pool.check(&["gpu"]).await, Ok(()));
    assert_eq!(pool.own(), 3, "the third does");
}

#[tokio::test]
async fn a_host_that_does_not_begin_is_not_waited_for() {
    let short = Duration::from_millis(50);
    let settings = HostPreflightSettings { dial_timeout: short, ..Default::default() };
    let pool = PreflightPool::with(settings).await;
    pool.start("asleep", &[], Reads::HERE, Host::Sleeps).await;
    assert_eq!(pool.check(&[]).await, Ok(()));
    assert_eq!(pool.own(), 1);
}

/// The gateway does not compile once more what a host is still at: whoever deploys asks again.
#[tokio::test]
async fn a_host_that_does_not_answer_is_given_up() {
    let settings =
        HostPreflightSettings { timeout: Duration::from_millis(1), ..Default::default() };
    let pool = PreflightPool::with(settings).await;
    pool.start("busy", &[], Reads::HERE, Host::Hangs).await;
    let manifest = json!({"name": "f", "limits": {"timeout": "1ms"}});
    let manifest = Manifest::from_json(manifest).unwrap();
    let (tenant, artifact) = (TenantName::default(), Bytes::from_static(b"code"));
    let checked = pool.preflight.check(&tenant, Digest::of(&artifact), &artifact, &manifest);
    let checked = timeout(WAIT_TIMEOUT, checked).await.expect("it is waited for");
    assert!(matches!(&checked, Err(PreflightError::Unavailable(why)) if why.contains("'busy'")));
    assert_eq!(pool.own(), 0);
}

/// So that it has the artifact compiled already, or remembers that it takes too much.
#[tokio::test]
async fn the_same_artifact_goes_to_the_same_host() {
    let pool = PreflightPool::new().await;
    for name in ["a", "b", "c", "d"] {
        let answer = PreflightAnswer::Refused(name.into());
        pool.start(name, &[], Reads::HERE, Host::Answers(answer)).await;
    }
    let mut answers = BTreeSet::new();
    for _ in 0..8 {
        answers.insert(pool.check(&[]).await.unwrap_err().to_string());
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}
