//! Messages that this host cannot read: left to another process, or kept for an operator.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use wasmill_broker::{Consuming as _, Message, Publishing as _};
use wasmill_domain::{Batch, Dispatch, Outcome, State};
use wasmill_store::{DeadLetterSummary, DeadLetters as _, Ledger as _, Publication};

use super::faults::impatient;
use super::{HELLO, System, WAIT_TIMEOUT, dispatch, queue};
use crate::HostSettings;

const ADA: &str = r#"{"name": "Ada"}"#;

/// Gives messages back at once, `limit` times.
fn hasty(limit: u32) -> HostSettings {
    HostSettings { redelivery_limit: limit, unread_pause: Duration::from_millis(1), ..impatient() }
}

fn hello() -> Dispatch {
    dispatch("hello", "greeting.requested", ADA)
}

/// A system with a batch in its queue as a release after the next may write it, and the execution
/// that waits for it.
async fn with_a_newer_batch() -> (System, Dispatch, Bytes) {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let waiting = hello();
    system.store.enqueue(std::slice::from_ref(&waiting), Publication::Confirmed).await.unwrap();
    let mut bytes = Batch::single(waiting.clone()).encode_as(2);
    bytes[0] = 9;
    let newer = Bytes::from(bytes);
    system.publish_bytes(newer.clone()).await;
    (system, waiting, newer)
}

impl System {
    /// Puts bytes in the queue of `hello`.
    async fn publish_bytes(&self, bytes: impl Into<Bytes>) {
        self.broker.declare(&queue("hello")).await.unwrap();
        self.broker.publish(&queue("hello"), Message::new(bytes)).await.unwrap();
    }

    /// The dead letters, the newest first, once there are so many.
    async fn letters(&self, count: usize) -> Vec<DeadLetterSummary> {
        let waiting = async {
            loop {
                let letters = self.store.inner().dead_letters(None, 100).await.unwrap();
                if letters.len() == count {
                    return letters;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(WAIT_TIMEOUT, waiting).await.expect("the letters are kept in time")
    }

    async fn body_of(&self, letter: &DeadLetterSummary) -> Bytes {
        self.store.inner().dead_letter(letter.id).await.unwrap().unwrap().body
    }
}

#[tokio::test]
async fn what_nobody_can_read_is_kept() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let host = system.start();
    // The first byte is that of no version, of this one or of a later one.
    let damaged = Bytes::from_static(b"\0nonsense");
    system.publish_bytes(damaged.clone()).await;
    system.letters(1).await;
    // A batch of another function is none of this one's, and its execution does not end by it.
    let stray = dispatch("other", "greeting.requested", ADA);
    system.store.enqueue(std::slice::from_ref(&stray), Publication::Confirmed).await.unwrap();
    let stray_bytes = Bytes::from(Batch::single(stray.clone()).encode_as(2));
    system.publish_bytes(stray_bytes.clone()).await;
    let good = system.publish("hello", "greeting.requested", ADA).await;
    assert_eq!(system.ended(good).await.summary.state, State::Succeeded);
    system.drained("hello").await;
    let letters = system.letters(2).await;
    let [of_stray, of_damaged] = letters.as_slice() else { panic!("two letters") };
    assert_eq!((of_damaged.function.as_str(), of_damaged.executions), ("hello", 0));
    assert!(of_stray.reason.contains("a batch for default/other"), "{}", of_stray.reason);
    assert_eq!(
        [system.body_of(of_damaged).await, system.body_of(of_stray).await],
        [damaged, stray_bytes]
    );
    let untouched = system.execution(stray.execution, |_| true).await;
    assert_eq!(untouched.summary.state, State::Queued);
    host.stop().await;
}

#[tokio::test]
async fn a_damaged_batch_ends_what_can_be_told_to_be_in_it() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let dispatches = vec![hello(), hello()];
    system.store.enqueue(&dispatches, Publication::Confirmed).await.unwrap();
    let mut bytes = Batch::new(dispatches.clone()).unwrap().encode_as(2);
    bytes.pop();
    system.publish_bytes(bytes).await;
    let host = system.start();
    for dispatch in dispatches {
        let summary = system.ended(dispatch.execution).await.summary;
        assert_eq!((summary.state, summary.outcome), (State::Failed, Some(Outcome::Poisoned)));
        assert!(summary.message.unwrap().contains("cannot be read"));
    }
    system.drained("hello").await;
    assert_eq!(system.letters(1).await[0].executions, 2);
    host.stop().await;
}

/// A gateway's rows follow its messages.
#[tokio::test]
async fn a_damaged_batch_waits_for_its_rows() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let accepted = hello();
    let mut bytes = Batch::single(accepted.clone()).encode_as(2);
    bytes.pop();
    system.publish_bytes(bytes).await;
    let host = system.start_with(hasty(u32::MAX));
    // It is given back, and comes to another consumer.
    let mut other = system.broker.consume(&queue("hello"), NonZeroU16::MIN).await.unwrap();
    let taken = tokio::time::timeout(WAIT_TIMEOUT, other.deliveries.next())
        .await
        .expect("it is given back")
        .unwrap();
    assert!(system.store.inner().dead_letters(None, 100).await.unwrap().is_empty());
    system.store.enqueue(std::slice::from_ref(&accepted), Publication::Confirmed).await.unwrap();
    other.settle.release(&[taken.tag]).await.unwrap();
    drop(other);
    let summary = system.ended(accepted.execution).await.summary;
    assert_eq!((summary.state, summary.outcome), (State::Failed, Some(Outcome::Poisoned)));
    assert_eq!(system.letters(1).await[0].executions, 1);
    host.stop().await;
}

#[tokio::test]
async fn a_newer_batch_is_left_to_a_newer_process() {
    let (system, waiting, newer) = with_a_newer_batch().await;
    let host = system.start_with(hasty(u32::MAX));
    // The newer process.
    let mut other = system.broker.consume(&queue("hello"), NonZeroU16::MIN).await.unwrap();
    let taken = tokio::time::timeout(WAIT_TIMEOUT, other.deliveries.next())
        .await
        .expect("it is given back")
        .unwrap();
    assert_eq!(taken.message.body, newer);
    other.settle.ack(&[taken.tag]).await.unwrap();
    system.drained("hello").await;
    assert_eq!(system.execution(waiting.execution, |_| true).await.summary.state, State::Queued);
    assert!(system.letters(0).await.is_empty());
    host.stop().await;
}

#[tokio::test]
async fn a_newer_batch_that_nobody_takes_is_kept() {
    let (system, waiting, newer) = with_a_newer_batch().await;
    let host = system.start_with(hasty(3));
    let summary = system.ended(waiting.execution).await.summary;
    assert_eq!((summary.state, summary.outcome), (State::Failed, Some(Outcome::Poisoned)));
    assert!(summary.message.unwrap().contains("version 9"));
    system.drained("hello").await;
    let letters = system.letters(1).await;
    assert_eq!(system.body_of(&letters[0]).await, newer);
    host.stop().await;
}

#[tokio::test]
async fn a_letter_is_held_while_the_store_is_away() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let host = system.start_with(impatient());
    let first = system.publish("hello", "greeting.requested", ADA).await;
    system.ended(first).await;
    system.store.hook().set_away(true);
    system.publish_bytes("\0nonsense").await;
    let tried = async {
        while system.store.hook().letters_refused() < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, tried).await.expect("it goes on trying");
    assert_eq!(system.depth("hello").await.unacked, 1, "it is not acknowledged");
    assert!(system.letters(0).await.is_empty());
    system.store.hook().set_away(false);
    system.letters(1).await;
    system.drained("hello").await;
    host.stop().await;
}

#[tokio::test]
async fn what_is_sent_again_is_run() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let waiting = hello();
    system.store.enqueue(std::slice::from_ref(&waiting), Publication::Confirmed).await.unwrap();
    // An older host could not read what this one can.
    let bytes = Batch::single(waiting.clone()).encode_as(2);
    let letter = wasmill_store::DeadLetter {
        id: uuid::Uuid::now_v7(),
        tenant: waiting.tenant.clone(),
        function: waiting.function.clone(),
        reason: "batches of version 2 cannot be read here".into(),
        at: wasmill_domain::Timestamp::now(),
        headers: Vec::new(),
        body: bytes.into(),
    };
    system.store.put_dead_letter(&letter, &[waiting.key()]).await.unwrap();
    assert_eq!(system.store.reopen_dead_letter(&letter, &[waiting.key()]).await.unwrap(), 1);
    system.publish_bytes(letter.body).await;
    let host = system.start();
    assert_eq!(system.ended(waiting.execution).await.summary.state, State::Succeeded);
    host.stop().await;
}
