//! What goes over the connections, and who gets which.

use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use wasmill_domain::TenantName;

use super::support::{
    Function, Names, SPAN, Server, function, network, read, request, settings, text,
};
use crate::settings::OutgoingSettings;

const ANYWHERE: &str = "allowed_hosts = ['http://api.example:*', 'http://API.example:*']";

/// Answers with the request as it came, a line for its head, one for each header, and the body.
async fn echo(request: Request<Incoming>) -> super::support::Answer {
    let (parts, body) = request.into_parts();
    let mut lines = vec![format!("{} {} {:?}", parts.method, parts.uri, parts.version)];
    lines.extend(
        parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())),
    );
    lines.push(String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap());
    text(lines.join("\n"))
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent() {
    let server = Server::start(echo).await;
    let mut function = function(Names::local("api.example"), &["http://api.example:*"]);
    let port = server.address.port();
    let mut post = request(&format!("http://API.Example.:{port}/a%20b?c=d&e"), "hello");
    post.headers_mut().append("x-many", "1".parse().unwrap());
    post.headers_mut().append("x-many", "2".parse().unwrap());
    // As wasi:http sets it, of what the guest wrote.
    post.headers_mut().insert("host", format!("API.Example.:{port}").parse().unwrap());
    let (status, body) = read(function.send(post, None).await.unwrap()).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let lines: Vec<&str> = body.lines().collect();
    assert_eq!(lines[0], "POST /a%20b?c=d&e HTTP/1.1");
    assert_eq!(lines.iter().filter(|line| line.starts_with("host:")).count(), 1);
    assert!(lines.contains(&format!("host: api.example:{port}").as_str()), "{body}");
    assert!(
        lines.contains(&"x-many: 1") && lines.contains(&"x-many: 2") && body.ends_with("\nhello"),
        "{body}"
    );
    // Without a path.
    let answer = function.get(&format!("http://api.example:{port}")).await.unwrap();
    assert!(answer.1.starts_with("GET / HTTP/1.1"), "{}", answer.1);
    let answer = function.get(&format!("http://api.example:{port}?q")).await.unwrap();
    assert!(answer.1.starts_with("GET /?q HTTP/1.1"), "{}", answer.1);
}

#[tokio::test]
async fn the_trace_goes_on_unless_the_guest_has_its_own() {
    let server = Server::start(echo).await;
    let mut function = function(Names::local("api.example"), &["http://api.example:*"]);
    let url = server.url("api.example", "/");
    let body = function.get(&url).await.unwrap().1;
    assert!(
        body.contains(&format!("traceparent: {SPAN}")) && body.contains("tracestate: vendor=1"),
        "{body}"
    );
    let own = "00-11111111111111111111111111111111-2222222222222222-00";
    let mut traced = request(&url, "");
    traced.headers_mut().insert("traceparent", own.parse().unwrap());
    let body = read(function.send(traced, None).await.unwrap()).await.unwrap().1;
    assert!(body.contains(&format!("traceparent: {own}")) && !body.contains(SPAN), "{body}");
    assert!(!body.contains("tracestate"), "{body}");
}

#[tokio::test]
async fn a_connection_is_used_again_by_the_same_function_only() {
    let server = Server::start(|_| async { text("ok") }).await;
    let network = network(settings(), Names::local("api.example"));
    let url = server.url("api.example", "/");
    let mut one = Function::new(&network, "one", ANYWHERE);
    for _ in 0..3 {
        one.get(&url).await.unwrap();
    }
    // Another attempt, in another instance.
    drop(one);
    Function::new(&network, "one", ANYWHERE).get(&url).await.unwrap();
    assert_eq!(server.connections(), 1);
    Function::new(&network, "other", ANYWHERE).get(&url).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_whose_response_was_not_read_is_closed() {
    let mut server = Server::start(|_| async { super::support::endless("first") }).await;
    let mut function = function(Names::local("api.example"), &["http://api.example:*"]);
    let response = function.send(request(&server.url("api.example", "/"), ""), None).await.unwrap();
    drop(response);
    server.all_closed().await;
}

#[tokio::test]
async fn idle_connections_are_few_and_do_not_stay() {
    let mut server = Server::start(|_| async { text("ok") }).await;
    let network = network(OutgoingSettings { idle: 1, ..settings() }, Names::local("api.example"));
    let url = server.url("api.example", "/");
    let (mut one, mut other) =
        (Function::new(&network, "one", ANYWHERE), Function::new(&network, "other", ANYWHERE));
    for _ in 0..2 {
        one.get(&url).await.unwrap();
        other.get(&url).await.unwrap();
    }
    // There was room for one's, not for the other's.
    assert_eq!(server.connections(), 3);
    let pool = network.pool(&TenantName::default(), &"one".parse().unwrap());
    assert!(!pool.is_empty());
    pool.expire(Instant::now() + Duration::from_secs(31), Duration::from_secs(30));
    assert!(pool.is_empty());
    server.all_closed().await;
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_not_used() {
    let server = Server::start(|_| async {
        let mut answer = text("ok");
        answer.headers_mut().insert("connection", "close".parse().unwrap());
        answer
    })
    .await;
    let mut function = function(Names::local("api.example"), &["http://api.example:*"]);
    for _ in 0..5 {
        function.get(&server.url("api.example", "/")).await.unwrap();
    }
    assert_eq!(server.connections(), 5);
}
