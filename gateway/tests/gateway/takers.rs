//! Clients that do not take their responses, and hosts that do not take requests: what either holds
//! is bounded. The host's part is played by the test.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use wasmill_broker::IncomingStream;
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_domain::http_message::{Download, Headers, Upload};
use wasmill_domain::wire::Writes;
use wasmill_gateway::GatewaySettings;
use wasmill_http::ServerSettings;

use crate::framing::{
    ACK, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, frame,
    request,
};
use crate::harness::{Gateway, client, send, until, within};
use crate::http1;
use crate::responses::{CHUNKED, calls, head, in_time};

const SHORT: Duration = Duration::from_millis(100);

const PATH: &str = "/http/default/handler";

/// That a client takes nothing of a response is seen soon.
async fn impatient() -> Gateway {
    let settings = within(ServerSettings { write_timeout: SHORT, ..ServerSettings::default() });
    let settings = GatewaySettings { max_waiting: 8, ..settings };
    Gateway::start_with(settings, EmbeddedSettings::default()).await
}

async fn tell(call: &IncomingStream, message: Download) {
    in_time(call.stream.sender.send(message.encode(&Writes::default()))).await.unwrap();
}

/// Makes sure that a call is answered, for which there is one permit at least.
async fn is_answered(gateway: &Gateway, call: impl Future<Output = IncomingStream>) {
    let asking = tokio::spawn(send(gateway.request(Method::GET, PATH)));
    let call = in_time(call).await;
    tell(&call, head(200, &[])).await;
    tell(&call, Download::Data("content".into())).await;
    tell(&call, Download::End(Headers::new())).await;
    assert_eq!(asking.await.unwrap().bytes, "content");
}

#[tokio::test]
async fn a_stream_that_takes_nothing_is_reset_alone() {
    let gateway = impatient().await;
    let mut calls = calls(&gateway).await;
    let mut raw = Raw::connect(&gateway).await;
    // INITIAL_WINDOW_SIZE is 0.
    raw.say(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    raw.say(&frame(SETTINGS, ACK, 0, &[])).await;
    let mut begun = Vec::new();
    // As many as one address may have wait.
    for stream in [1, 3] {
        raw.say(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &request("GET", PATH))).await;
        let call = in_time(calls.next()).await.unwrap();
        tell(&call, head(200, &[])).await;
        tell(&call, Download::Data("content".into())).await;
        begun.push(call);
    }
    let mut reset = [raw.receive_a(RST_STREAM).await, raw.receive_a(RST_STREAM).await];
    reset.sort_by_key(|frame| frame.stream);
    // CANCEL.
    assert_eq!(reset.map(|frame| (frame.stream, frame.error())), [(1, 8), (3, 8)]);
    for call in &begun {
        in_time(call.stream.sender.closed()).await;
    }
    is_answered(&gateway, async { calls.next().await.unwrap() }).await;
    // The connection is of use to who takes something.
    let healthz = frame(HEADERS, END_STREAM | END_HEADERS, 5, &request("GET", "/healthz"));
    raw.say(&[healthz, frame(WINDOW_UPDATE, 0, 5, &1_000_u32.to_be_bytes())].concat()).await;
    assert_eq!(raw.receive_a(HEADERS).await.stream, 5);
    assert_eq!(raw.receive_a(DATA).await.stream, 5);
}

#[tokio::test]
async fn a_connection_that_takes_nothing_is_ended() {
    let gateway = impatient().await;
    let mut calls = calls(&gateway).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut caller = socket.connect(gateway.address).await.unwrap();
    caller.write_all(format!("GET {PATH} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    let call = in_time(calls.next()).await.unwrap();
    tell(&call, head(200, &[])).await;
    let long = Download::Data(vec![b'x'; 64 << 10].into()).encode(&Writes::default());
    // More than all that is between the two holds.
    in_time(async { while call.stream.sender.send(long.clone()).await.is_ok() {} }).await;
    is_answered(&gateway, async { calls.next().await.unwrap() }).await;
    drop(caller);
}

/// An event stream, say.
#[tokio::test]
async fn a_response_may_be_quiet_for_as_long_as_it_likes() {
    let gateway = impatient().await;
    let mut calls = calls(&gateway).await;
    let url = format!("{}{PATH}", gateway.url);
    for http in
        [client().http1_only().build().unwrap(), client().http2_prior_knowledge().build().unwrap()]
    {
        let asking = tokio::spawn(http.get(&url).send());
        let call = in_time(calls.next()).await.unwrap();
        tell(&call, head(200, &[])).await;
        let mut response = in_time(asking).await.unwrap().unwrap();
        for event in ["one", "two"] {
            tokio::time::sleep(SHORT * 3).await;
            tell(&call, Download::Data(event.into())).await;
            assert_eq!(in_time(response.chunk()).await.unwrap().unwrap(), event);
        }
        tell(&call, Download::End(Headers::new())).await;
        assert!(in_time(response.bytes()).await.unwrap().is_empty());
    }
}

async fn with_bytes(max_in_flight_bytes: usize) -> Gateway {
    let settings = GatewaySettings {
        max_in_flight_bytes: Some(max_in_flight_bytes),
        ..GatewaySettings::default()
    };
    Gateway::start_with(settings, EmbeddedSettings::default()).await
}

/// Begins a request whose body comes in chunks, with one of this length.
async fn begin(gateway: &Gateway, length: usize) -> TcpStream {
    let mut caller = TcpStream::connect(gateway.address).await.unwrap();
    let chunk = format!("{CHUNKED}{length:x}\r\n{}\r\n", "x".repeat(length));
    // It is read by and by.
    caller.write_all(chunk.as_bytes()).await.unwrap();
    caller
}

#[tokio::test]
async fn bodies_that_are_streamed_are_counted_from_their_beginning() {
    // Two messages' for an address, and a little more.
    let gateway = with_bytes(600_000).await;
    let mut calls = calls(&gateway).await;
    let mut begun = Vec::new();
    for _ in 0..2 {
        begun.push((begin(&gateway, 5).await, in_time(calls.next()).await.unwrap()));
    }
    http1::problem(&http1::rest(&mut begin(&gateway, 5).await).await, 503, "overloaded");
    // They are given back with the request.
    let (caller, call) = begun.remove(0);
    drop(caller);
    in_time(call.stream.sender.closed()).await;
    until("another is taken", async || {
        let caller = begin(&gateway, 5).await;
        tokio::select! {
            call = calls.next() => Some((caller, call.unwrap())),
            () = async { caller.readable().await.unwrap() } => None,
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_host_does_not_take_of_a_body_is_counted() {
    const LENGTH: usize = 1 << 20;
    // Of which an address may have a quarter. Whatever the lengths of the messages that are sent on,
    // what is counted comes to more than this leaves to others before the next one is too much.
    let gateway = with_bytes(640_000).await;
    let mut calls = calls(&gateway).await;
    gateway.deploy("other", json!([{"http": "/other", "mode": "async"}])).await;
    let mut caller = begin(&gateway, 5).await;
    let call = in_time(calls.next()).await.unwrap();
    // More than may be held, so that it is not all read before the host receives it.
    let rest = tokio::spawn(async move {
        let chunk = format!("{LENGTH:x}\r\n{}\r\n", "x".repeat(LENGTH));
        caller.write_all(chunk.as_bytes()).await.unwrap();
        caller
    });
    let post = async || {
        gateway.post_as("/http/default/other", "text/plain", "x".repeat(80_000)).await.status
    };
    until("it takes what others need", async || (post().await == 503).then_some(())).await;
    // It goes on with what it has, however little that is.
    let IncomingStream { mut stream, .. } = call;
    let mut received = 0;
    while received < LENGTH + 5 {
        let message = in_time(stream.receiver.receive()).await.unwrap();
        match Upload::decode(&message).unwrap() {
            Upload::Data(data) => received += data.len(),
            end => panic!("it is not the end: {end:?}"),
        }
    }
    let _caller = rest.await.unwrap();
    // What the host has is not in memory here, though no more comes.
    until("it is given back", async || (post().await == 202).then_some(())).await;
}
