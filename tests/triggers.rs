//! HTTP triggers: the same requests, to one process and to a pool.

use std::io::Write as _;

use bytes::Bytes;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::api::{Api, execution_ids};
use super::support::backends::SharedBackends;
use super::support::pool::Process;
use super::support::{Dev, WAIT_TIMEOUT, eventually, sample};

/// A function of kind event behind a route, beside its trigger on events.
const GREETER: &str = r#"
name = "greeter"
[[trigger]]
http = "/greet/{who}"
methods = ["GET", "POST"]
schema = "greeting.schema.json"
[trigger.cors]
origins = ["https://app.example.com"]
headers = ["content-type"]
max_age = 600
"#;

async fn send(api: &Api, method: Method, path: &str) -> Response {
    in_time(api.request(method.as_str(), path).send()).await.unwrap()
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT_TIMEOUT, future).await.expect("the gateway takes too long")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// Deploys the sample `hello` under another manifest.
fn greeter_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let component = sample("hello").join("hello.wasm");
    let manifest = format!("component = '{}'\n{GREETER}", component.display());
    std::fs::write(folder.path().join("wasmill.toml"), manifest).unwrap();
    std::fs::copy(
        sample("hello").join("greeting.schema.json"),
        folder.path().join("greeting.schema.json"),
    )
    .unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_answers() {
    let dev = Dev::with_samples(&["web-echo"]);
    dev.cli_ok(&["deploy", greeter_folder().path().to_str().unwrap()]);
    answers(&dev.api(), dev.address()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_answers() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let gateway = Process::start("gateway", backends, &[]);
    let hosts = [Process::start("host", backends, &[]), Process::start("host", backends, &[])];
    for process in [&gateway, &hosts[0], &hosts[1]] {
        process.ready().await;
    }
    gateway.deploy(&["web-echo"]).await;
    gateway.deploy_folder(greeter_folder().path()).await;
    let address = gateway.url.trim_start_matches("http://").parse().unwrap();
    answers(&gateway.api(), address).await;
}

/// Everything that a caller can see.
async fn answers(api: &Api, address: std::net::SocketAddr) {
    what_is_wholly_sent_is_not_cut_off(api).await;
    requests_are_shown(api).await;
    bodies_are_streamed_both_ways(api).await;
    the_first_byte_comes_before_the_last_is_made(api).await;
    statuses_headers_and_trailers(api, address).await;
    what_is_not_answered(api).await;
    what_goes_wrong(api).await;
    a_malformed_body_is_refused(api, address).await;
    a_caller_that_hangs_up_ends_the_attempt(api).await;
    later(api).await;
    an_event_function_answers(api).await;
}

/// Neither a response whose content is not wanted nor one that its caller has all of ends its
/// attempt.
async fn what_is_wholly_sent_is_not_cut_off(api: &Api) {
    const TIMES: usize = 10;
    let cases = [
        (Method::HEAD, "stream/50/0", StatusCode::OK, ""),
        (Method::GET, "status/304", StatusCode::NOT_MODIFIED, ""),
        (Method::GET, "after/20", StatusCode::OK, "that is all\n"),
        (Method::GET, "empty", StatusCode::OK, ""),
    ];
    for (method, path, status, content) in &cases {
        for _ in 0..TIMES {
            let response =
                send(api, method.clone(), &format!("/http/default/web-echo/{path}")).await;
            assert_eq!(response.status(), *status, "{path}");
            let expected =
                (*path == "empty").then_some("0").or((*path == "after/20").then_some("12"));
            assert_eq!(header(&response, "content-length"), expected.unwrap_or_default(), "{path}");
            assert_eq!(in_time(response.text()).await.unwrap(), *content, "{path}");
        }
    }
    eventually("every attempt came to its end", async || {
        let page = api.get("/v1/executions?function=web-echo&limit=100").await;
        let executions = page["executions"].as_array()?;
        assert!(executions.iter().all(|execution| execution["state"] != "cancelled"), "{page}");
        let ended = executions.iter().filter(|execution| execution["state"] == "succeeded").count();
        (ended == TIMES * cases.len()).then_some(())
    })
    .await;
}

async fn requests_are_shown(api: &Api) {
    let request = api.request("PUT", "/http/default/web-echo/a%20b/c?x=1&x=2&y=%C3%BC");
    let request =
        request.header("x-two", "1").header("x-two", "2").header("accept", "*/*").body("ignored");
    let response = in_time(request.send()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let shown: Value = response.json().await.unwrap();
    assert_eq!(
        (&shown["method"], &shown["target"]),
        (&json!("PUT"), &json!("/web-echo/a%20b/c?x=1&x=2&y=%C3%BC")),
        "{shown}"
    );
    let headers = shown["headers"].as_array().unwrap();
    let values: Vec<_> =
        headers.iter().filter(|field| field[0] == "x-two").map(|field| &field[1]).collect();
    assert_eq!(values, ["1", "2"]);
    assert!(headers.iter().any(|field| field[0] == "traceparent"), "{shown}");
    assert!(!headers.iter().any(|field| field[0] == "connection"), "{shown}");
}

async fn bodies_are_streamed_both_ways(api: &Api) {
    // Binary, and longer than what is on its way at any time.
    let sent: Vec<u8> = (0..6_000_000_u32).map(|i| (i % 251) as u8).collect();
    let chunks: Vec<_> = sent
        .chunks(100_000)
        .map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk)))
        .collect();
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let request = api
        .request("POST", "/http/default/web-echo/echo")
        .header("content-type", "image/x-test")
        .body(body);
    let response = in_time(request.send()).await.unwrap();
    assert_eq!(
        (response.status(), header(&response, "content-type")),
        (StatusCode::OK, "image/x-test")
    );
    let received = in_time(response.bytes()).await.unwrap();
    assert!(received == sent, "{} bytes came back of {}", received.len(), sent.len());
}

async fn the_first_byte_comes_before_the_last_is_made(api: &Api) {
    // The last line is made after the first one has arrived, as the guest waits for longer than any
    // test between them.
    let mut response = send(api, Method::GET, "/http/default/web-echo/stream/2/86400000").await;
    let first = in_time(response.chunk()).await.unwrap().unwrap();
    assert_eq!(first, "line 1\n");
}

async fn statuses_headers_and_trailers(api: &Api, address: std::net::SocketAddr) {
    let response = send(api, Method::GET, "/http/default/web-echo/status/404").await;
    assert_eq!(
        (response.status(), header(&response, "content-type")),
        (StatusCode::NOT_FOUND, "text/plain")
    );
    assert_eq!(response.text().await.unwrap(), "as you wish\n");

    let response = send(api, Method::HEAD, "/http/default/web-echo/status/200").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.bytes().await.unwrap(), "");

    let raw = raw(
        address,
        "GET /http/default/web-echo/repeated HTTP/1.1\r\nhost: x\r\nte: trailers\r\nconnection: close\r\n\r\n",
    )
    .await;
    let text = String::from_utf8_lossy(&raw);
    assert!(text.starts_with("HTTP/1.1 201 "), "{text}");
    assert!(text.contains("set-cookie: a=1\r\nset-cookie: b=2\r\n"), "{text}");
    assert!(text.contains("\r\n0\r\nx-checksum: 7\r\n"), "{text}");

    // 100-continue, and trailers on the way in.
    let raw = self::raw(
        address,
        "POST /http/default/web-echo/echo HTTP/1.1\r\nhost: x\r\nte: trailers\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\nconnection: close\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 9\r\n\r\n",
    )
    .await;
    let text = String::from_utf8_lossy(&raw);
    assert!(
        text.starts_with("HTTP/1.1 100 ")
            && text.contains("HTTP/1.1 200 ")
            && text.contains("hello"),
        "{text}"
    );
}

/// What comes back for bytes as they are.
async fn raw(address: std::net::SocketAddr, request: &str) -> Vec<u8> {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    in_time(stream.read_to_end(&mut answer)).await.unwrap();
    answer
}

async fn what_is_not_answered(api: &Api) {
    // The rest of a path may be nothing.
    let shown: Value =
        send(api, Method::GET, "/http/default/web-echo/").await.json().await.unwrap();
    assert_eq!(shown["target"], "/web-echo/");
    assert_eq!(
        send(api, Method::GET, "/http/default/web-echo").await.status(),
        StatusCode::NOT_FOUND
    );
    let nothing = send(api, Method::GET, "/http/default/nothing").await;
    assert_eq!(
        (nothing.status(), header(&nothing, "content-type")),
        (StatusCode::NOT_FOUND, "application/problem+json")
    );
    assert_eq!(
        send(api, Method::GET, "/http/another/web-echo/x").await.status(),
        StatusCode::NOT_FOUND
    );
    let other = send(api, Method::DELETE, "/http/default/greet/ada").await;
    assert_eq!(
        (other.status(), header(&other, "allow")),
        (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, OPTIONS, POST")
    );
    let options = send(api, Method::OPTIONS, "/http/default/greet/ada").await;
    assert_eq!(
        (options.status(), header(&options, "allow")),
        (StatusCode::NO_CONTENT, "GET, HEAD, OPTIONS, POST")
    );
}

/// A body that is no HTTP is the caller's fault: the function has not failed.
async fn a_malformed_body_is_refused(api: &Api, address: std::net::SocketAddr) {
    let cancelled = async || {
        let page = api.get("/v1/executions?function=web-echo&state=cancelled&limit=100").await;
        page["executions"].as_array().map_or(0, Vec::len)
    };
    let before = cancelled().await;
    let request = "POST /http/default/web-echo/silent HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    let text = String::from_utf8_lossy(&raw(address, request).await).into_owned();
    assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("/problems/bad-request"), "{text}");
    eventually("the attempt is aborted", async || (cancelled().await == before + 1).then_some(()))
        .await;
}

async fn what_goes_wrong(api: &Api) {
    let broken = send(api, Method::GET, "/http/default/web-echo/broken").await;
    assert_eq!(broken.status(), StatusCode::BAD_GATEWAY);
    let problem: Value = broken.json().await.unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        !detail.contains("broken as asked"),
        "what a function says is for its owner: {problem}"
    );
    let id = detail.split_whitespace().find(|word| word.len() == 36).unwrap();
    let execution = api.ended(id).await;
    assert_eq!((&execution["state"], &execution["outcome"]), (&json!("failed"), &json!("trap")));
    assert!(execution["message"].as_str().unwrap().contains("broken as asked"), "{execution}");

    // A body that breaks off must not look whole.
    let cut = send(api, Method::GET, "/http/default/web-echo/cut").await;
    assert_eq!(cut.status(), StatusCode::OK);
    assert!(in_time(cut.bytes()).await.is_err());
    // A response that was finished stands.
    let late = send(api, Method::GET, "/http/default/web-echo/late").await;
    assert_eq!(
        (late.status(), in_time(late.text()).await.unwrap().as_str()),
        (StatusCode::OK, "that was it\n")
    );
    // What precedes responses is none.
    for status in [101, 103] {
        let early =
            send(api, Method::GET, &format!("/http/default/web-echo/status/{status}")).await;
        assert_eq!(early.status(), StatusCode::BAD_GATEWAY);
        let problem: Value = early.json().await.unwrap();
        let id = problem["detail"]
            .as_str()
            .unwrap()
            .split_whitespace()
            .find(|word| word.len() == 36)
            .unwrap();
        assert_eq!(api.ended(id).await["outcome"], "trap");
    }
}

async fn a_caller_that_hangs_up_ends_the_attempt(api: &Api) {
    let mut response = send(api, Method::GET, "/http/default/web-echo/stream/3/86400000").await;
    in_time(response.chunk()).await.unwrap();
    drop(response);
    let cancelled = |execution: &Value| execution["outcome"] == "cancelled";
    eventually("the attempt of a caller that disconnected is cancelled", async || {
        let page = api.get("/v1/executions?function=web-echo&state=cancelled&limit=10").await;
        page["executions"].as_array()?.iter().any(cancelled).then_some(())
    })
    .await;
}

async fn later(api: &Api) {
    let request = api
        .request("POST", "/http/default/later/ada?urgent=1")
        .header("content-type", "text/plain");
    let response = in_time(request.body("read me").send()).await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let document = response.json().await.unwrap();
    let execution = api.ended(&execution_ids(&document)[0]).await;
    assert_eq!(execution["state"], "succeeded", "{execution}");
    let event = &execution["event"];
    assert_eq!(
        (&event["httpmethod"], &event["paramname"]),
        (&json!("POST"), &json!("ada")),
        "{event}"
    );
    // The handler saw the request as it was.
    let result =
        api.request("GET", &format!("/v1/executions/{}/result", execution["id"].as_str().unwrap()));
    let shown: Value = in_time(result.send()).await.unwrap().json().await.unwrap();
    assert_eq!(
        (&shown["method"], &shown["target"]),
        (&json!("POST"), &json!("/later/ada?urgent=1")),
        "{shown}"
    );
}

async fn an_event_function_answers(api: &Api) {
    let origin = "https://app.example.com";
    let request = api
        .request("POST", "/http/default/greet/ada")
        .header("origin", origin)
        .json(&json!({"name": "Ada"}));
    let response = in_time(request.send()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "access-control-allow-origin"), origin);
    assert_eq!(header(&response, "content-type"), "application/json");
    let greeting: Value = response.json().await.unwrap();
    assert!(greeting.to_string().contains("Ada"), "{greeting}");

    let refused = api.request("POST", "/http/default/greet/ada").json(&json!({"nmae": "Ada"}));
    let refused = in_time(refused.send()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let problem: Value = refused.json().await.unwrap();
    assert!(problem["errors"].to_string().contains("nmae"), "{problem}");

    let preflight = api.request("OPTIONS", "/http/default/greet/ada").header("origin", origin);
    let preflight =
        in_time(preflight.header("access-control-request-method", "POST").send()).await.unwrap();
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    assert_eq!(header(&preflight, "access-control-allow-methods"), "GET, POST");
    assert_eq!(header(&preflight, "access-control-max-age"), "600");
    let elsewhere =
        api.request("OPTIONS", "/http/default/greet/ada").header("origin", "https://evil.example");
    let elsewhere =
        in_time(elsewhere.header("access-control-request-method", "POST").send()).await.unwrap();
    assert_eq!(header(&elsewhere, "access-control-allow-origin"), "");
}

/// A host name of a trigger's own reaches the function at the top.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_name_is_a_route() {
    let dev = Dev::start();
    let folder = tempfile::tempdir().unwrap();
    let component = sample("web-echo").join("web-echo.wasm");
    let mut manifest = std::fs::File::create(folder.path().join("wasmill.toml")).unwrap();
    write!(
        manifest,
        "name = 'site'\ncomponent = '{}'\n[[trigger]]\nhttp = '/{{*path}}'\nhost = 'www.example.com'",
        component.display()
    )
    .unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    // Nobody has a name that was not granted.
    let said = dev.cli_fails(1, &["deploy", &path]);
    assert!(
        said.contains("trigger[0].host") && said.contains("hostnames grant www.example.com"),
        "{said}"
    );
    dev.cli_ok(&["hostnames", "grant", "*.example.com"]);
    assert!(dev.cli_ok(&["hostnames", "list"]).contains("*.example.com"));
    dev.cli_ok(&["deploy", &path]);
    let api = dev.api();
    let site = api.request("GET", "/v1/functions").header("host", "www.example.com:8080");
    let shown: Value = in_time(site.send()).await.unwrap().json().await.unwrap();
    assert_eq!(
        (&shown["target"], &shown["authority"]),
        (&json!("/v1/functions"), &json!("www.example.com:8080"))
    );
    assert!(api.get("/v1/functions").await["functions"].is_array());
    // The target counts before the header, both ways, and its path may be nothing.
    let by_target =
        "GET http://www.example.com HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    let text = String::from_utf8_lossy(&raw(dev.address(), by_target).await).into_owned();
    assert!(
        text.contains(r#""authority":"www.example.com""#) && text.contains(r#""target":"/""#),
        "{text}"
    );
    let by_header = "GET http://127.0.0.1/v1/functions HTTP/1.1\r\nhost: www.example.com\r\nconnection: close\r\n\r\n";
    let text = String::from_utf8_lossy(&raw(dev.address(), by_header).await).into_owned();
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains(r#""functions":"#), "{text}");

    // Another function may not take the route.
    let second = std::fs::read_to_string(folder.path().join("wasmill.toml"))
        .unwrap()
        .replace("'site'", "'thief'");
    std::fs::write(folder.path().join("wasmill.toml"), second).unwrap();
    let said = dev.cli_fails(1, &["deploy", &path]);
    assert!(said.contains("'site' already answers 'www.example.com/{*}'"), "{said}");

    // Without the grant the name is nobody's, which the function shows.
    dev.cli_ok(&["hostnames", "revoke", "*.example.com"]);
    let gone = api.request("GET", "/x").header("host", "www.example.com");
    assert_eq!(in_time(gone.send()).await.unwrap().status(), 404);
    let shown = dev.cli_ok(&["functions", "show", "site"]);
    assert!(shown.contains("under www.example.com it does not answer"), "{shown}");
}

/// A host that dies takes its callers' responses with it, and they learn of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_is_noticed() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let gateway = Process::start("gateway", backends, &[]);
    let mut host = Process::start("host", backends, &[]);
    gateway.ready().await;
    host.ready().await;
    gateway.deploy(&["web-echo"]).await;
    let api = gateway.api();
    let mut response = send(&api, Method::GET, "/http/default/web-echo/stream/3/86400000").await;
    assert_eq!(in_time(response.chunk()).await.unwrap().unwrap(), "line 1\n");
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { send(&api, Method::GET, "/http/default/web-echo/silent").await.status() }
    });
    eventually("the second call runs", async || {
        let page = api.get("/v1/executions?function=web-echo&state=running&limit=5").await;
        (page["executions"].as_array()?.len() == 2).then_some(())
    })
    .await;
    host.kill_9();
    assert!(in_time(response.chunk()).await.is_err());
    assert_eq!(in_time(waiting).await.unwrap(), StatusCode::BAD_GATEWAY);
    host.restart();
    host.ready().await;
    let again = eventually("the function answers again", async || {
        let response = send(&api, Method::GET, "/http/default/web-echo/status/200").await;
        (response.status() == StatusCode::OK).then_some(response)
    });
    again.await;
}
