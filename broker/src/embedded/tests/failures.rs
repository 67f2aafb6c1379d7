//! Disks that refuse, processes that die at any act, and power that fails.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::disks::{Act, Faulty, Powered, Unsynced};
use super::{consume, contents, next, open, open_on, publish, queue, small, text, until};
use crate::embedded::{EmbeddedBroker, EmbeddedSettings};
use crate::port::{BrokerError, Control as _, Message, Publishing as _, Queues as _, Result};

fn quick() -> EmbeddedSettings {
    EmbeddedSettings {
        retry_after: Duration::from_millis(5),
        sync_after: Duration::from_millis(5),
        ..small()
    }
}

/// A compaction takes several commits.
fn compacting() -> EmbeddedSettings {
    EmbeddedSettings { compact_bytes: 700, ..small() }
}

/// Whatever fails: publishing is refused and nothing of it is kept, consuming goes on, and all is
/// well afterwards.
async fn refuses_and_recovers(act: Act) {
    let dir = tempfile::tempdir().unwrap();
    let (disk, failing) = Faulty::switched(act);
    let broker = open_on(dir.path(), quick(), disk);
    let name = queue("q");
    broker.declare(&name).await.unwrap();
    for body in ["a", "b", "c", "d"] {
        publish(&broker, &name, body).await;
    }
    let mut consumption = consume(&broker, &name, 2).await;
    let first = next(&mut consumption).await;

    failing.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let refused = broker.publish(&name, Message::new("refused")).await;
        assert!(
            matches!(&refused, Err(BrokerError::Unavailable(why)) if why.contains(&format!("{act:?} fails"))),
            "{refused:?}"
        );
    }
    assert!(matches!(broker.ping().await, Err(BrokerError::Unavailable(_))));
    assert!(broker.declare(&queue("new")).await.is_err());
    // A failed write is told; a failed sync alone does not matter to an ack.
    let acked = consumption.settle.ack(&[first.tag]).await;
    assert_eq!(acked.is_ok(), act == Act::Sync, "{acked:?}");
    let (second, third) = (next(&mut consumption).await, next(&mut consumption).await);
    assert_eq!((text(&second).as_str(), text(&third).as_str()), ("b", "c"));

    failing.store(false, Ordering::SeqCst);
    until("it works again by itself", async || broker.ping().await.is_ok()).await;
    broker.declare(&queue("new")).await.unwrap();
    publish(&broker, &name, "e").await;
    consumption.settle.ack(&[third.tag]).await.unwrap();
    drop(consumption);
    broker.close().await;

    let broker = open(dir.path(), small());
    let left = contents(&broker, &name).await;
    assert_eq!(left.iter().map(|(body, _)| body.as_str()).collect::<Vec<_>>(), ["b", "d", "e"]);
    assert_eq!(left[0].1, 1);
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    refuses_and_recovers(Act::Write).await;
}

#[tokio::test]
async fn a_disk_that_does_not_sync_refuses_and_recovers() {
    refuses_and_recovers(Act::Sync).await;
}

/// The acts around beginning and dropping segments may fail too; they are tried again.
#[tokio::test]
async fn segments_are_begun_and_dropped_later_where_that_fails() {
    for act in [Act::Create, Act::Rename, Act::SetLen, Act::Remove] {
        let dir = tempfile::tempdir().unwrap();
        let (disk, failing) = Faulty::switched(act);
        let broker = open_on(dir.path(), quick(), disk);
        let name = queue("q");
        broker.declare(&name).await.unwrap();
        let mut consumption = consume(&broker, &name, 100).await;
        let mut confirmed = 0;
        for round in 0..60 {
            failing.store(round % 20 >= 10, Ordering::SeqCst);
            let published = broker.publish(&name, Message::new(format!("{confirmed:0500}"))).await;
            match published {
                Ok(()) => confirmed += 1,
                Err(error) => assert!(
                    act != Act::Remove && matches!(error, BrokerError::Unavailable(_)),
                    "{act:?}: {error}"
                ),
            }
        }
        assert!(confirmed >= 30, "{act:?}: {confirmed}");
        failing.store(false, Ordering::SeqCst);
        for number in 0..confirmed {
            let delivery = next(&mut consumption).await;
            assert_eq!(text(&delivery), format!("{number:0500}"), "{act:?}");
            // The last one that is acked after a failure may say so; it is noted all the same.
            let _ = consumption.settle.ack(&[delivery.tag]).await;
        }
        until("it works again", async || broker.ping().await.is_ok()).await;
        until("the segments are dropped", async || super::disk_use(dir.path()) < 3 * 4_096).await;
        drop(consumption);
        broker.close().await;
        assert_eq!(contents(&open(dir.path(), small()), &name).await, [], "{act:?}");
    }
}

/// What the process knew when it died.
#[derive(Default)]
struct Known {
    /// Published and confirmed.
    confirmed: BTreeSet<u32>,
    /// An ack was begun.
    acking: BTreeSet<u32>,
    /// An ack was answered with success.
    acked: BTreeSet<u32>,
    /// Came out of a consumer.
    seen: BTreeSet<u32>,
}

/// A little of everything, with segments begun, compacted and dropped: publishes, consumes and
/// acks, until something fails.
async fn work(broker: &EmbeddedBroker, lives: impl Fn() -> bool, known: &mut Known) -> Result<()> {
    let (busy, paused) = (&queue("busy"), &queue("paused"));
    broker.declare(busy).await?;
    broker.declare(paused).await?;
    let mut consumption = consume(broker, busy, 16).await;
    for number in 0..120_u32 {
        let to = if number % 20 == 0 { paused } else { busy };
        broker.publish(to, Message::new(format!("{number:0300}"))).await?;
        known.confirmed.insert(number);
        if number % 20 == 0 {
            continue;
        }
        let delivery = next(&mut consumption).await;
        let number = text(&delivery).parse().unwrap();
        if lives() {
            known.seen.insert(number);
        }
        let mut tag = delivery.tag;
        match number % 14 {
            // Kept in hand for the rest of the run; the consumer has room for all of them.
            3 => continue,
            5 | 12 => {
                consumption.settle.release(&[tag]).await?;
                let again = next(&mut consumption).await;
                assert_eq!((again.redeliveries, again.message.body), (1, delivery.message.body));
                tag = again.tag;
            }
            _ => {}
        }
        known.acking.insert(number);
        consumption.settle.ack(&[tag]).await?;
        known.acked.insert(number);
    }
    Ok(())
}

/// What is in the log must be what was known.
async fn check(dir: &Path, known: &Known, acks_last: bool, case: &str) {
    let broker = match EmbeddedBroker::open_on(dir, small(), Box::new(Unsynced)) {
        Ok(broker) => broker,
        Err(error) => panic!("{case}: {error}"),
    };
    let mut found = BTreeSet::new();
    for name in [queue("busy"), queue("paused")] {
        if broker.depth(&name).await.is_err() {
            continue;
        }
        let contents = contents(&broker, &name).await;
        let numbers: Vec<u32> = contents.iter().map(|(body, _)| body.parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "{case}: {numbers:?}");
        for (number, redeliveries) in
            numbers.iter().zip(contents.iter().map(|(_, redeliveries)| *redeliveries))
        {
            assert!(
                !acks_last || !known.seen.contains(number) || redeliveries > 0,
                "{case}: {number}"
            );
        }
        found.extend(numbers);
    }
    for number in &known.confirmed {
        assert!(
            found.contains(number) || known.acking.contains(number),
            "{case}: {number} is lost"
        );
    }
    if acks_last {
        let back: Vec<_> = known.acked.intersection(&found).collect();
        assert!(back.is_empty(), "{case}: {back:?} came back");
    }
}

/// Whether `work` was long enough: the first message that it publishes waits to its end, so that
/// only a compaction takes the first segment away.
fn was_compacted(dir: &Path) -> bool {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "log"));
    !names.is_empty() && !names.contains(&"00000000000000000001.log".into())
}

/// The process dies at each single act that it asks of the disk, in the middle of a write too.
#[tokio::test]
async fn a_death_at_any_act_loses_nothing() {
    let mut at = 0;
    loop {
        let dir = tempfile::tempdir().unwrap();
        let disk = Faulty::new(move |_, number| number >= at);
        let mut known = Known::default();
        let mut done = false;
        if let Ok(broker) =
            EmbeddedBroker::open_on(dir.path(), compacting(), Box::new(disk.clone()))
        {
            // Messages that come out after its death are seen by nobody.
            done =
                work(&broker, || disk.acts() <= at, &mut known).await.is_ok() && disk.acts() <= at;
        }
        check(dir.path(), &known, true, &format!("dead at act {at}")).await;
        if done {
            assert!(was_compacted(dir.path()), "{at} acts without a compaction");
            break;
        }
        at += 1;
    }
}

/// The power fails at each single act, and what was not synced is on the disk in part, in any part.
#[tokio::test]
async fn a_power_failure_loses_nothing_confirmed() {
    let mut at = 0;
    loop {
        let dir = tempfile::tempdir().unwrap();
        let disk = Powered::until(at);
        let mut known = Known::default();
        let mut done = false;
        if let Ok(broker) =
            EmbeddedBroker::open_on(dir.path(), compacting(), Box::new(disk.clone()))
        {
            done = work(&broker, || true, &mut known).await.is_ok() && disk.is_on();
        }
        let mut random = at;
        disk.cut(|| {
            // Knuth's linear congruential generator: the same for everybody, which is what matters.
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % 3 < at % 4
        });
        check(dir.path(), &known, false, &format!("power cut at act {at}")).await;
        if done {
            assert!(was_compacted(dir.path()), "{at} acts without a compaction");
            break;
        }
        at += 1;
    }
}

/// Nobody publishes, and still an ack is on the disk soon.
#[tokio::test]
async fn acks_are_synced_by_and_by() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Powered::default();
    let broker = open_on(dir.path(), quick(), disk.clone());
    let name = queue("q");
    broker.declare(&name).await.unwrap();
    publish(&broker, &name, "a").await;
    let mut consumption = consume(&broker, &name, 1).await;
    let delivery = next(&mut consumption).await;
    consumption.settle.ack(&[delivery.tag]).await.unwrap();
    let before = disk.syncs();
    until("the ack is synced", async || disk.syncs() > before).await;
    disk.cut(|| false);
    drop(consumption);
    drop(broker);
    assert_eq!(contents(&open(dir.path(), small()), &name).await, []);
}
