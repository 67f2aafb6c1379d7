//! What a success emits: events, checked and routed to the functions that they reach.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;
use wasmill_domain::event::{Attribute, Invalid};
use wasmill_domain::registry::Route;
use wasmill_domain::units::ByteSize;
use wasmill_domain::{
    Dispatch, Event, EventParts, EventType, LogLevel, LogLine, LogSource, Registry, TenantName,
    Timestamp, TraceContext, json,
};

use crate::run::Emitted;
use crate::settings::EmissionSettings;

/// The most events, and executions that they lead to, that are checked and routed on the threads of
/// guests.
const QUICK: (usize, usize) = (16, 64);

/// The executions that emitted events lead to.
#[derive(Debug, Default)]
pub(crate) struct Routed {
    /// One for each event and each function that it reaches.
    pub(crate) dispatches: Vec<Dispatch>,
    /// The event types without a subscriber, each once.
    pub(crate) unsubscribed: Vec<String>,
}

/// Whether these events are routed soon: there are few of them, no schema checks any, and they lead
/// to few executions.
pub(crate) fn is_quick(registry: &Registry, tenant: &TenantName, emitted: &[Emitted]) -> bool {
    let (events, mut executions) = QUICK;
    let types = emitted.iter().filter_map(|emitted| emitted.event_type.parse().ok());
    emitted.len() <= events
        && types.map(|event_type| registry.route(tenant, &event_type)).all(|route| {
            let left = executions.checked_sub(route.functions.len());
            executions = left.unwrap_or_default();
            left.is_some() && !route.is_checked()
        })
}

/// Checks and routes the events that `parent` emitted in the span `span`.
///
/// # Errors
/// What is wrong with the first event that cannot be published, or that all of them together lead
/// to more than they may. None is published then.
pub(crate) fn route(
    registry: &Registry,
    parent: &Dispatch,
    span: &TraceContext,
    emitted: Vec<Emitted>,
    settings: &EmissionSettings,
) -> Result<Routed, String> {
    // Before anything is made of any of them.
    Bounds::new(registry, parent, settings).check(&emitted)?;
    let mut routed = Routed::default();
    // All that one attempt emits is checked with the steps that one request's data have.
    let mut steps = registry.schema_compiler().max_check_steps();
    let now = Timestamp::now();
    for (index, emitted) in emitted.into_iter().enumerate() {
        let wrong = |why: String| unpublished(index, &why);
        let event = event_of(emitted, parent, index, now).map_err(wrong)?;
        let route = registry.route(&parent.tenant, &event.event_type);
        check_data(&event, &route, &mut steps).map_err(wrong)?;
        if route.functions.is_empty() {
            let event_type = event.event_type.as_str();
            if !routed.unsubscribed.iter().any(|known| known == event_type) {
                routed.unsubscribed.push(event_type.to_owned());
            }
            continue;
        }
        let event = Arc::new(event);
        routed.dispatches.extend(route.functions.iter().map(|function| {
            Dispatch::new(
                parent.tenant.clone(),
                function.name.clone(),
                span.clone(),
                Arc::clone(&event),
            )
            .with_max_attempts(function.manifest.retry.max_attempts)
            .with_accepted_at(now)
            .emitted_by(parent)
            .with_revision(registry.revision())
        }));
    }
    Ok(routed)
}

fn unpublished(index: usize, why: &str) -> String {
    format!("emitted event {index} cannot be published: {why}")
}

/// What the events of one attempt may lead to, and what those that were looked at do.
struct Bounds<'a> {
    registry: &'a Registry,
    parent: &'a Dispatch,
    settings: &'a EmissionSettings,
    /// How many functions each type reaches.
    reached: HashMap<EventType, usize>,
    executions: usize,
    bytes: usize,
}

impl<'a> Bounds<'a> {
    fn new(registry: &'a Registry, parent: &'a Dispatch, settings: &'a EmissionSettings) -> Self {
        Self { registry, parent, settings, reached: HashMap::new(), executions: 0, bytes: 0 }
    }

    /// Makes sure that events keep within them. What cannot be published anyway leads to nothing.
    fn check(mut self, emitted: &[Emitted]) -> Result<(), String> {
        for (index, emitted) in emitted.iter().enumerate() {
            if let Ok(event_type) = emitted.event_type.parse() {
                self.add(emitted, event_type).map_err(|why| unpublished(index, &why))?;
            }
        }
        Ok(())
    }

    fn add(&mut self, emitted: &Emitted, event_type: EventType) -> Result<(), String> {
        let EmissionSettings { executions, bytes, chain_depth } = *self.settings;
        let shown = event_type.to_string();
        let route = |event_type: &EventType| {
            self.registry.route(&self.parent.tenant, event_type).functions.len()
        };
        let reached = match self.reached.entry(event_type) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => {
                let reached = route(unknown.key());
                *unknown.insert(reached)
            }
        };
        let depth = self.parent.origin.depth();
        if reached > 0 && depth >= chain_depth {
            return Err(format!(
                "functions listen to its type, '{shown}', and {depth} executions led to this one, each by what the one \
                 before emitted; the most is {chain_depth} (host.max_chain_depth)"
            ));
        }
        self.executions += reached;
        if self.executions > executions {
            let count = self.executions;
            return Err(format!(
                "its type, '{shown}', reaches {reached} functions, so that all that is emitted leads to at least \
                 {count} executions; the most is {executions} (host.max_emitted_executions)"
            ));
        }
        self.bytes = self.bytes.saturating_add(reached.saturating_mul(size(emitted)));
        if self.bytes > bytes {
            let (count, most) = (ByteSize(self.bytes as u64), ByteSize(bytes as u64));
            return Err(format!(
                "its type, '{shown}', reaches {reached} functions, so that the executions that all that is emitted leads \
                 to have at least {count} of events; the most is {most} (host.max_emitted_bytes)"
            ));
        }
        Ok(())
    }
}

/// What an event takes of each execution that it leads to.
fn size(emitted: &Emitted) -> usize {
    let Emitted { event_type, source, subject, extensions, datacontenttype, data } = emitted;
    let texts = [source, subject, datacontenttype].map(|text| text.as_ref().map_or(0, String::len));
    let extensions: usize = extensions.iter().map(|(name, value)| name.len() + value.len()).sum();
    let data = data.as_ref().map_or(0, bytes::Bytes::len);
    event_type.len() + texts.into_iter().sum::<usize>() + extensions + data
}

/// The lines that tell of types that reached nobody, to follow the log's `lines`.
pub(crate) fn note_unsubscribed(unsubscribed: &[String], lines: &mut Vec<LogLine>) {
    for event_type in unsubscribed {
        lines.push(LogLine {
            seq: u32::try_from(lines.len()).unwrap_or(u32::MAX),
            at: Timestamp::now(),
            level: LogLevel::Warn,
            source: LogSource::Host,
            message: format!(
                "emitted an event of type '{event_type}', to which no function subscribes"
            ),
            fields: None,
        });
    }
}

/// The event with everything filled in. Its id is made of the execution's, so that whatever attempt
/// succeeds emits the same events.
fn event_of(
    emitted: Emitted,
    parent: &Dispatch,
    index: usize,
    now: Timestamp,
) -> Result<Event, String> {
    let event_type = emitted.event_type.parse().map_err(|e| format!("{e}"))?;
    let source = emitted.source.unwrap_or_else(|| format!("/functions/{}", parent.function));
    let json = || emitted.data.is_some().then(|| "application/json".into());
    let mut parts = EventParts {
        subject: emitted.subject,
        time: Some(now.to_string()),
        datacontenttype: emitted.datacontenttype.or_else(json),
        ..EventParts::new(format!("{}-{index}", parent.execution), source, event_type)
    };
    parts.data = emitted.data;
    for (name, value) in emitted.extensions {
        if !wasmill_domain::event::is_extension_name(&name) {
            return Err(format!(
                "'{name}' cannot name an extension: lower-case letters and digits, none of CloudEvents' own"
            ));
        }
        parts.extensions.insert(name, Attribute::String(value));
    }
    parts.check().map_err(|Invalid { message, .. }| message)
}

/// The same as the gateway asks of an event that comes in.
fn check_data(event: &Event, route: &Route, steps: &mut u64) -> Result<(), String> {
    if !event.has_json_data() {
        return if route.is_checked() {
            Err(format!(
                "a schema checks events of type '{}', so their data must be JSON",
                event.event_type
            ))
        } else {
            Ok(())
        };
    }
    let not_json = |error: serde_json::Error| format!("its data are not JSON: {error}");
    let value = match &event.data {
        Some(data) if route.is_checked() => json::parse(data).map_err(not_json)?,
        Some(data) => return serde_json::from_slice::<&RawValue>(data).map(drop).map_err(not_json),
        None if route.is_checked() => Value::Null,
        None => return Ok(()),
    };
    route.check_within(&value, steps).map_err(|refusal| {
        let first = refusal.violations.first();
        let (pointer, message) =
            first.map_or(("", ""), |v| (v.pointer.as_str(), v.message.as_str()));
        format!(
            "its data do not satisfy the schema of {}: {message} (at '{pointer}')",
            refusal.owner
        )
    })
}

#[cfg(test)]
mod tests;
