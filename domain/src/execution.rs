//! Executions, their attempts, and what attempts leave behind.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Digest;
use crate::state::Transition;
use crate::timestamp::Timestamp;
use crate::trace::TraceContext;

/// Identifies an execution: a UUIDv7, so ids sort by the time of acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExecutionId(pub Uuid);

impl ExecutionId {
    /// A new id, later than every one that this process made before.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// When it was made, to the millisecond; of an id that is no UUIDv7, some time.
    pub fn made_at(&self) -> Timestamp {
        // RFC 9562: the first 48 bits. As microseconds they do not overflow 63 bits.
        Timestamp::from_micros((self.0.as_u128() >> 80) as i64 * 1_000)
    }
}

impl Default for ExecutionId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ExecutionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| format!("'{text}' is not an execution id: expected a UUID"))
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The function returned a result.
    Success,
    /// The function refused the event for good.
    Rejected,
    /// The function asked for another attempt.
    Error,
    /// The guest trapped: a panic, a failed check, a broken contract.
    Trap,
    /// The fuel limit was reached.
    OutOfFuel,
    /// The memory limit was reached.
    OutOfMemory,
    /// The time limit was reached.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// Its message was delivered again and again with nobody living to tell.
    Poisoned,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Success,
        Self::Rejected,
        Self::Error,
        Self::Trap,
        Self::OutOfFuel,
        Self::OutOfMemory,
        Self::TimedOut,
        Self::Cancelled,
        Self::Poisoned,
    ];

    /// The word for it everywhere: code, API, tables, docs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Rejected => "rejected",
            Self::Error => "error",
            Self::Trap => "trap",
            Self::OutOfFuel => "out_of_fuel",
            Self::OutOfMemory => "out_of_memory",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Poisoned => "poisoned",
        }
    }

    /// The transition that this outcome makes when no further attempt follows.
    pub fn final_transition(self) -> Transition {
        match self {
            Self::Success => Transition::Succeed,
            Self::Cancelled => Transition::Cancel,
            _ => Transition::Fail,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text).ok_or_else(|| {
            format!("'{text}' is not an outcome: one of {}", Self::ALL.map(Self::as_str).join(", "))
        })
    }
}

/// A result that a function returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The media type of `data`.
    pub content_type: String,
    /// The bytes.
    pub data: Bytes,
}

/// What one attempt did and cost.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptReport {
    /// Which version ran: its artifact. Absent where no version was found to run.
    pub version: Option<Digest>,
    /// The host that ran it.
    pub host: String,
    /// How it ended.
    pub outcome: Outcome,
    /// For the operator: why it did not succeed.
    pub message: Option<String>,
    /// The wasm backtrace, innermost frame first, where the guest trapped.
    pub backtrace: Option<String>,
    /// The result, on success.
    pub output: Option<Output>,
    /// When a host began.
    pub started_at: Timestamp,
    /// When the guest was done.
    pub finished_at: Timestamp,
    /// From hand-over to the broker until the start.
    pub queue_wait: Duration,
    /// The guest's time on the wall clock, instantiation included.
    pub run_time: Duration,
    /// Units of fuel: about one a wasm instruction, one a byte of what is copied in bulk, 1,000 a
    /// call of the host. At least so many where the guest was interrupted while it computed: the
    /// last 5,000,000 may not have been counted.
    pub fuel_used: u64,
    /// The most memory that the guest held, in bytes: its linear memory, and what the host held for
    /// it when that was measured.
    pub peak_memory: u64,
    /// How many log lines were dropped at the limit.
    pub log_lines_dropped: u64,
    /// The attempt's own span: a child of its dispatch's, with the same `tracestate`.
    pub span: TraceContext,
}

impl AttemptReport {
    /// An attempt that ended now as soon as it began, in the span `span`, and cost nothing. What
    /// else is known of it is to be set.
    pub fn new(host: impl Into<String>, outcome: Outcome, span: TraceContext) -> Self {
        let now = Timestamp::now();
        Self {
            version: None,
            host: host.into(),
            outcome,
            message: None,
            backtrace: None,
            output: None,
            started_at: now,
            finished_at: now,
            queue_wait: Duration::ZERO,
            run_time: Duration::ZERO,
            fuel_used: 0,
            peak_memory: 0,
            log_lines_dropped: 0,
            span,
        }
    }

    /// Because of this.
    #[must_use]
    pub fn with_message(self, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..self }
    }

    /// With this version, where one was found.
    #[must_use]
    pub fn with_version(self, version: Option<Digest>) -> Self {
        Self { version, ..self }
    }

    /// After so long in the queue.
    #[must_use]
    pub fn with_queue_wait(self, queue_wait: Duration) -> Self {
        Self { queue_wait, ..self }
    }
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Step by step.
    Trace,
    /// For developers.
    Debug,
    /// For operators.
    Info,
    /// Odd, but harmless.
    Warn,
    /// Harmful.
    Error,
}

impl LogLevel {
    /// All of them, the least important first.
    pub const ALL: [Self; 5] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|level| level.as_str() == text).ok_or_else(|| {
            format!(
                "'{text}' is not a log level: one of {}",
                Self::ALL.map(Self::as_str).join(", ")
            )
        })
    }
}

/// Where a log line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogSource {
    /// The guest's call of `log`.
    Log,
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// The host, about the guest.
    Host,
}

impl LogSource {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Log, Self::Stdout, Self::Stderr, Self::Host];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Host => "host",
        }
    }
}

impl FromStr for LogSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|source| source.as_str() == text)
            .ok_or_else(|| format!("'{text}' is not a log source"))
    }
}

/// One line of an attempt's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its position among the attempt's lines, from 0.
    pub seq: u32,
    /// When it was written.
    pub at: Timestamp,
    /// How much it matters.
    pub level: LogLevel,
    /// Where it came from.
    pub source: LogSource,
    /// The text.
    pub message: String,
    /// Structured fields: a JSON object's text, where there are any.
    pub fields: Option<String>,
}
