//! One message off a queue, until it can be acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use wasmill_broker::{BrokerError, Delivery, Message, QueueName};
use wasmill_domain::wire::Identity;
use wasmill_domain::{AttemptKey, Batch, Dispatch, Outcome, Timestamp};

use super::attempt::{Made, ask, make, not_run};
use super::dead_letters;
use super::host::{FunctionKey, Host};
use super::open::still_open;
use super::settled::Settled;
use super::version::{ResolvedVersion, Versions, version_at};
use crate::recorder::Committed;

/// How often the pause before a message is given back doubles at most.
const MAX_DOUBLINGS: u32 = 4;

/// Does what a message asks for.
pub(super) async fn work(
    host: Arc<Host>,
    key: FunctionKey,
    mut versions: Versions,
    slots: Arc<Semaphore>,
    delivery: Delivery,
) -> Settled {
    let Delivery { redeliveries, message, .. } = delivery;
    let settled = match read(&host, &key, &message, redeliveries) {
        Read::Dispatches(dispatches) => {
            run_batch(&host, &key, &mut versions, slots, dispatches, &message, redeliveries).await
        }
        Read::ByAnother(why) => give_back(&host, &key, redeliveries, &why).await,
        Read::ByNobody(_, attempts)
            if redeliveries < host.settings.redelivery_limit.max(1)
                && !dead_letters::have_rows(&host, &key, &attempts).await =>
        {
            pause(&host, redeliveries).await
        }
        Read::ByNobody(why, attempts) => {
            match dead_letters::keep(&host, &key, &message, why, &attempts).await {
                Settled::Release => pause(&host, redeliveries).await,
                settled => settled,
            }
        }
    };
    if settled == Settled::Ack
        && let Some(reply_to) = &message.reply_to
        && let Err(error) = host.broker.consuming.reply(reply_to, Bytes::new()).await
    {
        tracing::debug!(%error, "a reply got lost");
    }
    settled
}

/// What a message turned out to be.
enum Read {
    /// A batch of the queue's function.
    Dispatches(Vec<Dispatch>),
    /// Something that a newer process may read, and why this one cannot.
    ByAnother(String),
    /// Something that no process reads, why, and the attempts in it as far as that can be told.
    ByNobody(String, Vec<AttemptKey>),
}

fn read(host: &Host, key: &FunctionKey, message: &Message, redeliveries: u32) -> Read {
    match Batch::decode(&message.body) {
        Ok(batch) => {
            let dispatches = batch.into_dispatches();
            let first = &dispatches[0];
            if (&first.tenant, &first.function) == (&key.0, &key.1) {
                return Read::Dispatches(dispatches);
            }
            // Whoever can write to this queue names what it likes: executions of others do not end
            // by it.
            Read::ByNobody(format!("a batch for {}/{}", first.tenant, first.function), Vec::new())
        }
        Err(error)
            if error.may_be_newer() && redeliveries < host.settings.redelivery_limit.max(1) =>
        {
            Read::ByAnother(error.to_string())
        }
        Err(error) => {
            let of_this_queue =
                |identity: &Identity| (&identity.tenant, &identity.function) == (&key.0, &key.1);
            let identity = Identity::of(&message.body).filter(of_this_queue);
            Read::ByNobody(
                error.to_string(),
                identity.map(|identity| identity.attempts).unwrap_or_default(),
            )
        }
    }
}

/// Gives a message back that a newer process may read, after a pause: so that it does not go round
/// and round as long as there is none. It keeps its place in the consumer's hands meanwhile.
async fn give_back(host: &Host, key: &FunctionKey, redeliveries: u32, why: &str) -> Settled {
    tracing::warn!(tenant = %key.0, function = %key.1, redeliveries, why, "a message is left to a newer process");
    pause(host, redeliveries).await
}

/// Waits before a message is given back, the longer the more often it came.
async fn pause(host: &Host, redeliveries: u32) -> Settled {
    let pause = host.settings.unread_pause.saturating_mul(1 << redeliveries.min(MAX_DOUBLINGS));
    tokio::select! {
        () = sleep(pause) => {}
        () = host.stop.cancelled() => {}
    }
    Settled::Release
}

/// Runs what is left of a batch.
async fn run_batch(
    host: &Arc<Host>,
    key: &FunctionKey,
    versions: &mut Versions,
    slots: Arc<Semaphore>,
    dispatches: Vec<Dispatch>,
    message: &Message,
    redeliveries: u32,
) -> Settled {
    let now = Timestamp::now();
    let waited = dispatches.iter().map(|dispatch| now.since(dispatch.queued_at)).max();
    let waited = waited.unwrap_or_default();
    let has_received =
        dispatches.iter().all(|dispatch| host.control.has_received(dispatch.queued_at));
    let is_asked = redeliveries > 0 || waited >= host.settings.ask_after || !has_received;
    let (dispatches, asked) = if is_asked {
        (still_open(Arc::clone(host), dispatches).await, Instant::now())
    } else {
        // What is younger is as good as asked about.
        (dispatches, Instant::now().checked_sub(waited).unwrap_or_else(Instant::now))
    };
    if dispatches.is_empty() {
        Settled::Ack
    } else if redeliveries < host.settings.redelivery_limit.max(1) {
        let revision =
            dispatches.iter().map(|dispatch| dispatch.revision).max().unwrap_or_default();
        let version = version_at(host, &key.0, versions, revision).await;
        match version {
            ResolvedVersion::Unreadable => pause(host, redeliveries).await,
            version => run_all(host, version, slots, dispatches, asked).await,
        }
    } else if dispatches.len() > 1 {
        split(host, key, message, dispatches).await
    } else {
        park(host, dispatches, redeliveries).await
    }
}

/// Runs all of them, as many at once as the function and the host allow, and waits until each end
/// is committed.
async fn run_all(
    host: &Arc<Host>,
    version: ResolvedVersion,
    slots: Arc<Semaphore>,
    dispatches: Vec<Dispatch>,
    asked: Instant,
) -> Settled {
    let on_guest_threads = run_each(Arc::clone(host), version, slots, dispatches.into(), asked);
    // One task crosses over to the threads of guests for the whole batch; it makes the others
    // there.
    match AbortOnDropHandle::new(host.engine.spawn(on_guest_threads)).await {
        Ok(settled) => settled,
        Err(error) => {
            tracing::error!(%error, "the host broke down over a batch");
            Settled::Release
        }
    }
}

async fn run_each(
    host: Arc<Host>,
    version: ResolvedVersion,
    slots: Arc<Semaphore>,
    mut dispatches: VecDeque<Dispatch>,
    mut asked: Instant,
) -> Settled {
    let mut attempts = JoinSet::new();
    while let Some(next) = dispatches.front() {
        // Cannot fail: the semaphore is never closed.
        let slot = Arc::clone(&slots).acquire_owned().await;
        let permit = host.admission.acquire(&next.tenant, &next.function, 1).await;
        // What has waited here for long is asked about again, all of it at once.
        if asked.elapsed() >= host.settings.ask_after {
            dispatches = ask(&host, dispatches.into()).await.into();
            asked = Instant::now();
        }
        let Some(dispatch) = dispatches.pop_front() else { break };
        let (host, version) = (Arc::clone(&host), version.clone());
        attempts.spawn(async move {
            let made = make(&host, &version, dispatch).await;
            // The recorder has it: somebody else may run while it is committed.
            drop((slot, permit));
            match made {
                Made::Recorded(committed) => Committed::wait(committed).await,
                Made::Stopped(stopped) => stopped.settle(&host).await,
                Made::NotBegun => true,
            }
        });
    }
    let mut settled = Settled::Ack;
    while let Some(ended) = attempts.join_next().await {
        match ended {
            Ok(true) => {}
            // The recorder is gone, as the host ends; or what was stopped is to be made again.
            Ok(false) => settled = Settled::Release,
            Err(error) => {
                tracing::error!(%error, "the host broke down over an execution");
                settled = Settled::Release;
            }
        }
    }
    settled
}

/// A message that is delivered again and again, as nobody lived to record an end: each execution
/// gets a message of its own, so that the one at fault is found.
async fn split(
    host: &Host,
    key: &FunctionKey,
    message: &Message,
    dispatches: Vec<Dispatch>,
) -> Settled {
    tracing::warn!(tenant = %key.0, function = %key.1, size = dispatches.len(), "a batch fails again and again: taken apart");
    let queue = QueueName::of_function(&key.0, &key.1);
    for dispatch in dispatches {
        let body = Batch::single(dispatch).encode(host.writes());
        publish(
            host,
            &queue,
            Message { body: body.into(), headers: message.headers.clone(), reply_to: None },
        )
        .await;
    }
    Settled::Ack
}

/// An execution whose message is delivered again and again is given up.
async fn park(host: &Host, dispatches: Vec<Dispatch>, redeliveries: u32) -> Settled {
    for dispatch in dispatches {
        tracing::error!(execution = %dispatch.execution, function = %dispatch.function, redeliveries, "poisoned");
        let reason = format!(
            "its message was delivered {} times, and no host lived to record an end: it may bring hosts down",
            redeliveries.saturating_add(1)
        );
        let finished = not_run(host, dispatch, Outcome::Poisoned, None, reason);
        if !host.recorder.record(finished).await.wait().await {
            return Settled::Release;
        }
    }
    Settled::Ack
}

/// Publishes, whatever it takes: the message that this one is made of is acknowledged afterwards.
async fn publish(host: &Host, queue: &QueueName, message: Message) {
    let mut backoff = host.settings.recorder.backoff();
    loop {
        let result = match host.broker.publishing.publish(queue, message.clone()).await {
            Err(BrokerError::NoQueue(_)) => host.broker.publishing.declare(queue).await,
            Ok(()) => return,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::warn!(%queue, %error, "a message cannot be moved yet");
            sleep(backoff.pause()).await;
        }
    }
}
