//! Cross-origin resource sharing: <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use axum::response::{IntoResponse as _, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method, StatusCode};
use wasmill_domain::manifest::http::{Cors, HttpTrigger, Method as HttpMethod};

/// The methods that a trigger without a list answers, as far as a browser may ask.
const EVERY_METHOD: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The answer to a preflight, if this is one and the trigger has rules.
pub(super) fn preflight(
    trigger: Option<&HttpTrigger>,
    method: &Method,
    headers: &HeaderMap,
) -> Option<Response> {
    let trigger = trigger?;
    let cors = trigger.cors.as_ref()?;
    let origin = headers.get(ORIGIN)?;
    if method != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let answer = response.headers_mut();
    if allow(cors, origin, answer) {
        let methods: Vec<&str> = trigger.methods.iter().map(HttpMethod::as_str).collect();
        set(
            answer,
            ACCESS_CONTROL_ALLOW_METHODS,
            if methods.is_empty() { EVERY_METHOD.into() } else { methods.join(", ") },
        );
        if !cors.headers.is_empty() {
            set(answer, ACCESS_CONTROL_ALLOW_HEADERS, cors.headers.join(", "));
        }
        if let Some(seconds) = cors.max_age {
            set(answer, ACCESS_CONTROL_MAX_AGE, seconds.to_string());
        }
    }
    Some(response)
}

/// Lets pages of `origin` read an answer, if the rules say so. What the function says of this
/// itself does not count.
pub(super) fn allow(cors: &Cors, origin: &HeaderValue, answer: &mut HeaderMap) -> bool {
    for name in [
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        ACCESS_CONTROL_EXPOSE_HEADERS,
    ] {
        answer.remove(name);
    }
    answer.append(VARY, HeaderValue::from_static("origin"));
    let any = cors.origins.iter().any(|known| known == "*");
    if !any && !cors.origins.iter().any(|known| known.as_bytes() == origin.as_bytes()) {
        return false;
    }
    let allowed = if any { HeaderValue::from_static("*") } else { origin.clone() };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if cors.credentials {
        answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    if !cors.expose.is_empty() {
        set(answer, ACCESS_CONTROL_EXPOSE_HEADERS, cors.expose.join(", "));
    }
    true
}

/// Sets a header from the manifest, whose texts were checked when it was deployed.
fn set(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}
