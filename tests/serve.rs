//! A component on a route answers as it does under `wasmtime serve`: the same requests to both,
//! byte for byte. What concerns one connection only (RFC 9110, section 7.6.1), the `date`, and the
//! `traceparent` that wasmill gives to guests are left out.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::support::languages::provided;
use super::support::{Dev, WAIT_TIMEOUT, sample};

/// The name that requests are for: whoever serves it.
const HOST: &str = "example.test";

/// Fields that concern one connection only.
const HOP_BY_HOP: [&str; 6] =
    ["connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"];

/// Names in small letters, and values.
type Fields = Vec<(String, String)>;

/// A response, taken apart.
#[derive(Debug, PartialEq)]
struct Response {
    status: String,
    headers: Fields,
    body: Vec<u8>,
    trailers: Fields,
}

/// `wasmtime serve` on a port of its own. Killed when dropped.
struct Wasmtime {
    child: Child,
    address: SocketAddr,
}

impl Wasmtime {
    fn serve(component: &Path) -> Self {
        let program = Path::new(&provided("toolchains")).join("bin/wasmtime");
        let mut child = Command::new(&program)
            .args(["serve", "--addr", "127.0.0.1:0", "-S", "cli"])
            .arg(component)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("'{}': {e}", program.display()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut lines = stderr.lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            let (_, url) = line.split_once("http://")?;
            url.trim_end_matches('/').parse().ok()
        });
        // What it says later would block it if nobody read it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.expect("it says where it listens") }
    }
}

impl Drop for Wasmtime {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts the component on every path of the host's.
fn deploy(dev: &Dev, component: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "name = 'handler'\ncomponent = '{}'\nallowed_hosts = []\n[[trigger]]\nhttp = '/{{*path}}'\nhost = '{HOST}'\n[limits]\nmemory = '128MiB'\nfuel = 10_000_000_000",
        component.display()
    );
    std::fs::write(folder.path().join("wasmill.toml"), manifest).unwrap();
    dev.cli_ok(&["hostnames", "grant", HOST]);
    dev.cli_ok(&["deploy", folder.path().to_str().unwrap()]);
}

/// Sends a request as it is written and reads all that comes back.
fn exchange(address: SocketAddr, request: &[u8]) -> Response {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let has_no_body = request.starts_with(b"HEAD ");
    Response::parse(&answer, has_no_body)
        .unwrap_or_else(|| panic!("odd: {:?}", String::from_utf8_lossy(&answer)))
}

impl Response {
    fn parse(answer: &[u8], has_no_body: bool) -> Option<Self> {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 2;
        // Names and values may be any bytes: each becomes one character.
        let head: String = answer[..end].iter().map(|&byte| char::from(byte)).collect();
        let (status, fields) = head.split_once("\r\n")?;
        let all = parse_fields(fields);
        let is_chunked =
            all.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let rest = &answer[end + 2..];
        let (body, trailers) =
            if is_chunked && !has_no_body { unchunk(rest)? } else { (rest.to_vec(), Vec::new()) };
        // Of a response without content wasmill says so by its length, wasmtime in an empty chunk.
        let is_empty = |name: &str, value: &str| name == "content-length" && value == "0";
        let headers = all.into_iter().filter(|(name, _)| !HOP_BY_HOP.contains(&name.as_str()));
        let headers = headers.filter(|(name, value)| !is_empty(name, value));
        let headers =
            headers.map(
                |(name, value)| if name == "date" { (name, String::new()) } else { (name, value) },
            );
        let mut headers: Vec<_> = headers.collect();
        // The order of fields of different names means nothing; this sort keeps that of equal ones.
        headers.sort_by(|one, other| one.0.cmp(&other.0));
        Some(Self { status: status.to_owned(), headers, body: without_trace(body), trailers })
    }
}

fn parse_fields(text: &str) -> Fields {
    let fields = text.split_terminator("\r\n").filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect()
}

/// The content of a chunked body and the fields after it (RFC 9112, section 7.1).
fn unchunk(mut rest: &[u8]) -> Option<(Vec<u8>, Fields)> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some((body, parse_fields(std::str::from_utf8(rest).ok()?)));
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

/// A shown request without the trace context that only wasmill gives to the guest.
fn without_trace(body: Vec<u8>) -> Vec<u8> {
    let Ok(mut shown) = serde_json::from_slice::<Value>(&body) else { return body };
    let Some(headers) = shown["headers"].as_array_mut() else { return body };
    headers.retain(|field| field[0] != "traceparent");
    shown.to_string().into_bytes()
}

/// A request with this line, these fields and this body.
fn request(line: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{line} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{fields}\r\n");
    [head.as_bytes(), body].concat()
}

/// The set that every handler gets.
fn requests() -> Vec<Vec<u8>> {
    let large: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 253) as u8).collect();
    let mut requests = vec![
        request("GET /a/b", "", b""),
        request(
            "GET /a%20b/%C3%BC?x=1&x=2&empty=&y=%2F",
            "X-Two: 1\r\nX-Two: 2\r\nAccept: */*\r\n",
            b"",
        ),
        request(
            "GET /cookies",
            "Cookie: a=1; b=2\r\nAuthorization: Basic dTpw\r\nForwarded: for=192.0.2.1\r\n",
            b"",
        ),
        request("HEAD /a", "", b""),
        request("OPTIONS /a", "", b""),
        request("DELETE /a?why", "", b""),
        request("PATCH /a", "Content-Length: 2\r\nContent-Type: application/json\r\n", b"{}"),
        request("BREW /pot", "", b""),
        request("PUT /echo", "Content-Length: 3\r\nContent-Type: image/x-test\r\n", b"\0\xff\n"),
        request("POST /echo", "Content-Length: 0\r\n", b""),
        request(
            "POST /echo",
            "Transfer-Encoding: chunked\r\n",
            b"3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n",
        ),
        request(
            "POST /echo",
            "Transfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: x-sum\r\n",
            b"3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n",
        ),
        request("POST /echo", &format!("Content-Length: {}\r\n", large.len()), &large),
        request("GET /stream/20/1", "", b""),
        request("GET /repeated", "TE: trailers\r\n", b""),
        request("GET /repeated", "", b""),
    ];
    for status in
        [200, 201, 202, 204, 206, 301, 304, 400, 401, 404, 409, 418, 422, 429, 500, 503, 599]
    {
        requests.push(request(&format!("GET /status/{status}"), "", b""));
    }
    requests
}

/// Holds both servers of a component against each other.
pub(crate) fn compare(dev: &Dev, component: &Path) {
    deploy(dev, component);
    let wasmtime = Wasmtime::serve(component);
    for request in requests() {
        let [theirs, ours] =
            [wasmtime.address, dev.address()].map(|address| exchange(address, &request));
        let shown = String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned();
        assert!(
            theirs == ours,
            "{shown}\nwasmtime serve: {}\nwasmill:        {}",
            summary(&theirs),
            summary(&ours)
        );
    }
}

fn summary(response: &Response) -> String {
    let Response { status, headers, body, trailers } = response;
    let start = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
    format!("{status} {headers:?} {} bytes: {start} {trailers:?}", body.len())
}

#[test]
fn a_handler_answers_as_under_wasmtime_serve() {
    compare(&Dev::start(), &sample("web-echo").join("web-echo.wasm"));
}
