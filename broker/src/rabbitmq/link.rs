//! A connection that is made again, for ever, whenever it is lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use lapin::{Channel, Connection, Event};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};
use wasmill_domain::backoff::Backoff;

use super::amqp::Fault;
use super::endpoint::{Dialled, Endpoint, Socket};
use crate::port::{BrokerError, Result};

/// How often a connection's state is checked, besides its events.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The first and the longest wait between two attempts at an operation on a connection that is
/// there.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

const CLOSED: &str = "the broker is closed";

/// How long closing a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The current state of a link.
#[derive(Clone)]
enum Status {
    Down { since: Instant, reason: Arc<str> },
    Up(Arc<Session>),
    Closed,
}

/// A supervised connection. Clones are the same one.
#[derive(Clone)]
pub(super) struct Link {
    status: watch::Receiver<Status>,
}

/// One connection of a link, for as long as it lasts.
pub(super) struct Session {
    connection: Connection,
    socket: Socket,
    /// Since when RabbitMQ takes no messages, and why.
    blocked: Mutex<Option<(Instant, String)>>,
    given_up: Notify,
    /// Whether the connection has ended.
    ended: watch::Sender<bool>,
    timeout: Duration,
}

impl Link {
    /// Begins to connect, until `closing` is true or its sender is gone.
    pub(super) fn start(
        endpoint: Arc<Endpoint>,
        role: &'static str,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let down = Status::Down { since: Instant::now(), reason: "not connected yet".into() };
        let (sender, status) = watch::channel(down);
        tokio::spawn(supervise(endpoint, role, sender, closing));
        Self { status }
    }

    /// Does `work` over the connection, and again where that is lost meanwhile or the fault is
    /// transient, for `timeout` in all. `work` must be idempotent.
    ///
    /// # Errors
    /// Why RabbitMQ refuses it; the last error where time ran out, and at once where there has been
    /// no connection for so long.
    pub(super) async fn work<T, W: Future<Output = Result<T, Fault>>>(
        &self,
        timeout: Duration,
        work: impl Fn(Arc<Session>) -> W,
    ) -> Result<T, Fault> {
        let mut last = None;
        let tried = tokio::time::timeout(timeout, async {
            let mut retry = Backoff::new(RETRY.0, RETRY.1).jittered();
            loop {
                let session = self.session(timeout).await?;
                match session.during(work(Arc::clone(&session))).await {
                    Some(Err(Fault::Transient(reason))) => last = Some(reason),
                    Some(done) => return done,
                    None => {}
                }
                tokio::time::sleep(retry.pause()).await;
            }
        });
        let tried = tried.await;
        let no_answer = || format!("RabbitMQ did not answer within {timeout:?}");
        tried.unwrap_or_else(|_| {
            Err(Fault::Transient(self.connection_error().or(last).unwrap_or_else(no_answer)))
        })
    }

    /// The connection, awaited for `timeout` where there is none yet.
    ///
    /// # Errors
    /// Why there is none, after that, and at once where there has been none for so long.
    pub(super) async fn session(&self, timeout: Duration) -> Result<Arc<Session>, Fault> {
        let mut status = self.status.clone();
        let decided = tokio::time::timeout(timeout, async {
            loop {
                match &*status.borrow_and_update() {
                    Status::Up(session) => return Ok(Arc::clone(session)),
                    Status::Down { since, reason } if since.elapsed() >= timeout => {
                        return Err(down(reason));
                    }
                    Status::Down { .. } => {}
                    Status::Closed => return Err(CLOSED.into()),
                }
                if status.changed().await.is_err() {
                    return Err(CLOSED.into());
                }
            }
        });
        let decided = decided.await;
        let late = || format!("no connection to RabbitMQ within {timeout:?}");
        decided
            .unwrap_or_else(|_| Err(self.connection_error().unwrap_or_else(late)))
            .map_err(Fault::Transient)
    }

    /// Why there is no connection at present.
    fn connection_error(&self) -> Option<String> {
        match &*self.status.borrow() {
            Status::Down { reason, .. } => Some(down(reason)),
            Status::Up(_) => None,
            Status::Closed => Some(CLOSED.into()),
        }
    }

    /// The connection, awaited for as long as it takes; `None` once the link is closed.
    pub(super) async fn lasting_session(&self) -> Option<Arc<Session>> {
        let mut status = self.status.clone();
        let status = status.wait_for(|status| !matches!(status, Status::Down { .. })).await.ok()?;
        if let Status::Up(session) = &*status { Some(Arc::clone(session)) } else { None }
    }

    /// Whether a publish may succeed: there is a connection that takes messages, or there was one
    /// less than `timeout` ago.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`], with the reason.
    pub(super) fn takes_messages(&self, timeout: Duration) -> Result<()> {
        match &*self.status.borrow() {
            Status::Down { since, reason } if since.elapsed() >= timeout => {
                Err(BrokerError::Unavailable(down(reason)))
            }
            Status::Down { .. } => Ok(()),
            Status::Up(session) => match &*session.lock_blocked() {
                Some((since, reason)) if since.elapsed() >= timeout => {
                    Err(BrokerError::Unavailable(format!(
                        "RabbitMQ takes no messages at present: {reason}"
                    )))
                }
                _ => Ok(()),
            },
            Status::Closed => Err(closed()),
        }
    }

    /// Waits until the link is closed.
    pub(super) async fn ended(&self) {
        let mut status = self.status.clone();
        // An error: the supervisor is gone, which is an end too.
        let _ = status.wait_for(|status| matches!(status, Status::Closed)).await;
    }
}

fn down(reason: &str) -> String {
    format!("no connection to RabbitMQ: {reason}")
}

pub(super) fn closed() -> BrokerError {
    BrokerError::Unavailable(CLOSED.into())
}

impl Session {
    /// Opens a channel, as a part of [`Session::set_up`].
    pub(super) async fn open(&self) -> lapin::Result<Channel> {
        self.connection.create_channel().await
    }

    /// Does `opening`, which opens a channel and prepares it.
    ///
    /// # Errors
    /// What went wrong. A connection that does not do it in time is given up.
    pub(super) async fn set_up<T>(
        &self,
        opening: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, Fault> {
        match tokio::time::timeout(self.timeout, opening).await {
            Ok(opened) => opened.map_err(|error| Fault::from(&error)),
            Err(_) => {
                self.given_up.notify_one();
                Err(Fault::Transient(format!(
                    "RabbitMQ had no channel ready within {:?}",
                    self.timeout
                )))
            }
        }
    }

    /// The result of `work`; `None` where the connection is lost first. lapin then leaves some that
    /// wait for an answer waiting for ever.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut ended = self.ended.subscribe();
        tokio::select! {
            biased;
            done = work => Some(done),
            _ = ended.wait_for(|ended| *ended) => None,
        }
    }

    /// Whether RabbitMQ takes no messages over this connection at present.
    pub(super) fn is_blocked(&self) -> bool {
        self.lock_blocked().is_some()
    }

    fn set_blocked(&self, reason: Option<String>) {
        *self.lock_blocked() = reason.map(|reason| (Instant::now(), reason));
    }

    fn lock_blocked(&self) -> std::sync::MutexGuard<'_, Option<(Instant, String)>> {
        // Nothing panics while it is locked.
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection whatever state lapin believes it to be in, its thread, and everything
    /// that waits on it.
    fn end(&self) {
        self.socket.cut();
        self.ended.send_replace(true);
    }

    /// Waits until the connection has ended, and returns why.
    async fn lost(&self, role: &str, mut events: impl Stream<Item = Event> + Unpin) -> String {
        let mut reason = None;
        let mut timer = tokio::time::interval(CHECK_INTERVAL);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    // Channels report their errors here too.
                    Some(Event::Error(error)) => reason = Some(error.to_string()),
                    Some(Event::ConnectionBlocked(reason)) => {
                        warn!(role, reason, "RabbitMQ takes no messages for now");
                        self.set_blocked(Some(reason));
                    }
                    Some(Event::ConnectionUnblocked) => {
                        info!(role, "RabbitMQ takes messages again");
                        self.set_blocked(None);
                    }
                    Some(_) => {}
                    None => return reason.unwrap_or_else(|| "the connection has ended".into()),
                },
                _ = timer.tick() => {}
                () = self.given_up.notified() => return "it does not answer".into(),
            }
            if !self.connection.status().connected() {
                return reason.unwrap_or_else(|| "the connection was lost".into());
            }
        }
    }
}

async fn supervise(
    endpoint: Arc<Endpoint>,
    role: &'static str,
    status: watch::Sender<Status>,
    mut closing: watch::Receiver<bool>,
) {
    let settings = &endpoint.settings;
    let mut backoff = Backoff::new(settings.retry_first, settings.retry_at_most).jittered();
    let mut warned = false;
    while !is_closing(&closing) {
        let dialled = tokio::select! {
            dialled = endpoint.dial(role) => dialled,
            () = wait_until_closing(&mut closing) => break,
        };
        match dialled {
            Ok(Dialled { connection, socket }) => {
                info!(role, "connected to RabbitMQ");
                let events = Box::pin(connection.events_listener());
                let begun = Instant::now();
                let session = Arc::new(Session {
                    connection,
                    socket,
                    blocked: Mutex::new(None),
                    given_up: Notify::new(),
                    ended: watch::Sender::new(false),
                    timeout: settings.operation_timeout,
                });
                status.send_replace(Status::Up(Arc::clone(&session)));
                let reason = tokio::select! {
                    reason = session.lost(role, events) => reason,
                    () = wait_until_closing(&mut closing) => {
                        let close = session.connection.close(200, "closed".into());
                        let _ = tokio::time::timeout(CLOSE_TIMEOUT, close).await;
                        session.end();
                        break;
                    }
                };
                session.end();
                warn!(role, reason, "lost the connection to RabbitMQ; making another one");
                status.send_replace(Status::Down { since: Instant::now(), reason: reason.into() });
                warned = true;
                if begun.elapsed() > settings.retry_at_most {
                    backoff.reset();
                }
            }
            Err(reason) => {
                if warned {
                    debug!(role, reason, "no connection to RabbitMQ yet");
                } else {
                    warn!(role, reason, "no connection to RabbitMQ; trying until there is one");
                    warned = true;
                }
                status.send_modify(|status| {
                    if let Status::Down { reason: known, .. } = status {
                        *known = reason.into();
                    }
                });
            }
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.pause()) => {}
            () = wait_until_closing(&mut closing) => {}
        }
    }
    status.send_replace(Status::Closed);
}

fn is_closing(closing: &watch::Receiver<bool>) -> bool {
    *closing.borrow() || closing.has_changed().is_err()
}

/// Ends when the link is to be closed.
async fn wait_until_closing(closing: &mut watch::Receiver<bool>) {
    // An error: everybody who could have closed it is gone.
    let _ = closing.wait_for(|closing| *closing).await;
}
