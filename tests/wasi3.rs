//! WASI 0.3, where it is enabled: a handler behind a route, and what is answered where it is not
//! enabled.

use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::support::{Dev, WAIT_TIMEOUT, sample, wasmill};

const MANIFEST: &str = r#"
name = "later"
allowed_hosts = []
[[trigger]]
http = "/later/{*path}"
[[trigger]]
event = "later.event"
"#;

/// The sample `later-echo`, which has no manifest of its own.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let component = sample("later-echo").join("later-echo.wasm");
    std::fs::write(
        folder.path().join("wasmill.toml"),
        format!("component = '{}'\n{MANIFEST}", component.display()),
    )
    .unwrap();
    folder
}

#[test]
fn it_is_refused_by_default() {
    let folder = folder();
    let path = folder.path().to_str().unwrap();
    let dev = Dev::start();
    let said = dev.cli_fails(1, &["deploy", path]);
    assert!(said.contains("made for WASI 0.3") && said.contains("--wasi-0-3"), "{said}");
    let check = wasmill().args(["check", path]).output().unwrap();
    let (out, said) =
        (String::from_utf8(check.stdout).unwrap(), String::from_utf8(check.stderr).unwrap());
    assert!(
        out.contains("kind      http, for WASI 0.3 (the manifest's `kind` can make it command)"),
        "{out}"
    );
    assert!(check.status.code() == Some(1) && said.contains("made for WASI 0.3"), "{said}");
    let check = wasmill().args(["check", "--wasi-0-3", path]).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_streams_both_ways() {
    let folder = folder();
    let dev = Dev::start_with(&["--wasi-0-3"]);
    dev.cli_ok(&["deploy", folder.path().to_str().unwrap()]);
    let api = dev.api();
    let request =
        |method: &str, path: &str| api.request(method, &format!("/http/default/later/{path}"));
    let in_time = async |request: reqwest::RequestBuilder| {
        tokio::time::timeout(WAIT_TIMEOUT, request.send())
            .await
            .expect("the gateway takes too long")
            .unwrap()
    };

    // Binary, and longer than what is on its way at any time.
    let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let chunks: Vec<_> =
        sent.chunks(100_000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let echoed = in_time(request("POST", "echo").body(body)).await;
    assert_eq!(echoed.status(), StatusCode::OK);
    let received = tokio::time::timeout(WAIT_TIMEOUT, echoed.bytes()).await.unwrap().unwrap();
    assert!(received == sent, "{} bytes came back of {}", received.len(), sent.len());

    // The last line is made after the first one has arrived, as the guest waits for longer than any
    // test between them.
    let mut response = in_time(request("GET", "stream/2/86400000")).await;
    let first =
        tokio::time::timeout(WAIT_TIMEOUT, response.chunk()).await.unwrap().unwrap().unwrap();
    assert_eq!(first, "line 1\n");
    // Whose caller disconnects is not wanted any more.
    drop(response);
    super::support::eventually(
        "the attempt of a caller that disconnected is cancelled",
        async || {
            let page = api.get("/v1/executions?function=later&state=cancelled&limit=10").await;
            page["executions"]
                .as_array()?
                .iter()
                .any(|execution| execution["outcome"] == "cancelled")
                .then_some(())
        },
    )
    .await;

    assert_eq!(in_time(request("GET", "status/404")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(in_time(request("GET", "broken")).await.status(), StatusCode::BAD_GATEWAY);
    let cut = in_time(request("GET", "cut")).await;
    assert!(
        cut.status() == StatusCode::BAD_GATEWAY || cut.bytes().await.is_err(),
        "half a body looks whole"
    );

    // The same handler, on an event.
    let execution = api.run("later.event", &json!({})).await;
    assert_eq!(execution["state"], "succeeded", "{execution}");
}

/// The handler behind middleware is the network: what it passes on goes there, and what it makes of
/// the answer to whoever asked.
#[tokio::test(flavor = "multi_thread")]
async fn middleware_stands_before_a_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let behind = tokio::spawn(answer_one(listener));
    let folder = tempfile::tempdir().unwrap();
    let component = sample("later-middleware").join("later-middleware.wasm");
    let manifest = format!(
        "name = 'front'\ncomponent = '{}'\nallowed_hosts = ['http://{authority}']\n[[trigger]]\nhttp = '/front/{{*path}}'\n",
        component.display()
    );
    std::fs::write(folder.path().join("wasmill.toml"), manifest).unwrap();
    let path = folder.path().to_str().unwrap();
    let check = wasmill().args(["check", "--wasi-0-3", path]).output().unwrap();
    let checked = String::from_utf8(check.stdout).unwrap();
    assert!(check.status.success() && checked.contains("wasi:http/handler@0.3.0"), "{checked}");

    let dev = Dev::start_with(&["--wasi-0-3", "--allow-network", "127.0.0.0/8"]);
    dev.cli_ok(&["deploy", path]);
    let api = dev.api();
    let answer = api
        .request("POST", &format!("/http/default/front/to/{authority}/behind?x=1"))
        .body("a body")
        .send();
    let answer = tokio::time::timeout(WAIT_TIMEOUT, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(answer.headers()["x-behind"], "yes");
    assert_eq!(answer.headers()["via"], "1.1 later-middleware");
    assert_eq!(answer.text().await.unwrap(), "behind");
    let received = behind.await.unwrap();
    assert!(
        received.starts_with("POST /behind?x=1 HTTP/1.1\r\n") && received.contains("a body"),
        "{received}"
    );
    let refused = api.request("GET", "/http/default/front/to/example.com/x").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_GATEWAY);
}

/// A server that reads one request up to its body, answers it, and gives what it read.
async fn answer_one(listener: TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"a body") {
        received.push(stream.read_u8().await.unwrap());
    }
    let answer = "HTTP/1.1 418 I'm a teapot\r\nx-behind: yes\r\ncontent-length: 6\r\n\r\nbehind";
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8(received).unwrap()
}

/// What a template for a draft makes is told at each door what it is, where that shows, and what to
/// do.
#[test]
fn a_draft_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"(component (import "wasi:http/types@0.3.0-rc-2025-09-16" (instance)) (instance $i)
        (export "wasi:http/handler@0.3.0-rc-2025-09-16" (instance $i)))"#;
    std::fs::write(folder.path().join("draft.wasm"), wat::parse_str(text).unwrap()).unwrap();
    std::fs::write(folder.path().join("wasmill.toml"), "name = 'draft'\ncomponent = 'draft.wasm'")
        .unwrap();
    let path = folder.path().to_str().unwrap();
    let parts = [
        "a draft of WASI 0.3: it exports 'wasi:http/handler@0.3.0-rc-2025-09-16'",
        "Build it for WASI 0.2",
        "Spin's SDK",
    ];
    let check = wasmill().args(["check", "--wasi-0-3", path]).output().unwrap();
    let checked = String::from_utf8(check.stderr).unwrap();
    assert_eq!(check.status.code(), Some(1), "{checked}");
    let deployed = Dev::start_with(&["--wasi-0-3"]).cli_fails(1, &["deploy", path]);
    for said in [checked, deployed] {
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
}
