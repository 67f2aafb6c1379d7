//! What a success emits: events, checked and routed to the functions that they reach.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;
use wasmill_domain::event::{Attribute, Invalid};
use wasmill_domain::registry::Route;
use wasmill_domain::{
    Dispatch, Event, EventParts, LogLevel, LogLine, LogSource, Registry, TenantName, Timestamp,
    TraceContext, json,
};

use crate::run::Emitted;

/// The executions that emitted events lead to.
#[derive(Debug, Default)]
pub(crate) struct Routed {
    /// One for each event and each function that it reaches.
    pub(crate) dispatches: Vec<Dispatch>,
    /// The event types without a subscriber, each once.
    pub(crate) unsubscribed: Vec<String>,
}

/// Whether a schema checks any of these events, which takes a while then.
pub(crate) fn are_checked(registry: &Registry, tenant: &TenantName, emitted: &[Emitted]) -> bool {
    let types = emitted.iter().filter_map(|emitted| emitted.event_type.parse().ok());
    types.into_iter().any(|event_type| registry.route(tenant, &event_type).is_checked())
}

/// Checks and routes the events that `parent` emitted in the span `span`.
///
/// # Errors
/// What is wrong with the first event that cannot be published. None is then.
pub(crate) fn route(
    registry: &Registry,
    parent: &Dispatch,
    span: &TraceContext,
    emitted: Vec<Emitted>,
) -> Result<Routed, String> {
    let mut routed = Routed::default();
    // All that one attempt emits is checked with the steps that one request's data have.
    let mut steps = registry.schema_compiler().max_check_steps();
    let now = Timestamp::now();
    for (index, emitted) in emitted.into_iter().enumerate() {
        let wrong = |why: String| format!("emitted event {index} cannot be published: {why}");
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
mod tests {
    use serde_json::json;
    use wasmill_domain::{Definitions, Digest, FunctionDefinition, Manifest, Revision};
    use wasmill_schema::{Compiler, SchemaLimits};

    use super::*;

    fn registry() -> Registry {
        registry_within(SchemaLimits::default())
    }

    fn registry_within(limits: SchemaLimits) -> Registry {
        let function = |name: &str, trigger: Value| {
            let manifest = Manifest::from_json(
                json!({"name": name, "trigger": [trigger], "retry": {"max_attempts": 7}}),
            );
            let manifest = Arc::new(manifest.unwrap());
            FunctionDefinition {
                tenant: TenantName::default(),
                name: manifest.name.clone(),
                version: 1,
                digest: Digest::of(b""),
                manifest,
                deployed_at: Timestamp::now(),
            }
        };
        let functions = vec![
            function("audit", json!({"event": "order.*"})),
            function(
                "bill",
                json!({"event": "order.paid", "schema": {"type": "object", "required": ["total"]}}),
            ),
        ];
        let definitions =
            Definitions { revision: Revision(1), functions, ..Definitions::default() };
        Registry::build(definitions, &Registry::new(Arc::new(Compiler::new(limits))))
    }

    fn parent() -> Dispatch {
        Dispatch::new(
            TenantName::default(),
            "shop".parse().unwrap(),
            TraceContext::new_root(),
            Arc::new(Event::new("1", "/s", "shop.opened".parse().unwrap(), "{}").unwrap()),
        )
    }

    fn emitted(event_type: &str, data: Option<&str>) -> Emitted {
        Emitted {
            event_type: event_type.into(),
            data: data.map(|data| data.to_owned().into()),
            ..Emitted::default()
        }
    }

    fn refused(emitted: Emitted) -> String {
        let good = Emitted { event_type: "order.made".into(), ..Emitted::default() };
        route(&registry(), &parent(), &TraceContext::new_root(), vec![good, emitted]).unwrap_err()
    }

    #[test]
    fn an_event_reaches_every_function_once() {
        let (parent, span) = (parent(), TraceContext::new_root());
        let events =
            vec![emitted("order.paid", Some(r#"{"total": 1}"#)), emitted("order.made", None)];
        let routed = route(&registry(), &parent, &span, events).unwrap();
        let names: Vec<&str> = routed.dispatches.iter().map(|d| d.function.as_str()).collect();
        assert_eq!(names, ["audit", "bill", "audit"]);
        let first = &routed.dispatches[0];
        assert_eq!(
            (first.parent(), &first.trace, first.max_attempts),
            (Some(parent.execution), &span, 7)
        );
        assert_eq!(first.event.id, format!("{}-0", parent.execution));
        assert_eq!(routed.dispatches[2].event.id, format!("{}-1", parent.execution));
        assert_eq!(first.event.source, "/functions/shop");
        assert_eq!(first.event.datacontenttype.as_deref(), Some("application/json"));
        assert!(Timestamp::parse(first.event.time.as_deref().unwrap()).is_ok());
        assert!(routed.unsubscribed.is_empty());
    }

    #[test]
    fn all_that_an_attempt_emits_shares_its_steps() {
        let emit = |max_check_steps, count| {
            let registry =
                registry_within(SchemaLimits { max_check_steps, ..SchemaLimits::default() });
            let events =
                (0..count).map(|_| emitted("order.paid", Some(r#"{"total": 1}"#))).collect();
            route(&registry, &parent(), &TraceContext::new_root(), events)
                .map(|routed| routed.dispatches.len())
        };
        let enough = (1..1_000).find(|steps| emit(*steps, 1).is_ok()).unwrap();
        assert_eq!(emit(enough * 2, 2), Ok(4));
        let said = emit(enough, 2).unwrap_err();
        assert!(
            said.starts_with("emitted event 1 cannot be published")
                && said.contains("max_check_steps"),
            "{said}"
        );
    }

    #[test]
    fn only_what_a_schema_checks_takes_a_turn() {
        let (registry, tenant) = (registry(), TenantName::default());
        assert!(are_checked(
            &registry,
            &tenant,
            &[emitted("order.made", None), emitted("order.paid", None)]
        ));
        assert!(!are_checked(
            &registry,
            &tenant,
            &[emitted("order.made", None), emitted("", None)]
        ));
    }

    #[test]
    fn types_without_subscribers_are_told_once() {
        let events = vec![emitted("gone.away", None), emitted("gone.away", None)];
        let routed = route(&registry(), &parent(), &TraceContext::new_root(), events).unwrap();
        assert!(routed.dispatches.is_empty());
        let mut lines = Vec::new();
        note_unsubscribed(&routed.unsubscribed, &mut lines);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].message.contains("'gone.away'") && lines[0].source == LogSource::Host);
    }

    #[test]
    fn what_cannot_be_published_is_named() {
        for (event, words) in [
            (emitted("", None), "event type"),
            (emitted("order.made", Some("{")), "not JSON"),
            (emitted("order.paid", Some("{}")), "schema of function bill"),
            (emitted("order.paid", None), "schema of function bill"),
            (
                emitted("order.paid", Some(r#"{"total": 1, "total": 2}"#)),
                "'total' stands there twice",
            ),
            (emitted("order.paid", Some(r#"{"total": 18446744073709551616}"#)), "beyond 64 bits"),
            (Emitted { source: Some(String::new()), ..emitted("order.made", None) }, "'source'"),
            (Emitted { source: Some("a b".into()), ..emitted("order.made", None) }, "'source'"),
            (
                Emitted { subject: Some("\u{ffff}".into()), ..emitted("order.made", None) },
                "'subject'",
            ),
            (
                Emitted {
                    datacontenttype: Some("a/b, a/b".into()),
                    ..emitted("order.made", Some("1"))
                },
                "media type",
            ),
            (
                Emitted {
                    datacontenttype: Some("json".into()),
                    ..emitted("order.made", Some("1"))
                },
                "media type",
            ),
            (
                Emitted {
                    datacontenttype: Some("text/plain".into()),
                    ..emitted("order.paid", Some("1"))
                },
                "must be JSON",
            ),
            (
                Emitted {
                    extensions: vec![("Bad-Name".into(), String::new())],
                    ..emitted("order.made", None)
                },
                "Bad-Name",
            ),
            (
                Emitted {
                    extensions: vec![("id".into(), "7".into())],
                    ..emitted("order.made", None)
                },
                "'id'",
            ),
        ] {
            let said = refused(event);
            assert!(
                said.starts_with("emitted event 1 cannot be published: ") && said.contains(words),
                "{said}"
            );
        }
    }
}
