//! What an attempt may use: requests, bytes, time. And its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Collected};
use tokio::sync::mpsc;
use wasmtime_wasi_http::p2::body::{HostOutgoingBody, StreamContext};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::support::{
    Function, Names, SOON, Server, endless, network, read, request, settings, text,
};
use crate::settings::OutgoingSettings;

const ANYWHERE: &str = "allowed_hosts = ['http://api.example:*', 'http://127.0.0.1:*']\n";

/// A function that may send requests to this machine, with more of a manifest.
fn limited(limits: &str) -> Function {
    Function::new(
        &network(settings(), Names::local("api.example")),
        "test",
        &format!("{ANYWHERE}[limits]\n{limits}"),
    )
}

#[tokio::test]
async fn requests_are_counted() {
    let server = Server::start(|_| async { text("ok") }).await;
    let mut function = limited("http_requests = 3");
    let url = server.url("api.example", "/");
    function.get(&url).await.unwrap();
    // What is refused counts, or it could be tried for ever.
    assert!(matches!(
        function.get("http://other.example/").await.unwrap_err(),
        Error::HttpRequestDenied
    ));
    function.get(&url).await.unwrap();
    assert!(matches!(function.get(&url).await.unwrap_err(), Error::HttpRequestDenied));
    let refusal = function.outgoing.end().unwrap();
    assert!(refusal.contains("there have been 3 requests (limits.http_requests)"), "{refusal}");
    // The next attempt has its own.
    function.begin("test", &format!("{ANYWHERE}[limits]\nhttp_requests = 1"), SOON);
    function.get(&url).await.unwrap();
}

#[tokio::test]
async fn bytes_are_counted_both_ways() {
    let server = Server::start(|request: Request<hyper::body::Incoming>| async move {
        let size: usize = request.uri().path()[1..].parse().unwrap();
        // Ends early where the other side does not keep on sending.
        let _ = request.into_body().collect().await;
        text(vec![b'x'; size])
    })
    .await;
    let limits = "http_bytes = '64KiB'";
    let kib = "x".repeat(1024);

    let mut function = limited(limits);
    assert_eq!(function.get(&server.url("api.example", "/60000")).await.unwrap().1.len(), 60_000);
    let error = function.get(&server.url("api.example", "/60000")).await.unwrap_err();
    assert!(matches!(error, Error::HttpResponseBodySize(Some(65_536))), "{error}");
    let error = function.get(&server.url("api.example", "/0")).await.unwrap_err();
    assert!(matches!(error, Error::HttpRequestBodySize(Some(65_536))), "{error}");
    let refusal = function.outgoing.end().unwrap();
    assert!(refusal.contains("64KiB") && refusal.contains("limits.http_bytes"), "{refusal}");

    let mut function = limited(limits);
    let post = |size: usize| request(&server.url("api.example", "/0"), &kib.repeat(size));
    read(function.send(post(60), None).await.unwrap()).await.unwrap();
    let error = function.send(post(60), None).await.unwrap_err();
    assert!(matches!(error, Error::HttpRequestBodySize(Some(65_536))), "{error}");
}

#[tokio::test]
async fn requests_at_once_are_limited() {
    let server = Server::start(|_| async { endless("first") }).await;
    let settings = OutgoingSettings { requests_at_once: 2, ..settings() };
    let mut function =
        Function::new(&network(settings, Names::local("api.example")), "test", ANYWHERE);
    let url = server.url("api.example", "/");
    let first = function.send(request(&url, ""), None).await.unwrap();
    let _second = function.send(request(&url, ""), None).await.unwrap();
    let error = function.send(request(&url, ""), None).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLimitReached), "{error}");
    drop(first);
    function.send(request(&url, ""), None).await.unwrap();
}

#[tokio::test]
async fn connections_of_all_functions_are_limited() {
    let server = Server::start(|_| async { endless("first") }).await;
    let settings = OutgoingSettings { connections: 1, ..settings() };
    let network = network(settings, Names::local("api.example"));
    let (mut one, mut other) =
        (Function::new(&network, "one", ANYWHERE), Function::new(&network, "other", ANYWHERE));
    let url = server.url("api.example", "/");
    let response = one.send(request(&url, ""), None).await.unwrap();
    let options = RequestOptions {
        connect_timeout: Some(Duration::from_millis(50)),
        ..RequestOptions::default()
    };
    let error = other.send(request(&url, ""), Some(options)).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLimitReached), "{error}");
    drop(response);
    other.send(request(&url, ""), None).await.unwrap();
}

#[tokio::test]
async fn a_tenant_has_its_share_of_all_connections() {
    let server = Server::start(|_| async { endless("first") }).await;
    let settings = OutgoingSettings { connections: 4, connections_per_function: 2, ..settings() };
    let network = network(settings, Names::local("api.example"));
    let url = server.url("api.example", "/");
    let function = |tenant: &str, name: &str| {
        let mut function = Function::new(&network, name, ANYWHERE);
        function.begin_of(&tenant.parse().unwrap(), name, ANYWHERE, SOON);
        function
    };
    let short = RequestOptions {
        connect_timeout: Some(Duration::from_millis(50)),
        ..RequestOptions::default()
    };
    let (mut one, mut two) = (function("a", "one"), function("a", "two"));
    let mut responses = Vec::new();
    for _ in 0..2 {
        responses.push(one.send(request(&url, ""), None).await.unwrap());
    }
    responses.push(two.send(request(&url, ""), None).await.unwrap());
    // Two functions of two connections each are all there are, and one tenant's.
    let error = two.send(request(&url, ""), Some(short)).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLimitReached), "{error}");
    let mut other = function("b", "one");
    let others = other.send(request(&url, ""), None).await.unwrap();
    // Where there is no other tenant it has all of them.
    drop(others);
    network.set_shared(false);
    responses.push(two.send(request(&url, ""), None).await.unwrap());
}

#[tokio::test]
async fn a_server_that_is_silent() {
    let server = Server::start(|request: Request<hyper::body::Incoming>| async move {
        if request.uri().path() == "/silent" {
            std::future::pending().await
        } else {
            endless("first")
        }
    })
    .await;
    let mut function = limited("");
    let short = Some(Duration::from_millis(50));
    let options = RequestOptions {
        first_byte_timeout: short,
        between_bytes_timeout: short,
        ..RequestOptions::default()
    };
    let silent = request(&server.url("api.example", "/silent"), "");
    let error = function.send(silent, Some(options)).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
    let stuck = request(&server.url("api.example", "/stuck"), "");
    let mut body = function.send(stuck, Some(options)).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
    // What a guest asks for is cut down to what the host allows.
    let short = Duration::from_millis(50);
    let settings =
        OutgoingSettings { first_byte_timeout: short, between_bytes_timeout: short, ..settings() };
    let mut function =
        Function::new(&network(settings, Names::local("api.example")), "test", ANYWHERE);
    let long = Some(Duration::from_secs(1_000_000_000));
    let options = RequestOptions {
        first_byte_timeout: long,
        between_bytes_timeout: long,
        ..RequestOptions::default()
    };
    let error = function
        .send(request(&server.url("api.example", "/silent"), ""), Some(options))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
}

#[tokio::test]
async fn nothing_lasts_longer_than_the_attempt() {
    let server = Server::start(|_| std::future::pending()).await;
    let mut function = limited("");
    function.begin("test", ANYWHERE, Duration::from_millis(50));
    let error = function.get(&server.url("api.example", "/")).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
}

#[tokio::test]
async fn what_cannot_be_connected_to() {
    let mut function = limited("");
    let error = function.get("http://127.0.0.1:1/").await.unwrap_err();
    assert!(matches!(error, Error::ConnectionRefused), "{error}");
    let gone = "allowed_hosts = ['http://gone.example']";
    function.begin("test", gone, SOON);
    let error = function.get("http://gone.example/").await.unwrap_err();
    assert!(matches!(error, Error::DnsError { .. }), "{error}");
    assert!(function.notes().is_empty(), "that is nothing that the host refused");
}

#[tokio::test]
async fn the_end_of_an_attempt_ends_its_requests() {
    let mut server = Server::start(|request: Request<hyper::body::Incoming>| async move {
        if request.uri().path() == "/silent" {
            std::future::pending().await
        } else {
            endless("first")
        }
    })
    .await;
    let mut function = limited("");
    // One waits for its response, and one has a body that nobody reads.
    let silent = request(&server.url("api.example", "/silent"), "");
    let waiting = tokio::spawn(Box::into_pin(send(&mut function, silent)));
    let response =
        function.send(request(&server.url("api.example", "/body"), ""), None).await.unwrap();
    let both_arrived = async {
        while server.connections() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, both_arrived).await.unwrap();
    function.outgoing.end();
    let error = tokio::time::timeout(SOON, waiting).await.unwrap().unwrap().map(drop).unwrap_err();
    assert!(matches!(error, Error::ConnectionTerminated), "{error}");
    server.all_closed().await;
    // A guest that lives on in a warm instance finds its old response broken.
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let Err(error) = frame else { continue };
        assert!(
            matches!(error, Error::ConnectionTerminated | Error::HttpResponseIncomplete),
            "{error}"
        );
        break;
    }
    let error = function.get(&server.url("api.example", "/")).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionTerminated), "{error}");
    assert_eq!(server.connections(), 2);
}

type Sent = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// A request under way.
fn send(function: &mut Function, request: Request<WasiBody>) -> Sent {
    use wasmtime_wasi_http::WasiHttpHooks as _;
    let done = Box::new(std::future::ready(Ok(())));
    let sent = Box::into_pin(function.outgoing.send_request(request, None, done));
    Box::new(async move { sent.await.map(drop) })
}

/// A guest that dies while it writes must not look to the other side like one that has written all.
#[tokio::test]
async fn a_body_that_is_left_behind_is_not_a_whole_one() {
    let (received, mut bodies) = mpsc::channel(1);
    let received = Arc::new(received);
    let server = Server::start(move |request: Request<hyper::body::Incoming>| {
        let received = Arc::clone(&received);
        async move {
            let mut body = request.into_body();
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            received.send(Ok(first)).await.unwrap();
            received.send(body.collect().await.map(Collected::to_bytes)).await.unwrap();
            text("thanks")
        }
    })
    .await;
    let mut function = limited("");
    let (mut guest, body) = HostOutgoingBody::new(StreamContext::Request, None, 1, 1024);
    let mut stream = guest.take_output_stream().unwrap();
    stream.write(Bytes::from_static(b"pay 1")).unwrap();
    let request = Request::post(server.url("api.example", "/")).body(body).unwrap();
    let waiting = tokio::spawn(Box::into_pin(send(&mut function, request)));
    assert_eq!(bodies.recv().await.unwrap().unwrap(), "pay 1");
    // In this order: the instance, and with it what may be asked, is dropped first.
    drop(function);
    drop((stream, guest));
    let rest = tokio::time::timeout(SOON, bodies.recv()).await.unwrap().unwrap();
    assert!(rest.is_err(), "{rest:?}");
    waiting.await.unwrap().unwrap_err();
}
