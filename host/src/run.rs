//! One attempt, from its event to its end.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmill_broker::StreamSender;
use wasmill_domain::event::is_content_type;
use wasmill_domain::retry::MAX_ADVISED_DELAY;
use wasmill_domain::{
    AttemptReport, Dispatch, LogLine, Manifest, Outcome, Output, Timestamp, TraceContext,
};

use crate::bindings::exports::wasmill::function::handler::Failure;
use crate::engine::Engine;
use crate::entry::http::HttpExchange;
use crate::entry::returned::Returned;
use crate::execution::CurrentExecution;
use crate::files::Files;
use crate::instance::Instance;
use crate::mask::Mask;
use crate::outcome::{CALLER_GONE, Reason, too_much_output};
use crate::prepare::prepared::Prepared;
use crate::reuse::Owner;

/// An attempt to be made.
pub struct Invocation<'a> {
    /// The version that is to run.
    pub prepared: &'a Arc<Prepared>,
    /// Its manifest.
    pub manifest: &'a Arc<Manifest>,
    /// The event and everything around it.
    pub dispatch: &'a Dispatch,
    /// What the host is called.
    pub host: &'a str,
    /// The version's files, where it has any: what [`Engine::files`] gives.
    pub files: Option<Arc<Files>>,
}

/// An attempt that was made.
#[derive(Debug)]
pub struct Attempt {
    /// What it did and cost.
    pub report: AttemptReport,
    /// The log.
    pub logs: Vec<LogLine>,
    /// The events to be published if the success commits; of a success only.
    pub emitted: Vec<Emitted>,
    /// The pause that the guest asked for before the next attempt.
    pub retry_after: Option<Duration>,
    /// Hides what the guest got of secrets; `report` and `logs` have nothing of it.
    pub(crate) mask: Mask,
}

/// An event as a guest emitted it, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emitted {
    /// The type.
    pub event_type: String,
    /// The source, where given.
    pub source: Option<String>,
    /// The subject, where given.
    pub subject: Option<String>,
    /// Extension attributes.
    pub extensions: Vec<(String, String)>,
    /// The data's media type, where given.
    pub datacontenttype: Option<String>,
    /// The data, where given.
    pub data: Option<Bytes>,
}

/// Why a guest was not let come to its end.
enum Unfinished {
    /// Its time was over.
    TimedOut,
    /// It was told to stop, for this reason.
    Stopped(String),
}

/// What is left of an attempt when the guest is done.
#[derive(Default)]
struct End {
    output: Option<Output>,
    emitted: Vec<Emitted>,
    retry_after: Option<Duration>,
    reason: Option<Reason>,
}

impl Engine {
    /// Makes an attempt: in a fresh instance, or in a warm one of the same owner's where the
    /// manifest allows it. It never fails; whatever goes wrong is the attempt's end. Dropping the
    /// future calls the attempt off and leaves nothing behind.
    ///
    /// To be awaited on the engine's own runtime, see [`Engine::spawn`].
    pub async fn run(&self, invocation: Invocation<'_>) -> Attempt {
        self.attempt(invocation, None, std::future::pending()).await
    }

    /// The same, unless `stop` ends first, which says why: then the attempt is cancelled.
    pub(crate) async fn run_until(
        &self,
        invocation: Invocation<'_>,
        stop: impl Future<Output = String>,
    ) -> Attempt {
        self.attempt(invocation, None, stop).await
    }

    /// The same for a request whose caller waits for the response.
    pub(crate) async fn serve(
        &self,
        invocation: Invocation<'_>,
        exchange: HttpExchange,
        stop: impl Future<Output = String>,
    ) -> Attempt {
        self.attempt(invocation, Some(exchange), stop).await
    }

    async fn attempt(
        &self,
        invocation: Invocation<'_>,
        exchange: Option<HttpExchange>,
        stop: impl Future<Output = String>,
    ) -> Attempt {
        let Invocation { prepared, manifest, dispatch, ref files, .. } = invocation;
        let mut stop = pin!(stop);
        let owner = (manifest.instances.reuse > 1).then(|| Owner {
            tenant: dispatch.tenant.clone(),
            function: dispatch.function.clone(),
            digest: prepared.digest(),
            manifest: Arc::clone(manifest),
        });
        let warm = owner.as_ref().and_then(|owner| self.warm().take(owner));
        let instance = match warm {
            Some(instance) => instance,
            None => tokio::select! {
                biased;
                why = &mut stop => return not_begun(&invocation, why),
                () = caller_gone(exchange.as_ref().map(|exchange| exchange.sender.clone())) => {
                    return not_begun(&invocation, CALLER_GONE.into());
                }
                instance = self.instance(&dispatch.tenant, prepared, manifest, files.as_ref()) => {
                    instance
                }
            },
        };
        self.attempt_in(instance, owner, invocation, exchange, stop).await
    }

    /// Makes an attempt in this instance, which is kept for its owner's next one where it can be.
    async fn attempt_in(
        &self,
        mut instance: Instance,
        owner: Option<Owner>,
        invocation: Invocation<'_>,
        exchange: Option<HttpExchange>,
        stop: Pin<&mut impl Future<Output = String>>,
    ) -> Attempt {
        let Invocation { prepared, manifest, dispatch, host, .. } = invocation;
        let span = dispatch.trace.child();
        let started_at = Timestamp::now();
        let start = Instant::now();
        let returned = tokio::select! {
            biased;
            why = stop => Err(Unfinished::Stopped(why)),
            returned = self.call(&mut instance, &invocation, exchange, (start, started_at), &span) => returned,
        };
        let run_time = start.elapsed();
        instance.measure();

        let returned_cleanly = matches!(returned, Ok(Ok(_)));
        let mut end = End::of(returned, &instance, manifest);
        let refusal = instance.guest().outgoing.end();
        let (mut logs, log_lines_dropped) = instance.guest().log.finish();
        let mask = instance.guest().granted.mask().clone();
        mask.lines(&mut logs);
        if let Some(reason) = &mut end.reason {
            reason.add_last_words(&logs, instance.kind());
            reason.add_refusal(refusal.as_deref());
            end.output = instance.guest().streams().output.take_of_failed(&mask);
        }
        let (outcome, message, backtrace) = match end.reason {
            None => (Outcome::Success, None, None),
            Some(Reason { outcome, message, backtrace }) => {
                (outcome, Some(mask.text(message)), backtrace.map(|text| mask.text(text)))
            }
        };
        let report = AttemptReport {
            version: Some(prepared.digest()),
            message,
            backtrace,
            output: end.output,
            started_at,
            finished_at: started_at.plus(run_time),
            queue_wait: started_at.since(dispatch.queued_at),
            run_time,
            fuel_used: manifest.limits.fuel.saturating_sub(instance.fuel_left()),
            peak_memory: instance.guest().limiter.peak(),
            log_lines_dropped,
            ..AttemptReport::new(host, outcome, span)
        };
        if let Some(owner) = owner
            && returned_cleanly
            && outcome != Outcome::Trap
            && instance.serves_again()
            && instance.served() < manifest.instances.reuse
            && !instance.guest().granted.is_stale()
        {
            self.keep_warm(owner, instance);
        }
        Attempt { report, logs, emitted: end.emitted, retry_after: end.retry_after, mask }
    }

    /// Calls the guest, until it returns, traps, or its time is over.
    async fn call(
        &self,
        instance: &mut Instance,
        invocation: &Invocation<'_>,
        exchange: Option<HttpExchange>,
        (start, started_at): (Instant, Timestamp),
        span: &TraceContext,
    ) -> Result<wasmtime::Result<Returned>, Unfinished> {
        let Invocation { prepared, manifest, dispatch, .. } = invocation;
        let timeout = manifest.limits.timeout.0;
        let deadline = start + timeout;
        let execution = CurrentExecution {
            id: dispatch.execution,
            tenant: dispatch.tenant.clone(),
            function: dispatch.function.clone(),
            version: prepared.digest(),
            attempt: dispatch.attempt,
            max_attempts: dispatch.max_attempts,
            deadline: started_at.plus(timeout),
            span: span.clone(),
        };
        let kind = (&dispatch.tenant, &dispatch.function, prepared.digest());
        let begun = instance.begin(manifest, deadline, execution, Some(&dispatch.event));
        let _running = self.ticker().running();
        let call = std::pin::pin!(async {
            begun?;
            instance.call(&dispatch.event, exchange).await
        });
        let guest = self.fairness().apply(kind, call);
        tokio::time::timeout_at(deadline.into(), guest).await.map_err(|_| Unfinished::TimedOut)
    }
}

/// Waits until nobody waits for the response any more, where somebody does.
async fn caller_gone(sender: Option<StreamSender>) {
    match sender {
        Some(sender) => sender.closed().await,
        None => std::future::pending().await,
    }
}

/// An attempt that was called off while it waited for an instance.
fn not_begun(invocation: &Invocation<'_>, message: String) -> Attempt {
    let Invocation { prepared, dispatch, host, .. } = *invocation;
    let report = AttemptReport::new(host, Outcome::Cancelled, dispatch.trace.child());
    let report = AttemptReport {
        version: Some(prepared.digest()),
        message: Some(message),
        queue_wait: report.started_at.since(dispatch.queued_at),
        ..report
    };
    Attempt {
        report,
        logs: Vec::new(),
        emitted: Vec::new(),
        retry_after: None,
        mask: Mask::default(),
    }
}

impl End {
    fn of(
        returned: Result<wasmtime::Result<Returned>, Unfinished>,
        instance: &Instance,
        manifest: &Manifest,
    ) -> Self {
        let because = |reason| Self { reason: Some(reason), ..Self::default() };
        // Before anything is cut: half a secret would not be known again.
        let mask = instance.guest().granted.mask();
        let shortened = |reason| shortened(mask.text(reason));
        match returned {
            Err(Unfinished::TimedOut) => because(Reason::timed_out(manifest.limits.timeout.0)),
            Err(Unfinished::Stopped(message)) => {
                because(Reason { outcome: Outcome::Cancelled, message, backtrace: None })
            }
            Ok(Err(error)) => because(Reason::of(&error, instance.guest(), &manifest.limits)),
            Ok(Ok(Err(Failure::Reject(reason)))) => because(Reason {
                outcome: Outcome::Rejected,
                message: shortened(reason),
                backtrace: None,
            }),
            Ok(Ok(Err(Failure::Retry(advice)))) => Self {
                retry_after: advice
                    .delay_ms
                    .map(|ms| Duration::from_millis(ms).min(MAX_ADVISED_DELAY)),
                ..because(Reason {
                    outcome: Outcome::Error,
                    message: shortened(advice.reason),
                    backtrace: None,
                })
            },
            Ok(Ok(Ok(output))) => Self::of_output(output, manifest, mask).unwrap_or_else(because),
        }
    }

    /// Checks a result against the limits. One that breaks them breaks the contract: the attempt
    /// trapped.
    fn of_output(
        output: crate::bindings::exports::wasmill::function::handler::Output,
        manifest: &Manifest,
        mask: &Mask,
    ) -> Result<Self, Reason> {
        let limits = &manifest.limits;
        let emitted_bytes: usize =
            output.emit.iter().map(|event| event.data.as_ref().map_or(0, Vec::len)).sum();
        let bytes = (output.data.len() + emitted_bytes) as u64;
        if bytes > limits.output_bytes.0 {
            return Err(Reason::trap(too_much_output(Some(bytes), limits)));
        }
        if output.emit.len() > limits.emitted_events as usize {
            let count = output.emit.len();
            let most = limits.emitted_events;
            return Err(Reason::trap(format!(
                "emitted {count} events; the limit is {most} (limits.emitted_events)"
            )));
        }
        let content_type = output.content_type.unwrap_or_else(|| "application/json".into());
        if !is_content_type(&content_type) {
            let shown: String = mask.text(content_type).chars().take(80).collect();
            return Err(Reason::trap(format!(
                "returned the content type '{shown}', which is no media type"
            )));
        }
        let emitted = output.emit.into_iter().map(|event| Emitted {
            event_type: event.type_,
            source: event.source,
            subject: event.subject,
            extensions: event.extensions,
            datacontenttype: event.datacontenttype,
            data: event.data.map(Bytes::from),
        });
        Ok(Self {
            emitted: emitted.collect(),
            output: Some(Output { content_type, data: output.data.into() }),
            ..Self::default()
        })
    }
}

/// The longest reason that is kept, in bytes.
const LONGEST_REASON: usize = 4 << 10;

/// A reason out of a guest, at most as long as is kept.
fn shortened(mut reason: String) -> String {
    if reason.len() > LONGEST_REASON {
        let end = (0..=LONGEST_REASON).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
        reason.truncate(end);
        reason.push('…');
    }
    reason
}
