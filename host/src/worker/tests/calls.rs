//! Requests whose callers wait: what they receive, and what is recorded. A gateway's part is played
//! by the test.

use bytes::Bytes;
use wasmill_broker::{BrokerError, QueueName, RequestStream, Streams as _};
use wasmill_domain::http_message::{Download, Headers, Opening, RequestHead, ResponseHead};
use wasmill_domain::{ExecutionId, Outcome, TenantName};
use wasmill_store::ExecutionDetail;

use super::{System, WAIT_TIMEOUT, dispatch, name};
use crate::EngineSettings;

const LATER_ECHO: &[u8] = include_bytes!("../../../../functions/later-echo/later-echo.wasm");

pub(super) const WEB_ECHO: &[u8] = include_bytes!("../../../../functions/web-echo/web-echo.wasm");

pub(super) const MANIFEST: &str =
    "name = 'web-echo'\nkind = 'http'\n[[trigger]]\nhttp = '/{*path}'";

/// Calls the function, once a host answers.
pub(super) async fn call(
    system: &System,
    method: &str,
    target: &str,
) -> (ExecutionId, RequestStream) {
    let mut dispatch = dispatch("web-echo", "wasmill.http.request", "");
    dispatch.max_attempts = 1;
    let execution = dispatch.execution;
    let head = RequestHead {
        method: method.into(),
        target: target.into(),
        scheme: "http".into(),
        authority: "example.com".into(),
        headers: Headers::new(),
    };
    let opening = Opening { dispatch, head, body: Bytes::new(), complete: true }
        .encode(system.publisher.writes());
    let service = QueueName::of_streams(&TenantName::default(), &name("web-echo"));
    let calling = async {
        loop {
            match system.broker.open_stream(&service, opening.clone()).await {
                Ok(stream) => return stream,
                Err(BrokerError::NoQueue(_)) => {
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    (execution, tokio::time::timeout(WAIT_TIMEOUT, calling).await.expect("a host answers"))
}

/// All that is said, in order.
pub(super) async fn received(stream: &mut RequestStream) -> Vec<Download> {
    let hearing = async {
        let mut received = Vec::new();
        while let Some(frame) = stream.receiver.receive().await {
            received.push(Download::decode(&frame).unwrap());
        }
        received
    };
    tokio::time::timeout(WAIT_TIMEOUT, hearing).await.expect("the stream ends")
}

async fn answered(system: &System, method: &str, target: &str) -> (Vec<Download>, ExecutionDetail) {
    let (execution, mut stream) = call(system, method, target).await;
    let received = received(&mut stream).await;
    (received, system.ended(execution).await)
}

fn length(head: &ResponseHead) -> Option<&[u8]> {
    head.headers.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value.as_ref())
}

#[tokio::test]
async fn what_a_caller_hears_is_the_same_each_time() {
    let system = System::new().await;
    system.deploy(WEB_ECHO, MANIFEST).await;
    let host = system.start();

    // A handler that traps when it has answered has answered.
    for _ in 0..20 {
        let (received, detail) = answered(&system, "GET", "/late").await;
        let [Download::Head(head), Download::Data(data), Download::End(_), ..] =
            received.as_slice()
        else {
            panic!("{received:?}")
        };
        assert_eq!((head.status, data.as_ref()), (200, &b"that was it\n"[..]));
        assert_eq!(detail.summary.outcome, Some(Outcome::Trap), "{detail:?}");
        assert!(detail.summary.message.as_deref().unwrap().contains("late as asked"), "{detail:?}");
    }
    // One that traps before that has begun to, and its response has no end.
    for _ in 0..20 {
        let (received, detail) = answered(&system, "GET", "/cut").await;
        let [Download::Head(_), Download::Data(data), Download::Failed { .. }] =
            received.as_slice()
        else {
            panic!("{received:?}")
        };
        assert_eq!(
            (data.as_ref(), detail.summary.outcome),
            (&b"only this"[..], Some(Outcome::Trap))
        );
    }

    // What precedes responses is none, on both ways to a handler.
    for status in [100, 101, 102, 103, 199] {
        let (received, detail) = answered(&system, "GET", &format!("/status/{status}")).await;
        assert!(
            matches!(received.as_slice(), [Download::Failed { outcome: Outcome::Trap, .. }]),
            "{status}: {received:?}"
        );
        assert_eq!(detail.summary.outcome, Some(Outcome::Trap), "{detail:?}");
        assert!(detail.summary.message.as_deref().unwrap().contains("1xx"), "{detail:?}");
    }

    // A response without content says so, unless it is to HEAD, or its status does.
    for (method, target, expected) in [
        ("GET", "/empty", Some(&b"0"[..])),
        ("POST", "/empty", Some(b"0")),
        ("HEAD", "/empty", None),
        ("GET", "/status/204", None),
        ("GET", "/status/200", None),
        ("GET", "/repeated", None),
    ] {
        let (received, detail) = answered(&system, method, target).await;
        let Some(Download::Head(head)) = received.first() else { panic!("{received:?}") };
        assert_eq!(length(head), expected, "{method} {target}: {received:?}");
        assert_eq!(detail.summary.outcome, Some(Outcome::Success), "{detail:?}");
    }
    host.stop().await;
}

/// The same of a handler for WASI 0.3.
#[tokio::test]
async fn what_a_caller_hears_of_wasi_0_3_is_the_same_each_time() {
    let engine = EngineSettings { wasi_0_3: true, ..EngineSettings::default() };
    let system = System::with_engine(engine).await;
    system.deploy(LATER_ECHO, MANIFEST).await;
    let host = system.start();

    // A handler that traps in the same breath as its response ends has answered, however much of it
    // is still on its way then.
    for pieces in [1, 2, 5].repeat(25) {
        let (received, detail) = answered(&system, "GET", &format!("/late/{pieces}")).await;
        let [Download::Head(head), data @ .., Download::End(_), Download::Failed { .. }] =
            received.as_slice()
        else {
            panic!("{pieces}: {received:?}")
        };
        let expected: String = (1..=pieces).map(|i| format!("piece {i}\n")).collect();
        assert_eq!((head.status, text(data)), (200, expected), "{received:?}");
        assert_eq!(detail.summary.outcome, Some(Outcome::Trap), "{detail:?}");
        assert!(detail.summary.message.as_deref().unwrap().contains("late as asked"), "{detail:?}");
    }
    // Nothing is set before a handler waits for something.
    for _ in 0..25 {
        let (received, _) = answered(&system, "GET", "/late/0").await;
        let [Download::Failed { outcome: Outcome::Trap, .. }] = received.as_slice() else {
            panic!("{received:?}")
        };
    }
    // One that traps before that has begun to, and one that traps before it has begun has not.
    for _ in 0..25 {
        let (received, detail) = answered(&system, "GET", "/cut").await;
        let [Download::Head(_), data @ .., Download::Failed { outcome: Outcome::Trap, .. }] =
            received.as_slice()
        else {
            panic!("{received:?}")
        };
        assert_eq!(text(data), "the first piece");
        assert!(detail.summary.message.as_deref().unwrap().contains("cut as asked"), "{detail:?}");
        let (received, _) = answered(&system, "GET", "/broken").await;
        let [Download::Failed { outcome: Outcome::Trap, .. }] = received.as_slice() else {
            panic!("{received:?}")
        };
    }

    for status in [100, 101, 102, 103, 199] {
        let (received, detail) = answered(&system, "GET", &format!("/status/{status}")).await;
        assert!(
            matches!(received.as_slice(), [Download::Failed { outcome: Outcome::Trap, .. }]),
            "{status}: {received:?}"
        );
        assert!(detail.summary.message.as_deref().unwrap().contains("1xx"), "{detail:?}");
    }

    for (method, target, expected) in [
        ("GET", "/empty", Some(&b"0"[..])),
        ("POST", "/empty", Some(b"0")),
        ("HEAD", "/empty", None),
        ("GET", "/status/204", None),
        ("GET", "/status/200", None),
    ] {
        let (received, detail) = answered(&system, method, target).await;
        let Some(Download::Head(head)) = received.first() else { panic!("{received:?}") };
        assert_eq!(length(head), expected, "{method} {target}: {received:?}");
        assert_eq!(detail.summary.outcome, Some(Outcome::Success), "{detail:?}");
    }
    host.stop().await;
}

/// What the data of these says.
fn text(data: &[Download]) -> String {
    let text = |part: &Download| match part {
        Download::Data(data) => String::from_utf8(data.to_vec()).unwrap(),
        other => panic!("{other:?} among the data"),
    };
    data.iter().map(text).collect()
}

/// A caller that has the end of the response may go, and the handler works on.
#[tokio::test]
async fn a_caller_that_has_it_all_may_go() {
    let system = System::new().await;
    system.deploy(WEB_ECHO, MANIFEST).await;
    let host = system.start();
    let (execution, mut stream) = call(&system, "GET", "/after/100").await;
    loop {
        let frame = tokio::time::timeout(WAIT_TIMEOUT, stream.receiver.receive())
            .await
            .expect("it answers")
            .unwrap();
        if matches!(Download::decode(&frame).unwrap(), Download::End(_)) {
            break;
        }
    }
    drop(stream);
    let detail = system.ended(execution).await;
    assert_eq!(detail.summary.outcome, Some(Outcome::Success), "{detail:?}");
    // One that goes before has disconnected.
    let (execution, mut stream) = call(&system, "GET", "/after/86400000").await;
    tokio::time::timeout(WAIT_TIMEOUT, stream.receiver.receive())
        .await
        .expect("it answers")
        .unwrap();
    drop(stream);
    let detail = system.ended(execution).await;
    assert_eq!(detail.summary.outcome, Some(Outcome::Cancelled), "{detail:?}");
    host.stop().await;
}

/// What a handler has written may be waiting for its caller; what became of it does not.
#[tokio::test]
async fn a_trap_does_not_wait_for_a_caller_that_does_not_read() {
    let system = System::new().await;
    system.deploy(WEB_ECHO, &format!("{MANIFEST}\n[limits]\ntimeout = '15m'")).await;
    let host = system.start();
    let (execution, stream) = call(&system, "GET", "/unread").await;
    let detail = system.ended(execution).await;
    assert_eq!(detail.summary.outcome, Some(Outcome::Trap), "{detail:?}");
    assert!(detail.summary.message.as_deref().unwrap().contains("unread as asked"), "{detail:?}");
    drop(stream);
    host.stop().await;
}
