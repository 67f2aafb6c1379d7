//! Executions, their attempts and logs.

mod convert;
mod json;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use wasmill_domain::event::is_json_media_type;
use wasmill_domain::event::json::DataMember;
use wasmill_domain::{
    AttemptReport, Digest, Dispatch, Event, EventType, ExecutionId, FunctionName, LogLevel,
    LogSource, Origin, Outcome, Output, State, Timestamp,
};
use wasmill_store::{
    ExecutionDetail, ExecutionSummary, ListedExecution, LogEntry, LogPosition, UnreadableEvent,
};

pub(crate) use self::convert::{has_failed, just_accepted};
use self::json::cloud_event;

/// Which executions to list. All conditions hold together.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListExecutions {
    /// Of this function.
    #[param(value_type = Option<String>)]
    pub(crate) function: Option<FunctionName>,
    /// In this state: `delayed`, `queued`, `running`, `suspended`, `succeeded`, `failed` or
    /// `cancelled`.
    #[param(value_type = Option<String>)]
    pub(crate) state: Option<State>,
    /// With this outcome of the last attempt: `success`, `rejected`, `error`, `trap`,
    /// `out_of_fuel`, `out_of_memory`, `timed_out`, `cancelled` or `poisoned`.
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

/// A position in a list of executions.
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
    /// Its current state.
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
    /// When it is due, while it is delayed.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    due_at: Option<Timestamp>,
    /// When the last attempt began.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    finished_at: Option<Timestamp>,
    /// When it was moved last by anything but the ends of its attempts, as by an operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    changed_at: Option<Timestamp>,
    /// What holds it, while it is suspended: `key` and the id of the API key by which it was
    /// suspended, or `operator` where no key is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<String>,
    /// Why it was moved last, where somebody said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
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
    /// What stands in the database instead of an event. Such an execution
    /// fails when a host takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable_event: Option<UnreadableDocument>,
    /// The result, once it succeeded.
    #[schema(value_type = Option<ResultSchema>, required = true)]
    result: Option<ResultDocument>,
    /// What a command that failed had written to standard output in its last attempt: as much as a
    /// result may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ResultSchema>)]
    standard_output: Option<ResultDocument>,
    /// Its finished attempts, the first one first.
    attempts: Vec<AttemptDocument>,
    /// The executions that its emitted events led to.
    #[schema(value_type = Vec<Uuid>)]
    children: Vec<ExecutionId>,
    /// Its epoch, which every operator's operation raises; the first is 1. What was sent to hosts
    /// in an earlier one does not count any more. 0 where it is not known.
    epoch: u32,
    /// Why it exists. `kind` is `event`, `invocation`, `emitted_by` (with `execution`, and with
    /// `depth`, the number of executions that led to it by emitting), `replay_of` (with
    /// `execution`), `schedule` (with `name` and `due`), or `workflow_step` (with `run` and
    /// `path`).
    #[schema(value_type = Object)]
    origin: Origin,
    /// The first execution of the chain that led to it, as far as it is known: itself, where it
    /// began the chain.
    #[schema(value_type = Uuid)]
    root: ExecutionId,
    /// Why no host that is alive runs it, while it is queued: none has the labels that the
    /// function's `runs_on` asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_host: Option<String>,
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
    /// Units of fuel: about one a wasm instruction, one a byte of what is copied in bulk, 1,000 a
    /// call of the host. An attempt that was interrupted while it computed (`timed_out`,
    /// `cancelled`) may have used up to 5,000,000 more.
    fuel_used: u64,
    /// The most memory that the guest held: its linear memory, and what the host held for it when
    /// that was measured.
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
    /// The lines, by attempt and position.
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
    /// Its position among the attempt's lines, from 0.
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

/// A line's position in an execution's log, as text: `ATTEMPT.SEQ`.
#[derive(Clone, Copy)]
pub(crate) struct LogCursor(pub(crate) LogPosition);

/// Writes [`ResultSchema`] without copying the data.
pub(crate) struct ResultDocument(Output);
