//! A gateway of one's own, and what tests ask of it.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wasmill_broker::embedded::{EmbeddedBroker, EmbeddedSettings};
use wasmill_broker::{BatchPublisher, Consuming as _, PublisherSettings, QueueName, Queues as _};
use wasmill_component::{Artifact, Preflight, PreflightError};
use wasmill_domain::schema::SchemaCompiler;
use wasmill_domain::{
    AttemptReport, Batch, Digest, Dispatch, ExecutionId, LogLevel, LogLine, LogSource, Manifest,
    Outcome, Output, Registry, SealedSecret, SecretName, TenantName, Timestamp,
};
use wasmill_gateway::{GatewayBroker, GatewayParts, GatewaySettings, GatewayStore};
use wasmill_http::{ServerSettings, Tls};
use wasmill_schema::{Compiler, SchemaLimits};
use wasmill_secrets::{Keyring, Secret, SecretError, SecretSource};
use wasmill_store::sqlite::{SqliteSettings, SqliteStore};
use wasmill_store::testing::Proxy;
use wasmill_store::{Catalog as _, Change, Finished, Ledger as _, Quotas, RegistryWatch};

use crate::gates::{Gate, GatedBroker, GatedCompiler, ThreadGate, VerbGate};

/// Longer than anything takes; what is waited for either comes or is lost.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) url: String,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) broker: Arc<EmbeddedBroker>,
    pub(crate) secrets: Arc<Secrets>,
    /// Where checks of components wait whose manifest's description is "gate".
    pub(crate) gate: Arc<Gate>,
    /// Whether no component passes its check any more.
    pub(crate) refuses: Arc<AtomicBool>,
    /// Holds up calls of what keeps artifacts and executions, and tells whether it is there.
    pub(crate) artifacts: Arc<Proxy<SqliteStore, VerbGate>>,
    /// Holds up events on their way to the broker.
    pub(crate) publishing: Arc<GatedBroker>,
    /// Holds up the compilation of schemas with the title "gate".
    pub(crate) compiling: Arc<ThreadGate>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) served: JoinHandle<()>,
    http: reqwest::Client,
    _dir: tempfile::TempDir,
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) bytes: Bytes,
}

/// Secrets of the tenant `default`, in memory; what the store has of them is only that they exist.
#[derive(Default)]
pub(crate) struct Secrets(Mutex<HashMap<String, Vec<u8>>>);

#[async_trait]
impl SecretSource for Secrets {
    async fn reveal(
        &self,
        tenant: &TenantName,
        name: &SecretName,
    ) -> Result<Option<Secret>, SecretError> {
        let value = self.0.lock().unwrap().get(name.as_str()).cloned();
        Ok(value.filter(|_| *tenant == TenantName::default()).map(Secret::from))
    }
}

/// Refuses what the manifest's description says; the real one, with an engine in it, is the host's.
#[derive(Default)]
struct DescriptionDecides {
    gate: Arc<Gate>,
    refuses: Arc<AtomicBool>,
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
        if self.refuses.load(Ordering::Relaxed) {
            return Err(PreflightError::Mismatch("hosts do not run it any more".into()));
        }
        match manifest.description.as_str() {
            "mismatch" => {
                Err(PreflightError::Mismatch("'handle' is not a function of an event".into()))
            }
            "memory" => Err(PreflightError::Manifest {
                key: "limits.memory".into(),
                message: "the component starts with more".into(),
            }),
            "panic" => panic!("secret cause"),
            "away" => Err(PreflightError::Unavailable("secret cause".into())),
            "gate" => {
                self.gate.pass().await;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// What a gateway begins with.
#[derive(Default)]
struct Kept {
    store: SqliteSettings,
    schemas: SchemaLimits,
    /// What compiles schemas, where it is not what the roles have.
    compiler: Option<Arc<dyn SchemaCompiler>>,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::start_with(GatewaySettings::default(), EmbeddedSettings::default()).await
    }

    pub(crate) async fn start_with(settings: GatewaySettings, broker: EmbeddedSettings) -> Self {
        Self::start_on(settings, broker, None).await
    }

    /// Starts one whose listener may have a certificate; its requests are without TLS all the same.
    pub(crate) async fn start_on(
        settings: GatewaySettings,
        broker: EmbeddedSettings,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Keyring::create(&dir.path().join("keys")).unwrap();
        let keyring = Keyring::read(&dir.path().join("keys")).unwrap();
        Self::start_in(dir, Kept::default(), settings, broker, Some(Arc::new(keyring)), tls).await
    }

    /// Starts one with other bounds of schemas.
    pub(crate) async fn start_within(limits: SchemaLimits, settings: GatewaySettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept { schemas: limits, ..Kept::default() };
        Self::start_in(dir, kept, settings, EmbeddedSettings::default(), None, None).await
    }

    /// Starts one whose schemas are compiled by `compiler`.
    pub(crate) async fn start_compiling(compiler: Arc<dyn SchemaCompiler>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept { compiler: Some(compiler), ..Kept::default() };
        let (settings, broker) = (GatewaySettings::default(), EmbeddedSettings::default());
        Self::start_in(dir, kept, settings, broker, None, None).await
    }

    pub(crate) async fn start_without_key() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = GatewaySettings::default();
        Self::start_in(dir, Kept::default(), settings, EmbeddedSettings::default(), None, None)
            .await
    }

    /// Starts one where tenants may have only so much.
    pub(crate) async fn start_with_quotas(quotas: Quotas) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept {
            store: SqliteSettings { quotas, ..SqliteSettings::default() },
            ..Kept::default()
        };
        Self::start_in(
            dir,
            kept,
            GatewaySettings::default(),
            EmbeddedSettings::default(),
            None,
            None,
        )
        .await
    }

    async fn start_in(
        dir: tempfile::TempDir,
        kept: Kept,
        settings: GatewaySettings,
        broker: EmbeddedSettings,
        keyring: Option<Arc<Keyring>>,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        let store = SqliteStore::open(&dir.path().join("db"), kept.store).await.unwrap();
        let store = Arc::new(store);
        let broker = Arc::new(EmbeddedBroker::open(&dir.path().join("queue"), broker).unwrap());
        let compiling = Arc::new(ThreadGate::default());
        let usual = || -> Arc<dyn SchemaCompiler> {
            let inner = Compiler::new(kept.schemas);
            Arc::new(GatedCompiler { inner, gate: Arc::clone(&compiling) })
        };
        let first = Registry::new(kept.compiler.unwrap_or_else(usual));
        let registry =
            RegistryWatch::start_from(first, Arc::clone(&store) as _, Duration::from_millis(200))
                .await
                .unwrap();
        let secrets = Arc::new(Secrets::default());
        let (gate, refuses) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
        let artifacts = Arc::new(Proxy::new(Arc::clone(&store), VerbGate::default()));
        let publishing = Arc::new(GatedBroker::new(Arc::clone(&broker)));
        let preflight =
            DescriptionDecides { gate: Arc::clone(&gate), refuses: Arc::clone(&refuses) };
        let parts = GatewayParts {
            store: GatewayStore::of(&artifacts),
            nodes: Arc::clone(&store) as _,
            registry,
            broker: GatewayBroker::of(&broker),
            publisher: BatchPublisher::new(
                Arc::clone(&publishing) as _,
                PublisherSettings::default(),
            ),
            preflight: Arc::new(preflight),
            secrets: Arc::clone(&secrets) as _,
            keyring,
            notes: vec!["a note".into()],
            settings,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(wasmill_gateway::serve(listener, tls, parts, shutdown.clone()));
        let http = client().build().unwrap();
        Self {
            url: format!("http://{address}"),
            address,
            store,
            broker,
            secrets,
            gate,
            refuses,
            artifacts,
            publishing,
            compiling,
            shutdown,
            served,
            http,
            _dir: dir,
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).timeout(WAIT_TIMEOUT)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::PUT, path).json(body)).await
    }

    /// Sends a body of some media type.
    pub(crate) async fn post_as(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        send(self.request(Method::POST, path).header("content-type", content_type).body(body)).await
    }

    /// Uploads a component, different for each `variant`, and gives its digest.
    pub(crate) async fn upload(&self, variant: u32) -> String {
        let answer = self.post_as("/v1/artifacts", "application/wasm", component(variant)).await;
        assert!(answer.status.is_success(), "{answer:?}");
        answer.json()["digest"].as_str().unwrap().to_owned()
    }

    /// Deploys a function with these triggers.
    pub(crate) async fn deploy(&self, name: &str, triggers: Value) {
        let digest = self.upload(1).await;
        let deploy = json!({"digest": digest, "manifest": {"name": name, "trigger": triggers}});
        let answer = self.put(&format!("/v1/functions/{name}"), &deploy).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    }

    /// Sets a secret of the tenant `default`.
    pub(crate) async fn set_secret(&self, name: &str, value: &[u8]) {
        let secret = SealedSecret {
            tenant: TenantName::default(),
            name: name.parse().unwrap(),
            version: 1,
            key: "test".parse().unwrap(),
            sealed: Bytes::from_static(b"sealed"),
            at: Timestamp::now(),
        };
        self.store.define(&Change::PutSecret(secret)).await.unwrap();
        self.secrets.0.lock().unwrap().insert(name.into(), value.to_vec());
    }

    /// Deletes one.
    pub(crate) fn lose_secret(&self, name: &str) {
        assert!(self.secrets.0.lock().unwrap().remove(name).is_some());
    }

    /// Takes `count` executions off a function's queue.
    pub(crate) async fn take(&self, function: &str, count: usize) -> Vec<Dispatch> {
        let queue = QueueName::of_function(&TenantName::default(), &function.parse().unwrap());
        let mut consumption =
            self.broker.consume(&queue, NonZeroU16::new(64).unwrap()).await.unwrap();
        let mut taken = Vec::new();
        while taken.len() < count {
            let next = tokio::time::timeout(WAIT_TIMEOUT, consumption.deliveries.next()).await;
            let delivery = next.expect("nothing comes").unwrap();
            taken.extend(Batch::decode(&delivery.message.body).unwrap().into_dispatches());
            consumption.settle.ack(&[delivery.tag]).await.unwrap();
        }
        assert_eq!(taken.len(), count);
        taken
    }

    /// How many messages wait for a function.
    pub(crate) async fn waiting(&self, function: &str) -> u64 {
        let queue = QueueName::of_function(&TenantName::default(), &function.parse().unwrap());
        self.broker.depth(&queue).await.unwrap().ready
    }

    /// Starts what stands in for a host: takes a function's executions, records an end for each,
    /// replies.
    pub(crate) async fn work(&self, function: &str, end: fn(Dispatch) -> Finished) {
        let queue = QueueName::of_function(&TenantName::default(), &function.parse().unwrap());
        let mut consumption =
            self.broker.consume(&queue, NonZeroU16::new(64).unwrap()).await.unwrap();
        let (store, broker) = (Arc::clone(&self.store), Arc::clone(&self.broker));
        tokio::spawn(async move {
            while let Some(delivery) = consumption.deliveries.next().await {
                let dispatches = Batch::decode(&delivery.message.body).unwrap().into_dispatches();
                let ends: Vec<Finished> = dispatches.into_iter().map(end).collect();
                store.record(&ends).await.unwrap();
                consumption.settle.ack(&[delivery.tag]).await.unwrap();
                if let Some(to) = &delivery.message.reply_to {
                    broker.reply(to, Bytes::new()).await.unwrap();
                }
            }
        });
    }

    /// Waits until an execution's document satisfies `done`, and gives it.
    pub(crate) async fn execution_until(&self, id: &str, done: impl Fn(&Value) -> bool) -> Value {
        until("the execution gets there", async || {
            let answer = self.get(&format!("/v1/executions/{id}")).await;
            (answer.status.is_success() && done(&answer.json())).then(|| answer.json())
        })
        .await
    }
}

/// A gateway's settings with these bounds of its listener.
pub(crate) fn within(server: ServerSettings) -> GatewaySettings {
    GatewaySettings { server, ..GatewaySettings::default() }
}

/// Waits until `condition` gives something.
pub(crate) async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, looking)
        .await
        .unwrap_or_else(|_| panic!("not in time: {what}"))
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Makes sure that this is the problem called `kind`, and gives its document.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, kind: &str) -> Value {
        let document = self.json();
        assert_eq!(document["type"], format!("/problems/{kind}"), "{document}");
        assert_eq!(self.status, status, "{document}");
        document
    }

    /// The ids of the executions that an event led to.
    #[track_caller]
    pub(crate) fn executions(&self) -> Vec<String> {
        assert_eq!(self.status, StatusCode::ACCEPTED, "{self:?}");
        let document = self.json();
        document["executions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A client of HTTP that trusts no certificate.
pub(crate) fn client() -> reqwest::ClientBuilder {
    // Whoever comes first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

/// Sends a request. Whatever is refused must be refused by a problem document.
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let answer = Answer { status, headers, bytes: response.bytes().await.unwrap() };
    if status.as_u16() >= 400 && !answer.bytes.is_empty() {
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{answer:?}");
        let document = answer.json();
        assert_eq!(document["status"], status.as_u16(), "{document}");
        for member in ["type", "title", "detail"] {
            assert!(document[member].as_str().is_some_and(|text| !text.is_empty()), "{document}");
        }
        assert_eq!(
            matches!(status.as_u16(), 429 | 503),
            answer.headers.contains_key("retry-after"),
            "{answer:?}"
        );
        assert_eq!(status == 401, answer.headers.contains_key("www-authenticate"), "{answer:?}");
    }
    answer
}

/// The smallest component that says it is a function.
pub(crate) fn component(variant: u32) -> Vec<u8> {
    let text = format!(
        r#"(component (core module (func (drop (i32.const {variant}))))
            (instance $i) (export "wasmill:function/handler@0.1.0" (instance $i)))"#
    );
    wat::parse_str(text).unwrap()
}

/// A successful end that gives the event's data back and logs a line.
pub(crate) fn success(dispatch: Dispatch) -> Finished {
    let event = &dispatch.event;
    let output = Output {
        content_type: event.datacontenttype.clone().unwrap_or_else(|| "application/json".into()),
        data: event.data.clone().unwrap_or_default(),
    };
    let line = |seq: u32, message: &str, fields: Option<&str>| LogLine {
        seq,
        at: Timestamp::now(),
        level: LogLevel::Info,
        source: LogSource::Log,
        message: message.into(),
        fields: fields.map(str::to_owned),
    };
    let logs = vec![line(0, "begun", None), line(1, "done", Some(r#"{"took":"long"}"#))];
    Finished {
        report: report(&dispatch, Outcome::Success, Some(output)),
        logs,
        ..finished(dispatch)
    }
}

/// A trap.
pub(crate) fn trap(dispatch: Dispatch) -> Finished {
    Finished { report: report(&dispatch, Outcome::Trap, None), ..finished(dispatch) }
}

/// A command that failed after it had written something.
pub(crate) fn failed_command(dispatch: Dispatch) -> Finished {
    let output = Output { content_type: "text/plain; charset=utf-8".into(), data: "so far".into() };
    Finished { report: report(&dispatch, Outcome::Error, Some(output)), ..finished(dispatch) }
}

/// A first attempt that failed, to be followed by another in an hour.
pub(crate) fn retry_later(dispatch: Dispatch) -> Finished {
    let retry_at = Some(Timestamp::now().plus(Duration::from_secs(3600)));
    Finished { report: report(&dispatch, Outcome::Error, None), retry_at, ..finished(dispatch) }
}

fn finished(dispatch: Dispatch) -> Finished {
    let report = report(&dispatch, Outcome::Error, None);
    Finished { dispatch, report, retry_at: None, logs: Vec::new(), emitted: Vec::new() }
}

fn report(dispatch: &Dispatch, outcome: Outcome, output: Option<Output>) -> AttemptReport {
    let failed = outcome != Outcome::Success;
    AttemptReport {
        version: Some(Digest::of(&component(1))),
        message: failed.then(|| "it did not work".into()),
        backtrace: (outcome == Outcome::Trap).then(|| "0: handle\n1: main".into()),
        output,
        started_at: dispatch.queued_at,
        queue_wait: Duration::from_micros(1500),
        run_time: Duration::from_micros(250),
        fuel_used: 12_345,
        peak_memory: 131_072,
        ..AttemptReport::new("test", outcome, dispatch.trace.child())
    }
}

/// The id in a text.
pub(crate) fn id(text: &str) -> ExecutionId {
    text.parse().unwrap()
}
