//! Domain values as columns hold them, and back. The same for every database.

mod format;
#[cfg(test)]
mod golden;
mod lenient;
mod manifest;

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wasmill_domain::{
    DefinitionKind, Digest, Dispatch, Event, EventParts, ExecutionId, LogLine, Origin, Timestamp,
    TraceContext, UnreadableDefinition,
};

pub(crate) use self::manifest::{ManifestRows, TriggerRow};

use crate::port::{LogEntry, LogPosition, Result, StoreError, UnreadableEvent};

/// Something in the database that wasmill did not write, or not this version of it.
fn unreadable(column: &str, why: impl Display) -> StoreError {
    StoreError::Rejected(format!("what is stored in '{column}' cannot be read: {why}"))
}

/// The same as a sentence of its own.
fn reason(error: StoreError) -> String {
    match error {
        StoreError::Rejected(why) => why,
        error => error.to_string(),
    }
}

/// What a definition is called, as far as its row tells.
pub(crate) struct Named {
    pub(crate) tenant: String,
    pub(crate) name: String,
    /// An API key's id.
    pub(crate) key: Option<Uuid>,
}

/// Reads the rows of one kind of definitions, each by itself: one that cannot be read is put with
/// the `unreadable`, under what `named` finds in its row.
pub(crate) fn definitions<R, T>(
    unreadable: &mut Vec<UnreadableDefinition>,
    kind: DefinitionKind,
    rows: &[R],
    named: impl Fn(&R) -> Named,
    mut read: impl FnMut(&R) -> Result<T>,
) -> Vec<T> {
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        match read(row) {
            Ok(definition) => all.push(definition),
            Err(error) => {
                let Named { tenant, name, key } = named(row);
                unreadable.push(UnreadableDefinition {
                    kind,
                    tenant,
                    name,
                    key,
                    why: reason(error),
                });
            }
        }
    }
    all
}

/// Refuses a row whose `min_reader` says that it is for later releases.
pub(crate) fn check_reader(min_reader: i64) -> Result<()> {
    format::check_reader(min_reader)
        .map_err(|why| StoreError::Rejected(format!("it is of a later release: {why}")))
}

/// JSON of any kind.
pub(crate) fn json<T: serde::de::DeserializeOwned>(column: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| unreadable(column, e))
}

/// A word or a name.
pub(crate) fn word<T: FromStr<Err: Display>>(column: &str, text: &str) -> Result<T> {
    text.parse().map_err(|e| unreadable(column, e))
}

/// A digest.
pub(crate) fn digest(column: &str, bytes: &[u8]) -> Result<Digest> {
    Digest::from_slice(bytes).ok_or_else(|| unreadable(column, "a digest has 32 bytes"))
}

/// Refuses bytes that are not those of an artifact.
pub(crate) fn check_digest(digest: Digest, bytes: &[u8]) -> Result<()> {
    if Digest::of(bytes) == digest {
        return Ok(());
    }
    Err(StoreError::Rejected(format!("these bytes are not those of artifact {digest}")))
}

/// A count that the domain keeps in 32 bits.
pub(crate) fn count(column: &str, number: i64) -> Result<u32> {
    u32::try_from(number).map_err(|e| unreadable(column, e))
}

/// A measure that the domain keeps in 64 bits without a sign.
pub(crate) fn measure(column: &str, number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|e| unreadable(column, e))
}

/// A measure as a column holds it. Nothing that is measured comes near the largest value: it is
/// kept rather than refused.
pub(crate) fn from_measure(measure: u64) -> i64 {
    i64::try_from(measure).unwrap_or(i64::MAX)
}

/// A duration from its nanoseconds.
pub(crate) fn duration(column: &str, nanos: i64) -> Result<Duration> {
    measure(column, nanos).map(Duration::from_nanos)
}

/// A duration's nanoseconds; 292 years at most.
pub(crate) fn from_duration(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A trace context from its two headers.
pub(crate) fn trace(traceparent: &str, tracestate: Option<&str>) -> Result<TraceContext> {
    TraceContext::parse(traceparent, tracestate)
        .ok_or_else(|| unreadable("traceparent", format!("'{traceparent}'")))
}

/// An event from its JSON format.
pub(crate) fn event(json: &str) -> Result<Event> {
    Event::from_stored(json.as_bytes()).map_err(|e| unreadable("event", e))
}

/// The same, where what cannot be read is shown as it is.
pub(crate) fn event_or_text(json: &str) -> Result<Event, UnreadableEvent> {
    event(json).map_err(|why| UnreadableEvent { text: json.to_owned(), why: why.to_string() })
}

/// The event of a row; one that was written before its event has no id of one.
pub(crate) fn event_if_any(id: &str, json: &str) -> Result<Event, UnreadableEvent> {
    if id.is_empty() {
        let why = "it has not come yet: the execution was moved before";
        return Err(UnreadableEvent { text: json.to_owned(), why: why.into() });
    }
    event_or_text(json)
}

/// An event's JSON format.
pub(crate) fn from_event(event: &EventParts) -> Result<String> {
    String::from_utf8(event.to_stored())
        .map_err(|e| StoreError::Rejected(format!("an event that is not UTF-8: {e}")))
}

/// A line of a log as it is kept.
#[derive(Serialize, Deserialize)]
struct StoredLine<'a> {
    seq: u32,
    at: i64,
    level: &'a str,
    source: &'a str,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    fields: Option<Cow<'a, str>>,
}

/// An attempt's log as a column holds it: a JSON array; `None` without lines.
pub(crate) fn from_logs(lines: &[LogLine]) -> Result<Option<String>> {
    if lines.is_empty() {
        return Ok(None);
    }
    let stored = lines.iter().map(|line| StoredLine {
        seq: line.seq,
        at: line.at.as_micros(),
        level: line.level.as_str(),
        source: line.source.as_str(),
        message: line.message.as_str().into(),
        fields: line.fields.as_deref().map(Cow::from),
    });
    let stored: Vec<StoredLine<'_>> = stored.collect();
    serde_json::to_string(&stored)
        .map(Some)
        .map_err(|e| StoreError::Rejected(format!("a log that is not JSON: {e}")))
}

/// The lines of an attempt's log, in order.
pub(crate) fn logs(column: Option<&str>) -> Result<Vec<LogLine>> {
    let Some(text) = column else { return Ok(Vec::new()) };
    let stored: Vec<StoredLine<'_>> =
        serde_json::from_str(text).map_err(|e| unreadable("logs", e))?;
    let line = |line: StoredLine<'_>| {
        Ok(LogLine {
            seq: line.seq,
            at: Timestamp::from_micros(line.at),
            level: word("level", line.level)?,
            source: word("source", line.source)?,
            message: line.message.into_owned(),
            fields: line.fields.map(Cow::into_owned),
        })
    };
    stored.into_iter().map(line).collect()
}

/// A page of a log: the lines of an attempt after a place, as many as are still wanted.
pub(crate) fn add_to_page(
    page: &mut Vec<LogEntry>,
    attempt: u32,
    column: Option<&str>,
    after: Option<LogPosition>,
    limit: usize,
) -> Result<()> {
    let entries = logs(column)?.into_iter().map(|line| LogEntry { attempt, line });
    let is_after = |entry: &LogEntry| {
        after.is_none_or(|after| LogPosition { attempt, seq: entry.line.seq } > after)
    };
    let wanted = limit.saturating_sub(page.len());
    page.extend(entries.filter(is_after).take(wanted));
    Ok(())
}

/// What belongs to an origin beside its kind and the execution that emitted the event: a JSON
/// object, where there is any. A release that does not know a member of it passes over that.
pub(crate) fn from_origin(origin: &Origin) -> Result<Option<String>> {
    match origin {
        // That is all that can be told of it without.
        Origin::Event | Origin::EmittedBy { depth: 1, .. } | Origin::Invocation => Ok(None),
        Origin::EmittedBy { .. }
        | Origin::ReplayOf { .. }
        | Origin::Schedule { .. }
        | Origin::WorkflowStep { .. } => {
            let text = serde_json::to_string(origin);
            text.map(Some)
                .map_err(|e| StoreError::Rejected(format!("an origin that is not JSON: {e}")))
        }
    }
}

/// The first execution of a chain; none for the first itself.
pub(crate) fn root(dispatch: &Dispatch) -> Option<ExecutionId> {
    Some(dispatch.root).filter(|root| *root != dispatch.execution)
}

/// An origin. One that is not known here is told as far as the release before could.
pub(crate) fn origin(
    kind: Option<&str>,
    text: Option<&str>,
    parent: Option<ExecutionId>,
) -> Origin {
    if kind == Some(Origin::Invocation.kind()) {
        return Origin::Invocation;
    }
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_else(|| Origin::of_parent(parent))
}

/// A message's headers as a column holds them: a JSON array of names and values.
pub(crate) fn from_headers(headers: &[(String, String)]) -> Result<String> {
    serde_json::to_string(headers)
        .map_err(|e| StoreError::Rejected(format!("headers that are not JSON: {e}")))
}

/// The smallest id that can be made at `time`: ids begin with the milliseconds since 1970, so this
/// turns a time into a place in the order of ids.
pub(crate) fn first_id_at(time: Timestamp) -> ExecutionId {
    const MILLIS: u32 = 48;
    let millis = u128::from(time.as_millis()) & ((1 << MILLIS) - 1);
    ExecutionId(Uuid::from_u128(millis << (128 - MILLIS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_domain::State;

    #[test]
    fn ids_are_ordered_by_time() {
        let before = first_id_at(Timestamp::now());
        let id = ExecutionId::new();
        let after = first_id_at(Timestamp::now().plus(Duration::from_millis(1)));
        assert!(before <= id && id < after);
        assert_eq!(first_id_at(Timestamp::from_micros(-1)).0, Uuid::nil());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = word::<State>("state", "lost").unwrap_err().to_string();
        assert!(error.contains("'state'") && error.contains("lost"), "{error}");
    }
}
