//! Answers HTTP requests, and is a program as well, by WASI 0.3, with nothing of wasmill in it. It
//! has no wasmill.toml, as hosts refuse it unless they are let run WASI 0.3; the tests write one.
//!
//! As a handler, the last segments of the path say what it does:
//!
//! - `…/echo` sends the request's body back while it comes in;
//! - `…/stream/COUNT/MILLISECONDS` sends COUNT lines with a pause after each;
//! - `…/status/CODE` answers with that status, `…/error` with an error instead of a response;
//! - `…/get/AUTHORITY` asks for `http://AUTHORITY/` and answers with the status, or with what
//!   became of it;
//! - `…/sockets/COUNT` tries sockets and a lookup that often, and says what came of the last ones;
//!   `…/connect` takes for granted that there are some, and answers with an error;
//! - `…/fields/COUNT` asks the host for its request's headers that often;
//! - `…/hoard/COUNT` makes that many requests with a body of which nothing is written, and keeps
//!   them;
//! - `…/empty` answers with nothing in its body;
//! - `…/late/COUNT` writes COUNT pieces, ends its response and traps in the same breath;
//! - `…/cut` ends in the middle of its body, `…/broken` traps;
//! - any other path shows the request.
//!
//! As a program, it writes its input in capitals. `fail` makes it fail, `exit` exit with a status,
//! and `flood` write without end.

use wasip3::cli::{environment, exit, stderr, stdin, stdout};
use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme, Trailers};
use wasip3::sockets::ip_name_lookup::{self, resolve_addresses};
use wasip3::sockets::types::{self, IpAddressFamily, TcpSocket, UdpSocket};
use wasip3::wit_bindgen::{FutureReader, StreamReader, StreamWriter};
use wasip3::{spawn_local, wit_future, wit_stream};

/// How a body ends.
type Ending = FutureReader<Result<Option<Trailers>, ErrorCode>>;

struct LaterEcho;

wasip3::http::service::export!(LaterEcho);
wasip3::cli::command::export!(LaterEcho);

impl wasip3::exports::http::handler::Guest for LaterEcho {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let segments: Vec<&str> = path.rsplit('/').take(3).collect();
        match segments[..] {
            ["echo", ..] => Ok(echo(request)),
            [pause, count, "stream"] => Ok(stream(number(count), number(pause))),
            [code, "status", ..] => {
                Ok(whole(u16::try_from(number(code)).unwrap_or(500), "as you wish\n".into()))
            }
            ["error", ..] => Err(ErrorCode::ConfigurationError),
            [authority, "get", ..] => Ok(whole(200, get(authority).await)),
            [count, "sockets", ..] => {
                let mut said = String::new();
                for _ in 0..number(count) {
                    said = sockets().await;
                }
                Ok(whole(200, said))
            }
            ["connect", ..] => connect().await,
            [count, "fields", ..] => {
                (0..number(count)).for_each(|_| drop(request.get_headers()));
                Ok(whole(200, String::new()))
            }
            [count, "hoard", ..] => {
                let all: Vec<_> = (0..number(count)).map(|_| request_with_body()).collect();
                Ok(whole(200, all.len().to_string()))
            }
            ["empty", ..] => Ok(response().0),
            [count, "late", ..] => Ok(late(number(count))),
            ["cut", ..] => Ok(cut()),
            ["broken", ..] => panic!("broken as asked"),
            _ => Ok(whole(200, shown(&request))),
        }
    }
}

impl wasip3::exports::cli::run::Guest for LaterEcho {
    async fn run() -> Result<(), ()> {
        let (input, _) = stdin::read_via_stream();
        let mut said = input.collect().await;
        let (mut writer, reader) = wit_stream::new();
        let written = stdout::write_via_stream(reader);
        match said.as_slice() {
            b"fail" => return fail().await,
            b"exit" => exit::exit_with_code(3),
            b"flood" => while writer.write_all(vec![b'x'; 64 << 10]).await.is_empty() {},
            _ => {
                said.make_ascii_uppercase();
                let name = environment::get_arguments().into_iter().next().unwrap_or_default();
                writer.write_all([name.as_bytes(), b": ", &said].concat()).await;
            }
        }
        drop(writer);
        // Whoever floods is told here that not all of it was taken, and does not care.
        let _ = written.await;
        Ok(())
    }
}

async fn fail() -> Result<(), ()> {
    let (mut writer, reader) = wit_stream::new();
    let written = stderr::write_via_stream(reader);
    writer.write_all(b"failed as asked\n".to_vec()).await;
    drop(writer);
    let _ = written.await;
    Err(())
}

fn number(segment: &str) -> u64 {
    segment.parse().unwrap_or_default()
}

/// A response, and what its body is written to.
fn response() -> (Response, StreamWriter<u8>) {
    let (writer, reader) = wit_stream::new();
    (respond(reader, ending()), writer)
}

fn respond(body: StreamReader<u8>, ending: Ending) -> Response {
    let headers = Fields::new();
    let _ = headers.append("content-type", b"text/plain");
    Response::new(headers, Some(body), ending).0
}

/// The end of a body without trailers.
fn ending() -> Ending {
    let (writer, reader) = wit_future::new(|| Ok(None));
    drop(writer);
    reader
}

fn whole(status: u16, body: String) -> Response {
    let (response, mut writer) = response();
    let _ = response.set_status_code(status);
    spawn_local(async move {
        writer.write_all(body.into_bytes()).await;
    });
    response
}

fn echo(request: Request) -> Response {
    let (done, result) = wit_future::new(|| Ok(()));
    drop(done);
    let (body, ending) = Request::consume_body(request, result);
    respond(body, ending)
}

fn stream(count: u64, pause: u64) -> Response {
    let (response, mut writer) = response();
    spawn_local(async move {
        for i in 1..=count {
            writer.write_all(format!("line {i}\n").into_bytes()).await;
            wait_for(pause * 1_000_000).await;
        }
    });
    response
}

fn late(count: u64) -> Response {
    let (response, mut writer) = response();
    spawn_local(async move {
        for i in 1..=count {
            writer.write_all(format!("piece {i}\n").into_bytes()).await;
        }
        drop(writer);
        panic!("late as asked");
    });
    response
}

fn cut() -> Response {
    let (response, mut writer) = response();
    spawn_local(async move {
        writer.write_all(b"the first piece".to_vec()).await;
        panic!("cut as asked");
    });
    response
}

/// The status of an answer, or what became of the request.
async fn get(authority: &str) -> String {
    let (request, _) = Request::new(Fields::new(), None, ending(), None);
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some("/"));
    match client::send(request).await {
        Ok(response) => response.get_status_code().to_string(),
        Err(ErrorCode::HttpRequestDenied) => "denied".into(),
        Err(ErrorCode::DestinationIpProhibited) => "prohibited".into(),
        Err(_) => "failed".into(),
    }
}

/// A request that is not sent, and what its body is written to.
fn request_with_body() -> (Request, StreamWriter<u8>) {
    let (writer, reader) = wit_stream::new();
    (Request::new(Fields::new(), Some(reader), ending(), None).0, writer)
}

/// What came of each try, a line each.
async fn sockets() -> String {
    let tcp = match TcpSocket::create(IpAddressFamily::Ipv4) {
        Err(types::ErrorCode::AccessDenied) => "denied",
        _ => "something else",
    };
    let udp = match UdpSocket::create(IpAddressFamily::Ipv6) {
        Err(types::ErrorCode::AccessDenied) => "denied",
        _ => "something else",
    };
    let names = match resolve_addresses("db.example.com".into()).await {
        Err(ip_name_lookup::ErrorCode::PermanentResolverFailure) => "denied",
        _ => "something else",
    };
    ["TCP ", tcp, "\nUDP ", udp, "\nnames ", names, "\n"].concat()
}

/// What a client of its own protocol makes of having no network.
async fn connect() -> Result<Response, ErrorCode> {
    match resolve_addresses("db.example.com".into()).await {
        Ok(_) => Ok(whole(200, "found\n".into())),
        Err(_) => Err(ErrorCode::DestinationNotFound),
    }
}

/// The request, a line each.
fn shown(request: &Request) -> String {
    let method = match request.get_method() {
        Method::Get => "GET",
        Method::Post => "POST",
        _ => "another method",
    };
    let scheme = if let Some(Scheme::Https) = request.get_scheme() { "https" } else { "http" };
    let (authority, target) = (request.get_authority(), request.get_path_with_query());
    let mut text = format!(
        "{method} {scheme}://{}{}\n",
        authority.unwrap_or_default(),
        target.unwrap_or_default()
    );
    for (name, value) in request.get_headers().copy_all() {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(&value));
    }
    text
}
