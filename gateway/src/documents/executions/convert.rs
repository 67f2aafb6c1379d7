//! How what is stored becomes documents.

use super::*;

impl From<ListedExecution> for ListedDocument {
    fn from(listed: ListedExecution) -> Self {
        match listed {
            Ok(summary) => Self::Summary(Box::new(summary.into())),
            Err(row) => {
                Self::Unreadable(UnreadableRowDocument { id: row.id.0, unreadable: row.why })
            }
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
            parent: summary.origin.parent(),
            trace_id: summary.trace_id,
            accepted_at: summary.accepted_at,
            due_at: summary.due_at,
            started_at: summary.started_at,
            finished_at: summary.finished_at,
            changed_at: summary.changed_at,
            held_by: summary.held_by,
            reason: summary.reason,
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
        let (epoch, origin, root) =
            (detail.summary.epoch, detail.summary.origin.clone(), detail.summary.root);
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
            epoch,
            origin,
            root,
            no_host: None,
        }
    }
}

impl ExecutionDocument {
    /// Says why no host runs it, where that is so.
    pub(crate) fn with_no_host(self, no_host: Option<String>) -> Self {
        Self { no_host, ..self }
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
        epoch: dispatch.epoch,
        origin: dispatch.origin,
        root: dispatch.root,
        trace_id: dispatch.trace.trace_id(),
        accepted_at: dispatch.accepted_at,
        due_at: None,
        started_at: None,
        finished_at: None,
        changed_at: None,
        held_by: None,
        reason: None,
    };
    ExecutionDetail {
        summary,
        event: Ok(event),
        output: None,
        attempts: Vec::new(),
        children: Vec::new(),
    }
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
        let parts = text
            .split_once('.')
            .and_then(|(attempt, seq)| Some((attempt.parse().ok()?, seq.parse().ok()?)));
        let (attempt, seq) = parts.ok_or_else(|| {
            serde::de::Error::custom(
                "not a cursor of a log: give 'next' of the page before as it is",
            )
        })?;
        Ok(Self(LogPosition { attempt, seq }))
    }
}
