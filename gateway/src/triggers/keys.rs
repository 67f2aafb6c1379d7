//! API keys never reach a function. One that a client sends to a function's route by mistake is
//! overwritten, wherever in the request's head it stands, before anything else sees the request.

use axum::extract::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Uri};
use wasmill_domain::{mask_encoded_keys, mask_keys};

/// Takes the header `Authorization` out of a request if it has an API key, and overwrites keys
/// elsewhere in its head.
pub(super) fn strip(request: &mut Request) {
    strip_from(request.headers_mut());
    if let Some(uri) = masked_uri(request.uri()) {
        *request.uri_mut() = uri;
    }
    let mut method = request.method().as_str().as_bytes().to_vec();
    if mask_keys(&mut method)
        && let Ok(method) = Method::from_bytes(&method)
    {
        *request.method_mut() = method;
    }
}

/// The same for header or trailer fields alone.
pub(super) fn strip_from(headers: &mut HeaderMap) {
    for credentials in [AUTHORIZATION, PROXY_AUTHORIZATION] {
        if headers.get_all(&credentials).iter().any(|value| has_key(value.as_bytes())) {
            headers.remove(credentials);
        }
    }
    for value in headers.values_mut() {
        // Nearly every value is told by this.
        if !value.as_bytes().iter().any(|b| matches!(b, b'_' | b'%')) {
            continue;
        }
        let mut bytes = value.as_bytes().to_vec();
        if mask_encoded_keys(&mut bytes)
            && let Ok(masked) = HeaderValue::from_bytes(&bytes)
        {
            *value = masked;
        }
    }
}

/// Whether credentials are or have a key: as they are, or in the base64 of `Basic`.
fn has_key(credentials: &[u8]) -> bool {
    let basic = || {
        let (_, encoded) = std::str::from_utf8(credentials).ok()?.split_once(' ')?;
        BASE64.decode(encoded.trim()).ok()
    };
    mask_encoded_keys(&mut credentials.to_vec())
        || basic().is_some_and(|mut decoded| mask_keys(&mut decoded))
}

fn masked_uri(uri: &Uri) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    let mut is_masked = false;
    if let Some(authority) = &parts.authority {
        let mut text = authority.as_str().as_bytes().to_vec();
        if mask_encoded_keys(&mut text) {
            // Most likely before an '@': what is behind it is the host and the port.
            let behind = authority
                .as_str()
                .rsplit('@')
                .next()
                .and_then(|rest| rest.parse::<Authority>().ok());
            let behind = behind.filter(|rest| !has_key(rest.as_str().as_bytes()));
            parts.authority =
                Some(behind.unwrap_or_else(|| Authority::from_static("masked.invalid")));
            is_masked = true;
        }
    }
    let mut text =
        uri.path_and_query().map(|path| path.as_str().as_bytes().to_vec()).unwrap_or_default();
    if mask_encoded_keys(&mut text) {
        // Cannot fail: stars took the place of letters.
        parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
        is_masked = true;
    }
    if is_masked { Uri::from_parts(parts).ok() } else { None }
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
        let (encoded, basic) = (format!("wm%5F{}", &key[3..]), BASE64.encode(format!("{key}:")));
        for authorization in [
            format!("Bearer {key}"),
            format!("bearer {key}x"),
            format!("BEARER  {key}"),
            format!("Token {key}"),
            format!("Basic {basic}"),
        ] {
            let mut request = Request::get(format!(
                "http://{key}@shop.example.com:80/a/{key}/{encoded}?t={key}&u={encoded}&b=1"
            ))
            .header(AUTHORIZATION, authorization)
            .header("x-api-key", key)
            .header("x-encoded", &encoded)
            .header("cookie", format!("a=1; key={key}; b=2"))
            .header("accept", "text/plain")
            .body(Body::empty())
            .unwrap();
            *request.method_mut() = Method::from_bytes(key.as_bytes()).unwrap();
            strip(&mut request);
            let all = format!("{request:?}");
            assert!(!all.contains(&key[3..]) && !all.contains(&basic), "{all}");
            assert!(!request.headers().contains_key(AUTHORIZATION));
            assert_eq!(request.headers()["accept"], "text/plain");
            assert!(request.headers()["cookie"].to_str().unwrap().ends_with("; b=2"));
            assert_eq!(request.uri().authority().unwrap(), "shop.example.com:80");
            assert!(request.uri().query().unwrap().ends_with("&b=1"));
        }
    }

    #[test]
    fn other_credentials_stay() {
        for other in
            ["Bearer eyJhbGciOi.J9.x", "Basic d21fOg==", "Bearer wm_short", "Basic not base64"]
        {
            let mut request = Request::get("/a?b=wm_%5F")
                .header(AUTHORIZATION, other)
                .body(Body::empty())
                .unwrap();
            strip(&mut request);
            assert_eq!(request.headers()[AUTHORIZATION], other);
            assert_eq!(
                (request.uri().to_string().as_str(), request.method()),
                ("/a?b=wm_%5F", &Method::GET)
            );
        }
    }
}
