//! Calls over RabbitMQ.
//!
//! A call is a message to the service's queue, which is a classic one whose messages live for seconds and in memory. Whoever
//! answers it and whoever called have a **mailbox** each, a queue of their process's own that is gone with its connection; all lines
//! of a process share it. Letters to a mailbox carry frames, numbered, and how many were taken, so that neither end sends more than
//! a window ahead. Ends that say nothing show that they are there; one that does not is taken for lost. When the connection is
//! lost, so are the mailbox and all lines: callers make calls again, lines do not come back.
//!
//! A call stays in its queue, unacknowledged, for as long as its line lasts: so the prefetch is how many a process answers at a
//! time. One that comes again was answered by somebody who is gone. It may have been half done, so it is not answered again: its
//! caller is told.

mod end;
mod letter;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::{mpsc, watch};
use tracing::debug;
use uuid::Uuid;

use self::end::{End, Peer, post};
use self::letter::{Letter, Word};
use super::backoff::Backoff;
use super::lanes::Lanes;
use super::link::{Link, RETRY, Session};
use super::wire::{self, Fault};
use crate::line::{Call, LINE_WINDOW, Line, Wires};
use crate::port::{Calls, Consumption, Deliveries, Error, QueueName, Result, Settle};

/// How long a call waits for somebody to answer, in milliseconds.
const RINGING: i32 = 30_000;

/// How long a service's queue stays that nobody answers at, in milliseconds.
const DESERTED: i32 = 600_000;

/// How many calls wait at a service.
const WAITING: i32 = 10_000;

/// Letters of one line that wait to be read: a window of frames, and some words beside.
const LETTERS: usize = 2 * LINE_WINDOW;

/// The lines of this process, by id.
type Lines = Arc<Mutex<HashMap<Uuid, mpsc::Sender<Word>>>>;

/// All calls of a process.
pub(super) struct Exchange {
    lanes: Arc<Lanes>,
    lines: Lines,
    /// This process's mailbox, while it has one.
    mailbox: watch::Receiver<Option<ShortString>>,
}

impl Exchange {
    /// Begins to keep a mailbox on `link`, and sends over `lanes`.
    pub(super) fn start(link: Link, lanes: Arc<Lanes>, prefix: &str) -> Self {
        let lines = Lines::default();
        let (sender, mailbox) = watch::channel(None);
        tokio::spawn(keep_mailbox(link, Arc::clone(&lanes), Arc::clone(&lines), prefix.to_owned(), sender));
        Self { lanes, lines, mailbox }
    }

    /// Calls the service whose queue RabbitMQ calls `name`.
    pub(super) async fn call(&self, queue: &QueueName, name: ShortString, opening: Bytes) -> Result<Line> {
        let mailbox = self.mailbox().await?;
        let (line, wires) = Line::open();
        let id = Uuid::new_v4();
        self.begin(id, None, wires, None);
        let word = Word::Opening { from: mailbox.to_string(), body: opening };
        let letter = Letter { line: id, word }.encode();
        // Where this fails the line is dropped, and with that it ends.
        self.lanes.publish(Some(queue.clone()), name, wire::passing(), letter, None).await?;
        Ok(line)
    }

    /// Answers the calls that `consumption` brings.
    pub(super) fn answer(self: &Arc<Self>, consumption: Consumption) -> Box<dyn Calls> {
        let Consumption { deliveries, settle } = consumption;
        Box::new(Answering { exchange: Arc::clone(self), deliveries, settle })
    }

    /// The mailbox, awaited for a moment where there is none.
    async fn mailbox(&self) -> Result<ShortString> {
        let mut mailbox = self.mailbox.clone();
        let found = tokio::time::timeout(RETRY.1 * 2, mailbox.wait_for(Option::is_some)).await;
        let name = found.ok().and_then(|found| found.ok().and_then(|name| name.clone()));
        name.ok_or_else(|| Error::Unavailable("there is no connection to RabbitMQ for calls".into()))
    }

    /// Begins to carry a line. `held` is settled when it has ended.
    fn begin(&self, id: Uuid, peer: Option<Peer>, wires: Wires, held: Option<Held>) {
        let (sender, letters) = mpsc::channel(LETTERS);
        lock(&self.lines).insert(id, sender);
        let end = End::new(id, Arc::clone(&self.lanes), peer, letters, wires);
        let lines = Arc::clone(&self.lines);
        tokio::spawn(async move {
            end.run().await;
            lock(&lines).remove(&id);
            if let Some(Held { settle, tag }) = held
                && let Err(error) = settle.ack(&[tag]).await
            {
                debug!(%error, "the end of a call could not be told");
            }
        });
    }
}

/// A call that is answered: what settles it.
struct Held {
    settle: Arc<dyn Settle>,
    tag: crate::port::Tag,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is locked.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Somebody who answers.
struct Answering {
    exchange: Arc<Exchange>,
    deliveries: Box<dyn Deliveries>,
    settle: Arc<dyn Settle>,
}

#[async_trait]
impl Calls for Answering {
    async fn next(&mut self) -> Option<Call> {
        loop {
            let delivery = self.deliveries.next().await?;
            let held = Held { settle: Arc::clone(&self.settle), tag: delivery.tag };
            let letter = Letter::decode(delivery.message.body);
            let Some(Letter { line, word: Word::Opening { from, body } }) = letter else {
                debug!("something that is no call came as one");
                forget(held).await;
                continue;
            };
            let (Ok(caller), Ok(mailbox)) = (wire::short(&from), self.exchange.mailbox().await) else {
                forget(held).await;
                continue;
            };
            let peer = Peer { mailbox: caller, line };
            let lanes = &self.exchange.lanes;
            if delivery.redeliveries > 0 {
                hang_up(lanes, &peer);
                forget(held).await;
                continue;
            }
            let (line, wires) = Line::open();
            wires.answered.send_replace(true);
            // An end of its own: both may be in one process.
            let id = Uuid::new_v4();
            let answered = Word::Answered { from: mailbox.to_string(), line: id };
            tokio::spawn(post(Arc::clone(lanes), peer.clone(), answered));
            self.exchange.begin(id, Some(peer), wires, Some(held));
            return Some(Call { opening: body, line });
        }
    }
}

/// Tells an end that nobody is at the other one.
fn hang_up(lanes: &Arc<Lanes>, peer: &Peer) {
    for word in [Word::Stop, Word::Fin { frames: 0 }] {
        tokio::spawn(post(Arc::clone(lanes), peer.clone(), word));
    }
}

async fn forget(held: Held) {
    if let Err(error) = held.settle.ack(&[held.tag]).await {
        debug!(%error, "a call could not be settled");
    }
}

/// Keeps a mailbox, for as long as there is a link, and gives out what comes to it.
async fn keep_mailbox(
    link: Link,
    lanes: Arc<Lanes>,
    lines: Lines,
    prefix: String,
    mailbox: watch::Sender<Option<ShortString>>,
) {
    let mut retry = Backoff::new(RETRY.0, RETRY.1);
    while let Some(session) = link.lasting_session().await {
        // Another name each time: letters for lines that are lost go nowhere.
        let Ok(name) = wire::short(&format!("{prefix}wasmill.mail.{}", Uuid::new_v4())) else { return };
        match session.during(open(&session, name.clone())).await {
            // The channel is closed where it is dropped.
            Some(Ok((_channel, mut letters))) => {
                retry.reset();
                mailbox.send_replace(Some(name));
                session.during(give_out(&mut letters, &lines, &lanes)).await;
                mailbox.send_replace(None);
                // Their ends learn of it by that.
                lock(&lines).clear();
            }
            Some(Err(fault)) => debug!(%fault, "no mailbox for calls yet"),
            None => {}
        }
        retry.wait().await;
    }
}

/// Makes a mailbox and begins to read it.
async fn open(session: &Session, name: ShortString) -> std::result::Result<(Channel, Consumer), Fault> {
    let opening = async {
        let channel = session.open().await?;
        let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.clone(), own, FieldTable::default()).await?;
        let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(name, ShortString::default(), options, FieldTable::default()).await?;
        Ok((channel, consumer))
    };
    session.set_up(opening).await
}

/// Reads a mailbox until it is lost.
async fn give_out(letters: &mut Consumer, lines: &Lines, lanes: &Arc<Lanes>) {
    while let Some(Ok(delivery)) = letters.next().await {
        let Some(Letter { line, word }) = Letter::decode(delivery.data.into()) else { continue };
        let known = lock(lines).get(&line).cloned();
        match known {
            // A line that does not keep up breaks the window's rule: it ends, and the other ends are read on.
            Some(end) => {
                if end.try_send(word).is_err() {
                    lock(lines).remove(&line);
                }
            }
            None => {
                // Somebody answers a call that its caller has given up.
                if let Word::Answered { from, line } = word
                    && let Ok(mailbox) = wire::short(&from)
                {
                    hang_up(lanes, &Peer { mailbox, line });
                }
            }
        }
    }
}

/// What a service's queue is declared with.
pub(super) fn arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    for (name, value) in [
        ("x-queue-type", AMQPValue::LongString("classic".into())),
        ("x-message-ttl", AMQPValue::LongInt(RINGING)),
        ("x-expires", AMQPValue::LongInt(DESERTED)),
        ("x-max-length", AMQPValue::LongInt(WAITING)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ] {
        arguments.insert(ShortString::from(name), value);
    }
    arguments
}
