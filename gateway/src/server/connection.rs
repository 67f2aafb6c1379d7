//! One connection: TLS if the listener has it, then HTTP/1.1 or HTTP/2, whichever the client speaks.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse as _;
use http::uri::Scheme;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use wasmill_domain::http_message::MAX_HEADERS;

use super::activity::{Activity, Tracked};
use super::admission::Place;
use super::message::{self, Asked, Upload};
use super::stream::{Linger, Stream};
use super::tls::{HTTP_2, Tls};
use crate::settings::GatewaySettings;

/// The longest head of a request, in bytes.
pub(super) const MAX_HEAD: u32 = 64 << 10;

/// How much of a request's body HTTP/2 takes before anybody reads it, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;

/// The same for all requests of a connection together.
const CONNECTION_WINDOW: u32 = 512 << 10;

/// Requests of HTTP/2 that the client has called off before anybody looked at them. Then the connection is ended, as a client that
/// does nothing else costs more than it pays.
const MAX_CALLED_OFF: usize = 20;

/// What every connection is served by.
pub(super) struct Server {
    router: Router,
    tls: Option<Arc<Tls>>,
    handshakes: Semaphore,
    handshake_timeout: Duration,
    header_timeout: Duration,
    idle_timeout: Duration,
    linger: Linger,
    /// Both protocols; the client's first bytes tell.
    either: auto::Builder<TokioExecutor>,
    http1: auto::Builder<TokioExecutor>,
    http2: auto::Builder<TokioExecutor>,
    shutdown: CancellationToken,
}

impl Server {
    pub(super) fn new(
        router: Router,
        tls: Option<Arc<Tls>>,
        settings: &GatewaySettings,
        shutdown: CancellationToken,
    ) -> Self {
        let either = protocols(settings);
        Self {
            router,
            tls,
            handshakes: Semaphore::new(settings.max_handshakes.clamp(1, Semaphore::MAX_PERMITS)),
            handshake_timeout: settings.handshake_timeout,
            header_timeout: settings.header_timeout,
            idle_timeout: settings.idle_timeout,
            linger: Linger { bytes: settings.max_discarded_bytes, time: settings.body_timeout },
            http1: either.clone().http1_only(),
            http2: either.clone().http2_only(),
            either,
            shutdown,
        }
    }

    /// Serves a connection to its end.
    pub(super) async fn serve(&self, stream: TcpStream, place: &Place) {
        let Some(tls) = &self.tls else {
            return self.speak(&self.either, stream, Scheme::HTTP, place).await;
        };
        let handshake = tokio::time::timeout(self.handshake_timeout, self.handshake(tls, stream));
        let stream = tokio::select! {
            stream = handshake => stream,
            () = self.shutdown.cancelled() => return,
        };
        // A handshake that fails is the client's business.
        let Ok(Some(stream)) = stream else { return };
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(HTTP_2) => &self.http2,
            _ => &self.http1,
        };
        self.speak(protocol, stream, Scheme::HTTPS, place).await;
    }

    async fn handshake(&self, tls: &Tls, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        // Never closed, so there is one in the end.
        let _room = self.handshakes.acquire().await.ok()?;
        TlsAcceptor::from(tls.config()).accept(stream).await.ok()
    }

    /// Answers requests until the client goes, is quiet for too long, or the gateway is to stop.
    async fn speak<I>(&self, protocol: &auto::Builder<TokioExecutor>, io: I, scheme: Scheme, place: &Place)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (activity, unread) = (Arc::new(Activity::default()), Arc::new(AtomicBool::new(false)));
        let service = service_fn(|request: Request<Incoming>| {
            place.heard();
            let (router, scheme, work) = (self.router.clone(), scheme.clone(), activity.begin());
            let asked = Asked::of(&request, &unread);
            let mut request = request.map(|body| Body::new(Upload::new(body, &unread)));
            request.extensions_mut().insert(scheme);
            async move {
                let response = match message::check(&mut request) {
                    Ok(()) => router.oneshot(request).await?,
                    Err(refused) => refused.into_response(),
                };
                let response = asked.answered(response);
                Ok::<Response<Tracked>, Infallible>(response.map(|body| Tracked::new(body, work)))
            }
        });
        let io = TokioIo::new(Stream::new(io, &activity, &unread, self.linger));
        let mut connection = pin!(protocol.serve_connection(io, service));
        let mut patience = (self.header_timeout, self.idle_timeout);
        let mut is_leaving = false;
        loop {
            tokio::select! {
                // A connection that breaks is the client's business.
                _ = connection.as_mut() => return,
                () = self.shutdown.cancelled(), if !is_leaving => {}
                () = activity.quiet(patience.0, patience.1) => {
                    if is_leaving {
                        return;
                    }
                }
            }
            // What is at work is finished. A client that then does not go is left.
            connection.as_mut().graceful_shutdown();
            (is_leaving, patience) = (true, (self.header_timeout, self.header_timeout));
            activity.restart();
        }
    }
}

/// Both protocols within their bounds.
fn protocols(settings: &GatewaySettings) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_streams)
        .max_header_list_size(MAX_HEAD)
        .max_pending_accept_reset_streams(MAX_CALLED_OFF)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(settings.ping_interval)
        .keep_alive_timeout(settings.ping_timeout);
    builder
}
