//! Messages: those that the golden files hold, and any.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use crate::batch::Batch;
use crate::definition::Revision;
use crate::dispatch::{Dispatch, Origin};
use crate::event::{Attribute, Event, EventParts};
use crate::execution::{ExecutionId, Outcome};
use crate::http_message::{Download, Headers, Opening, RequestHead, ResponseHead, Upload};
use crate::timestamp::Timestamp;
use crate::trace::TraceContext;

/// The id with this number among those of the golden files.
pub(super) fn id(number: u128) -> ExecutionId {
    ExecutionId(Uuid::from_u128(0x0193_5a3c_8e00_7000_8000_0000_0000_0000 + number))
}

fn trace(flags: &str, tracestate: Option<&str>) -> TraceContext {
    TraceContext::parse(
        &format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}"),
        tracestate,
    )
    .unwrap()
}

/// A dispatch with everything.
pub(super) fn full() -> Dispatch {
    let mut parts = EventParts::new("order-7", "/shop", "order.created".parse().unwrap());
    parts.subject = Some("order 7".into());
    parts.time = Some("2026-11-22T03:30:00.5+01:00".into());
    parts.dataschema = Some("https://example.com/order.json".into());
    parts.datacontenttype = Some("application/json".into());
    parts.extensions.insert("number".into(), Attribute::Integer(-7));
    parts.extensions.insert("flag".into(), Attribute::Boolean(true));
    parts.extensions.insert("text".into(), Attribute::String("a b".into()));
    parts.data = Some(r#"{"total": 12.50}"#.into());
    let event = Arc::new(parts.check().unwrap());
    let dispatch = Dispatch::new(
        "acme".parse().unwrap(),
        "total".parse().unwrap(),
        trace("01", Some("vendor=1")),
        event,
    )
    .with_execution(id(1))
    .with_epoch(3)
    .with_attempt(2, 300)
    .with_accepted_at(Timestamp::from_micros(1_780_000_000_123_456))
    .with_origin(Origin::EmittedBy { execution: id(9), depth: 1 })
    .with_revision(Revision(70_000));
    Dispatch { root: id(8), queued_at: Timestamp::from_micros(1_780_000_001_000_000), ..dispatch }
}

/// One whose data nobody said the type of.
pub(super) fn opaque() -> Dispatch {
    let mut parts = EventParts::new("1", "/s", "a.b".parse().unwrap());
    parts.data = Some(vec![0, 255, 1].into());
    parts.opaque = true;
    Dispatch { event: Arc::new(parts.check().unwrap()), trace: trace("00", None), ..full() }
        .with_execution(id(2))
        .with_epoch(1)
        .with_attempt(1, 300)
        .with_origin(Origin::Event)
        .with_revision(Revision(0))
}

/// One without data.
pub(super) fn empty() -> Dispatch {
    let event = Arc::new(EventParts::new("2", "/s", "a.b".parse().unwrap()).check().unwrap());
    Dispatch { event, ..opaque() }.with_execution(id(3))
}

/// The head of a request.
pub(super) fn request_head() -> RequestHead {
    RequestHead {
        method: "POST".into(),
        target: "/orders/7?full=1".into(),
        scheme: "https".into(),
        authority: "api.example.com:8080".into(),
        headers: vec![("accept".into(), "a".into()), ("x".into(), vec![0xff].into())],
    }
}

fn any_id() -> impl Strategy<Value = ExecutionId> {
    any::<u128>().prop_map(|number| ExecutionId(Uuid::from_u128(number)))
}

fn any_origin() -> impl Strategy<Value = Origin> {
    prop_oneof![
        Just(Origin::Event),
        Just(Origin::Invocation),
        (any_id(), 1_u32..).prop_map(|(execution, depth)| Origin::EmittedBy { execution, depth }),
        any_id().prop_map(|execution| Origin::ReplayOf { execution }),
        (any::<String>(), any::<i64>())
            .prop_map(|(name, due)| Origin::Schedule { name, due: Timestamp::from_micros(due) }),
        (any_id(), any::<String>()).prop_map(|(run, path)| Origin::WorkflowStep { run, path }),
    ]
}

fn any_attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        any::<bool>().prop_map(Attribute::Boolean),
        any::<i32>().prop_map(Attribute::Integer),
        any::<String>().prop_map(Attribute::String),
    ]
}

/// Any event, of what one that was checked may be made of or not: whether it is right is not for
/// who reads it.
fn any_event() -> impl Strategy<Value = Event> {
    let text = || proptest::option::of(any::<String>());
    let data = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300));
    let extensions = proptest::collection::btree_map(any::<String>(), any_attribute(), 0..4);
    let texts = (any::<String>(), any::<String>(), text(), text(), text(), text());
    (texts, extensions, data, any::<bool>()).prop_map(|(texts, extensions, data, opaque)| {
        let (id, source, subject, time, dataschema, datacontenttype) = texts;
        Event::from_checked(EventParts {
            subject,
            time,
            dataschema,
            datacontenttype,
            extensions,
            data: data.map(Bytes::from),
            opaque,
            ..EventParts::new(id, source, "order.created".parse().unwrap())
        })
    })
}

fn any_dispatch() -> impl Strategy<Value = Dispatch> {
    let ids = (any_id(), any_id(), any_origin());
    let numbers =
        (any::<u32>(), any::<u32>(), any::<u32>(), any::<i64>(), any::<i64>(), any::<i64>());
    let tracestate = proptest::option::of("[a-z]=[a-z]{0,500}");
    (ids, numbers, tracestate, any_event()).prop_map(|(ids, numbers, tracestate, event)| {
        let (execution, root, origin) = ids;
        let (epoch, attempt, max_attempts, accepted_at, queued_at, revision) = numbers;
        let mut trace = TraceContext::new_root();
        trace.tracestate = tracestate;
        let mut dispatch =
            full().with_execution(execution).with_epoch(epoch).with_attempt(attempt, max_attempts);
        dispatch = dispatch.with_origin(origin).with_revision(Revision(revision));
        dispatch.accepted_at = Timestamp::from_micros(accepted_at);
        dispatch.queued_at = Timestamp::from_micros(queued_at);
        Dispatch { root, trace, event: Arc::new(event), ..dispatch }
    })
}

/// Any batch.
pub(super) fn any_batch() -> impl Strategy<Value = Batch> {
    proptest::collection::vec(any_dispatch(), 1..6)
        .prop_map(|dispatches| Batch::new(dispatches).unwrap())
}

fn any_headers() -> impl Strategy<Value = Headers> {
    let value = proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
    proptest::collection::vec((any::<String>(), value), 0..4)
}

fn any_data() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

/// Any opening.
pub(super) fn any_opening() -> impl Strategy<Value = Opening> {
    let head = (any::<String>(), any::<String>(), any::<String>(), any::<String>(), any_headers())
        .prop_map(|(method, target, scheme, authority, headers)| RequestHead {
            method,
            target,
            scheme,
            authority,
            headers,
        });
    (any_dispatch(), head, any_data(), any::<bool>())
        .prop_map(|(dispatch, head, body, complete)| Opening { dispatch, head, body, complete })
}

/// Anything a gateway says later.
pub(super) fn any_upload() -> impl Strategy<Value = Upload> {
    prop_oneof![any_data().prop_map(Upload::Data), any_headers().prop_map(Upload::End)]
}

/// Anything a host says.
pub(super) fn any_download() -> impl Strategy<Value = Download> {
    let head = (any::<u16>(), any_headers())
        .prop_map(|(status, headers)| Download::Head(ResponseHead { status, headers }));
    let failed = (proptest::sample::select(&Outcome::ALL[..]), any::<String>())
        .prop_map(|(outcome, message)| Download::Failed { outcome, message });
    prop_oneof![
        head,
        any_data().prop_map(Download::Data),
        any_headers().prop_map(Download::End),
        failed,
    ]
}
