//! An HTTP request as data: as bytes of `application/http`
//! (<https://www.rfc-editor.org/rfc/rfc9112#section-10.2>), which is how an event carries one, and
//! the messages that carry one and its response between a gateway and a host. Their bytes are in
//! [`wire`](crate::wire).

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::dispatch::Dispatch;
use crate::execution::Outcome;
use crate::key::{mask_encoded_keys, mask_keys};

/// The media type of an event's data that is a request.
pub const MEDIA_TYPE: &str = "application/http";

/// The type of events that HTTP triggers make.
pub const EVENT_TYPE: &str = "wasmill.http.request";

/// The extension attribute that says whether a request came by `http` or by `https`, which its data
/// does not.
pub const HTTP_SCHEME: &str = "httpscheme";

/// The extension attribute of an event whose request had a body that was streamed, and is not part
/// of the data.
pub const BODY_OMITTED: &str = "bodyomitted";

/// The most header fields of a request, its host among them.
pub const MAX_HEADERS: usize = 256;

/// Names in lower case and values, in order; a name may come more than once.
pub type Headers = Vec<(String, Bytes)>;

/// Header fields as HTTP libraries take them, without those that are none.
pub fn header_map(fields: Headers) -> HeaderMap {
    let field = |(name, value): (String, Bytes)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::from_maybe_shared(value).ok()?))
    };
    let mut map = HeaderMap::new();
    for (name, value) in fields.into_iter().filter_map(field) {
        map.append(name, value);
    }
    map
}

/// A request without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// In capitals, as it came.
    pub method: String,
    /// Path and query, percent-encoded: `/orders/7?full=1`.
    pub target: String,
    /// `http` or `https`.
    pub scheme: String,
    /// The host, and the port where it is not the usual one.
    pub authority: String,
    /// The header fields, without those that concern a single connection and without `host`.
    pub headers: Headers,
}

/// A response without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: Headers,
}

/// What a gateway says first.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// The execution that the request is.
    pub dispatch: Dispatch,
    /// The request.
    pub head: RequestHead,
    /// The beginning of its body.
    pub body: Bytes,
    /// Whether that is all of it.
    pub complete: bool,
}

/// What a gateway says next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upload {
    /// More of the body.
    Data(Bytes),
    /// The body has ended, with these trailers.
    End(Headers),
}

/// What a host says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Download {
    /// The response begins.
    Head(ResponseHead),
    /// More of its body.
    Data(Bytes),
    /// The body has ended, with these trailers.
    End(Headers),
    /// There will be no response, and why.
    Failed {
        /// How the attempt ended.
        outcome: Outcome,
        /// For the operator.
        message: String,
    },
}

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub(crate) String);

impl RequestHead {
    /// The request as `application/http`.
    pub fn to_message(&self, body: &[u8]) -> Bytes {
        let mut head = String::new();
        // Writing to a string cannot fail.
        let _ = write!(
            head,
            "{} {} HTTP/1.1\r\nhost: {}\r\n",
            self.method, self.target, self.authority
        );
        let mut message = head.into_bytes();
        for (name, value) in &self.headers {
            message.extend_from_slice(name.as_bytes());
            message.extend_from_slice(b": ");
            message.extend_from_slice(value);
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(b"\r\n");
        message.extend_from_slice(body);
        message.into()
    }

    /// A request from `application/http`, and its body: all that follows the head.
    ///
    /// # Errors
    /// Where it is not a request as HTTP/1.1 writes it.
    pub fn from_message(message: &Bytes) -> Result<(Self, Bytes), DecodeError> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut fields);
        let not_a_request = |why: &str| {
            DecodeError(format!("the data is not a request as {MEDIA_TYPE} has it: {why}"))
        };
        let length = match request.parse(message) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Err(not_a_request("its head does not end")),
            Err(error) => return Err(not_a_request(&error.to_string())),
        };
        let mut authority = String::new();
        let mut headers = Headers::new();
        for field in &*request.headers {
            let (name, mut value) = (field.name.to_ascii_lowercase(), field.value.to_vec());
            // The gateway takes them out. What earlier releases accepted may have some still.
            let has_key = mask_keys(&mut value);
            match name.as_str() {
                "host" => authority = String::from_utf8_lossy(&value).into_owned(),
                "authorization" if has_key => {}
                _ => headers.push((name, value.into())),
            }
        }
        let (method, mut target) = (
            request.method.unwrap_or_default(),
            request.path.unwrap_or_default().as_bytes().to_vec(),
        );
        mask_encoded_keys(&mut target);
        let target = String::from_utf8_lossy(&target).into_owned();
        let head =
            Self { method: method.to_owned(), target, scheme: "http".into(), authority, headers };
        Ok((head, message.slice(length..)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> RequestHead {
        RequestHead {
            method: "POST".into(),
            target: "/orders/7?full=1".into(),
            scheme: "http".into(),
            authority: "api.example.com:8080".into(),
            headers: vec![
                ("accept".into(), "a".into()),
                ("accept".into(), "b".into()),
                ("x".into(), vec![0xff].into()),
            ],
        }
    }

    #[test]
    fn a_request_is_written_and_read() {
        let message = head().to_message(b"\r\n\r\nbody\0");
        assert!(message.starts_with(
            b"POST /orders/7?full=1 HTTP/1.1\r\nhost: api.example.com:8080\r\naccept: a\r\n"
        ));
        let (read, body) = RequestHead::from_message(&message).unwrap();
        assert_eq!((read, body.as_ref()), (head(), &b"\r\n\r\nbody\0"[..]));
    }

    #[test]
    fn keys_of_earlier_releases_are_not_handed_on() {
        let key = crate::key::ApiKey::generate().unwrap();
        let key = key.reveal();
        let message = format!(
            "GET /?k={key} HTTP/1.1\r\nAuthorization: Bearer {key}\r\nx: {key}\r\ny: 1\r\n\r\n"
        );
        let (head, _) = RequestHead::from_message(&Bytes::from(message)).unwrap();
        assert_eq!(
            head.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["x", "y"]
        );
        assert!(!format!("{head:?}").contains(key), "{head:?}");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for bad in
            ["", "GET / HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n\r\n", "GET /a b HTTP/1.1\r\n\r\n"]
        {
            assert!(RequestHead::from_message(&Bytes::from(bad)).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = RequestHead::from_message(&bytes.into());
        }
    }
}
