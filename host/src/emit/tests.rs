use serde_json::json;
use wasmill_domain::{Definitions, Digest, ExecutionId, FunctionDefinition, Manifest, Revision};
use wasmill_schema::{Compiler, SchemaLimits};

use super::*;

/// As [`super::route`], within the usual bounds.
fn route(
    registry: &Registry,
    parent: &Dispatch,
    span: &TraceContext,
    emitted: Vec<Emitted>,
) -> Result<Routed, String> {
    super::route(registry, parent, span, emitted, &EmissionSettings::default())
}

fn registry() -> Registry {
    registry_within(SchemaLimits::default())
}

fn function(name: &str, trigger: &Value) -> FunctionDefinition {
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
}

fn registry_within(limits: SchemaLimits) -> Registry {
    let functions = vec![
        function("audit", &json!({"event": "order.*"})),
        function(
            "bill",
            &json!({"event": "order.paid", "schema": {"type": "object", "required": ["total"]}}),
        ),
    ];
    let definitions = Definitions { revision: Revision(1), functions, ..Definitions::default() };
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
    let events = vec![emitted("order.paid", Some(r#"{"total": 1}"#)), emitted("order.made", None)];
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
        let registry = registry_within(SchemaLimits { max_check_steps, ..SchemaLimits::default() });
        let events = (0..count).map(|_| emitted("order.paid", Some(r#"{"total": 1}"#))).collect();
        route(&registry, &parent(), &TraceContext::new_root(), events)
            .map(|routed| routed.dispatches.len())
    };
    let enough = (1..1_000).find(|steps| emit(*steps, 1).is_ok()).unwrap();
    assert_eq!(emit(enough * 2, 2), Ok(4));
    let said = emit(enough, 2).unwrap_err();
    assert!(
        said.starts_with("emitted event 1 cannot be published") && said.contains("max_check_steps"),
        "{said}"
    );
}

#[test]
fn only_what_takes_long_takes_a_turn() {
    let (registry, tenant) = (registry(), TenantName::default());
    let quick = |events: &[Emitted]| is_quick(&registry, &tenant, events);
    assert!(quick(&[emitted("order.made", None), emitted("", None)]));
    assert!(!quick(&[emitted("order.made", None), emitted("order.paid", None)]), "checked");
    assert!(quick(&vec![emitted("gone.away", None); 16]));
    assert!(!quick(&vec![emitted("gone.away", None); 17]), "many");
    let many = listening(9);
    let quick = |count| is_quick(&many, &tenant, &vec![emitted("a.b", None); count]);
    assert!(quick(7) && !quick(8), "what leads to more than 64 executions");
}

/// A registry in which so many functions listen to `a.b`.
fn listening(count: usize) -> Registry {
    let functions = (0..count).map(|i| function(&format!("f{i}"), &json!({"event": "a.*"})));
    let definitions = Definitions {
        revision: Revision(1),
        functions: functions.collect(),
        ..Definitions::default()
    };
    Registry::build(definitions, &Registry::new(Arc::new(Compiler::default())))
}

#[test]
fn what_an_attempt_leads_to_is_bounded() {
    let settings = EmissionSettings { executions: 20, bytes: 2_000, chain_depth: 2 };
    let registry = listening(10);
    let emit = |parent: &Dispatch, events| {
        super::route(&registry, parent, &TraceContext::new_root(), events, &settings)
            .map(|routed| routed.dispatches.len())
    };
    let parent = parent();
    let event = || emitted("a.b", None);
    assert_eq!(emit(&parent, vec![event(), emitted("gone.away", None), event()]), Ok(20));
    let said = emit(&parent, vec![event(), event(), emitted("a.c", None)]).unwrap_err();
    for word in ["event 2", "'a.c'", "10 functions", "30 executions", "host.max_emitted_executions"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }

    // The type's three bytes count as well.
    let data = |length: usize| {
        vec![event(), emitted("a.b", Some(&format!("\"{}\"", "x".repeat(length - 2))))]
    };
    assert_eq!(emit(&parent, data(194)), Ok(20));
    let said = emit(&parent, data(195)).unwrap_err();
    for word in ["event 1", "'a.b'", "host.max_emitted_bytes"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let subject = Emitted { subject: Some("x".repeat(200)), ..event() };
    assert!(emit(&parent, vec![subject]).unwrap_err().contains("host.max_emitted_bytes"));

    let next =
        |before: &Dispatch| parent.clone().with_execution(ExecutionId::new()).emitted_by(before);
    let second = next(&parent);
    let third = next(&second);
    assert_eq!(emit(&second, vec![event()]), Ok(10));
    let said = emit(&third, vec![emitted("gone.away", None), event()]).unwrap_err();
    for word in ["event 1", "'a.b'", "2 executions led to this one", "host.max_chain_depth"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(emit(&third, vec![emitted("gone.away", None)]), Ok(0), "it leads to nothing");
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
        (emitted("order.paid", Some(r#"{"total": 1, "total": 2}"#)), "'total' stands there twice"),
        (emitted("order.paid", Some(r#"{"total": 18446744073709551616}"#)), "beyond 64 bits"),
        (Emitted { source: Some(String::new()), ..emitted("order.made", None) }, "'source'"),
        (Emitted { source: Some("a b".into()), ..emitted("order.made", None) }, "'source'"),
        (Emitted { subject: Some("\u{ffff}".into()), ..emitted("order.made", None) }, "'subject'"),
        (
            Emitted {
                datacontenttype: Some("a/b, a/b".into()),
                ..emitted("order.made", Some("1"))
            },
            "media type",
        ),
        (
            Emitted { datacontenttype: Some("json".into()), ..emitted("order.made", Some("1")) },
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
            Emitted { extensions: vec![("id".into(), "7".into())], ..emitted("order.made", None) },
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
