//! From the bytes of a request to events that may be accepted. Computes only: no waiting, no I/O.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use serde_json::value::RawValue;
use wasmill_domain::event::json::Read;
use wasmill_domain::event::{Attribute, Event};
use wasmill_domain::registry::{Refusal, Route};
use wasmill_domain::schema::Violation;
use wasmill_domain::units::ByteSize;
use wasmill_domain::{EventType, FunctionName, Registry, TenantName, TraceContext, json};

use super::accept::Checked;
use super::cloudevents::{self, Mode};
use super::plain;
use crate::app::{App, Reservation};
use crate::body::{BufferedBody, not_json};
use crate::error::{ApiError, MAX_LISTED_TYPES, Result};
use crate::problem::Fault;
use crate::settings::GatewaySettings;

const JSON_ONLY: &[&str] = &["application/json"];

/// Bodies up to this length are checked where they arrive; the check of a longer one would hold up
/// other requests.
pub(crate) const INLINE_BYTES: usize = 64 << 10;

/// The steps that a check may take where the request arrives, well below a millisecond. One that
/// takes more begins again on a thread where it holds up nobody else.
pub(crate) const INLINE_STEPS: u64 = 20_000;

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
    pub(crate) body: BufferedBody,
    /// The request's reservation, kept as long as it is worked on.
    pub(crate) _reservation: Reservation,
    /// The one function that gets the event; `None` for those that subscribe to it.
    pub(crate) function: Option<FunctionName>,
    pub(crate) bounds: BatchBounds,
}

/// How much a request's events may be, and lead to.
pub(crate) struct BatchBounds {
    /// The longest single event.
    event_bytes: usize,
    /// The most events.
    events: usize,
    /// The most executions.
    executions: usize,
    /// The most bytes of events in those.
    execution_bytes: usize,
}

/// What a request's events lead to, so far as they have been looked at: nothing is made of them
/// before it is known that all of it may be.
#[derive(Default)]
struct FanOut {
    executions: usize,
    bytes: usize,
}

impl BatchBounds {
    pub(crate) fn of(settings: &GatewaySettings) -> Self {
        Self {
            event_bytes: settings.max_event_bytes,
            events: settings.max_batch_events,
            executions: settings.max_request_executions,
            execution_bytes: settings.max_request_execution_bytes,
        }
    }
}

impl FanOut {
    /// Counts an event that goes to so many functions.
    fn add(&mut self, event: &Event, functions: usize, bounds: &BatchBounds) -> Result<()> {
        self.executions = self.executions.saturating_add(functions);
        self.bytes = self.bytes.saturating_add(length(event).saturating_mul(functions));
        let (executions, most) = (bounds.executions, ByteSize(bounds.execution_bytes as u64));
        if self.executions > executions {
            return Err(ApiError::TooLarge(format!(
                "the events lead to more than {executions} executions, and a request may lead to so many (gateway.max_request_executions)"
            )));
        }
        // One event to one function is bounded by how long it may be.
        if self.bytes > bounds.execution_bytes && self.executions > 1 {
            return Err(ApiError::TooLarge(format!(
                "the events lead to executions of more than {most} of events together, each event as often as there are \
                 functions that take it, and a request may lead to so much (gateway.max_request_execution_bytes)"
            )));
        }
        Ok(())
    }
}

/// How long an event is, about: its data and its texts.
fn length(event: &Event) -> usize {
    let attributes = event.attributes().map(|(name, value)| match value {
        Attribute::String(text) => name.len() + text.len(),
        _ => name.len() + size_of::<i32>(),
    });
    event.data.as_ref().map_or(0, Bytes::len) + attributes.sum::<usize>()
}

/// How much may be done.
enum Effort {
    /// So many steps more, and no schema is compiled.
    Inline(u64),
    /// So many steps more.
    Full(u64),
}

/// Why a check has no result.
enum Halt {
    Refused(ApiError),
    /// It takes more than may be done inline.
    TooMuch,
}

impl From<ApiError> for Halt {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

/// The part of the request that an event is in.
enum DocumentPart {
    /// The body is the data.
    Body,
    /// The body, or the member of it with the pointer `event`, is the event, whose data is its
    /// member `data`.
    Document { event: String, data: &'static str },
}

impl Incoming {
    /// Reads, routes and validates every event.
    ///
    /// # Errors
    /// The first event that is not valid, or goes nowhere.
    pub(crate) async fn check(self, app: &App) -> Result<Vec<Checked>> {
        let steps = self.registry.schema_compiler().max_check_steps();
        if self.body.bytes.len() <= INLINE_BYTES {
            match self.check_now(&mut Effort::Inline(INLINE_STEPS.min(steps))) {
                Err(Halt::TooMuch) => {}
                Err(Halt::Refused(error)) => return Err(error),
                Ok(checked) => return Ok(checked),
            }
        }
        let tenant = self.tenant.clone();
        match app.compute(&tenant, move || self.check_now(&mut Effort::Full(steps))).await? {
            Ok(checked) => Ok(checked),
            Err(Halt::Refused(error)) => Err(error),
            Err(Halt::TooMuch) => {
                Err(ApiError::Internal("a check that may take its time took too much".into()))
            }
        }
    }

    fn check_now(&self, effort: &mut Effort) -> Result<Vec<Checked>, Halt> {
        let mut fan_out = FanOut::default();
        let body = self.body.bytes.clone();
        let event = match &self.form {
            Form::Plain(event_type) => plain::read(event_type.clone(), &self.headers, body)?,
            Form::CloudEvents(Mode::Binary) => cloudevents::read_binary(&self.headers, body)?,
            Form::CloudEvents(Mode::Structured) => {
                let read = cloudevents::read_structured(&body)?;
                return Ok(vec![self.check_event(
                    read.event,
                    &DocumentPart::of(String::new(), read.data_member),
                    effort,
                    &mut fan_out,
                )?]);
            }
            Form::CloudEvents(Mode::Batch) => {
                let events =
                    cloudevents::read_batch(&body, self.bounds.events)?.into_iter().enumerate();
                let part =
                    |i: usize, read: &Read| DocumentPart::of(format!("/{i}"), read.data_member);
                return events
                    .map(|(i, read)| {
                        let part = part(i, &read);
                        self.check_event(read.event, &part, effort, &mut fan_out)
                    })
                    .collect();
            }
        };
        Ok(vec![self.check_event(event, &DocumentPart::Body, effort, &mut fan_out)?])
    }

    fn check_event(
        &self,
        event: Event,
        part: &DocumentPart,
        effort: &mut Effort,
        fan_out: &mut FanOut,
    ) -> Result<Checked, Halt> {
        if event.data.as_ref().is_some_and(|data| data.len() > self.bounds.event_bytes) {
            let limit = self.bounds.event_bytes;
            return Err(ApiError::TooLarge(format!(
                "the data of event '{}' is longer than {limit} bytes",
                event.id
            ))
            .into());
        }
        let route = match &self.function {
            Some(name) => self
                .registry
                .route_to(&self.tenant, name, &event.event_type)
                .ok_or_else(|| ApiError::NotFound(format!("there is no function '{name}'")))?,
            None => self.registry.route(&self.tenant, &event.event_type),
        };
        if route.functions.is_empty() {
            return Err(self.unknown_type(&event, part).into());
        }
        fan_out.add(&event, route.functions.len(), &self.bounds)?;
        self.check_data(&event, &route, part, effort)?;
        let trace = self.trace_of(&event);
        Ok(Checked {
            event: Arc::new(event),
            functions: route.functions,
            revision: self.registry.revision(),
            trace,
        })
    }

    /// Checks an event's data: that it is JSON where it should be, and that it satisfies every
    /// schema on the way.
    fn check_data(
        &self,
        event: &Event,
        route: &Route,
        part: &DocumentPart,
        effort: &mut Effort,
    ) -> Result<(), Halt> {
        if !event.has_json_data() {
            return if route.is_checked() {
                Err(not_checkable(event, part).into())
            } else {
                Ok(())
            };
        }
        let text = event.data.as_deref().unwrap_or_default();
        let not_json = |error: serde_json::Error| {
            ApiError::InvalidEvent(not_json(&part.data(), "the data", text, &error))
        };
        let (value, subject) = match &event.data {
            Some(data) if route.is_checked() => {
                (json::parse(data).map_err(not_json)?, "the data does")
            }
            Some(data) => {
                return Ok(serde_json::from_slice::<&RawValue>(data)
                    .map(drop)
                    .map_err(not_json)?);
            }
            None if route.is_checked() => (Value::Null, "the event has no data, which does"),
            None => return Ok(()),
        };
        let checked = match effort {
            Effort::Inline(steps) => route.try_check(&value, steps).ok_or(Halt::TooMuch)?,
            Effort::Full(steps) => route.check_within(&value, steps),
        };
        Ok(checked.map_err(|refusal| {
            refused(&self.tenant, part.locate(refusal), &part.data(), subject)
        })?)
    }

    fn unknown_type(&self, event: &Event, part: &DocumentPart) -> ApiError {
        let known = self.registry.event_types_of(&self.tenant);
        let total = known.len();
        ApiError::UnknownType {
            event_type: event.event_type.to_string(),
            pointer: match part {
                DocumentPart::Body => None,
                DocumentPart::Document { event, .. } => Some(format!("{event}/type")),
            },
            known: known.into_iter().take(MAX_LISTED_TYPES).map(str::to_owned).collect(),
            total,
        }
    }

    /// The trace that an event belongs to: the request's, or else the one that the event itself
    /// names, or else a new one. A batch is one request for many events, so there the event's own
    /// comes first.
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

impl DocumentPart {
    fn of(event: String, data: &'static str) -> Self {
        Self::Document { event, data }
    }

    /// Says where in the data something is wrong; no pointer leads into what is encoded.
    fn locate(&self, mut refusal: Refusal) -> Refusal {
        if matches!(self, Self::Document { data: "data_base64", .. }) {
            for violation in
                refusal.violations.iter_mut().filter(|violation| !violation.pointer.is_empty())
            {
                let pointer = std::mem::take(&mut violation.pointer);
                violation.message =
                    format!("{} (at '{pointer}' of what is encoded)", violation.message);
            }
        }
        refusal
    }

    /// The pointer of the data.
    fn data(&self) -> String {
        match self {
            Self::Body => String::new(),
            Self::Document { event, data } => format!("{event}/{data}"),
        }
    }
}

/// The refusal of data by a schema; `subject` is what does not satisfy it.
pub(crate) fn refused(
    tenant: &TenantName,
    refusal: Refusal,
    data: &str,
    subject: &str,
) -> ApiError {
    let Refusal { owner, violations, unchecked } = refusal;
    if let Some(unchecked) = unchecked {
        if unchecked.is_first {
            tracing::warn!(%tenant, owner, "a check by this schema takes too much; said once");
        }
        let why =
            violations.into_iter().next().map(|violation| violation.message).unwrap_or_default();
        let detail =
            format!("it cannot be told whether the data satisfies the schema of {owner}: {why}");
        return ApiError::CheckTooLong(Fault { schema: Some(owner), ..Fault::at(data, detail) });
    }
    let fault = |violation: Violation| Fault {
        schema_pointer: Some(violation.schema_pointer),
        schema: Some(owner.clone()),
        ..Fault::at(format!("{data}{}", violation.pointer), violation.message)
    };
    let faults = violations.into_iter().map(fault).collect();
    ApiError::SchemaViolation(format!("{subject} not satisfy the schema of {owner}"), faults)
}

/// The refusal of data that a schema cannot say anything about.
fn not_checkable(event: &Event, part: &DocumentPart) -> ApiError {
    let is = match event.datacontenttype.as_deref() {
        Some(media_type) => format!("not '{media_type}'"),
        None => "and bytes without a content type are not taken for it".to_owned(),
    };
    let detail = format!(
        "a schema checks events of type '{}', so their data must be JSON, {is}",
        event.event_type
    );
    match part {
        DocumentPart::Body => ApiError::MediaType(detail, JSON_ONLY),
        DocumentPart::Document { .. } if event.datacontenttype.is_none() => {
            ApiError::InvalidEvent(Fault::at(part.data(), detail))
        }
        DocumentPart::Document { event, .. } => {
            ApiError::InvalidEvent(Fault::at(format!("{event}/datacontenttype"), detail))
        }
    }
}
