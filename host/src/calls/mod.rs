//! Requests whose callers wait: a function's request streams are accepted as they come, each by a
//! fresh attempt whose response is sent over the stream while it is made. Nothing of one is stored
//! in a queue: when a host dies, its callers' streams are closed, and nothing is run twice. Each is
//! recorded like every execution.

mod body;

use std::num::NonZeroU16;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wasmill_broker::{IncomingStream, IncomingStreams, QueueName, RequestStream, StreamSender};
use wasmill_domain::http_message::{Download, Opening};
use wasmill_domain::manifest::Kind;
use wasmill_domain::manifest::http::Mode;
use wasmill_domain::{Dispatch, Outcome, TenantName};

use self::body::UploadBody;
use crate::entry::http::HttpExchange;
use crate::run::Invocation;
use crate::worker::attempt::{Ready, Stopped, ask, conclude, not_run, ready};
use crate::worker::host::{FunctionKey, Host};
use crate::worker::version::{Current, ResolvedVersion, Versions, version_at};

/// Accepts a function's request streams, while its current version is an HTTP handler that this host
/// may run, until `stop`. Then waits for what runs, or ends it when the host's grace period is over.
pub(crate) async fn answer(
    host: Arc<Host>,
    key: FunctionKey,
    mut versions: Versions,
    stop: CancellationToken,
) {
    let mut running = JoinSet::new();
    let mut backoff = host.settings.recorder.backoff();
    loop {
        let most = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            // What was sent last stays, and is found once more, when the sender is gone: it is
            // `stop` that ends this.
            found = versions.wait_for(|current| answering(&host, current.as_ref()).is_some()) => {
                found.ok().and_then(|current| answering(&host, current.as_ref()))
            }
        };
        let Some(most) = most else { break };
        let service = QueueName::of_streams(&key.0, &key.1);
        let begun = tokio::select! {
            // Whoever begins to accept in vain may be sent a request, which fails by it.
            biased;
            () = stop.cancelled() => break,
            begun = host.broker.streams.accept_streams(&service, most) => begun,
        };
        match begun {
            Ok(streams) => {
                backoff = host.settings.recorder.backoff();
                take(&host, &key.0, &mut versions, streams, most, &mut running, &stop).await;
            }
            Err(error) => {
                tracing::warn!(%service, %error, "request streams cannot be accepted yet");
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep(backoff.pause()) => {}
        }
    }
    tokio::select! {
        () = host.cut.cancelled() => {}
        () = async { while running.join_next().await.is_some() {} } => {}
    }
}

/// How many request streams a host accepts at once for this version, if it accepts any. Of one that
/// is for other hosts it accepts none, even while it still works at what it has of it.
fn answering(host: &Host, current: Option<&Current>) -> Option<NonZeroU16> {
    let definition = current?.version.definition()?;
    if !host.may_run(definition) {
        return None;
    }
    let manifest = &definition.manifest;
    let is_called = manifest
        .triggers
        .iter()
        .any(|trigger| trigger.as_http().is_some_and(|http| http.mode == Mode::Sync));
    let most = u16::try_from(manifest.limits.concurrency).ok().and_then(NonZeroU16::new);
    (manifest.kind == Some(Kind::Http) && is_called).then(|| most.unwrap_or(NonZeroU16::MAX))
}

/// Accepts streams until `stop`, until the version's concurrency changes or it is for other hosts,
/// or until the broker ends.
async fn take(
    host: &Arc<Host>,
    tenant: &TenantName,
    versions: &mut Versions,
    mut streams: Box<dyn IncomingStreams>,
    most: NonZeroU16,
    running: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(usize::from(most.get())));
    loop {
        let next = async {
            // An error would say that the semaphore is closed, which nobody does.
            let slot = Arc::clone(&slots).acquire_owned().await;
            streams.next().await.map(|incoming| (incoming, slot))
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(ended) = running.join_next() => if let Err(error) = ended && error.is_panic() {
                tracing::error!(%error, "the host failed at a request");
            },
            changed = versions.changed() => {
                let now = answering(host, versions.borrow().as_ref());
                if changed.is_err() || now != Some(most) {
                    return;
                }
            }
            next = next => match next {
                Some((incoming, slot)) => {
                    let (host, tenant) = (Arc::clone(host), tenant.clone());
                    let serving = serve(host, tenant, versions.clone(), incoming);
                    running.spawn(async move {
                        serving.await;
                        drop(slot);
                    });
                }
                None => return,
            },
        }
    }
}

/// Answers one request.
async fn serve(
    host: Arc<Host>,
    tenant: TenantName,
    mut versions: Versions,
    incoming: IncomingStream,
) {
    let IncomingStream { opening, stream } = incoming;
    let opening = match Opening::decode(&opening) {
        Ok(opening) => opening,
        Err(error) => {
            // Its caller finds the stream closed.
            tracing::error!(%error, "a request cannot be read");
            return;
        }
    };
    let version = version_at(&host, &tenant, &mut versions, opening.dispatch.revision).await;
    if matches!(version, ResolvedVersion::Unreadable) {
        // Its caller finds the stream closed.
        return;
    }
    let Dispatch { tenant, function, .. } = &opening.dispatch;
    let permit = host.admission.acquire(tenant, function, 1).await;
    let on_guest_threads = {
        let host = Arc::clone(&host);
        async move { attempt(&host, &version, opening, stream).await }
    };
    if let Err(error) = AbortOnDropHandle::new(host.engine.spawn(on_guest_threads)).await {
        tracing::error!(%error, "the host failed at a request");
    }
    drop(permit);
}

/// Makes the attempt and has its end recorded. A caller that has nothing of a response yet is sent
/// the outcome.
async fn attempt(
    host: &Arc<Host>,
    version: &ResolvedVersion,
    opening: Opening,
    stream: RequestStream,
) {
    let Opening { dispatch, head, body, complete } = opening;
    let RequestStream { sender, receiver } = stream;
    let finished = match ready(host, version, &dispatch.tenant, &dispatch.function).await {
        Ok(Ready { definition, prepared, files }) => {
            let body = UploadBody::new(body, complete, receiver).boxed_unsync();
            let writes = host.writes().clone();
            let exchange = HttpExchange { head, body, sender: sender.clone(), writes };
            let running = host.running.begin(&dispatch, definition.digest);
            if host.control.concerns(&dispatch)
                && ask(host, vec![dispatch.clone()]).await.is_empty()
            {
                return fail(host, &sender, Outcome::Cancelled, "moved by an operator".into());
            }
            let (manifest, name) = (&definition.manifest, &host.settings.name);
            let invocation = Invocation {
                prepared: &prepared,
                manifest,
                dispatch: &dispatch,
                host: name,
                files,
            };
            let attempt = host.engine.serve(invocation, exchange, running.stopped()).await;
            let order = running.order().filter(|_| attempt.report.outcome == Outcome::Cancelled);
            drop(running);
            if let Some(order) = order {
                let message = attempt.report.message.clone().unwrap_or_default();
                fail(host, &sender, Outcome::Cancelled, message);
                drop(sender);
                // Where the order was none there is nobody to make it again for: it is as if the
                // caller had gone.
                Stopped::by(&order, dispatch, attempt).settle(host).await;
                return;
            }
            conclude(host, &definition, dispatch, attempt).await
        }
        Err(unready) => not_run(host, dispatch, unready.outcome, unready.digest, unready.reason),
    };
    let report = &finished.report;
    if report.outcome != Outcome::Success {
        fail(host, &sender, report.outcome, report.message.clone().unwrap_or_default());
    }
    // The stream's end is the response's end, which does not wait for the record of it.
    drop(sender);
    host.recorder.record(finished).await;
}

/// Tells a caller that there will be no response, by a message that says so. One that has the head
/// of one already knows by the stream's end that the rest is missing; so does one that does not
/// read what it was sent, for which nothing waits.
fn fail(host: &Host, sender: &StreamSender, outcome: Outcome, message: String) {
    sender.try_send(Download::Failed { outcome, message }.encode(host.writes()));
}
