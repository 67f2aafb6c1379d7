//! One end of a request stream: carries messages between whoever has it and the other end.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::debug;
use uuid::Uuid;

use super::control_message::Control;
use super::control_sender::{ControlSender, Peer, Sending};
use crate::rabbitmq::amqp;
use crate::request_stream::{STREAM_WINDOW, StreamTransport};

/// How long an end sends nothing before it sends a keep-alive.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// How long an end may send nothing before it is taken for lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything of one end.
pub(super) struct StreamEnd {
    id: Uuid,
    sender: ControlSender,
    /// The other end, once it is known.
    peer: Option<Peer>,
    controls: mpsc::Receiver<Control>,
    /// What is to be sent; `None` once that has ended.
    outgoing: Option<mpsc::Receiver<Bytes>>,
    /// Where what has arrived goes; `None` once that is closed.
    incoming: Option<mpsc::Sender<Bytes>>,
    accepted: watch::Sender<bool>,
    /// Messages that were sent, and how many of them the other end has consumed.
    sent: u64,
    consumed_there: u64,
    /// Messages that have arrived and are not consumed.
    waiting: VecDeque<Bytes>,
    arrived: u64,
    /// Messages that were consumed, and how many the other end was told of.
    consumed: u64,
    announced: u64,
    /// After how many messages the other end sends no more.
    end: Option<u64>,
    sending: FuturesOrdered<Sending>,
    last_received: Instant,
    last_sent: Instant,
}

impl StreamEnd {
    /// The end `id` of a stream that `transport` connects; `peer` is the other one, if it is known.
    pub(super) fn new(
        id: Uuid,
        sender: ControlSender,
        peer: Option<Peer>,
        controls: mpsc::Receiver<Control>,
        transport: StreamTransport,
    ) -> Self {
        let StreamTransport { outgoing, incoming, accepted } = transport;
        let now = Instant::now();
        Self {
            id,
            sender,
            peer,
            controls,
            outgoing: Some(outgoing),
            incoming: Some(incoming),
            accepted,
            sent: 0,
            consumed_there: 0,
            waiting: VecDeque::new(),
            arrived: 0,
            consumed: 0,
            announced: 0,
            end: None,
            sending: FuturesOrdered::new(),
            last_received: now,
            last_sent: now,
        }
    }

    /// Carries messages until the stream has ended, in order or not.
    pub(super) async fn run(mut self) {
        let mut timer = tokio::time::interval(KEEP_ALIVE / 2);
        while !self.is_over() {
            let may_send =
                self.peer.is_some() && self.sent < self.consumed_there + STREAM_WINDOW as u64;
            tokio::select! {
                control = self.controls.recv() => match control {
                    Some(control) => if !self.apply(control) {
                        break;
                    },
                    // The connection was lost, and with it the reply queue.
                    None => break,
                },
                message = next_outgoing(&mut self.outgoing), if may_send => self.send_data(message),
                consumed = deliver(&mut self.incoming, &mut self.waiting) => self.delivered(consumed),
                sent = self.sending.next(), if !self.sending.is_empty() => if let Some(Err(error)) = sent {
                    debug!(stream = %self.id, %error, "a request stream is lost");
                    break;
                },
                _ = timer.tick() => {
                    if self.peer.is_some() && self.last_received.elapsed() > IDLE_TIMEOUT {
                        debug!(stream = %self.id, "the other end of a request stream has timed out");
                        break;
                    }
                    if self.last_sent.elapsed() >= KEEP_ALIVE {
                        self.send(Control::KeepAlive);
                    }
                }
            }
            if self.end == Some(self.arrived) && self.waiting.is_empty() {
                self.incoming = None;
            }
        }
        self.incoming = None;
        // What was sent last still has to arrive.
        while self.sending.next().await.is_some() {}
    }

    /// Whether neither side has anything to send or receive any more. A stream that was never
    /// accepted is over when its caller receives no more.
    fn is_over(&self) -> bool {
        self.incoming.is_none() && (self.outgoing.is_none() || self.peer.is_none())
    }

    /// Applies a control message; false if it breaks the protocol.
    fn apply(&mut self, control: Control) -> bool {
        self.last_received = Instant::now();
        match control {
            // A second opening message has nothing new.
            Control::Open { .. } | Control::KeepAlive => {}
            Control::Accepted { reply_queue, stream } => match amqp::short(&reply_queue) {
                Ok(reply_queue) => {
                    self.peer = Some(Peer { reply_queue, stream });
                    self.accepted.send_replace(true);
                }
                Err(_) => return false,
            },
            // Sent twice.
            Control::Data { number, .. } if number < self.arrived => {}
            Control::Data { number, body } => {
                if number > self.arrived || self.waiting.len() >= STREAM_WINDOW {
                    return false;
                }
                self.arrived += 1;
                if self.incoming.is_some() {
                    self.waiting.push_back(body);
                }
            }
            Control::Consumed { count } => {
                self.consumed_there = self.consumed_there.max(count).min(self.sent);
            }
            Control::End { count } => self.end = Some(count),
            Control::Stop => self.outgoing = None,
        }
        true
    }

    /// Sends a message, or that there are no more.
    fn send_data(&mut self, message: Option<Bytes>) {
        match message {
            Some(body) => {
                self.send(Control::Data { number: self.sent, body });
                self.sent += 1;
            }
            None => {
                self.outgoing = None;
                self.send(Control::End { count: self.sent });
            }
        }
    }

    /// A message was consumed; or, where it was not, the stream's receiver is closed.
    fn delivered(&mut self, consumed: bool) {
        if !consumed {
            self.incoming = None;
            self.waiting.clear();
            self.send(Control::Stop);
            return;
        }
        self.consumed += 1;
        // Early enough for the other end not to wait, and seldom enough to cost little.
        if self.consumed - self.announced >= STREAM_WINDOW as u64 / 2 {
            self.announced = self.consumed;
            self.send(Control::Consumed { count: self.consumed });
        }
    }

    fn send(&mut self, control: Control) {
        let Some(peer) = self.peer.clone() else { return };
        self.last_sent = Instant::now();
        self.sending.push_back(self.sender.send(peer, control));
    }
}

/// The next message to be sent; never ends where nothing is sent any more.
async fn next_outgoing(outgoing: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match outgoing {
        Some(outgoing) => outgoing.recv().await,
        None => std::future::pending().await,
    }
}

/// Delivers the message that waits longest, when there is room for it: true. False where the
/// stream's receiver is closed.
async fn deliver(
    incoming: &mut Option<mpsc::Sender<Bytes>>,
    waiting: &mut VecDeque<Bytes>,
) -> bool {
    let Some(sender) = incoming else { return std::future::pending().await };
    if waiting.is_empty() {
        sender.closed().await;
        return false;
    }
    match sender.reserve().await {
        Ok(permit) => {
            if let Some(message) = waiting.pop_front() {
                permit.send(message);
            }
            true
        }
        Err(_) => false,
    }
}
