//! What HTTP asks of every message, whatever it is for: a request names one host and is framed in a
//! way that is known here (RFC 9112, sections 3.2 and 6.1), and nothing follows the head of a
//! response that has no content (RFC 9110, section 6.4.1).

use std::net::Ipv6Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};

use crate::activity::Activity;
use crate::refusal::Refusal;

/// The most header fields that a request may have, `Host` among them.
pub const MAX_HEADERS: usize = 256;

/// The longest head of a request, in bytes.
pub(crate) const MAX_HEAD: usize = 64 << 10;

/// Makes sure that a request is one as HTTP has it. From then on its header `Host` says what its
/// target does, where that names a host, as the target counts before the header.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    // One is kept free for the host of HTTP/2 and HTTP/1.0, which need not be a field.
    let others = request.headers().len() - request.headers().get_all(HOST).iter().count();
    if others >= MAX_HEADERS {
        return Err(Refusal::HeadTooLarge(too_many_fields()));
    }
    check_length(request)?;
    check_coding(request.headers())?;
    check_target(request)?;
    let host = host_of(request)?;
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    Ok(())
}

/// What is said of a head with too many fields.
pub(crate) fn too_many_fields() -> String {
    format!(
        "the request has more than the {MAX_HEADERS} header lines that are taken, Host among them"
    )
}

/// What is said of a head that is too long.
pub(crate) fn too_long() -> String {
    format!("the request's head is longer than the {MAX_HEAD} bytes that are taken")
}

/// Refuses a head that is too long, whatever it came by: hyper's own bound of HTTP/1.1 is that of a
/// buffer, which is larger on a connection that was of use before, and that of HTTP/2 is answered
/// without a word. What it has in HTTP/1.1 without any spaces that need not be is what counts.
fn check_length<B>(request: &Request<B>) -> Result<(), Refusal> {
    let uri = request.uri();
    let target = [
        uri.scheme_str(),
        uri.authority().map(Authority::as_str),
        uri.path_and_query().map(PathAndQuery::as_str),
    ];
    let target: usize = target.into_iter().flatten().map(str::len).sum();
    let line = request.method().as_str().len() + target + "  HTTP/1.1\r\n".len();
    if line > MAX_HEAD {
        return Err(Refusal::UriTooLong);
    }
    let fields = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ":\r\n".len());
    if line + fields.sum::<usize>() + "\r\n".len() > MAX_HEAD {
        return Err(Refusal::HeadTooLarge(too_long()));
    }
    Ok(())
}

/// Refuses a body in a transfer coding that is not known here.
fn check_coding(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if is_chunked(coding) => Ok(()),
        _ => Err(unknown_coding()),
    }
}

/// What is said of a transfer coding that is not known here.
pub(crate) fn unknown_coding() -> Refusal {
    Refusal::NotImplemented(
        "of the transfer codings, only 'chunked' is known here, and only once".into(),
    )
}

/// Refuses a target in a form that the method does not have (RFC 9112, section 3.2).
fn check_target<B>(request: &Request<B>) -> Result<(), Refusal> {
    let (uri, method) = (request.uri(), request.method());
    let known =
        uri.scheme().is_none_or(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
    let is_authority = uri.authority().is_some() && uri.scheme().is_none();
    let is_asterisk = uri.path() == "*";
    if !known
        || is_authority != (method == Method::CONNECT)
        || is_asterisk && method != Method::OPTIONS
    {
        return Err(Refusal::BadRequest(
            "the request's target is none that its method may have".into(),
        ));
    }
    Ok(())
}

/// What the header `Host` is to be, where it is not already.
fn host_of<B>(request: &Request<B>) -> Result<Option<HeaderValue>, Refusal> {
    let bad = |what: &str| Err(Refusal::BadRequest(what.into()));
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return bad("the header Host is there more than once");
    }
    let (target, is_http_1) = (request.uri().authority(), request.version() < Version::HTTP_2);
    let Some(target) = target else {
        return match host {
            Some(host) if is_host(host.as_bytes()) => Ok(None),
            Some(_) => bad("the header Host is not a host and a port"),
            None if request.version() < Version::HTTP_11 => Ok(None),
            None => bad("the request names no host"),
        };
    };
    if !is_host(target.as_str().as_bytes()) {
        return bad("the request's target has no host and port in it");
    }
    match host {
        // A server of HTTP/1.1 refuses a request without it even where it would not be looked at.
        None if request.version() == Version::HTTP_11 => {
            return bad("the request has no header Host");
        }
        Some(host) if !host.is_empty() && !is_host(host.as_bytes()) => {
            return bad("the header Host is not a host and a port");
        }
        Some(host)
            if !is_http_1 && !host.as_bytes().eq_ignore_ascii_case(target.as_str().as_bytes()) =>
        {
            return bad("the header Host says another host than ':authority'");
        }
        _ => {}
    }
    let host = HeaderValue::from_str(target.as_str());
    host.map(Some).or_else(|_| bad("the request's target has no host and port in it"))
}

/// Whether a text is a host and perhaps a port, as a URI has them, and nothing else (RFC 3986,
/// section 3.2).
fn is_host(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let Ok(authority) = text.parse::<Authority>() else { return false };
    let host = authority.host();
    let port = text
        .strip_prefix(host)
        .and_then(|rest| if rest.is_empty() { Some("") } else { rest.strip_prefix(':') });
    let has_port = port.is_some_and(|port| port.is_empty() || is_port(port));
    let name = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&b);
    let is_named = match host.strip_prefix('[') {
        Some(rest) => {
            rest.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
        }
        None => !host.is_empty() && host.bytes().all(name),
    };
    has_port && is_named
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// What of a request decides what its response is like on the wire.
pub(crate) struct Asked {
    is_head: bool,
    pub(crate) is_http_1: bool,
    activity: Arc<Activity>,
    /// Which of its connection's requests it is.
    number: usize,
}

impl Asked {
    pub(crate) fn of<B>(request: &Request<B>, activity: &Arc<Activity>, number: usize) -> Self {
        let (is_head, is_http_1) =
            (request.method() == Method::HEAD, request.version() < Version::HTTP_2);
        Self { is_head, is_http_1, activity: Arc::clone(activity), number }
    }

    /// The response as it goes out: without content where there is none to be, and telling the
    /// client to stop where what it sends is too much.
    pub(crate) fn answered(&self, mut response: Response<Body>) -> Response<Body> {
        let status = response.status();
        let is_too_much =
            status == StatusCode::PAYLOAD_TOO_LARGE && self.activity.unread.is_of(self.number);
        if self.is_http_1 && is_too_much {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.is_head || has_no_content(status) {
            without_content(response, self.is_head)
        } else {
            response
        }
    }
}

/// Whether no response of this status has content: RFC 9110, sections 15.2, 15.3.5, 15.3.6 and
/// 15.4.5.
pub fn has_no_content(status: StatusCode) -> bool {
    status.is_informational()
        || matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        )
}

/// The response's head alone. Of the content's length it says what it may.
fn without_content(response: Response<Body>, is_head: bool) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    match head.status {
        StatusCode::RESET_CONTENT if !is_head => {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
            return Response::from_parts(head, Body::empty());
        }
        StatusCode::NO_CONTENT => {
            head.headers.remove(CONTENT_LENGTH);
        }
        _ if is_head && !head.headers.contains_key(CONTENT_LENGTH) => {
            // The router may have taken the body away already, of whatever length it was.
            if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
                head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
        _ => {}
    }
    Response::from_parts(head, Body::new(Nothing))
}

/// No content, in place of some whose length the head may say.
struct Nothing;

impl http_body::Body for Nothing {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        // That of what is not sent: nobody is to take it for what the head says.
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(version: Version, target: &str, hosts: &[&str]) -> Result<Option<String>, Refusal> {
        let method = if target.starts_with('/') || target.contains("://") {
            Method::GET
        } else {
            Method::CONNECT
        };
        let mut request = Request::builder().version(version).method(method).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let mut request = request.body(()).unwrap();
        check(&mut request)?;
        Ok(request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_request_names_one_host() {
        let (one, old, two) = (Version::HTTP_11, Version::HTTP_10, Version::HTTP_2);
        let taken: &[(Version, &str, &[&str], Option<&str>)] = &[
            (one, "/", &["a.example:8080"], Some("a.example:8080")),
            (one, "/", &["[::1]:7070"], Some("[::1]:7070")),
            (old, "/", &[], None),
            (old, "/", &["a.example"], Some("a.example")),
            // The target counts, whatever the header says.
            (one, "http://b.example/x", &["a.example"], Some("b.example")),
            (one, "https://b.example:8443/x", &[""], Some("b.example:8443")),
            (old, "http://b.example/x", &[], Some("b.example")),
            (two, "http://b.example/x", &[], Some("b.example")),
            (two, "http://b.example/x", &["B.example"], Some("b.example")),
            (two, "/", &["a.example"], Some("a.example")),
            (one, "b.example:443", &["b.example:443"], Some("b.example:443")),
        ];
        for (version, target, hosts, expected) in taken {
            let host = checked(*version, target, hosts)
                .unwrap_or_else(|e| panic!("{target} {hosts:?}: {e}"));
            assert_eq!(host.as_deref(), *expected, "{target} {hosts:?}");
        }
        let refused: &[(Version, &str, &[&str])] = &[
            (one, "/", &[]),
            (one, "http://a.example/", &[]),
            (two, "/", &[]),
            (one, "/", &["a.example", "a.example"]),
            (old, "/", &["a.example", "a.example"]),
            (two, "http://a.example/", &["a.example", "a.example"]),
            (two, "http://a.example/", &["b.example"]),
            (one, "http://a.example/", &["b example"]),
            (one, "http://user@a.example/", &["a.example"]),
            (one, "ftp://a.example/", &["a.example"]),
            (one, "/", &[""]),
            (one, "/", &["a b"]),
            (one, "/", &["user@a.example"]),
            (one, "/", &["a.example/x"]),
            (one, "/", &["http://a.example"]),
            (one, "/", &["a.example:x"]),
            (one, "/", &["a.example:99999"]),
            (one, "/", &["[::1"]),
            (one, "/", &["[a.example]"]),
            (one, "/", &["a.example, b.example:80"]),
            (one, "/", &[":80"]),
        ];
        for (version, target, hosts) in refused {
            let refused = checked(*version, target, hosts);
            assert!(
                matches!(refused, Err(Refusal::BadRequest(_))),
                "{target} {hosts:?}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_target_has_the_form_of_its_method() {
        let checked = |method: Method, target: &str| {
            let mut request = Request::builder()
                .method(method)
                .uri(target)
                .header(HOST, "a.example")
                .body(())
                .unwrap();
            check(&mut request)
        };
        assert!(checked(Method::OPTIONS, "*").is_ok());
        assert!(checked(Method::GET, "*").is_err());
        assert!(checked(Method::GET, "a.example:80").is_err());
        assert!(checked(Method::CONNECT, "/a").is_err());
    }

    #[test]
    fn only_chunked_is_known() {
        let checked = |codings: &[&str]| {
            let mut request = Request::get("/").header(HOST, "a.example");
            for coding in codings {
                request = request.header(TRANSFER_ENCODING, *coding);
            }
            check(&mut request.body(()).unwrap())
        };
        assert!(checked(&["Chunked "]).is_ok() && checked(&[]).is_ok());
        for codings in [
            &["gzip, chunked"][..],
            &["gzip", "chunked"],
            &["chunked, chunked"],
            &["identity"],
            &[""],
        ] {
            assert!(matches!(checked(codings), Err(Refusal::NotImplemented(_))), "{codings:?}");
        }
    }

    #[test]
    fn the_number_of_fields_is_bounded() {
        let checked = |count: usize| {
            let mut request = Request::get("/").header(HOST, "a.example");
            for i in 1..count {
                request = request.header(format!("x-{i}"), "1");
            }
            check(&mut request.body(()).unwrap())
        };
        assert!(checked(MAX_HEADERS).is_ok());
        assert!(matches!(checked(MAX_HEADERS + 1), Err(Refusal::HeadTooLarge(_))));
    }

    #[test]
    fn the_length_of_a_head_is_bounded() {
        let checked = |version: Version, target: usize, field: usize| {
            let target = format!("http://a.example/{}", "t".repeat(target));
            let request = Request::get(target).version(version).header(HOST, "a.example");
            check(&mut request.header("x", "y".repeat(field)).body(()).unwrap())
        };
        for version in [Version::HTTP_11, Version::HTTP_2] {
            assert!(checked(version, 10, 65_000).is_ok());
            assert!(checked(version, 65_000, 10).is_ok());
            for (target, field) in [(10, 65_536), (10, 100_000), (40_000, 40_000)] {
                let refused = checked(version, target, field);
                assert!(
                    matches!(refused, Err(Refusal::HeadTooLarge(_))),
                    "{target} {field}: {refused:?}"
                );
            }
            // The longest target that there can be.
            assert!(matches!(checked(version, 65_517, 10), Err(Refusal::UriTooLong)));
        }
    }

    #[test]
    fn a_head_alone_says_what_it_may_of_the_content() {
        let answered = |is_head: bool, status: u16, length: Option<&'static str>| {
            let asked = Asked { is_head, is_http_1: false, activity: Arc::default(), number: 1 };
            let mut response = Response::builder().status(status);
            if let Some(length) = length {
                response = response.header(CONTENT_LENGTH, length);
            }
            let response = asked.answered(response.body(Body::from("content")).unwrap());
            let length = response
                .headers()
                .get(CONTENT_LENGTH)
                .map(|length| length.to_str().unwrap().to_owned());
            let content = futures_util::FutureExt::now_or_never(axum::body::to_bytes(
                response.into_body(),
                100,
            ));
            (length, content.unwrap().unwrap().len())
        };
        let some = |length: &str| Some(length.to_owned());
        assert_eq!(answered(true, 200, None), (some("7"), 0));
        assert_eq!(answered(true, 200, Some("7")), (some("7"), 0));
        assert_eq!(answered(false, 204, Some("7")), (None, 0));
        assert_eq!(answered(true, 204, None), (None, 0));
        assert_eq!(answered(false, 205, None), (some("0"), 0));
        assert_eq!(answered(false, 304, Some("7")), (some("7"), 0));
        assert_eq!(answered(false, 304, None), (None, 0));
        assert_eq!(answered(false, 200, None), (None, 7));
    }
}
