//! Reads request bodies: bounded in length, in time, and in what all of them hold together.

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use wasmill_domain::event::is_json_media_type;
use wasmill_domain::json;

use crate::app::{App, Reservation};
use crate::error::{ApiError, Result};
use crate::problem::Fault;

const JSON_ONLY: &[&str] = &["application/json"];

/// A body, and its share of what all bodies may hold.
#[derive(Clone)]
pub(crate) struct BufferedBody {
    pub(crate) bytes: Bytes,
    share: Reservation,
}

impl BufferedBody {
    /// The share, for what goes on with the bytes without the rest of this.
    pub(crate) fn share(&self) -> &Reservation {
        &self.share
    }
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// Where it is longer, takes too long, breaks off or comes compressed, and where other bodies leave
/// no room for it.
pub(crate) async fn read(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<BufferedBody> {
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(ApiError::MediaType(
            "compressed bodies are not taken: send it without Content-Encoding".into(),
            &[],
        ));
    }
    read_as_it_is(app, body, limit).await
}

/// Reads a body of at most `limit` bytes, compressed or not.
///
/// # Errors
/// Where it is longer, takes too long or breaks off, and where other bodies leave no room for it.
pub(crate) async fn read_as_it_is(app: &App, body: Body, limit: usize) -> Result<BufferedBody> {
    let announced = body.size_hint();
    if announced.lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let reserve = announced.exact().map_or(limit, |bytes| usize::try_from(bytes).unwrap_or(limit));
    let share = app.admit_bytes(reserve)?;
    let wait_timeout = app.settings.server.body_timeout;
    let collected = tokio::time::timeout(wait_timeout, Limited::new(body, limit).collect()).await;
    match collected.map_err(|_| ApiError::Timeout(wait_timeout))? {
        Ok(collected) => Ok(BufferedBody { bytes: collected.to_bytes(), share }),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Err(_) => Err(aborted()),
    }
}

/// What is said of a body that ends before its end, or comes in pieces that are none.
pub(crate) fn aborted() -> ApiError {
    ApiError::BadRequest("the body breaks off, or is not in chunks as HTTP has them".into())
}

/// What is said of a body that is longer than `limit`.
pub(crate) fn too_large(limit: usize) -> ApiError {
    ApiError::TooLarge(format!("the body is longer than the {limit} bytes that are taken here"))
}

/// The media type of a body without its parameters, in lower case; `None` where the header is
/// absent.
///
/// # Errors
/// Where the header is not text.
pub(crate) fn media_type(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let text = value
        .to_str()
        .map_err(|_| ApiError::BadRequest("the header Content-Type is not ASCII".into()))?;
    Ok(Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()))
}

/// Whether a body may be JSON although nothing says so: nothing was said, or what `curl -d` says by
/// itself.
pub(crate) fn is_unnamed(media_type: Option<&str>) -> bool {
    matches!(media_type, None | Some("" | "application/x-www-form-urlencoded"))
}

/// Reads a JSON document of at most `limit` bytes.
///
/// # Errors
/// As [`read`], and where it is not JSON or not the document that is asked for.
pub(crate) async fn document<T: DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<T> {
    let media_type = media_type(headers)?;
    if !is_unnamed(media_type.as_deref()) && !media_type.as_deref().is_some_and(is_json_media_type)
    {
        return Err(ApiError::MediaType("a JSON document is expected here".into(), JSON_ONLY));
    }
    let buffered = read(app, headers, body, limit).await?;
    let text = &buffered.bytes;
    typed(text).map_err(|error| ApiError::BadDocument(not_json("", "the document", text, &error)))
}

/// The same where there may be none: a body without bytes is none, as is JSON's null.
///
/// # Errors
/// As [`document`].
pub(crate) async fn optional_document<T: DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Option<T>> {
    let buffered = read(app, headers, body, limit).await?;
    if buffered.bytes.is_empty() {
        return Ok(None);
    }
    document(app, headers, buffered.bytes.into(), limit).await
}

/// A document out of its text.
fn typed<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    // What it says must be what everybody reads: schemas, for one, are compared by.
    let value = json::parse(text)?;
    // Only the text knows where it is not what is asked for.
    serde_json::from_value(value).or_else(|_| serde_json::from_slice(text))
}

/// Whether a text begins with a byte-order mark, and of which encoding.
pub(crate) fn byte_order_mark(text: &[u8]) -> Option<&'static str> {
    match text {
        [0xEF, 0xBB, 0xBF, ..] => Some("UTF-8"),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Some("UTF-16"),
        _ => None,
    }
}

/// The fault of a text that is not JSON, or not of the shape that is asked for.
pub(crate) fn not_json(pointer: &str, what: &str, text: &[u8], error: &serde_json::Error) -> Fault {
    if let Some(encoding) = byte_order_mark(text) {
        let detail = format!(
            "{what} cannot be read as JSON: it begins with a byte-order mark of {encoding}; send it in UTF-8 and without one"
        );
        return Fault { line: Some(1), column: Some(1), ..Fault::at(pointer, detail) };
    }
    // Line 0 is how serde_json says that the place is not known.
    let known = error.line() > 0;
    let number = |number: usize| known.then(|| u32::try_from(number).unwrap_or(u32::MAX));
    Fault {
        line: number(error.line()),
        column: number(error.column()),
        ..Fault::at(pointer, format!("{what} cannot be read as JSON: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Document {
        number: u64,
        more: Option<serde_json::Value>,
    }

    #[test]
    fn a_document_of_another_shape_is_told_with_its_place() {
        let read =
            |text: &str| typed::<Document>(text.as_bytes()).map_err(|error| error.to_string());
        let more = Some(serde_json::json!({"a": [1.5]}));
        assert_eq!(
            read(r#"{"number": 18446744073709551615}"#),
            Ok(Document { number: u64::MAX, more: None })
        );
        assert_eq!(
            read(r#"{"number": 1, "more": {"a": [1.5]}}"#),
            Ok(Document { number: 1, more })
        );
        for (text, words, place) in [
            ("{\n \"number\": \"1\"}", "invalid type: string", "line 2 column 14"),
            ("{\n \"number\": -1}", "invalid value", "line 2 column 13"),
            ("{\"number\": 1,\n \"numbr\": 1}", "unknown field", "line 2 column 8"),
            ("{\"number\": 1,\n \"number\": 1}", "stands there twice", "line 2"),
            ("{\"number\": 1", "EOF", "line 1"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words) && error.contains(place), "{text}: {error}");
        }
    }
}
