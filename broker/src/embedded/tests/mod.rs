//! What only the embedded broker promises.

mod basics;
mod compaction;
mod damage;
mod disks;
mod failures;
mod kill;
mod model;

use std::fs;
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::disk::Disk;
use super::{EmbeddedBroker, EmbeddedSettings};
use crate::conformance::Broker;
use crate::port::{
    Consuming as _, Consumption, Delivery, Message, Publishing as _, QueueName, Queues as _,
};

/// How long anything may take before a test gives up.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Segments of the least size, so that little data makes many.
fn small() -> EmbeddedSettings {
    EmbeddedSettings {
        segment_bytes: 4 << 10,
        preallocate_bytes: 512,
        ..EmbeddedSettings::default()
    }
}

fn queue(name: &str) -> QueueName {
    name.parse().unwrap()
}

/// Opens a broker on a disk that forgets nothing and syncs nothing.
fn open(dir: &Path, settings: EmbeddedSettings) -> EmbeddedBroker {
    open_on(dir, settings, disks::Unsynced)
}

fn open_on(dir: &Path, settings: EmbeddedSettings, disk: impl Disk + 'static) -> EmbeddedBroker {
    EmbeddedBroker::open_on(dir, settings, Box::new(disk)).unwrap()
}

/// Every queue there is.
fn queues(broker: &EmbeddedBroker) -> Vec<QueueName> {
    broker.shared.lock().queue_names().unwrap()
}

async fn publish(broker: &EmbeddedBroker, to: &QueueName, body: &str) {
    broker.publish(to, Message::new(body.to_owned())).await.unwrap();
}

async fn consume(broker: &EmbeddedBroker, from: &QueueName, prefetch: u16) -> Consumption {
    broker.consume(from, NonZeroU16::new(prefetch).unwrap()).await.unwrap()
}

async fn next(consumption: &mut Consumption) -> Delivery {
    in_time(consumption.deliveries.next()).await.expect("the consumer has ended")
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, future).await.expect("it takes too long")
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.body.to_vec()).unwrap()
}

/// Everything that waits in a queue, with how often it was delivered before. Takes it as a consumer
/// does, so it counts once more afterwards.
async fn contents(broker: &EmbeddedBroker, of: &QueueName) -> Vec<(String, u32)> {
    let count = broker.depth(of).await.unwrap().ready;
    let mut consumption = consume(broker, of, u16::MAX).await;
    let mut contents = Vec::new();
    for _ in 0..count {
        let delivery = next(&mut consumption).await;
        contents.push((text(&delivery), delivery.redeliveries));
    }
    contents
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let reached = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(TIMEOUT, reached).await.is_ok(), "it never came true that {what}");
}

/// Waits until everything that the writer was told so far is written.
async fn settled(broker: &EmbeddedBroker) {
    let scratch = queue("scratch");
    broker.declare(&scratch).await.unwrap();
    broker.delete(&scratch).await.unwrap();
}

/// What a crash of the process leaves, where nothing is under way.
fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// How many bytes the segments take.
fn disk_use(dir: &Path) -> u64 {
    // A segment may be deleted between listing and looking.
    let length = |entry: std::io::Result<fs::DirEntry>| {
        entry.and_then(|entry| entry.metadata()).map_or(0, |m| m.len())
    };
    fs::read_dir(dir).unwrap().map(length).sum()
}

fn shared(broker: EmbeddedBroker) -> Arc<dyn Broker> {
    Arc::new(broker)
}
