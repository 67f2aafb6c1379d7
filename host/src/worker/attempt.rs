//! One execution's turn: the attempt, what follows from its end, and the record of it.

use std::sync::Arc;

use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use wasmill_domain::{
    AttemptReport, Digest, Dispatch, FunctionDefinition, FunctionName, LogLine, Order, OrderKind,
    Outcome, TenantName, Timestamp, TraceContext,
};
use wasmill_store::Finished;

use super::host::Host;
use super::open::still_open;
use super::version::ResolvedVersion;
use crate::emit;
use crate::files::Files;
use crate::prepare::prepared::Prepared;
use crate::recorder::Committed;
use crate::run::{Attempt, Emitted, Invocation};

/// What became of an attempt.
pub(super) enum Made {
    /// The recorder has its end.
    Recorded(Committed),
    /// An order has stopped it.
    Stopped(Box<Stopped>),
    /// It was not begun: its outcome would not stand.
    NotBegun,
}

/// An attempt that an order has stopped.
pub(crate) struct Stopped {
    dispatch: Dispatch,
    /// Its end, where it is to be recorded.
    end: Option<Finished>,
}

impl Stopped {
    /// What follows from an attempt that `order` has stopped.
    pub(crate) fn by(order: &Order, dispatch: Dispatch, attempt: Attempt) -> Self {
        let Attempt { report, logs, .. } = attempt;
        trace(&dispatch, &report, &logs);
        // It ended by what the order's epoch began, and is recorded as that. What was suspended has
        // not ended.
        let end = (order.kind == OrderKind::Cancel).then(|| Finished {
            dispatch: dispatch.clone().with_epoch(order.epoch),
            report,
            retry_at: None,
            logs,
            emitted: Vec::new(),
        });
        Self { dispatch, end }
    }

    /// Brings it to its end: asks the store whether the order is one, and has the end recorded.
    /// False where it is none, or the host ends: the attempt is to be made again.
    pub(crate) async fn settle(self, host: &Arc<Host>) -> bool {
        let Self { dispatch, end } = self;
        if !ask(host, vec![dispatch]).await.is_empty() {
            return false;
        }
        match end {
            Some(end) => host.recorder.record(end).await.wait().await,
            None => true,
        }
    }
}

/// Those whose outcome could stand, where that is asked on the threads of guests.
pub(crate) async fn ask(host: &Arc<Host>, dispatches: Vec<Dispatch>) -> Vec<Dispatch> {
    let asking = still_open(Arc::clone(host), dispatches.clone());
    // It can only break down with the host: then what would not stand is tried in vain.
    AbortOnDropHandle::new(host.io.spawn(asking)).await.unwrap_or(dispatches)
}

/// Makes an attempt and hands its end to the recorder. To be awaited on the threads of guests.
pub(super) async fn make(host: &Arc<Host>, version: &ResolvedVersion, dispatch: Dispatch) -> Made {
    let finished = match ready(host, version, &dispatch.tenant, &dispatch.function).await {
        Ok(Ready { definition, prepared, files }) => {
            let running = host.running.begin(&dispatch, definition.digest);
            if host.control.concerns(&dispatch)
                && ask(host, vec![dispatch.clone()]).await.is_empty()
            {
                return Made::NotBegun;
            }
            let (manifest, name) = (&definition.manifest, &host.settings.name);
            let invocation = Invocation {
                prepared: &prepared,
                manifest,
                dispatch: &dispatch,
                host: name,
                files,
            };
            let attempt = host.engine.run_until(invocation, running.stopped()).await;
            let order = running.order().filter(|_| attempt.report.outcome == Outcome::Cancelled);
            drop(running);
            if let Some(order) = order {
                return Made::Stopped(Box::new(Stopped::by(&order, dispatch, attempt)));
            }
            conclude(host, &definition, dispatch, attempt).await
        }
        Err(unready) => not_run(host, dispatch, unready.outcome, unready.digest, unready.reason),
    };
    Made::Recorded(host.recorder.record(finished).await)
}

/// A version that can be run now.
pub(crate) struct Ready {
    pub(crate) definition: Arc<FunctionDefinition>,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) files: Option<Arc<Files>>,
}

/// How an execution ends whose version cannot be run.
pub(crate) struct Unready {
    pub(crate) outcome: Outcome,
    pub(crate) digest: Option<Digest>,
    pub(crate) reason: String,
}

/// Gets a version ready to run, which it usually is.
///
/// # Errors
/// What the execution ends with where there is none that can be run.
pub(crate) async fn ready(
    host: &Arc<Host>,
    version: &ResolvedVersion,
    tenant: &TenantName,
    function: &FunctionName,
) -> Result<Ready, Unready> {
    let definition = match version {
        ResolvedVersion::Ready(definition) => definition,
        ResolvedVersion::Failed(definition, reason) => {
            let reason = format!("version {} cannot be run: {reason}", definition.version);
            return Err(Unready {
                outcome: Outcome::Trap,
                digest: Some(definition.digest),
                reason,
            });
        }
        // None is run by it: whoever has it to do gives it back before.
        ResolvedVersion::Unreadable | ResolvedVersion::Deleted => {
            let reason = format!("the function '{function}' was deleted");
            return Err(Unready { outcome: Outcome::Cancelled, digest: None, reason });
        }
    };
    let mut backoff = host.settings.recorder.backoff();
    loop {
        match host.prepare(tenant, definition).await {
            Ok((prepared, files)) => {
                return Ok(Ready { definition: Arc::clone(definition), prepared, files });
            }
            // It fell out of the cache, and the store is away: so is everything else that could be
            // done meanwhile.
            Err(error) if error.is_transient() => sleep(backoff.pause()).await,
            Err(error) => {
                let reason =
                    format!("version {} cannot be run any more: {error}", definition.version);
                return Err(Unready {
                    outcome: Outcome::Trap,
                    digest: Some(definition.digest),
                    reason,
                });
            }
        }
    }
}

/// The record of an execution that no version was tried for.
pub(crate) fn not_run(
    host: &Host,
    dispatch: Dispatch,
    outcome: Outcome,
    version: Option<Digest>,
    reason: String,
) -> Finished {
    let now = Timestamp::now();
    let report = AttemptReport {
        version,
        message: Some(reason),
        queue_wait: now.since(dispatch.queued_at),
        ..AttemptReport::new(host.settings.name.clone(), outcome, dispatch.trace.child())
    };
    Finished { dispatch, report, retry_at: None, logs: Vec::new(), emitted: Vec::new() }
}

/// What follows from an attempt: the executions that it emits, or another attempt, or nothing.
pub(crate) async fn conclude(
    host: &Host,
    definition: &FunctionDefinition,
    dispatch: Dispatch,
    attempt: Attempt,
) -> Finished {
    let Attempt { mut report, mut logs, emitted, retry_after, mask } = attempt;
    let mut routed = Vec::new();
    if !emitted.is_empty() {
        match route(host, &dispatch, &report.span, emitted).await {
            Ok(emit::Routed { dispatches, unsubscribed }) => {
                emit::note_unsubscribed(&unsubscribed, &mut logs);
                mask.lines(&mut logs);
                routed = dispatches;
            }
            Err(message) => {
                report.outcome = Outcome::Trap;
                report.message = Some(mask.text(message));
                report.output = None;
            }
        }
    }
    let policy = &definition.manifest.retry;
    let delay = policy.next_delay(
        report.outcome,
        dispatch.attempt,
        dispatch.max_attempts,
        retry_after,
        random(),
    );
    let retry_at = delay.map(|delay| report.finished_at.plus(delay));
    trace(&dispatch, &report, &logs);
    Finished { dispatch, report, retry_at, logs, emitted: routed }
}

/// Checks and routes what an attempt emits. Where a schema has a say, or it leads to much, that is
/// done away from the threads of guests, for so many attempts at once, and fair between tenants; the
/// permit of the execution is kept meanwhile.
async fn route(
    host: &Host,
    dispatch: &Dispatch,
    span: &TraceContext,
    emitted: Vec<Emitted>,
) -> Result<emit::Routed, String> {
    let registry = host.registry.current();
    let settings = &host.settings.emissions;
    if emit::is_quick(&registry, &dispatch.tenant, &emitted) {
        return emit::route(&registry, dispatch, span, emitted, settings);
    }
    let waiting = host.status.wait_for_check();
    let permit = host.checks.acquire(&dispatch.tenant).await.map_err(|e| e.to_string())?;
    drop(waiting);
    let (dispatch, span, settings) = (dispatch.clone(), span.clone(), settings.clone());
    let work = host.engine.background().run(move || {
        let routed = emit::route(&registry, &dispatch, &span, emitted, &settings);
        drop(permit);
        routed
    });
    work.await.unwrap_or_else(|e| Err(format!("the check of what it emits broke down: {e}")))
}

fn trace(dispatch: &Dispatch, report: &AttemptReport, logs: &[LogLine]) {
    tracing::debug!(
        execution = %dispatch.execution,
        function = %dispatch.function,
        attempt = dispatch.attempt,
        outcome = %report.outcome,
        run_time = ?report.run_time,
        fuel = report.fuel_used,
        log_lines = logs.len(),
        "attempt"
    );
}

/// A number from 0 to 1.
fn random() -> f64 {
    // Version 4 UUIDs come from a fast generator; 53 bits of one are what a float holds.
    let (bits, _) = uuid::Uuid::new_v4().as_u64_pair();
    (bits >> 16) as f64 / (1_u64 << 48) as f64
}
