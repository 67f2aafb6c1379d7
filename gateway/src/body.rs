//! Reads request bodies: bounded in length, in time, and in what all of them hold together, which is
//! counted as it arrives and not as it is announced.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use wasmill_domain::event::is_json_media_type;
use wasmill_domain::json;

use crate::app::App;
use crate::budget::{Owner, Share};
use crate::error::{ApiError, Result};
use crate::problem::Fault;

const JSON_ONLY: &[&str] = &["application/json"];

/// How much is made room for at first where a body comes in pieces, unless it is shorter.
const STEP: usize = 64 << 10;

/// A body, and its share of what all bodies may hold.
#[derive(Clone)]
pub(crate) struct BufferedBody {
    pub(crate) bytes: Bytes,
    _share: Arc<Share>,
}

/// Reads a body of at most `limit` bytes, on `owner`'s account.
///
/// # Errors
/// Where it is longer, takes too long, breaks off or comes compressed, and where other bodies leave
/// no room for it.
pub(crate) async fn read(
    app: &App,
    owner: &Owner,
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
    read_as_it_is(app, owner, body, limit).await
}

/// Reads a body of at most `limit` bytes, compressed or not.
///
/// # Errors
/// Where it is longer, takes too long or breaks off, and where other bodies leave no room for it.
pub(crate) async fn read_as_it_is(
    app: &App,
    owner: &Owner,
    body: Body,
    limit: usize,
) -> Result<BufferedBody> {
    let announced = body.size_hint();
    if announced.lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let length = announced.exact().and_then(|bytes| usize::try_from(bytes).ok());
    let mut share = app.bodies.share(owner);
    // What is announced counts for nothing yet, but one that has no chance need not be sent.
    let least = usize::try_from(announced.lower()).unwrap_or(usize::MAX);
    fits_ever(&share, least)?;
    share.check(least)?;
    let wait_timeout = app.settings.server.body_timeout;
    let collecting = collect(body, limit, length.unwrap_or(limit), &mut share);
    let collected = tokio::time::timeout(wait_timeout, collecting).await;
    let bytes = collected.map_err(|_| ApiError::Timeout(wait_timeout))??;
    Ok(BufferedBody { bytes, _share: Arc::new(share) })
}

/// That a body of `length` bytes could be held by its sender if nobody else had anything.
fn fits_ever(share: &Share, length: usize) -> Result<()> {
    let most = share.most();
    if length <= most {
        return Ok(());
    }
    Err(ApiError::TooLarge(format!(
        "the body is longer than the {most} bytes that one sender may have in memory here: a part of gateway.max_in_flight_bytes"
    )))
}

/// What comes of a body, which most likely has `length` bytes. A short one is most often one piece,
/// which is kept as it is; otherwise room is made in steps, each as large as all before it.
async fn collect(mut body: Body, limit: usize, length: usize, share: &mut Share) -> Result<Bytes> {
    let (mut first, mut whole) = (Bytes::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|_| aborted())?.into_data().unwrap_or_default();
        let needed = first.len() + whole.len() + data.len();
        if needed > limit {
            return Err(too_large(limit));
        }
        fits_ever(share, needed)?;
        if first.is_empty() && whole.is_empty() {
            share.grow(data.len())?;
            first = data;
            continue;
        }
        if needed > whole.capacity() {
            let most = length.min(share.most()).max(needed);
            let mut steps = needed.max(2 * whole.capacity()).max(STEP).min(most);
            if share.grow(steps.saturating_sub(share.amount())).is_err() {
                // There may be enough for what has come.
                steps = needed;
                share.grow(steps.saturating_sub(share.amount()))?;
            }
            whole.reserve_exact(steps - whole.len());
        }
        whole.extend_from_slice(&std::mem::take(&mut first));
        whole.extend_from_slice(&data);
    }
    if whole.is_empty() {
        return Ok(first);
    }
    if whole.capacity() - whole.len() > STEP {
        whole.shrink_to_fit();
        share.shrink(whole.len());
    }
    Ok(whole.into())
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
    owner: &Owner,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<T> {
    let media_type = media_type(headers)?;
    if !is_unnamed(media_type.as_deref()) && !media_type.as_deref().is_some_and(is_json_media_type)
    {
        return Err(ApiError::MediaType("a JSON document is expected here".into(), JSON_ONLY));
    }
    let buffered = read(app, owner, headers, body, limit).await?;
    let text = &buffered.bytes;
    typed(text).map_err(|error| ApiError::BadDocument(not_json("", "the document", text, &error)))
}

/// The same where there may be none: a body without bytes is none, as is JSON's null.
///
/// # Errors
/// As [`document`].
pub(crate) async fn optional_document<T: DeserializeOwned>(
    app: &App,
    owner: &Owner,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Option<T>> {
    let buffered = read(app, owner, headers, body, limit).await?;
    if buffered.bytes.is_empty() {
        return Ok(None);
    }
    document(app, owner, headers, buffered.bytes.into(), limit).await
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
