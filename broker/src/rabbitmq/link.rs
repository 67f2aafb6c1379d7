//! A connection that comes back: whenever it is lost it is made again, for ever.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use lapin::{Channel, Connection, Event};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::target::{Dialled, Socket, Target};
use super::wire::Fault;
use crate::port::{Error, Result};

/// How often a connection is looked at, besides its events.
const LOOK: Duration = Duration::from_secs(1);

/// The waits between two trials over a connection that is there.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

const CLOSED: &str = "the broker is closed";

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a link is at the moment.
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
    /// Whether it is no more.
    over: watch::Sender<bool>,
    patience: Duration,
}

impl Link {
    /// Begins to connect. It goes on until `closing` is true or its sender is gone.
    pub(super) fn start(target: Arc<Target>, role: &'static str, closing: watch::Receiver<bool>) -> Self {
        let down = Status::Down { since: Instant::now(), reason: "not connected yet".into() };
        let (sender, status) = watch::channel(down);
        tokio::spawn(supervise(target, role, sender, closing));
        Self { status }
    }

    /// Does something over the connection, and again where it is lost meanwhile or the fault may pass, for `patience` together.
    /// `work` must do no harm when it is done twice.
    ///
    /// # Errors
    /// What RabbitMQ has against it; what stood in the way last where time ran out, and at once where there has been no
    /// connection for so long.
    pub(super) async fn work<T, W: Future<Output = Result<T, Fault>>>(
        &self,
        patience: Duration,
        work: impl Fn(Arc<Session>) -> W,
    ) -> Result<T, Fault> {
        let mut last = None;
        let tried = timeout(patience, async {
            let mut retry = Backoff::new(RETRY.0, RETRY.1);
            loop {
                let session = self.session(patience).await?;
                match session.during(work(Arc::clone(&session))).await {
                    Some(Err(Fault::Passing(reason))) => last = Some(reason),
                    Some(done) => return done,
                    None => {}
                }
                retry.wait().await;
            }
        });
        let tried = tried.await;
        let silent = || format!("RabbitMQ did not answer within {patience:?}");
        tried.unwrap_or_else(|_| Err(Fault::Passing(self.obstacle().or(last).unwrap_or_else(silent))))
    }

    /// The connection, awaited for `patience` where there is none yet.
    ///
    /// # Errors
    /// Why there is none, after that, and at once where there has been none for so long.
    pub(super) async fn session(&self, patience: Duration) -> Result<Arc<Session>, Fault> {
        let mut status = self.status.clone();
        let decided = timeout(patience, async {
            loop {
                match &*status.borrow_and_update() {
                    Status::Up(session) => return Ok(Arc::clone(session)),
                    Status::Down { since, reason } if since.elapsed() >= patience => return Err(down(reason)),
                    Status::Down { .. } => {}
                    Status::Closed => return Err(CLOSED.into()),
                }
                if status.changed().await.is_err() {
                    return Err(CLOSED.into());
                }
            }
        });
        let decided = decided.await;
        let late = || format!("no connection to RabbitMQ within {patience:?}");
        decided.unwrap_or_else(|_| Err(self.obstacle().unwrap_or_else(late))).map_err(Fault::Passing)
    }

    /// Why there is no connection at present.
    fn obstacle(&self) -> Option<String> {
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

    /// Whether publishing makes sense: there is a connection that takes messages, or there was one less than `patience` ago.
    ///
    /// # Errors
    /// [`Error::Unavailable`], with the reason.
    pub(super) fn takes_messages(&self, patience: Duration) -> Result<()> {
        match &*self.status.borrow() {
            Status::Down { since, reason } if since.elapsed() >= patience => Err(Error::Unavailable(down(reason))),
            Status::Down { .. } => Ok(()),
            Status::Up(session) => match &*session.lock_blocked() {
                Some((since, reason)) if since.elapsed() >= patience => {
                    Err(Error::Unavailable(format!("RabbitMQ takes no messages at present: {reason}")))
                }
                _ => Ok(()),
            },
            Status::Closed => Err(closed()),
        }
    }

    /// Waits until the link is closed.
    pub(super) async fn ended(&self) {
        let mut status = self.status.clone();
        // An error says that nothing will change any more, which is an end too.
        let _ = status.wait_for(|status| matches!(status, Status::Closed)).await;
    }
}

fn down(reason: &str) -> String {
    format!("no connection to RabbitMQ: {reason}")
}

pub(super) fn closed() -> Error {
    Error::Unavailable(CLOSED.into())
}

impl Session {
    /// Opens a channel, as a part of what is [`Session::set_up`].
    pub(super) async fn open(&self) -> lapin::Result<Channel> {
        self.connection.create_channel().await
    }

    /// Opens a channel, and does what is to be done on it before it is of use.
    ///
    /// # Errors
    /// What went wrong. A connection that does not do so much in time is given up.
    pub(super) async fn set_up<T>(&self, opening: impl Future<Output = lapin::Result<T>>) -> Result<T, Fault> {
        match timeout(self.patience, opening).await {
            Ok(opened) => opened.map_err(|error| Fault::from(&error)),
            Err(_) => {
                self.given_up.notify_one();
                Err(Fault::Passing(format!("RabbitMQ had no channel ready within {:?}", self.patience)))
            }
        }
    }

    /// What comes of `work`; `None` where the connection is lost first. lapin leaves some who wait for an answer waiting then.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut over = self.over.subscribe();
        tokio::select! {
            biased;
            done = work => Some(done),
            _ = over.wait_for(|over| *over) => None,
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

    /// Ends the connection whatever state lapin believes it to be in, its thread, and whoever waits for anything on it.
    fn end(&self) {
        self.socket.cut();
        self.over.send_replace(true);
    }

    /// Waits until the connection is no more, and says why.
    async fn lost(&self, role: &str, mut events: impl Stream<Item = Event> + Unpin) -> String {
        let mut reason = None;
        let mut look = tokio::time::interval(LOOK);
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
                _ = look.tick() => {}
                () = self.given_up.notified() => return "it does not answer".into(),
            }
            if !self.connection.status().connected() {
                return reason.unwrap_or_else(|| "the connection was lost".into());
            }
        }
    }
}

async fn supervise(
    target: Arc<Target>,
    role: &'static str,
    status: watch::Sender<Status>,
    mut closing: watch::Receiver<bool>,
) {
    let settings = &target.settings;
    let mut backoff = Backoff::new(settings.retry_first, settings.retry_at_most);
    let mut warned = false;
    while !is_closing(&closing) {
        let dialled = tokio::select! {
            dialled = target.dial(role) => dialled,
            () = told_to_close(&mut closing) => break,
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
                    over: watch::Sender::new(false),
                    patience: settings.operation_timeout,
                });
                status.send_replace(Status::Up(Arc::clone(&session)));
                let reason = tokio::select! {
                    reason = session.lost(role, events) => reason,
                    () = told_to_close(&mut closing) => {
                        let farewell = session.connection.close(200, "closed".into());
                        let _ = timeout(FAREWELL, farewell).await;
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
            () = backoff.wait() => {}
            () = told_to_close(&mut closing) => {}
        }
    }
    status.send_replace(Status::Closed);
}

fn is_closing(closing: &watch::Receiver<bool>) -> bool {
    *closing.borrow() || closing.has_changed().is_err()
}

/// Ends when the link is to be closed.
async fn told_to_close(closing: &mut watch::Receiver<bool>) {
    // An error says that everybody who could have told is gone.
    let _ = closing.wait_for(|closing| *closing).await;
}
