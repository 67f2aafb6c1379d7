//! One end of a line: carries frames between whoever holds it and the mailbox of the other end.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use lapin::types::ShortString;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;
use uuid::Uuid;

use super::letter::{Letter, Word};
use crate::line::{LINE_WINDOW, Wires};
use crate::port::Result;
use crate::rabbitmq::lanes::Lanes;
use crate::rabbitmq::wire;

/// How often an end shows that it is there.
const ALIVE: Duration = Duration::from_secs(2);

/// How long an end may say nothing before it is taken for lost.
const SILENCE: Duration = Duration::from_secs(10);

type Posting = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// An end, and the mailbox that it is reached by.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) mailbox: ShortString,
    pub(super) line: Uuid,
}

/// Everything of one end.
pub(super) struct End {
    id: Uuid,
    lanes: Arc<Lanes>,
    /// The other end, once it is known.
    peer: Option<Peer>,
    letters: mpsc::Receiver<Word>,
    said: Option<mpsc::Receiver<Bytes>>,
    heard: Option<mpsc::Sender<Bytes>>,
    answered: tokio::sync::watch::Sender<bool>,
    /// Frames that were sent, and that the other end has taken.
    sent: u64,
    taken_there: u64,
    /// Frames that have come and that nobody has taken yet, and how many were taken, as the other end knows it too.
    waiting: VecDeque<Bytes>,
    arrived: u64,
    taken: u64,
    told: u64,
    /// After how many frames the other end says no more.
    fin: Option<u64>,
    posted: FuturesOrdered<Posting>,
    last_heard: Instant,
    last_posted: Instant,
}

impl End {
    /// The end of a line that is connected by `wires`; whose other end is `peer` if it is known.
    pub(super) fn new(
        id: Uuid,
        lanes: Arc<Lanes>,
        peer: Option<Peer>,
        letters: mpsc::Receiver<Word>,
        wires: Wires,
    ) -> Self {
        let Wires { said, heard, answered } = wires;
        let now = Instant::now();
        Self {
            id,
            lanes,
            peer,
            letters,
            said: Some(said),
            heard: Some(heard),
            answered,
            sent: 0,
            taken_there: 0,
            waiting: VecDeque::new(),
            arrived: 0,
            taken: 0,
            told: 0,
            fin: None,
            posted: FuturesOrdered::new(),
            last_heard: now,
            last_posted: now,
        }
    }

    /// Carries frames until the line has ended, one way or the other.
    pub(super) async fn run(mut self) {
        let mut look = tokio::time::interval(ALIVE / 2);
        while !self.is_over() {
            let may_say = self.peer.is_some() && self.sent < self.taken_there + LINE_WINDOW as u64;
            tokio::select! {
                word = self.letters.recv() => match word {
                    Some(word) => if !self.read(word) {
                        break;
                    },
                    // The connection was lost, and with it the mailbox.
                    None => break,
                },
                frame = next_said(&mut self.said), if may_say => self.say(frame),
                heard = hand_over(&mut self.heard, &mut self.waiting) => self.note(heard),
                posted = self.posted.next(), if !self.posted.is_empty() => if let Some(Err(error)) = posted {
                    debug!(line = %self.id, %error, "a line is lost");
                    break;
                },
                _ = look.tick() => {
                    if self.peer.is_some() && self.last_heard.elapsed() > SILENCE {
                        debug!(line = %self.id, "the other end of a line is silent");
                        break;
                    }
                    if self.last_posted.elapsed() >= ALIVE {
                        self.post(Word::Alive);
                    }
                }
            }
            if self.fin == Some(self.arrived) && self.waiting.is_empty() {
                self.heard = None;
            }
        }
        // What was said last is on its way.
        self.heard = None;
        while self.posted.next().await.is_some() {}
    }

    /// Whether neither side has anything to say or hear any more. A call that nobody answered is over when its caller hears no more.
    fn is_over(&self) -> bool {
        self.heard.is_none() && (self.said.is_none() || self.peer.is_none())
    }

    /// Takes note of a letter; false if it breaks the rules.
    fn read(&mut self, word: Word) -> bool {
        self.last_heard = Instant::now();
        match word {
            // A second one says nothing new.
            Word::Opening { .. } | Word::Alive => {}
            Word::Answered { from, line } => match wire::short(&from) {
                Ok(mailbox) => {
                    self.peer = Some(Peer { mailbox, line });
                    self.answered.send_replace(true);
                }
                Err(_) => return false,
            },
            // Sent twice.
            Word::Frame { number, .. } if number < self.arrived => {}
            Word::Frame { number, body } => {
                if number > self.arrived || self.waiting.len() >= LINE_WINDOW {
                    return false;
                }
                self.arrived += 1;
                if self.heard.is_some() {
                    self.waiting.push_back(body);
                }
            }
            Word::Taken { frames } => self.taken_there = self.taken_there.max(frames).min(self.sent),
            Word::Fin { frames } => self.fin = Some(frames),
            Word::Stop => self.said = None,
        }
        true
    }

    /// Sends a frame, or says that there are no more.
    fn say(&mut self, frame: Option<Bytes>) {
        match frame {
            Some(body) => {
                self.post(Word::Frame { number: self.sent, body });
                self.sent += 1;
            }
            None => {
                self.said = None;
                self.post(Word::Fin { frames: self.sent });
            }
        }
    }

    /// Takes note that a frame was taken, or that nobody takes any.
    fn note(&mut self, heard: bool) {
        if !heard {
            self.heard = None;
            self.waiting.clear();
            self.post(Word::Stop);
            return;
        }
        self.taken += 1;
        // Told in time for the other end not to wait, and seldom enough to cost little.
        if self.taken - self.told >= LINE_WINDOW as u64 / 2 {
            self.told = self.taken;
            self.post(Word::Taken { frames: self.taken });
        }
    }

    fn post(&mut self, word: Word) {
        let Some(peer) = self.peer.clone() else { return };
        self.last_posted = Instant::now();
        self.posted.push_back(post(Arc::clone(&self.lanes), peer, word));
    }
}

/// Sends word to an end.
pub(super) fn post(lanes: Arc<Lanes>, to: Peer, word: Word) -> Posting {
    let letter = Letter { line: to.line, word }.encode();
    Box::pin(async move { lanes.publish(None, to.mailbox, wire::passing(), letter, None).await })
}

/// What is said next; never where nobody says anything any more.
async fn next_said(said: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match said {
        Some(said) => said.recv().await,
        None => std::future::pending().await,
    }
}

/// Hands over the frame that waits longest, when there is room for it: true. Or finds that nobody takes any: false.
async fn hand_over(heard: &mut Option<mpsc::Sender<Bytes>>, waiting: &mut VecDeque<Bytes>) -> bool {
    let Some(sender) = heard else { return std::future::pending().await };
    if waiting.is_empty() {
        sender.closed().await;
        return false;
    }
    match sender.reserve().await {
        Ok(permit) => {
            if let Some(frame) = waiting.pop_front() {
                permit.send(frame);
            }
            true
        }
        Err(_) => false,
    }
}
