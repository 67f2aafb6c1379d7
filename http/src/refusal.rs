//! Why a message is refused before anybody looks at what it is for, as a problem document (RFC
//! 9457).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

/// The media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not one as HTTP has it.
    #[error("{0}")]
    BadRequest(String),
    /// The target is too long.
    #[error("the request's target is too long")]
    UriTooLong,
    /// The head is.
    #[error("{0}")]
    HeadTooLarge(String),
    /// Not a way to send a body that is known here.
    #[error("{0}")]
    NotImplemented(String),
}

impl Refusal {
    /// One of each kind, for whoever lists them.
    pub fn samples() -> [Self; 4] {
        [
            Self::BadRequest(String::new()),
            Self::UriTooLong,
            Self::HeadTooLarge(String::new()),
            Self::NotImplemented(String::new()),
        ]
    }

    /// The kind's name: the last segment of the problem's `type`, `/problems/NAME`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad-request",
            Self::UriTooLong => "uri-too-long",
            Self::HeadTooLarge(_) => "head-too-large",
            Self::NotImplemented(_) => "not-implemented",
        }
    }

    /// The kind in a few words.
    pub fn title(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "Bad request",
            Self::UriTooLong => "Target too long",
            Self::HeadTooLarge(_) => "Head too large",
            Self::NotImplemented(_) => "Not implemented",
        }
    }

    /// The answer's status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// The problem document.
    pub(crate) fn document(&self) -> Vec<u8> {
        let document = Document {
            kind: format!("/problems/{}", self.name()),
            title: self.title(),
            status: self.status().as_u16(),
            detail: self.to_string(),
        };
        // Cannot fail: every key is a string and nothing does I/O.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Document {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.document()));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_what_was_refused() {
        let document = Refusal::HeadTooLarge("too many \"fields\"".into()).document();
        let expected = r#"{"type":"/problems/head-too-large","title":"Head too large","status":431,"detail":"too many \"fields\""}"#;
        assert_eq!(String::from_utf8(document).unwrap(), expected);
    }
}
