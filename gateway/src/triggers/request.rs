//! What a function gets of a request.

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{
    CONNECTION, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::request::Parts;
use http::uri::Scheme;
use wasmill_domain::http_message::{self, Headers, RequestHead, header_map};
use wasmill_http::MAX_HEADERS;

use crate::authority;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

// A request that the server takes is one that can be handed to a function.
const _: () = assert!(MAX_HEADERS <= http_message::MAX_HEADERS);

/// Fields that concern one connection only: <https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1>.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The request's head as the function sees it, at `path`.
pub(super) fn head_of(parts: &Parts, path: &str) -> RequestHead {
    let target = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let authority = authority::authority(&parts.uri, &parts.headers);
    RequestHead {
        method: parts.method.to_string(),
        target,
        scheme: scheme_of(parts).into(),
        authority: authority.map(|authority| authority.to_string()).unwrap_or_default(),
        headers: end_to_end(&parts.headers).filter(|(name, _)| name != HOST.as_str()).collect(),
    }
}

/// `http` or `https`: what the connection is, whatever the client says.
pub(super) fn scheme_of(parts: &Parts) -> &str {
    parts.extensions.get::<Scheme>().map_or("http", Scheme::as_str)
}

/// The fields that concern both ends.
pub(super) fn end_to_end(headers: &HeaderMap) -> impl Iterator<Item = (String, Bytes)> {
    let named: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    headers.iter().filter_map(move |(name, value)| {
        let hop = HOP_BY_HOP.contains(name) || named.iter().any(|named| named == name.as_str());
        (!hop).then(|| (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes())))
    })
}

/// Fields as the server sends them. What cannot be one is left out, and so is what concerns one
/// connection only.
pub(super) fn response_fields(fields: Headers) -> HeaderMap {
    let mut map = header_map(fields);
    for name in HOP_BY_HOP {
        map.remove(name);
    }
    map
}

/// Whether a body is short enough to travel with its head.
pub(super) fn is_short(body: &Body, limit: usize) -> bool {
    body.size_hint().exact().is_some_and(|length| length <= limit as u64)
}
