//! Data for the tests: plain values with every optional part filled in.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmill_domain::event::Attribute;
use wasmill_domain::{
    AttemptKey, AttemptReport, Digest, Dispatch, Event, EventParts, ExecutionId, FunctionName,
    LogLevel, LogLine, LogSource, Manifest, Outcome, Output, State, TenantName, Timestamp,
    TraceContext,
};

use crate::conformance::Store;
use crate::port::{
    Change, Changed, ExecutionDetail, ExecutionQuery, Finished, Publication, Retention, Started,
};

/// Some time, in whole microseconds. Later than everything that was done so far, where that
/// matters.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// A time that is later than every entry made so far.
pub(crate) fn soon() -> Timestamp {
    now().plus(Duration::from_secs(60))
}

pub(crate) fn tenant() -> TenantName {
    TenantName::default()
}

pub(crate) fn name(text: &str) -> FunctionName {
    text.parse().unwrap()
}

pub(crate) fn event() -> Event {
    event_parts().check().unwrap()
}

pub(crate) fn event_parts() -> EventParts {
    let mut event = EventParts::new("event-1", "/shop", "order.created".parse().unwrap());
    event.datacontenttype = Some("application/json".into());
    event.data = Some(r#"{"total": 12.50, "text": "ü\u0000"}"#.into());
    event.subject = Some("order 7".into());
    event.time = Some("2026-11-22T03:30:00.5+01:00".into());
    event.dataschema = Some("https://example.com/order.json".into());
    event.extensions.insert("number".into(), Attribute::Integer(-7));
    event.extensions.insert("flag".into(), Attribute::Boolean(true));
    event.extensions.insert("text".into(), Attribute::String("a b".into()));
    event
}

/// The event that the parts make, to be shared.
pub(crate) fn made(parts: EventParts) -> Arc<Event> {
    Arc::new(parts.check().unwrap())
}

/// The first attempt at a new execution.
pub(crate) fn dispatch(function: &str) -> Dispatch {
    let mut trace = TraceContext::new_root();
    trace.tracestate = Some("vendor=1".into());
    Dispatch::new(tenant(), name(function), trace, Arc::new(event())).with_max_attempts(3)
}

/// As many new executions.
pub(crate) fn dispatches(count: usize) -> Vec<Dispatch> {
    (0..count).map(|_| dispatch("total")).collect()
}

/// The same execution at another attempt.
pub(crate) fn at_attempt(dispatch: &Dispatch, attempt: u32) -> Dispatch {
    Dispatch { attempt, ..dispatch.clone() }
}

pub(crate) fn started(dispatch: &Dispatch) -> Started {
    Started {
        dispatch: dispatch.clone(),
        version: Digest::of(b"version"),
        host: "host-1".into(),
        at: now(),
    }
}

fn report(dispatch: &Dispatch, outcome: Outcome) -> AttemptReport {
    let failed = outcome != Outcome::Success;
    AttemptReport {
        version: Some(Digest::of(b"version")),
        message: failed.then(|| format!("it was {outcome}")),
        backtrace: failed.then(|| "0: main\n1: start".into()),
        output: (!failed).then(|| Output {
            content_type: "application/json".into(),
            data: Bytes::from_static(b"{\"ok\":1}"),
        }),
        started_at: now(),
        finished_at: now().plus(Duration::from_micros(5)),
        queue_wait: Duration::from_nanos(1_234_567),
        run_time: Duration::from_nanos(7_654_321),
        fuel_used: 123_456,
        peak_memory: 1 << 20,
        log_lines_dropped: 3,
        ..AttemptReport::new("host-1", outcome, dispatch.trace.child())
    }
}

pub(crate) fn finished(dispatch: &Dispatch, outcome: Outcome) -> Finished {
    let report = report(dispatch, outcome);
    Finished { dispatch: dispatch.clone(), report, retry_at: None, logs: vec![], emitted: vec![] }
}

pub(crate) fn retried(dispatch: &Dispatch, retry_at: Timestamp) -> Finished {
    Finished { retry_at: Some(retry_at), ..finished(dispatch, Outcome::Error) }
}

pub(crate) fn line(seq: u32, message: &str) -> LogLine {
    LogLine {
        seq,
        at: now(),
        level: LogLevel::Info,
        source: LogSource::Log,
        message: message.into(),
        fields: Some(r#"{"a":1}"#.into()),
    }
}

/// Deploys a function whose artifact is `bytes`.
pub(crate) async fn deploy(
    store: &dyn Store,
    manifest: serde_json::Value,
    bytes: &'static [u8],
) -> Changed {
    let digest = Digest::of(bytes);
    store.put_artifact(&tenant(), digest, Bytes::from_static(bytes)).await.unwrap();
    let manifest = Manifest::from_json(manifest).unwrap();
    store
        .define(&Change::Deploy {
            tenant: tenant(),
            digest,
            manifest,
            hostnames: Arc::default(),
            at: now(),
        })
        .await
        .unwrap()
}

/// An execution that is in `state`, and the attempt that it is at.
pub(crate) async fn execution_in(store: &dyn Store, state: State) -> Dispatch {
    use wasmill_domain::{Operation, Transition};
    let dispatch = dispatch("total");
    store.enqueue(std::slice::from_ref(&dispatch), Publication::Confirmed).await.unwrap();
    let operate = async |what| {
        store
            .transition_execution(&tenant(), dispatch.execution, &Operation::new(what, now()))
            .await
            .unwrap();
    };
    let record = async |entry: Finished| assert_eq!(store.record(&[entry]).await.unwrap(), [true]);
    match state {
        State::Queued => {}
        State::Delayed => record(retried(&dispatch, soon())).await,
        State::Running => store.start(&[started(&dispatch)]).await.unwrap(),
        State::Suspended => operate(Transition::Suspend).await,
        State::Succeeded => record(finished(&dispatch, Outcome::Success)).await,
        State::Failed => record(finished(&dispatch, Outcome::Trap)).await,
        State::Cancelled => operate(Transition::Cancel).await,
    }
    let summary =
        store.execution(&dispatch.tenant, dispatch.execution).await.unwrap().unwrap().summary;
    assert_eq!(summary.state, state);
    at_attempt(&dispatch, summary.attempt).with_epoch(summary.epoch)
}

/// The state and the attempt that an execution is at.
pub(crate) async fn state_of(store: &dyn Store, dispatch: &Dispatch) -> (State, u32) {
    let detail = store.execution(&dispatch.tenant, dispatch.execution).await.unwrap().unwrap();
    (detail.summary.state, detail.summary.attempt)
}

/// An attempt of the first epoch.
pub(crate) fn key(execution: ExecutionId, attempt: u32) -> AttemptKey {
    AttemptKey { execution, epoch: 1, attempt }
}

/// Every entry of the outbox.
pub(crate) async fn outbox(store: &dyn Store) -> Vec<(ExecutionId, u32)> {
    // Those too that somebody publishes just now.
    let entries = store.outbox(Timestamp::from_micros(i64::MAX), 10_000).await.unwrap();
    entries.iter().map(|dispatch| (dispatch.execution, dispatch.attempt)).collect()
}

/// All there is to an execution.
pub(crate) async fn detail(store: &dyn Store, id: ExecutionId) -> ExecutionDetail {
    store.execution(&tenant(), id).await.unwrap().unwrap()
}

/// The ids of the executions that a query lists.
pub(crate) async fn listed(store: &dyn Store, query: &ExecutionQuery) -> Vec<ExecutionId> {
    store.executions(query).await.unwrap().into_iter().map(|listed| listed.unwrap().id).collect()
}

/// Ends history as a scheduler does, up to about `limit` executions of it, and gives how many are
/// gone.
pub(crate) async fn prune(store: &(impl Retention + ?Sized), before: Timestamp, limit: u32) -> u64 {
    let mut gone = 0;
    while let Some(day) = store.drop_day(before).await.unwrap() {
        gone += day;
    }
    let mut after = None;
    while gone < limit.into() {
        let room = limit - u32::try_from(gone).unwrap();
        let page = store.prune_executions(before, after, room).await.unwrap();
        gone += page.deleted;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    store.prune_artifacts(before, limit).await.unwrap();
    gone
}
