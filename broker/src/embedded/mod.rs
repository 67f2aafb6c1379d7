//! The embedded broker: durable queues in one directory, for one process.
//!
//! # How it works
//! All queues share one append-only log. One thread, the writer, writes it: it takes all pending
//! work, writes it as one batch, and syncs the file where somebody published, so that all publishes
//! that wait share one `fdatasync`. Acknowledgements and records of deliveries are written with
//! them: before their callers continue, so a crash of the process loses none. They are synced with
//! the next message or after [`EmbeddedSettings::sync_after`], so a power failure may undo the last
//! ones. Messages are also kept in memory: the log is read only when the broker is opened.
//!
//! A message is delivered to a consumer after it is confirmed and after the record of its delivery
//! is written. So [`Delivery::redeliveries`](crate::Delivery) counts every time that a consumer may
//! have received the message, whatever became of the process.
//!
//! # The files
//! ```text
//! installation                the id of the installation that the queues belong to
//! lock                        locked by the process that has the broker open; holds its process id
//! 00000000000000000007.log    segments, numbered without gaps; the last one is written to
//! 00000000000000000008.log
//! 00000000000000000009.new    a segment that is being created; deleted on opening
//! ```
//! All numbers are little-endian, checksums are CRC-32 (IEEE). A segment is a header of 64 bytes
//! and batches without gaps; behind the last batch of the last segment there may be zeros, written
//! ahead so that syncing is fast.
//! ```text
//! segment   0  "wasmillq"        batch   0  B7 57 4D 01
//!           8  version (u32)             4  checksum of bytes 8–23 and of log id, segment and offset (u32)
//!          12  checksum (u32)            8  checksum of the records (u32)
//!          16  log id (16 bytes)        12  length of the records (u32)
//!          32  number (u64)             16  offset up to which the segment was synced then (u64)
//!          40  length of the            24  records
//!              segment before (u64)
//! ```
//! Records are [postcard](https://postcard.jamesmunns.com/wire-format) values of a type of their
//! version (`format`, which also says how a field or a version is added); behind a message's record
//! come its headers, its reply address and its body, raw. A batch is there as a whole or not at
//! all. The first record of each segment is a table of the queues, so a log is complete from any
//! segment on.
//!
//! # After a crash
//! What a crash leaves is a prefix of what was written, or, where the power failed, holes in what
//! was not synced. Reading stops at the first batch that is not complete. In the last segment that
//! is a write which was cut short and never confirmed, and it is cut off; unless a batch behind it
//! says that the offset was synced before, which makes it damage. Damage is reported and nothing is
//! changed: an operator decides about dropping messages. Damage in the last write before the power
//! failed cannot be told from a write that was cut short. A log of a newer release is reported too,
//! and not changed.
//!
//! # Compaction
//! Only the oldest segment is ever deleted, once no message in it is alive. So an acknowledgement,
//! which is behind its message, can never be lost before the message is. Where a message stays
//! alive for long, what is alive in the oldest segment is written again at the log's end, as soon
//! as the log is longer than twice what is alive and three segments.
//!
//! # When writing fails
//! The log is cut back to what is known to be good, publishes are answered with
//! [`BrokerError::Unavailable`], and other records are kept and written later. Consuming continues,
//! as that is what frees space on a full disk.

mod alive;
mod broadcasts;
mod calls;
mod consumer;
mod disk;
mod format;
mod inbox;
mod log;
mod mark;
mod message;
mod queue;
mod recovery;
mod replies;
mod settings;
mod shared;
mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::Write as _;
use std::num::NonZeroU16;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use self::broadcasts::Listeners;
use self::calls::CallRouter;
use self::consumer::{EmbeddedDeliveries, EmbeddedSettle};
use self::disk::{Disk, FileSystem};
use self::format::batch::Batch;
use self::inbox::Inbox;
use self::log::Log;
use self::message::Waiting;
use self::recovery::recover;
use self::replies::Replies;
use self::shared::SharedState;
use self::state::BrokerState;
use self::writer::Writer;
use crate::broadcasts::{BroadcastReceiver, Broadcasts, Subscription};
use crate::port::{
    BrokerError, Consuming, Consumption, Control, Depth, IncomingStreams, Message, Owner,
    PendingReply, Publishing, QueueName, Queues, ReplyTo, Result, Streams,
};
use crate::request_stream::RequestStream;

pub use recovery::OpenError;
pub use settings::EmbeddedSettings;

/// The embedded broker. Closed when it is dropped; [`EmbeddedBroker::close`] does so without
/// blocking.
pub struct EmbeddedBroker {
    dir: PathBuf,
    shared: Arc<SharedState>,
    calls: CallRouter,
    listeners: Listeners,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedBroker {
    /// Opens the broker in `dir`, which is created where it does not exist. Only its owner has
    /// access to what is created, whatever the umask says. Reads everything that is stored there,
    /// so it may take a second for each gigabyte.
    ///
    /// # Errors
    /// [`OpenError`]: the directory is in use, is damaged, is of a newer release, or cannot be
    /// read or written.
    pub fn open(dir: &Path, settings: EmbeddedSettings) -> Result<Self, OpenError> {
        Self::open_on(dir, settings, Box::new(FileSystem))
    }

    fn open_on(
        dir: &Path,
        settings: EmbeddedSettings,
        disk: Box<dyn Disk>,
    ) -> Result<Self, OpenError> {
        let settings = settings.checked();
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(OpenError::io(dir))?;
        let lock = lock(dir)?;
        let (log, state) = if let Some(found) = recover(dir)? {
            let mut state = BrokerState::new(settings.clone(), found.first_segment);
            state.restore(found.next_queue, found.next_message, found.queues, found.messages);
            (Log::resume(dir, disk, &settings, found.end), state)
        } else {
            let state = BrokerState::new(settings.clone(), 1);
            let mut table = Batch::new();
            table.add(&state.table());
            (Log::begin(dir, disk, &settings, &mut table), state)
        };
        let log = log.map_err(OpenError::io(dir))?;
        let shared = SharedState::new(state, Replies::new(settings.replies));
        let writer = Writer::new(Arc::clone(&shared), settings, log, lock);
        let thread = std::thread::Builder::new().name("queue-writer".into());
        let writer = thread.spawn(move || writer.run()).map_err(OpenError::io(dir))?;
        let (calls, listeners) = (CallRouter::default(), Listeners::default());
        let (dir, writer) = (dir.to_owned(), Mutex::new(Some(writer)));
        Ok(Self { dir, shared, calls, listeners, writer })
    }

    /// Refuses everything new, ends all consumers, writes what was accepted, and unlocks the
    /// directory. What is not acknowledged stays.
    pub async fn close(&self) {
        self.calls.close();
        self.listeners.close();
        self.shared.close();
        self.shared.wait_ended().await;
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.calls.close();
        self.listeners.close();
        self.shared.close();
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // The panic hook has reported a panic of the writer.
            let _ = writer.join();
        }
    }
}

/// Locks the directory for this process.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let open =
        File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = open.map_err(OpenError::io(&path))?;
    match lock_with_retries(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let by = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            return Err(OpenError::InUse { dir: dir.to_owned(), by });
        }
        Err(TryLockError::Error(error)) => return Err(OpenError::Io { path, error }),
    }
    // For people to read. Nothing depends on it, so a full disk is no reason to refuse.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// Tries for 300 ms: a child that this process is just starting has a copy of every open file, and
/// with it a lock that was released meanwhile, until it executes its own program.
fn lock_with_retries(file: &File) -> Result<(), TryLockError> {
    const TRIES: u32 = 30;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(10);
    for _ in 1..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    file.try_lock()
}

/// Waits for the writer's answer.
async fn answer(waiting: Waiting) -> Result<()> {
    waiting.await.unwrap_or_else(|_| Err(BrokerError::Unavailable("the broker is closed".into())))
}

#[async_trait]
impl Broadcasts for EmbeddedBroker {
    async fn broadcast(&self, body: Bytes) -> Result<()> {
        self.listeners.tell(&body)
    }

    async fn subscribe(&self, listener: BroadcastReceiver) -> Result<Subscription> {
        self.listeners.add(listener)
    }
}

#[async_trait]
impl Publishing for EmbeddedBroker {
    async fn declare(&self, queue: &QueueName) -> Result<()> {
        match self.shared.update(|state| state.declare(queue))? {
            None => Ok(()),
            Some(waiting) => answer(waiting).await,
        }
    }

    async fn publish(&self, queue: &QueueName, message: Message) -> Result<()> {
        let waiting = self.shared.update(|state| state.publish(queue, message))?;
        answer(waiting).await
    }

    async fn request(&self, queue: &QueueName, mut message: Message) -> Result<PendingReply> {
        let (to, pending) = self.shared.replies.expect()?;
        message.reply_to = Some(to);
        self.publish(queue, message).await?;
        Ok(pending)
    }
}

#[async_trait]
impl Consuming for EmbeddedBroker {
    async fn consume(&self, queue: &QueueName, prefetch: NonZeroU16) -> Result<Consumption> {
        let inbox = Arc::new(Inbox::new());
        let id = self.shared.update(|state| state.add_consumer(queue, prefetch.get(), &inbox))?;
        let shared = Arc::clone(&self.shared);
        let settle =
            Arc::new(EmbeddedSettle { shared: Arc::clone(&shared), id, inbox: Arc::clone(&inbox) });
        Ok(Consumption { deliveries: Box::new(EmbeddedDeliveries { shared, id, inbox }), settle })
    }

    async fn reply(&self, to: &ReplyTo, body: Bytes) -> Result<()> {
        self.shared.replies.deliver(to, body);
        Ok(())
    }
}

#[async_trait]
impl Streams for EmbeddedBroker {
    async fn open_stream(&self, service: &QueueName, opening: Bytes) -> Result<RequestStream> {
        self.calls.open(service, opening)
    }

    async fn accept_streams(
        &self,
        service: &QueueName,
        _most: NonZeroU16,
    ) -> Result<Box<dyn IncomingStreams>> {
        // An acceptor in this process asks for the next stream only when it has room for one.
        Ok(Box::new(self.calls.accept(service)))
    }
}

#[async_trait]
impl Queues for EmbeddedBroker {
    async fn delete(&self, queue: &QueueName) -> Result<()> {
        match self.shared.update(|state| state.delete(queue))? {
            None => Ok(()),
            Some((gone, waiting)) => {
                // The messages are freed outside the lock.
                drop(gone);
                answer(waiting).await
            }
        }
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth> {
        self.shared.lock().depth(queue)
    }

    async fn queues(&self) -> Result<Option<Vec<(QueueName, Depth)>>> {
        self.shared.lock().queues().map(Some)
    }
}

#[async_trait]
impl Control for EmbeddedBroker {
    async fn ping(&self) -> Result<()> {
        self.shared.lock().health()
    }

    async fn owner(&self, id: Uuid) -> Result<Owner> {
        mark::owner(&self.dir, id)
    }

    async fn mark(&self, id: Uuid) -> Result<()> {
        mark::mark(&self.dir, id)
    }
}
