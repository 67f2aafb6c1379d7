//! Request streams: bidirectional streams of messages between the process that asks and the one
//! that answers. Nothing of one is stored: it ends when either end is lost.

use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

/// How many messages may be in flight in each direction before their sender waits.
pub const STREAM_WINDOW: usize = 32;

/// How large a message should be at most, in bytes: with the window, this bounds the memory that a
/// stream takes. Larger messages are carried as well.
pub const STREAM_CHUNK_BYTES: usize = 64 << 10;

/// The other end receives no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other end of the request stream is closed")]
pub struct StreamClosed;

/// One end of a request stream. Messages arrive in order and each once, or the stream ends. Either
/// half may be dropped before the other: a dropped sender ends the other end's receiver, a dropped
/// receiver closes the other end's sender.
pub struct RequestStream {
    /// The half that sends.
    pub sender: StreamSender,
    /// The half that receives.
    pub receiver: StreamReceiver,
}

/// The half of a stream that sends.
#[derive(Clone)]
pub struct StreamSender(mpsc::Sender<Bytes>);

/// The half of a stream that receives.
pub struct StreamReceiver {
    messages: mpsc::Receiver<Bytes>,
    accepted: watch::Receiver<bool>,
}

/// What a backend connects to the other end: the far sides of an end's two halves.
pub(crate) struct StreamTransport {
    /// What the end sends.
    pub(crate) outgoing: mpsc::Receiver<Bytes>,
    /// What the end is to receive.
    pub(crate) incoming: mpsc::Sender<Bytes>,
    /// Set once the stream is accepted.
    pub(crate) accepted: watch::Sender<bool>,
}

impl RequestStream {
    /// An end of a stream, and what is to be connected to the other one.
    pub(crate) fn open() -> (Self, StreamTransport) {
        let (sender, outgoing) = mpsc::channel(STREAM_WINDOW);
        let (incoming, messages) = mpsc::channel(STREAM_WINDOW);
        let (accept, accepted) = watch::channel(false);
        let receiver = StreamReceiver { messages, accepted };
        let transport = StreamTransport { outgoing, incoming, accepted: accept };
        (Self { sender: StreamSender(sender), receiver }, transport)
    }

    /// The two ends of a stream within a process: the one that opens it, the one that accepts it,
    /// and what to set when it is accepted.
    pub(crate) fn within_process() -> (Self, Self, watch::Sender<bool>) {
        let (to_acceptor, at_acceptor) = mpsc::channel(STREAM_WINDOW);
        let (to_opener, at_opener) = mpsc::channel(STREAM_WINDOW);
        let (accept, accepted) = watch::channel(false);
        let opener = Self {
            sender: StreamSender(to_acceptor),
            receiver: StreamReceiver { messages: at_opener, accepted },
        };
        let receiver = StreamReceiver { messages: at_acceptor, accepted: watch::channel(true).1 };
        (opener, Self { sender: StreamSender(to_opener), receiver }, accept)
    }
}

impl StreamSender {
    /// Sends a message, when the window has room for it.
    ///
    /// # Errors
    /// [`StreamClosed`]: nobody will receive it.
    pub async fn send(&self, message: Bytes) -> Result<(), StreamClosed> {
        self.0.send(message).await.map_err(|_| StreamClosed)
    }

    /// Sends a message if the window has room for it now. Otherwise, and where the stream is
    /// closed, the message is dropped.
    pub fn try_send(&self, message: Bytes) {
        // Nobody waits for it: a stream that is closed or full loses the message by contract.
        let _ = self.0.try_send(message);
    }

    /// How many messages are on their way that nobody has received here: the other end, or what
    /// carries them to another process.
    pub fn in_flight(&self) -> usize {
        self.0.max_capacity() - self.0.capacity()
    }

    /// Waits until none is. Meanwhile [`Self::in_flight`] counts what it waits for as well.
    ///
    /// # Errors
    /// [`StreamClosed`]: nobody will receive them.
    pub async fn drained(&self) -> Result<(), StreamClosed> {
        let all = self.0.reserve_many(self.0.max_capacity()).await;
        all.map(drop).map_err(|_| StreamClosed)
    }

    /// Waits until the other end's receiver is closed.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

impl StreamReceiver {
    /// The next message; `None` once the other end sends no more or is lost. Cancel-safe.
    pub async fn receive(&mut self) -> Option<Bytes> {
        self.messages.recv().await
    }

    /// [`StreamReceiver::receive`] for callers that poll.
    pub fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.messages.poll_recv(context)
    }

    /// Waits until somebody accepts the stream; false if nobody ever will.
    pub async fn accepted(&mut self) -> bool {
        // An error: the stream has ended. It may have been accepted before.
        self.accepted.wait_for(|accepted| *accepted).await.is_ok() || *self.accepted.borrow()
    }
}

/// A request stream that another process, or another part of this one, has opened.
pub struct IncomingStream {
    /// The message that it was opened with.
    pub opening: Bytes,
    /// This end of it.
    pub stream: RequestStream,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sender_knows_what_is_on_its_way() {
        let (RequestStream { sender, .. }, mut other, _accept) = RequestStream::within_process();
        sender.drained().await.unwrap();
        for number in 0..3 {
            sender.send(Bytes::from(vec![number])).await.unwrap();
        }
        assert_eq!(sender.in_flight(), 3);
        other.receiver.receive().await.unwrap();
        assert_eq!(sender.in_flight(), 2);
        let rest = async {
            for _ in 0..2 {
                other.receiver.receive().await.unwrap();
            }
            other
        };
        let (drained, other) = tokio::join!(sender.drained(), rest);
        drained.unwrap();
        assert_eq!(sender.in_flight(), 0);
        sender.send(Bytes::new()).await.unwrap();
        drop(other);
        assert_eq!(sender.drained().await, Err(StreamClosed));
    }
}
