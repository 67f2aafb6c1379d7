//! What waits for room for its instance.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wasmill_broker::embedded::{EmbeddedBroker, EmbeddedSettings};
use wasmill_broker::{QueueName, RequestStream, Streams as _};
use wasmill_component::{Preflight as _, PreflightError};
use wasmill_domain::http_message::RequestHead;
use wasmill_domain::wire::Writes;
use wasmill_domain::{Digest, Manifest, Outcome, TenantName};

use super::guests::{OK, component};
use super::{
    WAIT_TIMEOUT, dispatch, event, function, invocation, invoke, manifest, prepare, until,
};
use crate::entry::http::HttpExchange;
use crate::{Attempt, Capabilities, Engine, EngineSettings, Prepared};

const HOSTILE: &[u8] = include_bytes!("../../../functions/hostile/hostile.wasm");

/// An engine with room for one instance, which is in use.
struct FullEngine {
    engine: Arc<Engine>,
    prepared: Arc<Prepared>,
    manifest: Arc<Manifest>,
    first: JoinHandle<Attempt>,
}

impl FullEngine {
    async fn new() -> Self {
        let settings = EngineSettings {
            threads: 2,
            slots: 16,
            memory: 100 << 20,
            preflight_wait_timeout: Duration::from_millis(10),
            ..EngineSettings::default()
        };
        let engine = Engine::new(settings, Capabilities::default()).unwrap();
        let slow = prepare(&engine, HOSTILE).await;
        let prepared = prepare(&engine, &component(OK)).await;
        let manifest = manifest("[limits]\nmemory = '64MiB'\ntimeout = '10m'");
        let all = engine.free_memory();
        let first = {
            let (engine, manifest) = (Arc::clone(&engine), Arc::clone(&manifest));
            let event = event("hostile.slow", r#"{"ms": 600000}"#);
            tokio::spawn(async move { invoke(&engine, &slow, &manifest, dispatch(event)).await })
        };
        until("it has its memory", || engine.free_memory() < all).await;
        Self { engine, prepared, manifest, first }
    }

    /// Begins a second attempt, which `stop` ends. Gives it when it waits.
    async fn second(
        &self,
        exchange: Option<HttpExchange>,
        stop: oneshot::Receiver<String>,
    ) -> JoinHandle<Attempt> {
        let (engine, prepared, manifest) =
            (Arc::clone(&self.engine), Arc::clone(&self.prepared), Arc::clone(&self.manifest));
        let attempt = self.engine.spawn(async move {
            let dispatch = dispatch(event("test.event", "{}"));
            let invocation = invocation(&prepared, &manifest, &dispatch);
            let stop = async { stop.await.unwrap() };
            match exchange {
                Some(exchange) => engine.serve(invocation, exchange, stop).await,
                None => engine.run_until(invocation, stop).await,
            }
        });
        until("it waits", || self.engine.waiting_instances() > 0).await;
        attempt
    }

    /// The second one's end; the first goes on, and nobody waits any more.
    async fn end(&self, second: JoinHandle<Attempt>) -> Attempt {
        let attempt = tokio::time::timeout(WAIT_TIMEOUT, second).await;
        let attempt = attempt.expect("it waits and waits").unwrap();
        assert!(!self.first.is_finished());
        assert_eq!(self.engine.waiting_instances(), 0);
        attempt
    }
}

#[tokio::test]
async fn an_attempt_that_waits_for_an_instance_can_be_stopped() {
    let full = FullEngine::new().await;
    let (stop, stopped) = oneshot::channel();
    let second = full.second(None, stopped).await;
    stop.send("cancelled by an operator".to_owned()).unwrap();
    let report = full.end(second).await.report;
    assert_eq!(report.outcome, Outcome::Cancelled);
    assert_eq!(report.message.as_deref(), Some("cancelled by an operator"));
    assert_eq!(report.version, Some(full.prepared.digest()));
    assert_eq!((report.run_time, report.fuel_used), (Duration::ZERO, 0));
}

#[tokio::test]
async fn an_attempt_that_waits_for_an_instance_ends_with_its_caller() {
    let full = FullEngine::new().await;
    let folder = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::open(folder.path(), EmbeddedSettings::default()).unwrap();
    let service = QueueName::of_streams(&TenantName::default(), &function("test"));
    let mut streams = broker.accept_streams(&service, NonZeroU16::MIN).await.unwrap();
    let caller = broker.open_stream(&service, Bytes::new()).await.unwrap();
    let RequestStream { sender, .. } = streams.next().await.unwrap().stream;
    let exchange = HttpExchange {
        head: RequestHead {
            method: "GET".into(),
            target: "/".into(),
            scheme: "http".into(),
            authority: "example.com".into(),
            headers: Vec::new(),
        },
        body: http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync(),
        sender,
        writes: Writes::default(),
    };
    let (_stop, stopped) = oneshot::channel();
    let second = full.second(Some(exchange), stopped).await;
    assert!(!second.is_finished());
    drop(caller);
    let report = full.end(second).await.report;
    assert_eq!(report.outcome, Outcome::Cancelled);
    assert!(report.message.is_some_and(|message| message.contains("the caller disconnected")));
}

#[tokio::test]
async fn a_check_before_a_deploy_does_not_wait_for_room_for_ever() {
    let full = FullEngine::new().await;
    let artifact = Bytes::from(component(OK));
    let digest = Digest::of(&artifact);
    let tenant = TenantName::default();
    let checked = full.engine.check(&tenant, digest, &artifact, &full.manifest);
    let checked = tokio::time::timeout(WAIT_TIMEOUT, checked).await.expect("it waits and waits");
    let Err(PreflightError::Unavailable(why)) = checked else { panic!("{checked:?}") };
    assert!(why.contains("no room for an instance within 10ms"), "{why}");
    assert!(!full.first.is_finished());
    assert_eq!(full.engine.waiting_instances(), 0);
}
