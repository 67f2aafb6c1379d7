//! Speaks to a gateway, and turns its problem documents into failures that say what to do.

mod tls;

use std::time::{Duration, Instant};

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::args::Remote;
use crate::exit::{Failure, Result};
use crate::json::{Document, Json};

/// What may stand in a path segment as it is.
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~').remove(b':');

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// How long to wait before a request is sent again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A gateway and who we are to it.
pub(crate) struct Client {
    http: reqwest::Client,
    remote: Remote,
}

/// What is sent.
#[derive(Clone)]
pub(crate) struct Request<'a> {
    method: Method,
    path: String,
    query: Vec<(&'a str, String)>,
    body: Option<(String, Bytes)>,
    timeout: Duration,
}

/// Why there is no answer.
struct NoAnswer {
    failure: Failure,
    /// Whether the request had been sent, so that what it asked for may go on.
    after_sending: bool,
    /// Whether nothing was there to send it to.
    is_away: bool,
}

/// What came back, short of an error.
pub(crate) struct Answer {
    /// The status: 2xx.
    pub(crate) status: StatusCode,
    /// The document; null where there is none.
    pub(crate) body: Document,
}

impl<'a> Request<'a> {
    /// A request of `method` to the path made of `segments`, each percent-encoded.
    pub(crate) fn new(method: Method, segments: &[&str]) -> Self {
        let path =
            segments.iter().map(|s| format!("/{}", utf8_percent_encode(s, SEGMENT))).collect();
        Self { method, path, query: Vec::new(), body: None, timeout: ANSWER_TIMEOUT }
    }

    /// A GET.
    pub(crate) fn get(segments: &[&str]) -> Self {
        Self::new(Method::GET, segments)
    }

    /// Adds a query parameter where there is a value.
    pub(crate) fn query(mut self, name: &'a str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// Sends a JSON document.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Sends bytes of some media type.
    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = Some((content_type.to_owned(), body.into()));
        self
    }

    /// Waits this much longer for the answer.
    pub(crate) fn wait_timeout(mut self, longer: Duration) -> Self {
        self.timeout += longer;
        self
    }
}

impl Client {
    /// A client of the server that the command line names.
    pub(crate) fn new(remote: Remote) -> Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("wasmill/", env!("CARGO_PKG_VERSION")))
            // The server is the one that was named: no proxy, no redirect to another.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_backend_preconfigured(tls::config(&remote.url, remote.ca_file.as_deref())?)
            .build()
            .map_err(anyhow::Error::from)?;
        Ok(Self { http, remote })
    }

    /// Whether answers are to be printed as JSON.
    pub(crate) fn prints_json(&self) -> bool {
        self.remote.json
    }

    /// Sends a request whose answer is a document, or nothing.
    pub(crate) async fn send(&self, request: Request<'_>) -> Result<Answer> {
        answer(self.fetch(request).await?)
    }

    /// Sends a request that may be sent again while what it asks for goes on, until it is answered:
    /// for as long as its time-out altogether, whatever ends connections meanwhile.
    pub(crate) async fn send_until_answered(&self, request: Request<'_>) -> Result<Answer> {
        let deadline = Instant::now() + request.timeout;
        let mut was_sent = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let no_answer = match self.try_fetch(Request { timeout: left, ..request.clone() }).await
            {
                Ok(fetched) => return answer(fetched),
                Err(no_answer) => no_answer,
            };
            // Who took it may be away for a while: it is started again.
            was_sent |= no_answer.after_sending;
            let is_to_be_sent = no_answer.after_sending || (was_sent && no_answer.is_away);
            if !is_to_be_sent || left <= AGAIN_AFTER {
                return Err(no_answer.failure);
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// Sends a request, and gives the answer's bytes.
    pub(crate) async fn fetch(&self, request: Request<'_>) -> Result<(StatusCode, Bytes)> {
        self.try_fetch(request).await.map_err(|no_answer| no_answer.failure)
    }

    async fn try_fetch(&self, request: Request<'_>) -> Result<(StatusCode, Bytes), NoAnswer> {
        let url = format!("{}{}", self.remote.url.trim_end_matches('/'), request.path);
        let mut http =
            self.http.request(request.method, &url).query(&request.query).timeout(request.timeout);
        if let Some(key) = &self.remote.key {
            http = http.bearer_auth(key);
        }
        if let Some(tenant) = &self.remote.tenant {
            http = http.header("wasmill-tenant", tenant.as_str());
        }
        if let Some((content_type, body)) = request.body {
            http = http.header(CONTENT_TYPE, content_type).body(body);
        }
        let no_answer_for = |error: reqwest::Error| NoAnswer {
            after_sending: !error.is_connect(),
            is_away: error.is_connect() && !cause_of(&error).is_some_and(is_of_tls),
            failure: self.unreachable(&error),
        };
        let response = http.send().await.map_err(no_answer_for)?;
        let status = response.status();
        // What a proxy says in the server's place while that still works.
        let is_of_proxy = response
            .headers()
            .get(CONTENT_TYPE)
            .is_none_or(|media_type| media_type != "application/problem+json");
        let after_sending =
            is_of_proxy && matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT);
        let is_away = is_of_proxy && status == StatusCode::SERVICE_UNAVAILABLE;
        let body = response.bytes().await.map_err(no_answer_for)?;
        if status.is_success() {
            return Ok((status, body));
        }
        let document = Document::read(&body).unwrap_or_default();
        let text = problem_text(status, document.json());
        let failure = match status {
            StatusCode::NOT_FOUND => Failure::NotFound(text),
            StatusCode::UNAUTHORIZED => {
                Failure::Denied(format!("{text}; give an API key by --key or WASMILL_KEY"))
            }
            StatusCode::FORBIDDEN => Failure::Denied(text),
            StatusCode::SERVICE_UNAVAILABLE => Failure::Unreachable(text),
            _ => Failure::Failed(anyhow::Error::msg(text)),
        };
        Err(NoAnswer { failure, after_sending, is_away })
    }

    /// The document that a GET answers.
    pub(crate) async fn get(&self, segments: &[&str]) -> Result<Document> {
        Ok(self.send(Request::get(segments)).await?.body)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let url = &self.remote.url;
        let cause = cause_of(error);
        let why = cause.map_or_else(|| error.to_string(), ToString::to_string);
        Failure::Unreachable(if error.is_timeout() {
            format!("{url} did not answer in time")
        } else if cause.is_some_and(is_of_tls) {
            format!(
                "{url} is not who it should be ({why}); --ca-file or WASMILL_CA_FILE names certificates to trust"
            )
        } else if error.is_connect() {
            format!(
                "nothing answers at {url} ({why}); is `wasmill dev` running? Another address goes by --url or WASMILL_URL"
            )
        } else {
            format!("{url}: {why}")
        })
    }
}

/// What an error comes from in the end.
fn cause_of(error: &reqwest::Error) -> Option<&(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |e| e.source()).last()
}

fn answer((status, body): (StatusCode, Bytes)) -> Result<Answer> {
    if body.is_empty() {
        return Ok(Answer { status, body: Document::default() });
    }
    let body = Document::read(&body).map_err(|e| anyhow::anyhow!("the answer is not JSON: {e}"))?;
    Ok(Answer { status, body })
}

/// Whether an error is TLS's. It comes wrapped in errors of I/O, which do not name what they wrap
/// as their source.
fn is_of_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => is_of_tls(wrapped),
        None => error.is::<rustls::Error>(),
    }
}

/// What a problem document (RFC 9457) says, on as many lines as it has errors.
fn problem_text(status: StatusCode, problem: Json<'_>) -> String {
    let title = problem.get("title").string();
    let title = title.as_deref().unwrap_or(status.canonical_reason().unwrap_or("error"));
    let mut text = match problem.get("detail").string() {
        Some(detail) => format!("{title}: {detail}"),
        None => format!("{title} ({})", status.as_u16()),
    };
    for error in problem.get("errors").items() {
        let [pointer, detail] =
            ["pointer", "detail"].map(|name| error.get(name).string().unwrap_or_default());
        text.push_str(&format!("\n  at '{pointer}': {detail}"));
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn problems_are_readable() {
        let problem = json!({"title": "Schema violation", "detail": "not valid", "errors": [{"pointer": "/a", "detail": "too small"}]});
        assert_eq!(
            problem_text(
                StatusCode::BAD_REQUEST,
                Json::read(problem.to_string().as_bytes()).unwrap()
            ),
            "Schema violation: not valid\n  at '/a': too small"
        );
        assert_eq!(
            problem_text(StatusCode::BAD_GATEWAY, Document::default().json()),
            "Bad Gateway (502)"
        );
    }

    #[test]
    fn segments_are_encoded() {
        assert_eq!(Request::get(&["v1", "schemas", "a/b c"]).path, "/v1/schemas/a%2Fb%20c");
    }

    /// Serves one connection after another: reads a request, writes the answer, and disconnects.
    /// Gives what came.
    pub(crate) fn serve(
        listener: tokio::net::TcpListener,
        answers: Vec<String>,
    ) -> tokio::task::JoinHandle<Vec<String>> {
        tokio::spawn(async move {
            let mut seen = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = Vec::new();
                // What is left unread when the connection ends could take the answer with it.
                while !is_whole(&bytes) {
                    assert_ne!(
                        tokio::io::AsyncReadExt::read_buf(&mut stream, &mut bytes).await.unwrap(),
                        0
                    );
                }
                seen.push(String::from_utf8_lossy(&bytes).into_owned());
                tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.unwrap();
            }
            seen
        })
    }

    /// Whether these bytes are a request with all of the body that its head tells.
    fn is_whole(request: &[u8]) -> bool {
        let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
            return false;
        };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        request.len() >= end + 4 + length.unwrap_or(0)
    }

    fn remote(url: String) -> Remote {
        Remote { url, ca_file: None, key: None, tenant: None, json: false }
    }

    /// A client of what listens there.
    pub(crate) fn client_at(listener: &tokio::net::TcpListener) -> Client {
        Client::new(remote(format!("http://{}", listener.local_addr().unwrap()))).unwrap()
    }

    pub(crate) const DEPLOYED: &str =
        "HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"version\": 7}";

    /// A proxy that does not wait, and a connection that ends, do not end what the server goes on
    /// with.
    #[tokio::test]
    async fn a_request_is_sent_until_it_is_answered() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = client_at(&listener);
        let answers = ["HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0\r\n\r\n", "", DEPLOYED];
        let serving = serve(listener, answers.map(str::to_owned).to_vec());
        let request = Request::new(Method::PUT, &["v1", "functions", "x"]).json(&json!({}));
        let answer = client.send_until_answered(request).await.unwrap();
        assert_eq!(answer.body.get("version").as_u64(), Some(7));
        let seen = serving.await.unwrap();
        assert!(seen.iter().all(|request| request.starts_with("PUT /v1/functions/x")), "{seen:?}");
    }

    /// Names the addresses of its list one after another, from the last.
    struct Addresses(std::sync::Mutex<Vec<[u8; 4]>>);

    impl reqwest::dns::Resolve for Addresses {
        fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
            let address = std::net::SocketAddr::from((self.0.lock().unwrap().pop().unwrap(), 0));
            Box::pin(async move { Ok(Box::new(std::iter::once(address)) as reqwest::dns::Addrs) })
        }
    }

    /// A client of a server that listens at 127.0.0.1 and is asked for at these addresses, one for
    /// each try.
    fn client_of(port: u16, addresses: &[[u8; 4]]) -> Client {
        let addresses = Addresses(std::sync::Mutex::new(addresses.iter().rev().copied().collect()));
        let http = reqwest::Client::builder()
            .no_proxy()
            .dns_resolver(std::sync::Arc::new(addresses))
            .tls_backend_preconfigured(tls::config("http://gateway.invalid", None).unwrap())
            .build()
            .unwrap();
        Client { http, remote: remote(format!("http://gateway.invalid:{port}")) }
    }

    /// A gateway that is started again refuses connections for a while; one that was never there is
    /// told of at once.
    #[tokio::test]
    async fn a_server_that_is_away_for_a_while_is_waited_for() {
        const SERVED: [u8; 4] = [127, 0, 0, 1];
        const REFUSED: [u8; 4] = [127, 0, 0, 2];
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers =
            ["", "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", DEPLOYED];
        let serving = serve(listener, answers.map(str::to_owned).to_vec());
        let request = Request::new(Method::PUT, &["v1", "functions", "x"]).json(&json!({}));
        let never = client_of(port, &[REFUSED]).send_until_answered(request.clone()).await;
        assert!(matches!(never, Err(Failure::Unreachable(_))));
        let client = client_of(port, &[SERVED, REFUSED, SERVED, SERVED]);
        let answer = client.send_until_answered(request).await.unwrap();
        assert_eq!(answer.body.get("version").as_u64(), Some(7));
        assert_eq!(serving.await.unwrap().len(), 3);
    }
}
