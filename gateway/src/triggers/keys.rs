//! API keys never reach a function. One that a client sends to a function's route by mistake is overwritten, wherever in
//! the request's head it stands, before anything else sees the request.

use axum::extract::Request;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Uri};
use wasmill_domain::mask_keys;

/// Takes the header `Authorization` out of a request if it has an API key, and overwrites keys elsewhere in its head.
pub(super) fn strip(request: &mut Request) {
    strip_from(request.headers_mut());
    if let Some(uri) = masked_uri(request.uri()) {
        *request.uri_mut() = uri;
    }
}

/// The same for header or trailer fields alone.
pub(super) fn strip_from(headers: &mut HeaderMap) {
    let has_key = |value: &HeaderValue| mask_keys(&mut value.as_bytes().to_vec());
    if headers.get_all(AUTHORIZATION).iter().any(has_key) {
        headers.remove(AUTHORIZATION);
    }
    for value in headers.values_mut().filter(|value| contains_prefix(value.as_bytes())) {
        let mut bytes = value.as_bytes().to_vec();
        if mask_keys(&mut bytes)
            && let Ok(masked) = HeaderValue::from_bytes(&bytes)
        {
            *value = masked;
        }
    }
}

fn masked_uri(uri: &Uri) -> Option<Uri> {
    let mut text = uri.path_and_query()?.as_str().as_bytes().to_vec();
    if !mask_keys(&mut text) {
        return None;
    }
    let mut parts = uri.clone().into_parts();
    // Cannot fail: stars took the place of letters.
    parts.path_and_query = Some(http::uri::PathAndQuery::try_from(text).ok()?);
    Uri::from_parts(parts).ok()
}

fn contains_prefix(value: &[u8]) -> bool {
    value.windows(3).any(|window| window == b"wm_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use wasmill_domain::ApiKey;

    #[test]
    fn keys_are_taken_out_of_a_head() {
        let key = ApiKey::generate().unwrap();
        let key = key.reveal();
        for scheme in ["Bearer", "bearer", "BEARER ", "Token"] {
            let mut request = Request::get(format!("http://shop.example.com/a/{key}?token={key}&b=1"))
                .header(AUTHORIZATION, format!("{scheme} {key}"))
                .header("x-api-key", key)
                .header("cookie", format!("a=1; key={key}; b=2"))
                .header("accept", "text/plain")
                .body(Body::empty())
                .unwrap();
            strip(&mut request);
            assert!(!format!("{request:?}").contains(key), "{request:?}");
            assert!(!request.headers().contains_key(AUTHORIZATION));
            assert_eq!(request.headers()["accept"], "text/plain");
            assert!(request.headers()["cookie"].to_str().unwrap().ends_with("; b=2"));
            assert_eq!(request.uri().host(), Some("shop.example.com"));
            assert!(request.uri().query().unwrap().ends_with("&b=1"));
        }
    }

    #[test]
    fn other_credentials_stay() {
        for other in ["Bearer eyJhbGciOi.J9.x", "Basic d21fOg==", "Bearer wm_short"] {
            let mut request = Request::get("/a?b=wm_").header(AUTHORIZATION, other).body(Body::empty()).unwrap();
            strip(&mut request);
            assert_eq!(request.headers()[AUTHORIZATION], other);
            assert_eq!(request.uri(), "/a?b=wm_");
        }
    }
}
