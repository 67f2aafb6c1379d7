//! Answers gateways that ask, before a deploy, whether a version could run. Each host has a queue
//! of its own for that: the gateway picks the host ([`QueueName::of_preflights`]).

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wasmill_broker::{IncomingStream, IncomingStreams, QueueName, Queues, RequestStream, Streams};
use wasmill_component::{Artifact, FileSource, Preflight, PreflightError};
use wasmill_domain::backoff::Backoff;
use wasmill_domain::preflight::{PreflightAnswer, PreflightRequest};
use wasmill_domain::{Digest, TenantName};
use wasmill_store::Artifacts;

use crate::shares::TenantShares;

/// Questions that are at work at once, or wait to be compiled, of which one tenant has its share
/// ([`TenantShares`]); further ones wait to be accepted, and their gateways ask elsewhere before
/// long.
const AT_ONCE: NonZeroU16 = NonZeroU16::MIN.saturating_add(63);

/// The first pause between two tries to accept questions.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long the queue may take to be deleted when the host ends. One that stays goes by itself.
const DELETE_TIMEOUT: Duration = Duration::from_secs(1);

/// What answers are made of.
pub struct PreflightParts {
    /// Where questions come from.
    pub streams: Arc<dyn Streams>,
    /// What has the queue that they come by.
    pub queues: Arc<dyn Queues>,
    /// Where artifacts are.
    pub artifacts: Arc<dyn Artifacts>,
    /// What tells whether a version could run.
    pub preflight: Arc<dyn Preflight>,
    /// This process's id among those that are alive.
    pub node: Uuid,
}

/// Answers questions until `shutdown`. What is at work by then is given up: its gateway asks
/// another host, or compiles itself.
pub async fn answer_preflights(parts: PreflightParts, shutdown: CancellationToken) {
    let parts = Arc::new(parts);
    let service = QueueName::of_preflights(parts.node);
    let mut at_work = JoinSet::new();
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let begun = tokio::select! {
            () = shutdown.cancelled() => break,
            begun = parts.streams.accept_streams(&service, AT_ONCE) => begun,
        };
        match begun {
            Ok(streams) => {
                backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = accept(&parts, streams, &mut at_work) => {}
                }
            }
            Err(error) => {
                tracing::warn!(%service, %error, "gateways cannot ask this host about deploys yet");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = sleep(backoff.pause()) => {}
        }
    }
    drop(at_work);
    // So that nobody asks who has not heard yet that this process ends.
    match tokio::time::timeout(DELETE_TIMEOUT, parts.queues.delete(&service)).await {
        Ok(Ok(())) => {}
        _ => {
            tracing::debug!(%service, "the queue is left, and goes when it has been unused a while");
        }
    }
}

/// Accepts questions until the broker ends.
async fn accept(
    parts: &Arc<PreflightParts>,
    mut streams: Box<dyn IncomingStreams>,
    at_work: &mut JoinSet<()>,
) {
    // A gateway that leaves makes room at the broker. The work goes on, and keeps its permits here.
    let places = Arc::new(Semaphore::new(usize::from(AT_ONCE.get())));
    let shares = TenantShares::new(u64::from(AT_ONCE.get()));
    loop {
        // An error would say that the semaphore is closed, which nobody does.
        let place = Arc::clone(&places).acquire_owned().await;
        let Some(incoming) = streams.next().await else { return };
        let (parts, shares) = (Arc::clone(parts), shares.clone());
        at_work.spawn(async move {
            answer(&parts, &shares, incoming).await;
            drop(place);
        });
        while let Some(ended) = at_work.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "the host failed at a question about a deploy");
            }
        }
    }
}

/// Answers one question. The check comes to its end even if nobody waits for it any more: who asks
/// again finds it done.
async fn answer(parts: &PreflightParts, shares: &TenantShares, incoming: IncomingStream) {
    let IncomingStream { opening, stream } = incoming;
    let RequestStream { sender, receiver: _receiver } = stream;
    let answer = match PreflightRequest::decode(&opening) {
        Ok(request) => match shares.try_acquire(&request.tenant, 1) {
            Some(_permit) => check(parts, request).await,
            None => PreflightAnswer::Unavailable(
                "too many of the tenant's versions are being checked by one host at once".into(),
            ),
        },
        Err(error) => PreflightAnswer::Unread(error.to_string()),
    };
    if sender.send(answer.encode()).await.is_err() {
        tracing::debug!("the gateway that asked about a deploy does not wait any more");
    }
}

async fn check(parts: &PreflightParts, request: PreflightRequest) -> PreflightAnswer {
    let PreflightRequest { tenant, digest, manifest } = request;
    let begun = Instant::now();
    let artifact = Stored { artifacts: &parts.artifacts, tenant: &tenant, digest };
    let checked = parts.preflight.check(&tenant, digest, &artifact, &manifest).await;
    let answer =
        checked.as_ref().map_or_else(PreflightError::to_answer, |()| PreflightAnswer::Passed);
    let (function, took) = (&manifest.name, begun.elapsed());
    match checked {
        Ok(()) => {
            tracing::info!(%tenant, %function, %digest, ?took, "checked for a deploy: it can run");
        }
        Err(why) => {
            tracing::info!(%tenant, %function, %digest, ?took, %why, "checked for a deploy");
        }
    }
    answer
}

/// An artifact and its version's files, in the store, as far as they are the tenant's.
struct Stored<'a> {
    artifacts: &'a Arc<dyn Artifacts>,
    tenant: &'a TenantName,
    digest: Digest,
}

#[async_trait]
impl Artifact for Stored<'_> {
    async fn bytes(&self) -> Result<Bytes, PreflightError> {
        self.file(self.digest).await
    }
}

#[async_trait]
impl FileSource for Stored<'_> {
    async fn file(&self, digest: Digest) -> Result<Bytes, PreflightError> {
        let artifact = self.artifacts.tenant_artifact(self.tenant, digest).await;
        let artifact = artifact.map_err(|e| PreflightError::Unavailable(e.to_string()))?;
        artifact
            .ok_or_else(|| PreflightError::Unavailable(format!("the artifact {digest} is gone")))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;
    use tokio::time::timeout;
    use wasmill_broker::BrokerError;
    use wasmill_broker::embedded::{EmbeddedBroker, EmbeddedSettings};
    use wasmill_domain::Manifest;
    use wasmill_domain::wire::Reads;
    use wasmill_store::sqlite::{SqliteSettings, SqliteStore};

    use super::*;

    /// Longer than anything takes.
    const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

    /// Reads the artifact, and refuses what its description says.
    #[derive(Default)]
    struct DescriptionDecides {
        begun: Notify,
        go: Notify,
        ended: Notify,
    }

    #[async_trait]
    impl Preflight for DescriptionDecides {
        async fn check(
            &self,
            _: &TenantName,
            digest: Digest,
            artifact: &dyn Artifact,
            manifest: &Manifest,
        ) -> Result<(), PreflightError> {
            assert_eq!(Digest::of(&artifact.bytes().await?), digest);
            if manifest.description == "wait" {
                self.begun.notify_one();
                self.go.notified().await;
                self.ended.notify_one();
            }
            match manifest.description.as_str() {
                "refuse" => Err(PreflightError::Mismatch("it has no handle".into())),
                _ => Ok(()),
            }
        }
    }

    struct Answering {
        _folder: tempfile::TempDir,
        broker: Arc<EmbeddedBroker>,
        preflight: Arc<DescriptionDecides>,
        node: Uuid,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    const TENANT: &str = "acme";

    impl Answering {
        async fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path();
            let store =
                SqliteStore::open(&path.join("db"), SqliteSettings::default()).await.unwrap();
            let tenant = TENANT.parse().unwrap();
            store.put_artifact(&tenant, Digest::of(b"code"), "code".into()).await.unwrap();
            let broker =
                EmbeddedBroker::open(&path.join("queue"), EmbeddedSettings::default()).unwrap();
            let (broker, preflight) = (Arc::new(broker), Arc::new(DescriptionDecides::default()));
            let (node, stop) = (Uuid::now_v7(), CancellationToken::new());
            let parts = PreflightParts {
                streams: Arc::clone(&broker) as _,
                queues: Arc::clone(&broker) as _,
                artifacts: Arc::new(store),
                preflight: Arc::clone(&preflight) as _,
                node,
            };
            let task = tokio::spawn(answer_preflights(parts, stop.clone()));
            Self { _folder: folder, broker, preflight, node, stop, task }
        }

        async fn open(&self, opening: Bytes) -> RequestStream {
            let service = QueueName::of_preflights(self.node);
            let opening = async {
                loop {
                    match self.broker.open_stream(&service, opening.clone()).await {
                        Ok(stream) => return stream,
                        // It has not begun to accept yet.
                        Err(BrokerError::NoQueue(_)) => tokio::task::yield_now().await,
                        Err(error) => panic!("{error}"),
                    }
                }
            };
            timeout(WAIT_TIMEOUT, opening).await.expect("nobody accepts questions")
        }

        async fn ask(&self, opening: Bytes) -> PreflightAnswer {
            let mut stream = self.open(opening).await;
            let answer = timeout(WAIT_TIMEOUT, stream.receiver.receive()).await.expect("no answer");
            PreflightAnswer::decode(&answer.expect("the stream is closed")).unwrap()
        }
    }

    fn question(tenant: &str, artifact: &[u8], description: &str) -> Bytes {
        let manifest = serde_json::json!({"name": "f", "description": description});
        let request = PreflightRequest {
            tenant: tenant.parse().unwrap(),
            digest: Digest::of(artifact),
            manifest: Manifest::from_json(manifest).unwrap(),
        };
        request.encode_for(Reads::HERE).unwrap()
    }

    #[tokio::test]
    async fn whoever_asks_is_answered() {
        let host = Answering::start().await;
        assert_eq!(host.ask(question(TENANT, b"code", "")).await, PreflightAnswer::Passed);
        let refused = host.ask(question(TENANT, b"code", "refuse")).await;
        let why = PreflightError::Mismatch("it has no handle".into()).to_string();
        assert_eq!(refused, PreflightAnswer::Refused(why));
        // Another tenant does not learn of it.
        for (tenant, artifact) in [("other", &b"code"[..]), (TENANT, b"other code")] {
            let answer = host.ask(question(tenant, artifact, "")).await;
            assert!(matches!(answer, PreflightAnswer::Unavailable(_)), "{answer:?}");
        }
        let answer = host.ask(Bytes::from_static(b"\x09of a later release")).await;
        assert!(matches!(&answer, PreflightAnswer::Unread(why) if why.contains("version 9")));
    }

    #[tokio::test]
    async fn a_tenant_has_its_share_of_the_questions() {
        let host = Answering::start().await;
        let mut streams = Vec::new();
        // Three quarters.
        for _ in 0..48 {
            streams.push(host.open(question(TENANT, b"code", "wait")).await);
            timeout(WAIT_TIMEOUT, host.preflight.begun.notified()).await.expect("none begins");
        }
        let refused = host.ask(question(TENANT, b"code", "")).await;
        let PreflightAnswer::Unavailable(why) = refused else { panic!("{refused:?}") };
        assert!(why.contains("too many of the tenant's versions"), "{why}");
        // Its own artifact is not there, which is found out only where it is looked for.
        let PreflightAnswer::Unavailable(why) = host.ask(question("other", b"code", "")).await
        else {
            panic!("it is checked")
        };
        assert!(why.contains("is gone"), "{why}");
        host.preflight.go.notify_one();
        timeout(WAIT_TIMEOUT, host.preflight.ended.notified()).await.expect("it does not end");
        while host.ask(question(TENANT, b"code", "")).await != PreflightAnswer::Passed {}
    }

    #[tokio::test]
    async fn a_check_goes_on_without_who_asked() {
        let host = Answering::start().await;
        let stream = host.open(question(TENANT, b"code", "wait")).await;
        timeout(WAIT_TIMEOUT, host.preflight.begun.notified()).await.expect("it does not begin");
        drop(stream);
        // It keeps its place: with its tenant's whole share but for one, there is none.
        let mut others = Vec::new();
        for _ in 1..48 {
            others.push(host.open(question(TENANT, b"code", "wait")).await);
            timeout(WAIT_TIMEOUT, host.preflight.begun.notified()).await.expect("none begins");
        }
        let refused = host.ask(question(TENANT, b"code", "")).await;
        assert!(matches!(refused, PreflightAnswer::Unavailable(_)), "it has a place: {refused:?}");
        // The first is the one that has waited for longest.
        host.preflight.go.notify_one();
        timeout(WAIT_TIMEOUT, host.preflight.ended.notified()).await.expect("it is given up");
        while host.ask(question(TENANT, b"code", "")).await != PreflightAnswer::Passed {}
    }

    #[tokio::test]
    async fn a_host_that_ends_is_not_asked_any_more() {
        let host = Answering::start().await;
        let mut stream = host.open(question(TENANT, b"code", "wait")).await;
        timeout(WAIT_TIMEOUT, host.preflight.begun.notified()).await.expect("it does not begin");
        host.stop.cancel();
        timeout(WAIT_TIMEOUT, host.task).await.expect("it goes on").unwrap();
        let answer = timeout(WAIT_TIMEOUT, stream.receiver.receive()).await.expect("it is open");
        assert_eq!(answer, None);
        let service = QueueName::of_preflights(host.node);
        let opened = host.broker.open_stream(&service, question(TENANT, b"code", "")).await;
        assert!(matches!(opened, Err(BrokerError::NoQueue(_))));
    }
}
