//! From the bytes of a request to events that may be accepted. Computes only: no waiting, no I/O.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use serde_json::value::RawValue;
use wasmill_domain::event::{Attribute, Event};
use wasmill_domain::registry::{Refusal, Route};
use wasmill_domain::{EventType, FunctionName, Registry, TenantName, TraceContext};

use super::accept::Checked;
use super::cloudevents::{self, Mode};
use super::plain;
use crate::body::not_json;
use crate::error::{Error, MAX_LISTED_TYPES, Result};
use crate::problem::Fault;

const JSON_ONLY: &[&str] = &["application/json"];

/// Bodies up to this length are checked where they arrive; the check of a longer one would hold up other requests.
const INLINE_BYTES: usize = 64 << 10;

/// How a request carries its events.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// The body is the data of an event of this type.
    Plain(EventType),
    /// The request carries CloudEvents.
    CloudEvents(Mode),
}

/// A request that carries events, read but not looked into.
pub(crate) struct Incoming {
    pub(crate) tenant: TenantName,
    pub(crate) registry: Arc<Registry>,
    pub(crate) form: Form,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The one function that gets the event; `None` for those that subscribe to it.
    pub(crate) function: Option<FunctionName>,
    /// The longest single event.
    pub(crate) max_event_bytes: usize,
    /// The most events in a batch.
    pub(crate) max_batch_events: usize,
}

/// Where an event's parts stand in the request.
enum Place {
    /// The body is the data.
    Body,
    /// The body, or the member of it with this pointer, is the event.
    Document(String),
}

impl Incoming {
    /// Reads, routes and validates every event.
    ///
    /// # Errors
    /// The first event that is not valid, or goes nowhere.
    pub(crate) async fn check(self) -> Result<Vec<Checked>> {
        if self.body.len() <= INLINE_BYTES {
            return self.check_now();
        }
        let check = tokio::task::spawn_blocking(move || self.check_now());
        check.await.unwrap_or_else(|e| Err(Error::Internal(format!("the check of an event: {e}"))))
    }

    fn check_now(mut self) -> Result<Vec<Checked>> {
        let body = std::mem::take(&mut self.body);
        let event = match &self.form {
            Form::Plain(event_type) => plain::read(event_type.clone(), &self.headers, body)?,
            Form::CloudEvents(Mode::Binary) => cloudevents::read_binary(&self.headers, body)?,
            Form::CloudEvents(Mode::Structured) => {
                let event = cloudevents::read_structured(&body)?;
                return Ok(vec![self.check_event(event, &Place::Document(String::new()))?]);
            }
            Form::CloudEvents(Mode::Batch) => {
                let events = cloudevents::read_batch(&body, self.max_batch_events)?.into_iter().enumerate();
                return events.map(|(i, event)| self.check_event(event, &Place::Document(format!("/{i}")))).collect();
            }
        };
        Ok(vec![self.check_event(event, &Place::Body)?])
    }

    fn check_event(&self, event: Event, place: &Place) -> Result<Checked> {
        if event.data.as_ref().is_some_and(|data| data.len() > self.max_event_bytes) {
            let limit = self.max_event_bytes;
            return Err(Error::TooLarge(format!("the data of event '{}' is longer than {limit} bytes", event.id)));
        }
        let route = match &self.function {
            Some(name) => self
                .registry
                .route_to(&self.tenant, name, &event.event_type)
                .ok_or_else(|| Error::NotFound(format!("there is no function '{name}'")))?,
            None => self.registry.route(&self.tenant, &event.event_type),
        };
        if route.functions.is_empty() {
            return Err(self.unknown_type(&event, place));
        }
        check_data(&event, &route, place)?;
        let trace = self.trace_of(&event);
        Ok(Checked { event: Arc::new(event), functions: route.functions, revision: self.registry.revision(), trace })
    }

    fn unknown_type(&self, event: &Event, place: &Place) -> Error {
        let known = self.registry.event_types_of(&self.tenant);
        let total = known.len();
        Error::UnknownType {
            event_type: event.event_type.to_string(),
            pointer: match place {
                Place::Body => None,
                Place::Document(pointer) => Some(format!("{pointer}/type")),
            },
            known: known.into_iter().take(MAX_LISTED_TYPES).map(str::to_owned).collect(),
            total,
        }
    }

    /// The trace that an event belongs to: the request's, or else the one that the event itself names, or else a new
    /// one. A batch is one request for many events, so there the event's own comes first.
    fn trace_of(&self, event: &Event) -> TraceContext {
        let header = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let request = || TraceContext::parse(header("traceparent")?, header("tracestate"));
        let extension = |name: &str| match event.extensions.get(name) {
            Some(Attribute::String(text)) => Some(text.as_str()),
            _ => None,
        };
        let own = || TraceContext::parse(extension("traceparent")?, extension("tracestate"));
        let found = match self.form {
            Form::CloudEvents(Mode::Batch) => own().or_else(request),
            _ => request().or_else(own),
        };
        found.unwrap_or_else(TraceContext::new_root)
    }
}

impl Place {
    /// The pointer of the data.
    fn data(&self) -> String {
        match self {
            Self::Body => String::new(),
            Self::Document(pointer) => format!("{pointer}/data"),
        }
    }
}

/// Checks an event's data: that it is JSON where it should be, and that it satisfies every schema on the way.
fn check_data(event: &Event, route: &Route, place: &Place) -> Result<()> {
    if !event.has_json_data() {
        return if route.is_checked() { Err(not_checkable(event, place)) } else { Ok(()) };
    }
    let not_json = |error: serde_json::Error| Error::InvalidEvent(not_json(&place.data(), "the data", &error));
    match &event.data {
        Some(data) if route.is_checked() => {
            let value: Value = serde_json::from_slice(data).map_err(not_json)?;
            route.check(&value).map_err(|refusal| violation(refusal, place, "the data does"))
        }
        Some(data) => serde_json::from_slice::<&RawValue>(data).map(|_| ()).map_err(not_json),
        None if route.is_checked() => {
            route.check(&Value::Null).map_err(|refusal| violation(refusal, place, "the event has no data, which does"))
        }
        None => Ok(()),
    }
}

fn violation(refusal: Refusal, place: &Place, subject: &str) -> Error {
    let Refusal { owner, violations } = refusal;
    let data = place.data();
    let fault = |violation: wasmill_domain::schema::Violation| Fault {
        schema_pointer: Some(violation.schema_pointer),
        schema: Some(owner.clone()),
        ..Fault::at(format!("{data}{}", violation.pointer), violation.message)
    };
    let faults = violations.into_iter().map(fault).collect();
    Error::SchemaViolation(format!("{subject} not satisfy the schema of {owner}"), faults)
}

/// The refusal of data that a schema cannot say anything about.
fn not_checkable(event: &Event, place: &Place) -> Error {
    let media_type = event.datacontenttype.as_deref().unwrap_or_default();
    let detail = format!(
        "a schema checks events of type '{}', so their data must be JSON, not '{media_type}'",
        event.event_type
    );
    match place {
        Place::Body => Error::MediaType(detail, JSON_ONLY),
        Place::Document(pointer) => Error::InvalidEvent(Fault::at(format!("{pointer}/datacontenttype"), detail)),
    }
}
