//! Executions, their attempts and logs.

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use wasmill_domain::event::is_json_media_type;
use wasmill_domain::event::json::{DataMember, JsonFormat};
use wasmill_domain::{
    AttemptReport, Digest, Dispatch, Event, EventType, ExecutionId, FunctionName, LogLevel, LogSource, Outcome, Output,
    State, Timestamp,
};
use wasmill_store::{ExecutionDetail, ExecutionSummary, ListedExecution, LogEntry, LogPosition, UnreadableEvent};

/// Which executions to list. All conditions hold together.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListExecutions {
    /// Of this function.
    #[param(value_type = Option<String>)]
    pub(crate) function: Option<FunctionName>,
    /// In this state: `scheduled`, `queued`, `running`, `suspended`, `succeeded`, `failed` or `cancelled`.
    #[param(value_type = Option<String>)]
    pub(crate) state: Option<State>,
    /// With this outcome of the last attempt: `success`, `rejected`, `error`, `trap`, `out_of_fuel`, `out_of_memory`,
    /// `timed_out`, `cancelled` or `poisoned`.
    #[param(value_type = Option<String>)]
    pub(crate) outcome: Option<Outcome>,
    /// Of this event type.
    #[serde(rename = "type")]
    #[param(value_type = Option<String>)]
    pub(crate) event_type: Option<EventType>,
    /// Of the event with this id.
    pub(crate) event_id: Option<String>,
    /// Accepted at or after: RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    pub(crate) since: Option<Timestamp>,
    /// Accepted before: RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    pub(crate) until: Option<Timestamp>,
    /// `next` of the page before.
    #[param(value_type = Option<Uuid>)]
    pub(crate) cursor: Option<ExecutionId>,
    /// How many at most: 1 to 500. Default: 50.
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub(crate) limit: Option<u32>,
}

/// Which part of a log to give.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListLogs {
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    pub(crate) cursor: Option<LogCursor>,
    /// How many lines at most: 1 to 1,000. Default: 1,000.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    pub(crate) limit: Option<u32>,
}

/// A page of executions.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExecutionPage {
    /// The executions, the newest first.
    pub(crate) executions: Vec<ListedDocument>,
    /// The cursor of the next page; null on the last.
    #[schema(value_type = Option<Uuid>, required = true)]
    pub(crate) next: Option<ExecutionId>,
}

/// A place in a list of executions.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ListedExecution)]
pub(crate) enum ListedDocument {
    /// An execution.
    Summary(Box<SummaryDocument>),
    /// One whose row cannot be read.
    Unreadable(UnreadableRowDocument),
}

/// An execution whose row in the database cannot be read.
#[derive(Serialize, ToSchema)]
#[schema(as = UnreadableExecution)]
pub(crate) struct UnreadableRowDocument {
    /// Its id.
    id: Uuid,
    /// Which column cannot be read, and why.
    unreadable: String,
}

/// An execution as it is listed.
#[derive(Serialize, ToSchema)]
#[schema(as = ExecutionSummary)]
pub(crate) struct SummaryDocument {
    /// Its id: a UUIDv7, so that ids sort by acceptance.
    id: Uuid,
    /// The tenant.
    tenant: String,
    /// The function.
    function: String,
    /// Where it stands.
    #[schema(value_type = String, examples("queued", "succeeded"))]
    state: State,
    /// How the last attempt ended.
    #[schema(value_type = Option<String>, required = true, examples("success", "trap"))]
    outcome: Option<Outcome>,
    /// Why it did not succeed.
    #[schema(required = true)]
    message: Option<String>,
    /// The attempt it is at; the first is 1.
    attempt: u32,
    /// How many there are at most.
    max_attempts: u32,
    /// The version that ran last: its artifact.
    #[schema(value_type = Option<String>, required = true)]
    version: Option<Digest>,
    /// The event's type.
    #[serde(rename = "type")]
    event_type: String,
    /// The event's id.
    event_id: String,
    /// The event's source.
    event_source: String,
    /// The execution that emitted the event.
    #[schema(value_type = Option<Uuid>, required = true)]
    parent: Option<ExecutionId>,
    /// The trace it belongs to: 32 hex digits.
    trace_id: String,
    /// When the event was accepted.
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Timestamp,
    /// When it is due, while it is scheduled.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    due_at: Option<Timestamp>,
    /// When the last attempt began.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    finished_at: Option<Timestamp>,
}

/// An execution with all that is known of it but its log.
#[derive(Serialize, ToSchema)]
#[schema(as = Execution)]
pub(crate) struct ExecutionDocument {
    #[serde(flatten)]
    summary: SummaryDocument,
    /// The event, in the JSON format of CloudEvents; null where it cannot be read back.
    #[serde(serialize_with = "cloud_event")]
    #[schema(value_type = Option<Object>, required = true)]
    event: Option<Event>,
    /// What stands in the database instead of an event. Such an execution fails when it is its turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable_event: Option<UnreadableDocument>,
    /// The result, once it succeeded.
    #[schema(value_type = Option<ResultSchema>, required = true)]
    result: Option<ResultDocument>,
    /// What a command that failed had written to standard output in its last attempt: as much as a result may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ResultSchema>)]
    standard_output: Option<ResultDocument>,
    /// Its finished attempts, the first one first.
    attempts: Vec<AttemptDocument>,
    /// The executions that its emitted events led to.
    #[schema(value_type = Vec<Uuid>)]
    children: Vec<ExecutionId>,
}

/// What stands where an event should.
#[derive(Serialize, ToSchema)]
#[schema(as = UnreadableEvent)]
pub(crate) struct UnreadableDocument {
    /// As it is stored.
    text: String,
    /// Why it is not an event.
    why: String,
}

/// What one attempt did and cost.
#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(crate) struct AttemptDocument {
    /// Which attempt; the first is 1.
    attempt: u32,
    /// The version that ran: its artifact.
    #[schema(value_type = Option<String>, required = true)]
    version: Option<Digest>,
    /// The host that ran it.
    host: String,
    /// How it ended.
    #[schema(value_type = String, examples("success", "out_of_fuel"))]
    outcome: Outcome,
    /// Why it did not succeed.
    #[schema(required = true)]
    message: Option<String>,
    /// The wasm backtrace, innermost frame first, where the guest trapped.
    #[schema(required = true)]
    backtrace: Option<String>,
    /// When a host began.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// When the guest was done.
    #[schema(value_type = String, format = DateTime)]
    finished_at: Timestamp,
    /// From hand-over to the broker until the start, in milliseconds.
    queue_wait_ms: f64,
    /// The guest's time on the wall clock, instantiation included, in milliseconds.
    run_time_ms: f64,
    /// Units of fuel: about one a wasm instruction, one a byte of what is copied in bulk, 1,000 a call of the host. An attempt
    /// that was interrupted while it computed (`timed_out`, `cancelled`) may have used up to 5,000,000 more.
    fuel_used: u64,
    /// The most memory that the guest held: its linear memory, and what the host held for it when that was measured.
    peak_memory_bytes: u64,
    /// How many log lines were dropped at the limit.
    log_lines_dropped: u64,
    /// The trace it belongs to: 32 hex digits.
    trace_id: String,
    /// Its own span: 16 hex digits.
    span_id: String,
}

/// A result that a function returned: `data` where it is JSON or text, `data_base64` otherwise.
#[derive(ToSchema)]
#[schema(as = ExecutionResult)]
#[expect(dead_code, reason = "describes what ResultDocument writes")]
pub(crate) struct ResultSchema {
    /// The media type.
    content_type: String,
    /// The JSON value, or the text as a string.
    #[schema(value_type = Value, required = false)]
    data: serde_json::Value,
    /// The bytes in base64.
    data_base64: Option<String>,
}

/// A page of a log.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogPage {
    /// The lines, by attempt and place.
    pub(crate) logs: Vec<LogDocument>,
    /// The cursor of the next page; null on the last.
    #[schema(value_type = Option<String>, required = true)]
    pub(crate) next: Option<LogCursor>,
}

/// A line of a log.
#[derive(Serialize, ToSchema)]
#[schema(as = LogLine)]
pub(crate) struct LogDocument {
    /// The attempt that wrote it.
    attempt: u32,
    /// Its place among the attempt's lines, from 0.
    seq: u32,
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    #[schema(value_type = String)]
    level: LogLevel,
    /// `log`, `stdout`, `stderr` or, about the guest, `host`.
    #[schema(value_type = String)]
    source: LogSource,
    /// The text.
    message: String,
    /// Structured fields.
    #[schema(value_type = Option<Object>, required = true)]
    fields: Option<Box<RawValue>>,
}

/// A line's place in an execution's log, as text: `ATTEMPT.SEQ`.
#[derive(Clone, Copy)]
pub(crate) struct LogCursor(pub(crate) LogPosition);

/// Writes [`ResultSchema`] without copying the data.
pub(crate) struct ResultDocument(Output);

impl From<ListedExecution> for ListedDocument {
    fn from(listed: ListedExecution) -> Self {
        match listed {
            Ok(summary) => Self::Summary(Box::new(summary.into())),
            Err(row) => Self::Unreadable(UnreadableRowDocument { id: row.id.0, unreadable: row.why }),
        }
    }
}

impl From<ExecutionSummary> for SummaryDocument {
    fn from(summary: ExecutionSummary) -> Self {
        Self {
            id: summary.id.0,
            tenant: summary.tenant.to_string(),
            function: summary.function.to_string(),
            state: summary.state,
            outcome: summary.outcome,
            message: summary.message,
            attempt: summary.attempt,
            max_attempts: summary.max_attempts,
            version: summary.version,
            event_type: summary.event_type.to_string(),
            event_id: summary.event_id,
            event_source: summary.event_source,
            parent: summary.parent,
            trace_id: summary.trace_id,
            accepted_at: summary.accepted_at,
            due_at: summary.due_at,
            started_at: summary.started_at,
            finished_at: summary.finished_at,
        }
    }
}

impl From<ExecutionDetail> for ExecutionDocument {
    fn from(detail: ExecutionDetail) -> Self {
        let has_failed = has_failed(&detail);
        let (event, unreadable_event) = match detail.event {
            Ok(event) => (Some(event), None),
            Err(UnreadableEvent { text, why }) => (None, Some(UnreadableDocument { text, why })),
        };
        let output = detail.output.map(ResultDocument);
        let (result, standard_output) = if has_failed { (None, output) } else { (output, None) };
        Self {
            summary: detail.summary.into(),
            event,
            unreadable_event,
            result,
            standard_output,
            attempts: detail
                .attempts
                .into_iter()
                .map(|(attempt, report)| AttemptDocument::new(attempt, report))
                .collect(),
            children: detail.children,
        }
    }
}

/// Whether what an execution left is not a result.
pub(crate) fn has_failed(detail: &ExecutionDetail) -> bool {
    detail.summary.outcome.is_some_and(|outcome| outcome != Outcome::Success)
}

/// What is known of an execution that was just accepted, before the store has it.
pub(crate) fn just_accepted(dispatch: Dispatch) -> ExecutionDetail {
    let event = std::sync::Arc::unwrap_or_clone(dispatch.event);
    let summary = ExecutionSummary {
        id: dispatch.execution,
        tenant: dispatch.tenant,
        function: dispatch.function,
        state: State::Queued,
        outcome: None,
        message: None,
        attempt: dispatch.attempt,
        max_attempts: dispatch.max_attempts,
        version: None,
        event_type: event.event_type.clone(),
        event_id: event.id.clone(),
        event_source: event.source.clone(),
        parent: dispatch.parent,
        trace_id: dispatch.trace.trace_id(),
        accepted_at: dispatch.accepted_at,
        due_at: None,
        started_at: None,
        finished_at: None,
    };
    ExecutionDetail { summary, event: Ok(event), output: None, attempts: Vec::new(), children: Vec::new() }
}

impl AttemptDocument {
    fn new(attempt: u32, report: AttemptReport) -> Self {
        Self {
            attempt,
            version: report.version,
            host: report.host,
            outcome: report.outcome,
            message: report.message,
            backtrace: report.backtrace,
            started_at: report.started_at,
            finished_at: report.finished_at,
            queue_wait_ms: report.queue_wait.as_secs_f64() * 1e3,
            run_time_ms: report.run_time.as_secs_f64() * 1e3,
            fuel_used: report.fuel_used,
            peak_memory_bytes: report.peak_memory,
            log_lines_dropped: report.log_lines_dropped,
            trace_id: report.span.trace_id(),
            span_id: report.span.span_id(),
        }
    }
}

impl From<LogEntry> for LogDocument {
    fn from(entry: LogEntry) -> Self {
        let LogEntry { attempt, line } = entry;
        Self {
            attempt,
            seq: line.seq,
            at: line.at,
            level: line.level,
            source: line.source,
            message: line.message,
            // A host writes an object's text; anything else is not worth failing the page for.
            fields: line.fields.and_then(|text| RawValue::from_string(text).ok()),
        }
    }
}

fn cloud_event<S: Serializer>(event: &Option<Event>, serializer: S) -> Result<S::Ok, S::Error> {
    event.as_deref().map(JsonFormat).serialize(serializer)
}

impl Serialize for ResultDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Output { content_type, data } = &self.0;
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("content_type", content_type)?;
        match DataMember::of(is_json_media_type(content_type), data) {
            DataMember::Json(raw) => map.serialize_entry("data", raw)?,
            DataMember::Text(text) => map.serialize_entry("data", text)?,
            DataMember::Binary(text) => map.serialize_entry("data_base64", &text)?,
        }
        map.end()
    }
}

impl Serialize for LogCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}.{}", self.0.attempt, self.0.seq))
    }
}

impl<'de> Deserialize<'de> for LogCursor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parts = text.split_once('.').and_then(|(attempt, seq)| Some((attempt.parse().ok()?, seq.parse().ok()?)));
        let (attempt, seq) = parts.ok_or_else(|| {
            serde::de::Error::custom("not a cursor of a log: give 'next' of the page before as it is")
        })?;
        Ok(Self(LogPosition { attempt, seq }))
    }
}
