//! Requests whose callers wait: a function's calls are answered as they come, each by a fresh attempt whose response goes back
//! over the line while it is made. Nothing of a call is kept in a queue: when a host dies, its callers are told, and nothing is
//! run twice. What came of each is recorded like every execution.

mod body;

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use wasmill_broker::{Call, Calls, Line, QueueName, Speaker};
use wasmill_domain::Outcome;
use wasmill_domain::http_message::{Download, Opening};
use wasmill_domain::manifest::Kind;
use wasmill_domain::manifest::http::Mode;

use self::body::UploadBody;
use crate::backoff::Backoff;
use crate::entry::Exchange;
use crate::run::Invocation;
use crate::worker::attempt::{Ready, conclude, not_run, ready};
use crate::worker::version::{Version, Versions, version_at};
use crate::worker::{Host, Key};

/// Answers a function's calls, whenever its current version answers any, until the host is to stop. Then lets what runs come to its
/// end, or ends it when the host says so.
pub(crate) async fn answer(host: Arc<Host>, key: Key, mut versions: Versions) {
    let stop = host.stop.clone();
    let mut running = JoinSet::new();
    let mut backoff = Backoff::new(host.settings.recorder.max_pause);
    loop {
        let most = tokio::select! {
            () = stop.cancelled() => break,
            // The sender is gone with the worker.
            changed = versions.wait_for(|current| answering(current.as_ref().map(|c| &c.version)).is_some()) => match changed {
                Ok(current) => answering(current.as_ref().map(|c| &c.version)),
                Err(_) => break,
            },
        };
        let Some(most) = most else { continue };
        let service = QueueName::of_calls(&key.0, &key.1);
        let begun = tokio::select! {
            () = stop.cancelled() => break,
            begun = host.broker().answer(&service, most) => begun,
        };
        match begun {
            Ok(calls) => {
                backoff = Backoff::new(host.settings.recorder.max_pause);
                take(&host, &mut versions, calls, most, &mut running).await;
            }
            Err(error) => tracing::warn!(%service, %error, "calls cannot be answered yet"),
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = backoff.pause() => {}
        }
    }
    tokio::select! {
        () = host.cut.cancelled() => {}
        () = async { while running.join_next().await.is_some() {} } => {}
    }
}

/// How many calls a host answers at once by this version, if it answers any.
fn answering(version: Option<&Version>) -> Option<NonZeroU16> {
    let definition = version?.definition()?;
    let manifest = &definition.manifest;
    let is_called =
        manifest.triggers.iter().any(|trigger| trigger.as_http().is_some_and(|http| http.mode == Mode::Sync));
    let most = u16::try_from(manifest.limits.concurrency).ok().and_then(NonZeroU16::new);
    (manifest.kind == Some(Kind::Http) && is_called).then(|| most.unwrap_or(NonZeroU16::MAX))
}

/// Takes calls until there is a reason to stop.
async fn take(
    host: &Arc<Host>,
    versions: &mut Versions,
    mut calls: Box<dyn Calls>,
    most: NonZeroU16,
    running: &mut JoinSet<()>,
) {
    let slots = Arc::new(Semaphore::new(usize::from(most.get())));
    loop {
        let next = async {
            // Never closed.
            let slot = Arc::clone(&slots).acquire_owned().await;
            calls.next().await.map(|call| (call, slot))
        };
        tokio::select! {
            biased;
            () = host.stop.cancelled() => return,
            Some(ended) = running.join_next() => if let Err(error) = ended && error.is_panic() {
                tracing::error!(%error, "the host broke down over a call");
            },
            changed = versions.changed() => {
                let now = answering(versions.borrow().as_ref().map(|current| &current.version));
                if changed.is_err() || now != Some(most) {
                    return;
                }
            }
            next = next => match next {
                Some((call, slot)) => {
                    let serving = serve(Arc::clone(host), versions.clone(), call);
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

/// Answers one call.
async fn serve(host: Arc<Host>, mut versions: Versions, call: Call) {
    let Call { opening, line } = call;
    let opening = match Opening::decode(&opening) {
        Ok(opening) => opening,
        Err(error) => {
            // Its caller sees the line end.
            tracing::error!(%error, "a call cannot be read");
            return;
        }
    };
    let version = version_at(&host, &mut versions, opening.dispatch.revision).await;
    if matches!(version, Version::Unreadable) {
        // Its caller sees the line end.
        return;
    }
    let place = host.admission.acquire(&opening.dispatch.tenant, &opening.dispatch.function).await;
    let on_guest_threads = {
        let host = Arc::clone(&host);
        async move { attempt(&host, &version, opening, line).await }
    };
    if let Err(error) = AbortOnDropHandle::new(host.engine.spawn(on_guest_threads)).await {
        tracing::error!(%error, "the host broke down over a call");
    }
    drop(place);
}

/// Makes the attempt and has its end recorded. A caller that has nothing of a response yet is told how it ended.
async fn attempt(host: &Arc<Host>, version: &Version, opening: Opening, line: Line) {
    let Opening { dispatch, head, body, complete } = opening;
    let Line { speaker, listener } = line;
    let finished = match ready(host, version, &dispatch.tenant, &dispatch.function).await {
        Ok(Ready { definition, prepared, files }) => {
            let body = UploadBody::new(body, complete, listener).boxed_unsync();
            let writes = host.writes().clone();
            let exchange = Exchange { head, body, speaker: speaker.clone(), writes };
            let running = host.running.begin(&dispatch, definition.digest);
            let (manifest, name) = (&definition.manifest, &host.settings.name);
            let invocation = Invocation { prepared: &prepared, manifest, dispatch: &dispatch, host: name, files };
            let attempt = host.engine.serve(invocation, exchange).await;
            drop(running);
            conclude(host, &definition, dispatch, attempt).await
        }
        Err(unready) => not_run(host, dispatch, unready.outcome, unready.digest, unready.reason),
    };
    let report = &finished.report;
    if report.outcome != Outcome::Success {
        let message = report.message.clone().unwrap_or_default();
        tell(&speaker, Download::Failed { outcome: report.outcome, message }.encode(host.writes()));
    }
    // The end of the line is the end of the response; the record of it need not be waited for.
    drop(speaker);
    host.recorder.record(finished).await;
}

/// Tells a caller that there will be no response. One that has the head of one already knows by the end of the line that the rest
/// is missing; so does one that does not read what it was sent, for which nothing waits.
fn tell(speaker: &Speaker, failed: Bytes) {
    speaker.say_if_room(failed);
}
