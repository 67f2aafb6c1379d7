//! Which host a request is for.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

/// The host and the port that a request is for: those of its target, or where it has none, of the
/// header Host (RFC 9112, section 3.2.2).
pub(crate) fn authority(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    match uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => headers.get(HOST)?.to_str().ok()?.parse().ok(),
    }
}

/// The name that a request is for, in lower case, without the port and without the dot at the end
/// that an absolute name may have.
pub(crate) fn requested(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let authority = authority(uri, headers)?;
    let host = authority.host();
    Some(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_requested_name_is_read() {
        for (uri, host, expected) in [
            ("/", Some("Shop.Example.com:8080"), Some("shop.example.com")),
            ("/", Some("shop.example.com."), Some("shop.example.com")),
            ("http://other.example.com/", Some("shop.example.com"), Some("other.example.com")),
            ("/", Some("[::1]:7070"), Some("[::1]")),
            ("/", Some("shop.example.com:80@api.example.com"), Some("api.example.com")),
            ("/", Some("a b"), None),
            ("/", None, None),
        ] {
            let headers =
                host.map(|host| (HOST, HeaderValue::from_static(host))).into_iter().collect();
            assert_eq!(
                requested(&uri.parse().unwrap(), &headers).as_deref(),
                expected,
                "{uri} {host:?}"
            );
        }
    }
}
