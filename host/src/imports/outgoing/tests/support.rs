//! A server, a resolver, and a function that sends requests.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use wasmill_domain::{
    Digest, ExecutionId, LogSource, Manifest, TenantName, Timestamp, TraceContext,
};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks as _};

use crate::execution::CurrentExecution;
use crate::imports::outgoing::{LookupPermit, Network, Outgoing, Resolve};
use crate::log::SharedLog;
use crate::settings::OutgoingSettings;

/// What a server answers.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// How long something may take that is sure to happen.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// A server on one of this machine's loopback addresses.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// How many connections there have been.
    connections: Arc<AtomicUsize>,
    /// How many are open.
    open: watch::Receiver<usize>,
    _task: AbortOnDropHandle<()>,
}

/// What turns a connection into one that HTTP is spoken on.
pub(super) trait Accept<S>: Send + Sync + 'static {
    fn accept(
        &self,
        stream: tokio::net::TcpStream,
    ) -> Pin<Box<dyn Future<Output = io::Result<S>> + Send>>;
}

/// Without TLS.
pub(super) struct Plain;

impl Accept<tokio::net::TcpStream> for Plain {
    fn accept(
        &self,
        stream: tokio::net::TcpStream,
    ) -> Pin<Box<dyn Future<Output = io::Result<tokio::net::TcpStream>> + Send>> {
        Box::pin(std::future::ready(Ok(stream)))
    }
}

impl Server {
    /// Answers with what `handle` makes of each request.
    pub(super) async fn start<H, F>(handle: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::start_at(([127, 0, 0, 1], 0).into(), Plain, handle).await
    }

    pub(super) async fn start_at<S, A, H, F>(address: SocketAddr, accept: A, handle: H) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        A: Accept<S>,
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (opened, open) = watch::channel(0);
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                opened.send_modify(|open| *open += 1);
                let (stream, handle, opened) =
                    (accept.accept(stream), handle.clone(), opened.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = stream.await {
                        let service = service_fn(move |request| {
                            let answer = handle(request);
                            async move { Ok::<_, Infallible>(answer.await) }
                        });
                        // A connection that the other side closes ends with an error here.
                        let _ = http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    }
                    opened.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { address, connections, open, _task: AbortOnDropHandle::new(task) }
    }

    /// The URL of a path, for the host name.
    pub(super) fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.address.port())
    }

    /// How many connections there have been.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until no connection is open.
    pub(super) async fn all_closed(&mut self) {
        tokio::time::timeout(SOON, self.open.wait_for(|open| *open == 0)).await.unwrap().unwrap();
    }
}

/// An answer with a text.
pub(super) fn text(text: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(text.into()).boxed_unsync())
}

/// An answer that begins with a text and never ends.
pub(super) fn endless(text: &'static str) -> Answer {
    let first = stream::iter([Ok(Frame::data(Bytes::from_static(text.as_bytes())))]);
    Response::new(StreamBody::new(first.chain(stream::pending())).boxed_unsync())
}

/// A resolver that knows what it was told.
#[derive(Default)]
pub(super) struct Names {
    /// The answers for each name, one after the other; the last one stays.
    answers: HashMap<String, Vec<Vec<IpAddr>>>,
    /// The names that were asked for.
    asked: Mutex<Vec<String>>,
}

impl Names {
    pub(super) fn new(answers: &[(&str, &[&[&str]])]) -> Arc<Self> {
        let addresses =
            |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        let answers = answers
            .iter()
            .map(|(name, all)| ((*name).to_owned(), all.iter().map(addresses).collect()));
        Arc::new(Self { answers: answers.collect(), asked: Mutex::default() })
    }

    /// One that says of a name that it is this machine.
    pub(super) fn local(name: &str) -> Arc<Self> {
        Self::new(&[(name, &[&["127.0.0.1"]])])
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str, _: LookupPermit) -> io::Result<Vec<IpAddr>> {
        let mut asked = self.asked.lock().unwrap();
        let before = asked.iter().filter(|asked| *asked == name).count();
        asked.push(name.to_owned());
        let answers = self.answers.get(name).ok_or_else(|| io::Error::other("no such name"))?;
        Ok(answers[before.min(answers.len() - 1)].clone())
    }
}

/// Settings that let guests reach the server and no other address of this machine.
pub(super) fn settings() -> OutgoingSettings {
    OutgoingSettings {
        allowed_networks: vec![IpAddr::V4(Ipv4Addr::LOCALHOST).into()],
        ..OutgoingSettings::default()
    }
}

/// An instance of a function.
pub(super) struct Function {
    pub(super) outgoing: Outgoing,
    log: SharedLog,
}

impl Function {
    /// In an attempt that has just begun. `sections` is the manifest without its name.
    pub(super) fn new(network: &Arc<Network>, name: &str, sections: &str) -> Self {
        let outgoing = Outgoing::new(Arc::clone(network));
        let mut function = Self { outgoing, log: SharedLog::default() };
        function.begin(name, sections, SOON);
        function
    }

    /// Begins another attempt, which has so much time.
    pub(super) fn begin(&mut self, name: &str, sections: &str, time: Duration) {
        self.begin_of(&TenantName::default(), name, sections, time);
    }

    /// The same of a tenant's function.
    pub(super) fn begin_of(
        &mut self,
        tenant: &TenantName,
        name: &str,
        sections: &str,
        time: Duration,
    ) {
        let manifest = Manifest::from_toml(&format!("name = '{name}'\n{sections}")).unwrap();
        self.log.begin(64 << 10);
        self.outgoing.begin(&manifest, Instant::now() + time, &execution(tenant, name), &self.log);
    }

    pub(super) async fn send(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Response<WasiBody>, Error> {
        let sent =
            self.outgoing.send_request(request, options, Box::new(std::future::ready(Ok(()))));
        Box::into_pin(sent).await.map(|(response, _)| response)
    }

    /// The status and the body of what a URL has.
    pub(super) async fn get(&mut self, url: &str) -> Result<(StatusCode, String), Error> {
        read(self.send(request(url, ""), None).await?).await
    }

    /// What the host has written into the attempt's log.
    pub(super) fn notes(&self) -> Vec<String> {
        let (lines, _) = self.log.finish();
        assert!(lines.iter().all(|line| line.source == LogSource::Host), "{lines:?}");
        lines.into_iter().map(|line| line.message).collect()
    }
}

/// One whose requests go to `resolver`'s addresses, without a limit that matters.
pub(super) fn function(resolver: Arc<dyn Resolve>, allowed_hosts: &[&str]) -> Function {
    Function::new(
        &network(settings(), resolver),
        "test",
        &format!("allowed_hosts = {allowed_hosts:?}"),
    )
}

pub(super) fn network(settings: OutgoingSettings, resolver: Arc<dyn Resolve>) -> Arc<Network> {
    Network::start(settings, resolver).unwrap()
}

/// A request: GET without a body, POST with one.
pub(super) fn request(url: &str, body: &str) -> Request<WasiBody> {
    let method = if body.is_empty() { "GET" } else { "POST" };
    let body =
        Full::new(Bytes::from(body.to_owned())).map_err(|never| match never {}).boxed_unsync();
    Request::builder().method(method).uri(url).body(body).unwrap()
}

/// Status and body of a response.
pub(super) async fn read(response: Response<WasiBody>) -> Result<(StatusCode, String), Error> {
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(body.to_vec()).unwrap()))
}

fn execution(tenant: &TenantName, function: &str) -> CurrentExecution {
    CurrentExecution {
        id: ExecutionId::new(),
        tenant: tenant.clone(),
        function: function.parse().unwrap(),
        version: Digest::of(b""),
        attempt: 1,
        max_attempts: 1,
        deadline: Timestamp::now(),
        span: TraceContext::parse(SPAN, Some("vendor=1")).unwrap(),
    }
}

/// The attempt's span.
pub(super) const SPAN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
