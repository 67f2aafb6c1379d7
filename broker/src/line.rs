//! Lines: conversations between two processes, of which nothing is kept.

use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

/// How many frames may be on their way in each direction before their sender waits.
pub const LINE_WINDOW: usize = 32;

/// How large a frame should be at most, in bytes: with the window, what a line may hold in memory. Larger ones are carried
/// as well.
pub const LINE_FRAME: usize = 64 << 10;

/// The other end takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other end of the line takes no more")]
pub struct HungUp;

/// One end of a line. Frames arrive in order and each once, or the line ends. Either half may be dropped before the other: the
/// other end then hears, or is heard, no more.
pub struct Line {
    /// What is said.
    pub speaker: Speaker,
    /// What is heard.
    pub listener: Listener,
}

/// The half that says something.
#[derive(Clone)]
pub struct Speaker(mpsc::Sender<Bytes>);

/// The half that hears the other end.
pub struct Listener {
    frames: mpsc::Receiver<Bytes>,
    answered: watch::Receiver<bool>,
}

/// The far sides of an end's two halves: what a backend connects.
pub(crate) struct Wires {
    /// What the end says.
    pub(crate) said: mpsc::Receiver<Bytes>,
    /// What the end hears.
    pub(crate) heard: mpsc::Sender<Bytes>,
    /// Set once somebody has answered.
    pub(crate) answered: watch::Sender<bool>,
}

impl Line {
    /// An end of a line, and what is to be connected to the other one.
    pub(crate) fn open() -> (Self, Wires) {
        let (speaker, said) = mpsc::channel(LINE_WINDOW);
        let (heard, frames) = mpsc::channel(LINE_WINDOW);
        let (sender, answered) = watch::channel(false);
        let line = Self { speaker: Speaker(speaker), listener: Listener { frames, answered } };
        (line, Wires { said, heard, answered: sender })
    }

    /// The two ends of a line within a process.
    pub(crate) fn within_process() -> (Self, Self, watch::Sender<bool>) {
        let (near, there) = mpsc::channel(LINE_WINDOW);
        let (far, here) = mpsc::channel(LINE_WINDOW);
        let (sender, answered) = watch::channel(false);
        let calling = Self { speaker: Speaker(near), listener: Listener { frames: here, answered } };
        let listener = Listener { frames: there, answered: watch::channel(true).1 };
        (calling, Self { speaker: Speaker(far), listener }, sender)
    }
}

impl Speaker {
    /// Says something, when there is room for it.
    ///
    /// # Errors
    /// [`HungUp`]: nobody will hear it.
    pub async fn say(&self, frame: Bytes) -> Result<(), HungUp> {
        self.0.send(frame).await.map_err(|_| HungUp)
    }

    /// Says something if there is room for it at once.
    pub fn say_if_room(&self, frame: Bytes) {
        // Whether nobody hears, or there is no room: it is not said.
        let _ = self.0.try_send(frame);
    }

    /// Awaits that nobody hears any more.
    pub async fn hung_up(&self) {
        self.0.closed().await;
    }
}

impl Listener {
    /// What the other end says next; `None` once it says no more or is lost.
    pub async fn hear(&mut self) -> Option<Bytes> {
        self.frames.recv().await
    }

    /// The same for whoever polls.
    pub fn poll_hear(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.frames.poll_recv(context)
    }

    /// Awaits that somebody answers the call; false if nobody ever will.
    pub async fn answered(&mut self) -> bool {
        // An error: the line ended. It may have been answered before.
        self.answered.wait_for(|answered| *answered).await.is_ok() || *self.answered.borrow()
    }
}

/// A call that comes in.
pub struct Call {
    /// What was said first.
    pub opening: Bytes,
    /// The line to the caller.
    pub line: Line,
}
