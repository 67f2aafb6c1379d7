//! Answers HTTP requests, whatever their path begins with; the last segments say how:
//!
//! - `…/echo` sends the request's body back while it comes in, and its trailers after it;
//! - `…/stream/COUNT/MILLISECONDS` sends COUNT lines with a pause after each;
//! - `…/status/CODE` answers with that status;
//! - `…/repeated` sets a header three times, and a trailer;
//! - `…/empty` answers without content;
//! - `…/after/MILLISECONDS` answers with all that its `content-length` says, and ends its body
//!   after a pause;
//! - `…/silent` never answers, `…/cut` ends in the middle of its body, `…/broken` traps, `…/late`
//!   traps when it has answered, `…/unread` when its caller does not read;
//! - any other path shows the request as JSON.
//!
//! It is a `wasi:http` component with nothing of wasmill in it.

use std::io::Write as _;

use serde_json::json;
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

wasip2::http::proxy::export!(WebEcho);

struct WebEcho;

impl wasip2::exports::http::incoming_handler::Guest for WebEcho {
    fn handle(request: IncomingRequest, outparam: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let segments: Vec<&str> = path.rsplit('/').take(3).collect();
        match segments[..] {
            ["echo", ..] => echo(&request, outparam),
            [pause, count, "stream"] => stream(outparam, number(count), number(pause)),
            [code, "status", ..] => {
                answer(outparam, u16::try_from(number(code)).unwrap_or(500), b"as you wish\n")
            }
            ["repeated", ..] => repeated(outparam),
            ["empty", ..] => {
                OutgoingBody::finish(begin(outparam, 200, &[]), None).expect("a whole body")
            }
            [pause, "after", ..] => after(outparam, number(pause)),
            ["late", ..] => late(outparam),
            ["unread", ..] => unread(outparam),
            ["silent", ..] => subscribe_duration(u64::MAX).block(),
            ["cut", ..] => cut(outparam),
            ["broken", ..] => panic!("broken as asked"),
            _ => show(&request, &target, outparam),
        }
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

/// Begins a response and gives its body.
fn begin(outparam: ResponseOutparam, status: u16, headers: &[(&str, &str)]) -> OutgoingBody {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).expect("a header that may be set");
    }
    let response = OutgoingResponse::new(fields);
    response.set_status_code(status).expect("a status");
    let body = response.body().expect("the first body");
    ResponseOutparam::set(outparam, Ok(response));
    body
}

fn answer(outparam: ResponseOutparam, status: u16, content: &[u8]) {
    let body = begin(outparam, status, &[("content-type", "text/plain")]);
    // A response to HEAD, or with status 204, has no content.
    if status != 204 {
        let mut out = body.write().expect("the first stream");
        out.write_all(content).expect("a body that is read");
        drop(out);
    }
    OutgoingBody::finish(body, None).expect("a whole body");
}

/// Copies the body while it comes.
fn echo(request: &IncomingRequest, outparam: ResponseOutparam) {
    let content_type = request.headers().get("content-type").into_iter().next();
    let content_type = content_type.and_then(|value| String::from_utf8(value).ok());
    let body = begin(
        outparam,
        200,
        &[("content-type", content_type.as_deref().unwrap_or("application/octet-stream"))],
    );
    let incoming = request.consume().expect("a body");
    let input = incoming.stream().expect("a stream");
    let output = body.write().expect("the first stream");
    copy(&input, &output);
    drop((input, output));
    let trailers = IncomingBody::finish(incoming);
    trailers.subscribe().block();
    let trailers = match trailers.get() {
        // What is received cannot be changed, and what is sent must be one's own.
        Some(Ok(Ok(Some(fields)))) => Some(Fields::from_list(&fields.entries()).expect("fields")),
        _ => None,
    };
    OutgoingBody::finish(body, trailers).expect("a whole body");
}

fn copy(input: &InputStream, output: &OutputStream) {
    loop {
        match input.blocking_read(4096) {
            Ok(chunk) => output.blocking_write_and_flush(&chunk).expect("a body that is read"),
            Err(StreamError::Closed) => return,
            Err(StreamError::LastOperationFailed(error)) => {
                panic!("the request breaks off: {}", error.to_debug_string())
            }
        }
    }
}

fn stream(outparam: ResponseOutparam, count: u64, milliseconds: u64) {
    let body = begin(outparam, 200, &[("content-type", "text/plain")]);
    let output = body.write().expect("the first stream");
    for line in 1..=count {
        output
            .blocking_write_and_flush(format!("line {line}\n").as_bytes())
            .expect("a body that is read");
        subscribe_duration(milliseconds * 1_000_000).block();
    }
    drop(output);
    OutgoingBody::finish(body, None).expect("a whole body");
}

fn repeated(outparam: ResponseOutparam) {
    let headers = [
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("x-bytes", "caf\u{e9}"),
        ("trailer", "x-checksum"),
    ];
    let body = begin(outparam, 201, &headers);
    let trailers = Fields::new();
    trailers.append("x-checksum", b"7").expect("a trailer that may be set");
    OutgoingBody::finish(body, Some(trailers)).expect("a whole body");
}

fn cut(outparam: ResponseOutparam) {
    let body = begin(outparam, 200, &[("content-length", "1000")]);
    let output = body.write().expect("the first stream");
    output.blocking_write_and_flush(b"only this").expect("a body that is read");
    panic!("cut as asked");
}

fn after(outparam: ResponseOutparam, milliseconds: u64) {
    let body = begin(outparam, 200, &[("content-length", "12")]);
    let output = body.write().expect("the first stream");
    output.blocking_write_and_flush(b"that is all\n").expect("a body that is read");
    drop(output);
    subscribe_duration(milliseconds * 1_000_000).block();
    OutgoingBody::finish(body, None).expect("a whole body");
    eprintln!("worked on");
}

fn late(outparam: ResponseOutparam) {
    answer(outparam, 200, b"that was it\n");
    panic!("late as asked");
}

/// Writes until nothing has been taken for a while.
fn unread(outparam: ResponseOutparam) {
    let body = begin(outparam, 200, &[]);
    let output = body.write().expect("the first stream");
    loop {
        let mut room = output.check_write().expect("a body that is read");
        if room == 0 {
            subscribe_duration(200_000_000).block();
            room = output.check_write().expect("a body that is read");
            assert!(room > 0, "unread as asked");
        }
        output.write(&vec![b'.'; room.min(65536) as usize]).expect("a body that is read");
    }
}

fn show(request: &IncomingRequest, target: &str, outparam: ResponseOutparam) {
    let mut headers: Vec<(String, String)> =
        request.headers().entries().into_iter().map(text).collect();
    headers.sort();
    let shown = json!({
        "method": method(&request.method()),
        "target": target,
        "authority": request.authority(),
        "headers": headers,
    });
    let body = begin(outparam, 200, &[("content-type", "application/json")]);
    let mut output = body.write().expect("the first stream");
    output.write_all(shown.to_string().as_bytes()).expect("a body that is read");
    drop(output);
    OutgoingBody::finish(body, None).expect("a whole body");
}

fn text((name, value): (String, Vec<u8>)) -> (String, String) {
    (name, String::from_utf8_lossy(&value).into_owned())
}

fn method(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(other) => other,
    }
}
