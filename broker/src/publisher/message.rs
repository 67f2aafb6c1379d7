//! A batch of dispatches as a message.

use bytes::Bytes;
use wasmill_domain::event::Attribute;
use wasmill_domain::wire::Writes;
use wasmill_domain::{Batch, Dispatch, Timestamp};

use crate::port::{BrokerError, Message, Result};

/// The media type of a batch, in the header `content-type` of its message. The version is the
/// message's first byte.
const CONTENT_TYPE: &str = "application/vnd.wasmill.batch";

/// How long a dispatch is in a batch, about: its texts and its data, and room for ids and lengths.
pub(super) fn weight(dispatch: &Dispatch) -> usize {
    let event = &dispatch.event;
    let optional = [
        &event.subject,
        &event.time,
        &event.dataschema,
        &event.datacontenttype,
        &dispatch.trace.tracestate,
    ];
    let optional: usize = optional.into_iter().flatten().map(String::len).sum();
    let extension = |(name, value): (&String, &Attribute)| {
        let value = if let Attribute::String(text) = value { text.len() } else { 4 };
        name.len() + value + 4
    };
    let extensions: usize = event.extensions.iter().map(extension).sum();
    let data = event.data.as_ref().map_or(0, Bytes::len);
    192 + data
        + event.id.len()
        + event.source.len()
        + event.event_type.len()
        + optional
        + extensions
}

/// The message of a batch of these dispatches, which are given to the broker now, in the version
/// that `writes` says.
pub(super) fn message_of(mut dispatches: Vec<Dispatch>, writes: &Writes) -> Result<Message> {
    let now = Timestamp::now();
    for dispatch in &mut dispatches {
        dispatch.queued_at = now;
    }
    let Some(batch) = Batch::new(dispatches) else {
        return Err(BrokerError::Rejected(
            "a batch must be of 1 to 64 dispatches of one function".into(),
        ));
    };
    let trace = batch.dispatches()[0].trace.to_string();
    Ok(Message {
        // The queue may be long: no spare capacity is kept in it.
        body: batch.encode(writes).into_boxed_slice().into(),
        headers: vec![("content-type".into(), CONTENT_TYPE.into()), ("traceparent".into(), trace)],
        reply_to: None,
    })
}
