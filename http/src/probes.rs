//! `/healthz` and `/readyz` for roles that serve nothing else.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::coalesced::Coalesced;
use crate::listener;
use crate::refusal::PROBLEM_JSON;
use crate::routes::Routes;
use crate::settings::ServerSettings;

/// How long all parts together may take to say how they are.
const WAIT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long what the parts said is good for whoever asks next: anybody may ask, as often as they
/// like, and to know how a part is may take a connection to a database that others need.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// A part of a process: what it is called, and what is wrong with it if anything is.
pub type Part = (&'static str, Result<(), String>);

/// What knows whether a process can do its work.
#[async_trait]
pub trait Readiness: Send + Sync + 'static {
    /// How each part is now. Probes ask for it once a second at most, whoever asks them.
    async fn parts(&self) -> Vec<Part>;

    /// What operators should look at that keeps nothing from working. It is told to anybody.
    fn notes(&self) -> Vec<String>;
}

/// Serves `GET /healthz` (200 while the process lives) and `GET /readyz` (200 while every part is
/// right, else 503 and what is wrong) on `listener` until `shutdown`.
pub async fn serve_probes(
    listener: TcpListener,
    readiness: Arc<dyn Readiness>,
    shutdown: CancellationToken,
) {
    let router = probes(readiness);
    // A probe is answered at once or not at all: the smallest of bounds are more than enough.
    let settings = ServerSettings {
        max_connections: 64,
        drain_timeout: Duration::ZERO,
        ..ServerSettings::default()
    };
    listener::serve(listener, None, router.into(), &settings, shutdown).await;
}

/// What a role that serves more answers while it starts: the same probes, and `503` to everything
/// else. What it starts for [replaces](Routes::replace) this.
pub fn while_starting(readiness: Arc<dyn Readiness>) -> Routes {
    let router = probes(readiness).fallback(async || {
        let detail = "this process is starting; GET /readyz tells what it waits for";
        let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, detail, None);
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        answer
    });
    router.into()
}

fn probes(readiness: Arc<dyn Readiness>) -> Router {
    let probe = Arc::new(Probe { readiness, parts: Coalesced::new(GOOD_FOR) });
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).with_state(probe)
}

/// What is asked, and what it said last.
struct Probe {
    readiness: Arc<dyn Readiness>,
    parts: Coalesced<Vec<Part>>,
}

async fn alive() -> Json<Value> {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

async fn ready(State(probe): State<Arc<Probe>>) -> Response {
    let readiness = Arc::clone(&probe.readiness);
    let look = async move {
        let answered = tokio::time::timeout(WAIT_TIMEOUT, readiness.parts()).await;
        answered.unwrap_or_else(|_| {
            vec![("process", Err(format!("its parts have not answered within {WAIT_TIMEOUT:?}")))]
        })
    };
    let parts = probe.parts.get(look).await;
    let notes = probe.readiness.notes();
    let wrong: Vec<String> = parts
        .iter()
        .filter_map(|(name, state)| Some(format!("{name}: {}", state.as_ref().err()?)))
        .collect();
    let parts: Map<String, Value> = parts
        .into_iter()
        .map(|(name, state)| (name.to_owned(), state.err().unwrap_or_else(|| "ok".into()).into()))
        .collect();
    if wrong.is_empty() {
        let mut document = json!({"status": "ok", "parts": parts});
        if !notes.is_empty() {
            document["notes"] = json!(notes);
        }
        return Json(document).into_response();
    }
    problem(StatusCode::SERVICE_UNAVAILABLE, &wrong.join("; "), Some(parts))
}

/// A problem document, as RFC 9457 has it.
fn problem(status: StatusCode, detail: &str, parts: Option<Map<String, Value>>) -> Response {
    let mut document = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
    });
    if let Some(parts) = parts {
        document["parts"] = parts.into();
    }
    (status, [(CONTENT_TYPE, PROBLEM_JSON)], document.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Body;
    use http::Request;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpSocket, TcpStream};
    use tower::ServiceExt as _;

    use super::*;

    struct Well;

    #[async_trait]
    impl Readiness for Well {
        async fn parts(&self) -> Vec<Part> {
            vec![("part", Ok(()))]
        }

        fn notes(&self) -> Vec<String> {
            Vec::new()
        }
    }

    /// Counts who asks it.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    #[async_trait]
    impl Readiness for Counting {
        async fn parts(&self) -> Vec<Part> {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            vec![("part", Ok(()))]
        }

        fn notes(&self) -> Vec<String> {
            Vec::new()
        }
    }

    #[tokio::test]
    async fn the_parts_are_asked_once_for_many() {
        let counting = Arc::new(Counting::default());
        let router = probes(Arc::clone(&counting) as _);
        let request = || Request::get("/readyz").body(Body::empty()).unwrap();
        let answers = (0..100).map(|_| router.clone().oneshot(request()));
        for answer in futures_util::future::join_all(answers).await {
            assert_eq!(answer.unwrap().status(), StatusCode::OK);
        }
        // One, unless it takes this machine seconds to answer so few.
        assert!((1..10).contains(&counting.0.load(Ordering::Relaxed)));
    }

    async fn connect(last: u8, address: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
        socket.connect(address).await.unwrap()
    }

    /// Whatever many addresses begin and never end, a probe is answered.
    #[tokio::test]
    async fn heads_half_sent_keep_no_probe_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(serve_probes(listener, Arc::new(Well), shutdown.clone()));
        let half: [&[u8]; 3] = [
            b"",
            b"GET /readyz HTTP/1.1\r\nHost: loc",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        ];
        let mut silent = Vec::new();
        for i in 0..120 {
            // Six addresses, of which each has more than it may.
            let mut stream = connect(2 + i % 6, address).await;
            // It may be closed already.
            let _ = stream.write_all(half[usize::from(i) % half.len()]).await;
            silent.push(stream);
        }
        for path in ["/healthz", "/readyz"] {
            let mut probe = connect(200, address).await;
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            probe.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            let read = probe.read_to_string(&mut answer);
            tokio::time::timeout(Duration::from_secs(20), read).await.expect("in time").unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        drop(silent);
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(20), served).await.expect("in time").unwrap();
    }
}
