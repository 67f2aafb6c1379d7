//! What a function must not reach, however it is asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use wasmill_domain::TenantName;
use wasmtime_wasi_http::Error;

use super::support::{Names, Plain, SOON, Server, function, request, text};

/// Two servers on the same port: on an address that guests may connect to, and on one that they may
/// not.
async fn allowed_and_private() -> (Server, Server) {
    let private =
        Server::start_at(([127, 0, 0, 2], 0).into(), Plain, |_| async { text("secret") }).await;
    let address = ([127, 0, 0, 1], private.address.port()).into();
    (Server::start_at(address, Plain, |_| async { text("public") }).await, private)
}

#[tokio::test]
async fn names_that_resolve_to_private_addresses() {
    for address in [
        "10.0.0.5",
        "169.254.169.254",
        "127.0.0.2",
        "::1",
        "fd00:ec2::254",
        "::ffff:10.0.0.5",
        "64:ff9b::a00:5",
    ] {
        let mut function =
            function(Names::new(&[("inner.example", &[&[address]])]), &["http://*.example"]);
        let error =
            function.get("http://inner.example/latest/meta-data?token=x").await.unwrap_err();
        assert!(matches!(error, Error::DestinationIpProhibited), "{address}: {error}");
        let notes = function.notes();
        assert!(
            notes[0]
                .starts_with("outgoing request to http://inner.example/ refused: it resolves to "),
            "{notes:?}"
        );
        assert!(
            notes[0].contains("host.allowed_networks") && !notes[0].contains("token"),
            "{notes:?}"
        );
        assert_eq!(function.outgoing.end().as_deref(), Some(notes[0].as_str()));
    }
}

#[tokio::test]
async fn private_addresses_as_such() {
    let hosts = [
        "http://169.254.169.254",
        "http://[fd00:ec2::254]",
        "http://[::1]:*",
        "http://127.0.0.2:*",
    ];
    let mut function = function(Names::new(&[]), &hosts);
    for (url, why) in [
        ("http://169.254.169.254/", "169.254.169.254 is link-local (metadata)"),
        ("http://[::ffff:169.254.169.254]/", "169.254.169.254 is link-local (metadata)"),
        ("http://[::ffff:a9fe:a9fe]/", "169.254.169.254 is link-local (metadata)"),
        ("http://[fd00:ec2::254]/", "fd00:ec2::254 is unique local (metadata)"),
        ("http://[::1]:5432/", "::1 is loopback"),
        ("http://127.0.0.2:15672/", "127.0.0.2 is loopback"),
    ] {
        let error = function.get(url).await.unwrap_err();
        assert!(matches!(error, Error::DestinationIpProhibited), "{url}: {error}");
        assert!(function.outgoing.end().is_some_and(|refusal| refusal.contains(why)), "{url}");
        function.begin("test", &format!("allowed_hosts = {hosts:?}"), SOON);
    }
}

#[tokio::test]
async fn other_spellings_of_addresses() {
    let resolver = Names::new(&[]);
    let mut function = function(
        Arc::clone(&resolver) as _,
        &["http://169.254.169.254", "http://127.0.0.1:*", "http://*.example"],
    );
    let spellings = [
        "2852039166",
        "0xa9fea9fe",
        "025177524776",
        "0xa9.0xfe.0xa9.0xfe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.16689662",
        "127.1",
        "0",
        "user@127.0.0.1",
        "api.example@127.0.0.1",
        "127.0.0.1%2f.example",
    ];
    let mut refused = 0;
    for host in spellings {
        // What is no URI at all does not get this far.
        let Ok(uri) = format!("http://{host}/").parse::<http::Uri>() else { continue };
        let mut request = request("http://a.example/", "");
        *request.uri_mut() = uri;
        let error = function.send(request, None).await.unwrap_err();
        assert!(matches!(error, Error::HttpRequestUriInvalid), "{host}: {error}");
        refused += 1;
    }
    assert!(refused >= 11, "{refused}");
    assert_eq!(function.notes().len(), refused);
    assert!(resolver.asked().is_empty(), "the system's resolver would understand some of them");
}

#[tokio::test]
async fn of_several_addresses_only_those_that_are_allowed_are_used() {
    let (allowed, private) = allowed_and_private().await;
    let names = Names::new(&[("mixed.example", &[&["127.0.0.2", "10.0.0.5", "127.0.0.1"]])]);
    let mut function = function(names, &["http://mixed.example:*"]);
    let answer = function.get(&allowed.url("mixed.example", "/")).await.unwrap();
    assert_eq!(answer, (StatusCode::OK, "public".into()));
    assert_eq!((allowed.connections(), private.connections()), (1, 0));
}

/// The name is asked for once, and what passed the check is what is connected to.
#[tokio::test]
async fn rebinding_between_check_and_connect() {
    let (allowed, private) = allowed_and_private().await;
    let names = Names::new(&[("rebinding.example", &[&["127.0.0.1"], &["127.0.0.2"]])]);
    let mut function = function(Arc::clone(&names) as _, &["http://rebinding.example:*"]);
    let url = allowed.url("rebinding.example", "/");
    assert_eq!(function.get(&url).await.unwrap().1, "public");
    assert_eq!(names.asked().len(), 1);
    // On the connection that is there, the name means what it meant.
    assert_eq!(function.get(&url).await.unwrap().1, "public");
    assert_eq!((names.asked().len(), allowed.connections()), (1, 1));
    // Without one, the name is asked for again, and its new answer is checked.
    let pool = function.outgoing.network.pool(&TenantName::default(), &"test".parse().unwrap());
    pool.expire(Instant::now(), Duration::ZERO);
    assert!(matches!(function.get(&url).await.unwrap_err(), Error::DestinationIpProhibited));
    assert_eq!((names.asked().len(), private.connections()), (2, 0));
}

/// A guest that follows redirects gets no further than one that is told the address by its author.
#[tokio::test]
async fn redirects_are_left_to_the_guest_and_checked_again() {
    let private =
        Server::start_at(([127, 0, 0, 2], 0).into(), Plain, |_| async { text("secret") }).await;
    let port = private.address.port();
    let redirecting = Server::start(move |request| async move {
        let to = match request.uri().path() {
            "/address" => format!("http://127.0.0.2:{port}/"),
            "/name" => format!("http://inner.example:{port}/"),
            "/other" => "https://elsewhere.example/".to_owned(),
            _ => "http://0x7f000002/".to_owned(),
        };
        Response::builder()
            .status(302)
            .header("location", to)
            .body(Full::default().boxed_unsync())
            .unwrap()
    })
    .await;
    let names =
        Names::new(&[("api.example", &[&["127.0.0.1"]]), ("inner.example", &[&["127.0.0.2"]])]);
    let mut function = function(names, &["http://*.example:*", "http://127.0.0.2:*"]);
    for (path, denied) in [("/address", false), ("/name", false), ("/other", true)] {
        let first =
            function.send(request(&redirecting.url("api.example", path), ""), None).await.unwrap();
        assert_eq!(first.status(), StatusCode::FOUND);
        let location = first.headers()["location"].to_str().unwrap().to_owned();
        let error = function.get(&location).await.unwrap_err();
        assert_eq!(matches!(error, Error::HttpRequestDenied), denied, "{location}: {error}");
        assert_eq!(matches!(error, Error::DestinationIpProhibited), !denied, "{location}: {error}");
    }
    assert_eq!(private.connections(), 0);
}

#[tokio::test]
async fn what_the_manifest_does_not_name() {
    let server = Server::start(|_| async { text("public") }).await;
    let port = server.address.port();
    let mut function =
        function(Names::local("api.example"), &[&format!("http://api.example:{port}")]);
    for url in [
        format!("https://api.example:{port}/"),
        "http://api.example/".to_owned(),
        format!("http://other.example:{port}/"),
        format!("http://127.0.0.1:{port}/"),
    ] {
        assert!(matches!(function.get(&url).await.unwrap_err(), Error::HttpRequestDenied), "{url}");
        assert!(function.notes()[0].contains("no pattern of allowed_hosts"));
        function.begin("test", &format!("allowed_hosts = ['http://api.example:{port}']"), SOON);
    }
    assert_eq!(function.get(&server.url("api.example", "/")).await.unwrap().1, "public");

    function.begin("test", "allowed_hosts = []", SOON);
    assert!(matches!(
        function.get(&server.url("api.example", "/")).await.unwrap_err(),
        Error::HttpRequestDenied
    ));
    function.begin("test", "", SOON);
    assert!(matches!(
        function.get(&server.url("api.example", "/")).await.unwrap_err(),
        Error::HttpRequestDenied
    ));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn tunnels() {
    let server = Server::start(|_| async { text("public") }).await;
    let mut function = function(Names::local("api.example"), &["http://api.example:*"]);
    let mut request = request(&server.url("api.example", "/"), "");
    *request.method_mut() = http::Method::CONNECT;
    let error = function.send(request, None).await.unwrap_err();
    assert!(matches!(error, Error::HttpRequestMethodInvalid), "{error}");
    assert_eq!(server.connections(), 0);
}
