//! Events whose data is the body and whose type is named beside it: `POST /v1/events/{type}`.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::value::RawValue;
use uuid::Uuid;
use wasmill_domain::event::{Attribute, Event};
use wasmill_domain::{EventParts, EventType, event};

use super::cloudevents::{attribute_headers, is_cloudevents};
use crate::body::{byte_order_mark, is_unnamed, media_type, not_json};
use crate::error::{ApiError, Result};
use crate::problem::Fault;

/// The source of events whose sender names none.
const DEFAULT_SOURCE: &str = "/http";

const ACCEPTED: &[&str] = &["application/json", "*/*"];

/// Reads an event of type `event_type` whose data is the body. Other attributes may come as `ce-`
/// headers; an id is made where none comes.
///
/// # Errors
/// Where an attribute is not valid, and where nothing says what the data is and it is not JSON.
pub(super) fn read(event_type: EventType, headers: &HeaderMap, body: Bytes) -> Result<Event> {
    let media_type = media_type(headers)?;
    let content_type = if is_unnamed(media_type.as_deref()) {
        // What `curl -d` sends: JSON by the looks of it, or else nobody knows what.
        if !body.is_empty()
            && let Err(error) = serde_json::from_slice::<&RawValue>(&body)
        {
            if byte_order_mark(&body).is_some() {
                return Err(ApiError::InvalidEvent(not_json("", "the body", &body, &error)));
            }
            return Err(ApiError::MediaType(
                "the body is not JSON, and no Content-Type says what it is (curl's -d says \
                 'application/x-www-form-urlencoded', which is taken for none): send 'Content-Type: text/csv' or the like"
                    .into(),
                ACCEPTED,
            ));
        }
        (!body.is_empty()).then(|| "application/json".to_owned())
    } else {
        let text = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .trim();
        if media_type.as_deref().is_some_and(is_cloudevents) {
            return Err(ApiError::MediaType(
                "send CloudEvents in structured or batch mode to /v1/events; here the body is the data itself".into(),
                ACCEPTED,
            ));
        }
        if !event::is_media_type(text) {
            return Err(ApiError::MediaType(
                "the header Content-Type is not a media type".into(),
                ACCEPTED,
            ));
        }
        Some(text.to_owned())
    };
    let mut parts = EventParts::new("", DEFAULT_SOURCE, event_type);
    // Nothing at all, and no word of what it is: an event without data.
    parts.data = content_type.is_some().then_some(body);
    parts.datacontenttype = content_type;
    for header in attribute_headers(headers) {
        let (name, value) = header?;
        if name == "type" && value != parts.event_type.as_str() {
            let detail = format!(
                "the header ce-type says '{value}', but the request is for '{}'",
                parts.event_type
            );
            return Err(ApiError::InvalidEvent(Fault::at("/type", detail)));
        }
        parts.set(name, Attribute::String(value))?;
    }
    if parts.id.is_empty() {
        parts.id = Uuid::now_v7().to_string();
    }
    Ok(parts.check()?)
}
