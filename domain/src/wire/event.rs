//! The parts of an event and of a trace context, as both versions of the batch message have them. A
//! later version that is to have them otherwise has types of its own.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::octets::Octets;
use crate::event::{Attribute, Event, EventParts};
use crate::names::NameError;
use crate::trace::TraceContext;

/// All of an event but whether its data is opaque.
#[derive(Serialize, Deserialize)]
pub(super) struct WireEvent<'a> {
    id: &'a str,
    source: &'a str,
    event_type: &'a str,
    subject: Option<&'a str>,
    time: Option<&'a str>,
    dataschema: Option<&'a str>,
    datacontenttype: Option<&'a str>,
    /// By name. As bytes a list of pairs is what a map is.
    #[serde(borrow)]
    extensions: Vec<(&'a str, WireAttribute<'a>)>,
    #[serde(borrow)]
    data: Option<Octets<'a>>,
}

/// The value of an extension attribute. The order is the format's.
#[derive(Serialize, Deserialize)]
enum WireAttribute<'a> {
    Boolean(bool),
    Integer(i32),
    String(&'a str),
}

impl<'a> From<&'a Attribute> for WireAttribute<'a> {
    fn from(attribute: &'a Attribute) -> Self {
        match attribute {
            Attribute::Boolean(value) => Self::Boolean(*value),
            Attribute::Integer(value) => Self::Integer(*value),
            Attribute::String(value) => Self::String(value),
        }
    }
}

impl From<WireAttribute<'_>> for Attribute {
    fn from(attribute: WireAttribute<'_>) -> Self {
        match attribute {
            WireAttribute::Boolean(value) => Self::Boolean(value),
            WireAttribute::Integer(value) => Self::Integer(value),
            WireAttribute::String(value) => Self::String(value.to_owned()),
        }
    }
}

impl<'a> From<&'a EventParts> for WireEvent<'a> {
    fn from(event: &'a EventParts) -> Self {
        Self {
            id: &event.id,
            source: &event.source,
            event_type: &event.event_type,
            subject: event.subject.as_deref(),
            time: event.time.as_deref(),
            dataschema: event.dataschema.as_deref(),
            datacontenttype: event.datacontenttype.as_deref(),
            extensions: event
                .extensions
                .iter()
                .map(|(name, value)| (name.as_str(), value.into()))
                .collect(),
            data: event.data.as_deref().map(Octets),
        }
    }
}

impl WireEvent<'_> {
    /// The event, which whoever sent it had checked.
    ///
    /// # Errors
    /// Where its type is none.
    pub(super) fn into_event(self, opaque: bool) -> Result<Arc<Event>, NameError> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(Arc::new(Event::from_checked(EventParts {
            subject: owned(self.subject),
            time: owned(self.time),
            dataschema: owned(self.dataschema),
            datacontenttype: owned(self.datacontenttype),
            extensions: self
                .extensions
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect(),
            data: self.data.map(|data| Bytes::copy_from_slice(data.0)),
            opaque,
            ..EventParts::new(self.id, self.source, self.event_type.parse()?)
        })))
    }
}

/// A trace context.
#[derive(Serialize, Deserialize)]
pub(super) struct WireTrace<'a> {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    sampled: bool,
    tracestate: Option<&'a str>,
}

impl<'a> From<&'a TraceContext> for WireTrace<'a> {
    fn from(trace: &'a TraceContext) -> Self {
        let (&trace_id, &span_id, sampled) = trace.parts();
        Self { trace_id, span_id, sampled, tracestate: trace.tracestate.as_deref() }
    }
}

impl From<WireTrace<'_>> for TraceContext {
    fn from(trace: WireTrace<'_>) -> Self {
        Self::of_parts(
            trace.trace_id,
            trace.span_id,
            trace.sampled,
            trace.tracestate.map(str::to_owned),
        )
    }
}
