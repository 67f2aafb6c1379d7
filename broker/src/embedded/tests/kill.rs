//! The real thing: a process that is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::{contents, queue, small, text};
use crate::conformance::Broker;
use crate::embedded::{EmbeddedBroker, EmbeddedSettings};
use crate::port::{Consumption, Message, QueueName};

/// Tells a process of this test to be the one that is killed: the directory, and the round.
const CHILD: &str = "WASMILL_QUEUE_TEST_CHILD";

const PUBLISHERS: u32 = 16;

fn queues() -> [QueueName; 2] {
    [queue("consumed"), queue("kept")]
}

fn settings() -> EmbeddedSettings {
    EmbeddedSettings { segment_bytes: 64 << 10, preallocate_bytes: 16 << 10, ..small() }
}

/// Everything that the processes have reported: `W` was about to be published, `P` is confirmed,
/// `D` was delivered, `A` is about to be acked, `X` is acked.
#[derive(Default)]
struct Reports(BTreeMap<char, BTreeSet<String>>);

impl Reports {
    fn add(&mut self, line: &str) -> bool {
        let Some((what, message)) = line.split_once(' ').filter(|(what, _)| what.len() == 1) else {
            return false;
        };
        self.0.entry(what.chars().next().unwrap()).or_default().insert(message.to_owned())
    }

    fn has(&self, what: char, message: &str) -> bool {
        self.0.get(&what).is_some_and(|messages| messages.contains(message))
    }
}

/// Round after round in the same directory, a process is killed at work, and everything that it
/// reported is still true.
#[test]
fn a_killed_process_loses_nothing() {
    if let Ok(child) = std::env::var(CHILD) {
        let (dir, round) = child.split_once('|').unwrap();
        be_killed(Path::new(dir), round);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut reports = Reports::default();
    for round in 0..6_u32 {
        // Early and late, in the middle of whatever it is at.
        run_and_kill(dir.path(), round, 150 + (round * 7_919) % 3_000, &mut reports);
        check(dir.path(), &reports, round);
    }
    assert!(
        reports.0[&'P'].len() > 1_000 && reports.0[&'X'].len() > 100,
        "the processes hardly did anything"
    );
}

fn run_and_kill(dir: &Path, round: u32, lines: u32, reports: &mut Reports) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["embedded::tests::kill::a_killed_process_loses_nothing", "--exact", "--nocapture"])
        .env(CHILD, format!("{}|{round}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut received = 0;
    while received < lines {
        let line = output.next().expect("the process ended by itself").unwrap();
        received += u32::from(reports.add(&line));
    }
    child.kill().unwrap();
    for line in output {
        reports.add(&line.unwrap());
    }
    child.wait().unwrap();
}

fn check(dir: &Path, reports: &Reports, round: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let broker = EmbeddedBroker::open(dir, settings()).unwrap();
        let mut found = BTreeSet::new();
        for queue in queues() {
            let mut last = BTreeMap::new();
            for (body, redeliveries) in contents(&broker, &queue).await {
                let id = body.trim_end().to_owned();
                let (publisher, number) = id.rsplit_once(' ').unwrap();
                let before = last.insert(publisher.to_owned(), number.parse::<u32>().unwrap());
                assert!(
                    before < last.get(publisher).copied(),
                    "round {round}: {id} is out of order"
                );
                assert!(reports.has('W', &id), "round {round}: nobody published {id}");
                assert!(!reports.has('X', &id), "round {round}: {id} was acked and is back");
                assert!(
                    !reports.has('D', &id) || redeliveries > 0,
                    "round {round}: {id} was delivered before"
                );
                assert!(found.insert(id.clone()), "round {round}: {id} is there twice");
            }
        }
        for id in &reports.0[&'P'] {
            assert!(found.contains(id) || reports.has('A', id), "round {round}: {id} is lost");
        }
        broker.close().await;
    });
}

/// What the process does that is killed. Never returns.
fn be_killed(dir: &Path, round: &str) -> ! {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::open(dir, settings()).unwrap());
        for queue in queues() {
            broker.declare(&queue).await.unwrap();
        }
        tokio::spawn(consume(Arc::clone(&broker)));
        for publisher in 0..PUBLISHERS {
            let (broker, round) = (Arc::clone(&broker), round.to_owned());
            tokio::spawn(async move {
                let queue = &queues()[publisher as usize % 2];
                for number in 0_u32.. {
                    let id = format!("{round} {publisher} {number}");
                    report('W', &id);
                    // Of all lengths up to a few pages.
                    let body = format!("{id:width$}", width = (number as usize * 997) % 9_000);
                    broker.publish(queue, Message::new(body)).await.unwrap();
                    report('P', &id);
                }
            });
        }
        std::future::pending().await
    })
}

async fn consume(broker: Arc<dyn Broker>) {
    let Consumption { mut deliveries, settle } =
        broker.consume(&queues()[0], 32.try_into().unwrap()).await.unwrap();
    for count in 0_u32.. {
        let delivery = deliveries.next().await.unwrap();
        let id = text(&delivery).trim_end().to_owned();
        report('D', &id);
        if count % 5 == 0 {
            settle.release(&[delivery.tag]).await.unwrap();
        } else {
            report('A', &id);
            settle.ack(&[delivery.tag]).await.unwrap();
            report('X', &id);
        }
    }
}

/// One line in one write: a report arrives even where the process ends right behind it.
fn report(what: char, id: &str) {
    std::io::stdout().lock().write_all(format!("{what} {id}\n").as_bytes()).unwrap();
}
