//! One connection: TLS if the listener has it, then HTTP/1.1 or HTTP/2, whichever the client
//! speaks.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use axum::response::IntoResponse as _;
use http::uri::Scheme;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::activity::{Activity, Tracked};
use crate::admission::ConnectionPermit;
use crate::message::{self, Asked, MAX_HEAD, MAX_HEADERS};
use crate::routes::Routes;
use crate::settings::ServerSettings;
use crate::stream::{Lent, Stream};
use crate::stream_tasks::StreamTasks;
use crate::tls::{HTTP_2, Tls};
use crate::upload::{Drain, Linger, Upload};
use crate::writes::{Metered, Writes};

/// The longest list of header fields that HTTP/2 takes, in bytes as it counts them, which are more
/// than those of a head. Past it, all that a client is told is a status, so it is larger than what
/// [`message::check`] lets pass.
const MAX_LIST: u32 = 2 * MAX_HEAD as u32;

/// How much of a request's body HTTP/2 takes before anybody reads it, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;

/// The same for all requests of a connection together.
const CONNECTION_WINDOW: u32 = 512 << 10;

/// Requests of HTTP/2 that the client has aborted before anybody looked at them. Then the
/// connection is ended, as a client that does nothing else costs more than it pays.
const MAX_CALLED_OFF: usize = 20;

/// How much longer what a refused client sends is read when the server is to stop.
const LAST_LINGER: Duration = Duration::from_secs(3);

/// What every connection is served by.
pub(crate) struct Server {
    routes: Routes,
    tls: Option<Arc<Tls>>,
    handshake_timeout: Duration,
    header_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    linger: Linger,
    /// Both protocols; the client's first bytes tell.
    either: auto::Builder<StreamTasks>,
    http1: auto::Builder<StreamTasks>,
    http2: auto::Builder<StreamTasks>,
    shutdown: CancellationToken,
}

impl Server {
    pub(crate) fn new(
        routes: Routes,
        tls: Option<Arc<Tls>>,
        settings: &ServerSettings,
        shutdown: CancellationToken,
    ) -> Self {
        let either = protocols(settings);
        Self {
            routes,
            tls,
            handshake_timeout: settings.handshake_timeout,
            header_timeout: settings.header_timeout,
            idle_timeout: settings.idle_timeout,
            write_timeout: settings.write_timeout,
            linger: Linger {
                bytes: settings.max_discarded_bytes,
                time: settings.body_timeout,
                last: LAST_LINGER,
            },
            http1: either.clone().http1_only(),
            http2: either.clone().http2_only(),
            either,
            shutdown,
        }
    }

    /// Serves a connection to its end.
    pub(crate) async fn serve(&self, stream: TcpStream, permit: &ConnectionPermit) {
        let writes = Arc::<Writes>::default();
        let stream = Metered::new(stream, &writes);
        let Some(tls) = &self.tls else {
            return self.speak(&self.either, stream, &writes, Scheme::HTTP, permit).await;
        };
        // How many handshakes go on is bounded as all connections are whose first head has not
        // come: what waits for its client must not keep others waiting.
        let handshake = TlsAcceptor::from(tls.config()).accept(stream);
        let stream = tokio::select! {
            stream = tokio::time::timeout(self.handshake_timeout, handshake) => stream,
            () = self.shutdown.cancelled() => return,
        };
        // A handshake that fails is the client's business.
        let Ok(Ok(stream)) = stream else { return };
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(HTTP_2) => &self.http2,
            _ => &self.http1,
        };
        self.speak(protocol, stream, &writes, Scheme::HTTPS, permit).await;
    }

    /// Serves a connection whose bytes are those of HTTP to its end.
    async fn speak<I>(
        &self,
        protocol: &auto::Builder<StreamTasks>,
        io: I,
        writes: &Writes,
        scheme: Scheme,
        permit: &ConnectionPermit,
    ) where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::default());
        let (lent, mut back) = Stream::new(io, &activity).lend();
        if !self.converse(protocol, lent, (&activity, writes), scheme, permit).await {
            return;
        }
        let Ok(stream) = back.try_recv() else { return };
        let stopped = async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(self.linger.last).await;
        };
        tokio::select! {
            () = stream.end(self.linger) => {}
            () = stopped => {}
        }
    }

    /// Answers requests until the client goes, is quiet for too long, takes nothing of what is
    /// written to it, or the server is to stop.
    /// Gives whether the connection may be ended politely.
    async fn converse<I>(
        &self,
        protocol: &auto::Builder<StreamTasks>,
        lent: Lent<I>,
        (activity, writes): (&Arc<Activity>, &Writes),
        scheme: Scheme,
        permit: &ConnectionPermit,
    ) -> bool
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request: Request<Incoming>| {
            permit.head_received();
            let (router, scheme, work) =
                (self.routes.current().clone(), scheme.clone(), activity.begin());
            let asked = Asked::of(&request, activity, work.number);
            let drain = (!asked.is_http_1).then(|| Drain::new(self.linger, &self.shutdown));
            let mut request =
                request.map(|body| Body::new(Upload::new(body, activity, work.number, drain)));
            if asked.is_http_1 && request.extensions_mut().remove::<OnUpgrade>().is_some() {
                activity.note_upgrade();
            }
            request.extensions_mut().insert(scheme);
            if let Some(address) = permit.client_address() {
                request.extensions_mut().insert(address);
            }
            async move {
                let response = match message::check(&mut request) {
                    Ok(()) => router.oneshot(request).await?,
                    Err(refused) => refused.into_response(),
                };
                let response = asked.answered(response);
                Ok::<Response<Tracked>, Infallible>(response.map(|body| Tracked::new(body, work)))
            }
        });
        let mut connection = pin!(protocol.serve_connection(TokioIo::new(lent), service));
        let mut wait_timeout = (self.header_timeout, self.idle_timeout);
        let mut is_leaving = false;
        loop {
            tokio::select! {
                // First, so that what it does by itself is done before it is told anything.
                biased;
                ended = poll_fn(|context| poll_hyper(connection.as_mut(), activity, context)) => {
                    // A response that broke off must not look as if it were whole.
                    let broke_off = |error: &BoxError| error.downcast_ref().is_some_and(hyper::Error::is_user);
                    return !ended.is_err_and(|error| broke_off(&error));
                }
                () = self.shutdown.cancelled(), if !is_leaving => {}
                () = activity.quiet(wait_timeout.0, wait_timeout.1) => {
                    if is_leaving {
                        return false;
                    }
                }
                () = writes.stalled(self.write_timeout) => {
                    tracing::debug!("a connection is ended: its client takes nothing of what is written");
                    return false;
                }
            }
            // What is at work is finished. A client that then does not go is left.
            connection.as_mut().graceful_shutdown();
            (is_leaving, wait_timeout) = (true, (self.header_timeout, self.header_timeout));
            activity.restart();
        }
    }
}

/// Lets hyper go on with a connection, and makes up for what it does not do or does not tell.
fn poll_hyper<C>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    context: &mut Context<'_>,
) -> Poll<C::Output>
where
    C: Future<Output = Result<(), BoxError>>,
{
    let given_up = if activity.is_settled() { activity.unread.given_up() } else { None };
    let mut polled = connection.as_mut().poll(context);
    // Once a request of HTTP/1.1 has asked for an upgrade, hyper takes the end of the connection
    // for one and leaves unwritten what it has still to write. By that it has forgotten what was
    // asked for, and goes on when it is polled again.
    if matches!(polled, Poll::Ready(Ok(()))) && activity.take_upgrade() {
        polled = connection.poll(context);
    }
    // A body that is given up is read on where little is left of it. Otherwise the connection ends
    // as soon as all is written: if it has not, the body is there.
    if let (Some(number), true) = (given_up, polled.is_pending()) {
        activity.unread.discard(number);
    }
    polled
}

/// Both protocols within their bounds.
fn protocols(settings: &ServerSettings) -> auto::Builder<StreamTasks> {
    let mut builder = auto::Builder::new(StreamTasks { write_timeout: settings.write_timeout });
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_streams)
        .max_header_list_size(MAX_LIST)
        .max_pending_accept_reset_streams(MAX_CALLED_OFF)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(settings.ping_interval)
        .keep_alive_timeout(settings.ping_timeout);
    builder
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;
    use futures_util::StreamExt as _;
    use http::StatusCode;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::sync::Notify;

    use super::*;
    use crate::admission::Admission;

    /// Longer than anything takes.
    const WAIT_TIMEOUT: Duration = Duration::from_secs(20);
    const HOUR: Duration = Duration::from_secs(3600);

    /// Serves one connection of HTTP/1.1 to its end while `client` is on the other end of it.
    /// Whoever is refused may go on sending for an hour.
    async fn served<T>(
        router: Router,
        client: impl AsyncFnOnce(DuplexStream, CancellationToken) -> T,
    ) {
        let settings = ServerSettings { body_timeout: HOUR, ..ServerSettings::default() };
        let stop = CancellationToken::new();
        let server = Server::new(router.into(), None, &settings, stop.clone());
        let admission = Admission::new(&settings);
        let permit =
            admission.acquire(admission.share([127, 0, 0, 1].into()).unwrap()).await.unwrap();
        let (near, far) = duplex(4096);
        let writes = Writes::default();
        let served = server.speak(&server.http1, near, &writes, Scheme::HTTP, &permit);
        tokio::join!(served, client(far, stop));
    }

    async fn request(far: &mut DuplexStream, path: &str, fields: &str, body: &str) {
        let head = format!("POST {path} HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n{body}");
        far.write_all(head.as_bytes()).await.unwrap();
    }

    /// What comes up to and with some text.
    async fn until(far: &mut DuplexStream, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let byte = tokio::time::timeout(WAIT_TIMEOUT, far.read_u8()).await;
            text.push(
                byte.unwrap_or_else(|_| panic!("nothing more after {text:?}")).unwrap().into(),
            );
        }
        text
    }

    /// Makes sure that nothing more comes, and that what is sent is read all the same.
    async fn goes_on(far: &mut DuplexStream) {
        let end =
            tokio::time::timeout(WAIT_TIMEOUT, far.read_u8()).await.expect("the connection stays");
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
        let sent = tokio::time::timeout(WAIT_TIMEOUT, far.write_all(&[b'x'; 50_000])).await;
        sent.expect("it is not read").expect("nobody listens");
    }

    const UPGRADE: &str = "upgrade: h2c\r\nconnection: upgrade\r\n";

    #[tokio::test]
    async fn a_request_for_an_upgrade_changes_nothing_of_the_end() {
        for asked in ["", UPGRADE] {
            // The answer is longer than fits between the two.
            let router = Router::new().route("/long", post(async || [b'y'; 20_000].to_vec()));
            served(router, async |mut far, _| {
                request(&mut far, "/long", &format!("{asked}content-length: 100000\r\n"), "").await;
                let head = until(&mut far, "\r\n\r\n").await;
                assert!(
                    head.starts_with("HTTP/1.1 200 ") && head.contains("content-length: 20000\r\n"),
                    "{head}"
                );
                let mut answer = vec![0; 20_000];
                far.read_exact(&mut answer)
                    .await
                    .unwrap_or_else(|e| panic!("the answer is cut off: {e}"));
                goes_on(&mut far).await;
            })
            .await;
        }
    }

    #[tokio::test]
    async fn what_was_read_and_thrown_away_is_not_waited_for() {
        let whole = served(Router::new(), async |mut far, stop| {
            for _ in 0..2 {
                request(&mut far, "/nothing", "content-length: 5\r\n", "12345").await;
                assert!(until(&mut far, "\r\n\r\n").await.starts_with("HTTP/1.1 404 "));
            }
            stop.cancel();
            assert!(far.read_u8().await.is_err());
            // The server ends the connection; this end does not.
            far
        });
        // In less time than a refused client gets.
        tokio::time::timeout(LAST_LINGER * 2 / 3, whole).await.expect("the client is waited for");
    }

    /// The end of a body may be looked at when another request has begun.
    #[tokio::test]
    async fn a_body_before_does_not_speak_for_the_next() {
        let (go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (may, has) = (Arc::clone(&go), Arc::clone(&done));
        let slow = async move |body: Body| {
            let mut body = body.into_data_stream();
            assert_eq!(body.next().await.unwrap().unwrap(), "12345");
            tokio::spawn(async move {
                may.notified().await;
                assert!(body.next().await.is_none());
                has.notify_one();
            });
        };
        let refuse = async move || {
            go.notify_one();
            done.notified().await;
            StatusCode::PAYLOAD_TOO_LARGE
        };
        let router = Router::new().route("/slow", post(slow)).route("/refuse", post(refuse));
        served(router, async |mut far, _| {
            request(&mut far, "/slow", "transfer-encoding: chunked\r\n", "5\r\n12345\r\n0\r\n\r\n")
                .await;
            assert!(until(&mut far, "\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
            request(&mut far, "/refuse", "content-length: 100000\r\n", "").await;
            let answer = until(&mut far, "\r\n\r\n").await;
            assert!(
                answer.starts_with("HTTP/1.1 413 ") && answer.contains("connection: close\r\n"),
                "{answer}"
            );
            goes_on(&mut far).await;
        })
        .await;
    }
}
