use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use tokio::sync::watch;
use wasmill_broker::{
    BrokerError, Message, PendingReply, PublisherSettings, Publishing, QueueName,
};
use wasmill_domain::{Batch, ExecutionId, TenantName, Timestamp};

use super::*;

/// Far more than anything takes, so that a mistake ends a test.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A broker whose queues of tenant `hangs` confirm nothing.
#[derive(Default)]
struct HalfDead {
    /// How often each execution was published.
    published: Mutex<HashMap<ExecutionId, u32>>,
}

#[async_trait]
impl Publishing for HalfDead {
    async fn declare(&self, _queue: &QueueName) -> wasmill_broker::Result<()> {
        Ok(())
    }

    async fn publish(&self, queue: &QueueName, message: Message) -> wasmill_broker::Result<()> {
        for dispatch in Batch::decode(&message.body).unwrap().into_dispatches() {
            *self.published.lock().unwrap().entry(dispatch.execution).or_default() += 1;
        }
        if queue.as_str().contains("hangs") {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn request(
        &self,
        _queue: &QueueName,
        _message: Message,
    ) -> wasmill_broker::Result<PendingReply> {
        Err(BrokerError::Unavailable("not in this test".into()))
    }
}

/// A store that notes what is taken out of its outbox.
#[derive(Default)]
struct Noted(watch::Sender<Vec<AttemptKey>>);

#[async_trait]
impl Agenda for Noted {
    async fn promote_due(
        &self,
        _now: Timestamp,
        _limit: u32,
    ) -> wasmill_store::Result<Vec<Dispatch>> {
        Ok(Vec::new())
    }

    async fn outbox(
        &self,
        _before: Timestamp,
        _limit: u32,
    ) -> wasmill_store::Result<Vec<Dispatch>> {
        Ok(Vec::new())
    }

    async fn published(&self, entries: &[AttemptKey]) -> wasmill_store::Result<()> {
        self.0.send_modify(|all| all.extend_from_slice(entries));
        Ok(())
    }
}

struct Fixture {
    broker: Arc<HalfDead>,
    agenda: Arc<Noted>,
    outbox: Outbox,
    work: tokio::task::JoinHandle<()>,
}

fn fixture(settings: &RecorderSettings) -> Fixture {
    let (broker, agenda) = (Arc::<HalfDead>::default(), Arc::<Noted>::default());
    let publisher = BatchPublisher::new(Arc::clone(&broker) as _, PublisherSettings::default());
    let (outbox, work) = Outbox::new(Arc::clone(&agenda) as _, publisher, settings);
    Fixture { broker, agenda, outbox, work: tokio::spawn(work) }
}

fn dispatch(tenant: &str) -> Dispatch {
    let tenant: TenantName = tenant.parse().unwrap();
    Dispatch { tenant, ..crate::tests::dispatch(crate::tests::event("a", "{}")) }
}

/// A publish is tried for longer than the test lasts, so that the one queue hangs all the time.
#[tokio::test]
async fn a_queue_that_does_not_confirm_is_in_nobody_elses_way() {
    let settings =
        RecorderSettings { publish_timeout: WAIT_TIMEOUT * 2, ..RecorderSettings::default() };
    let Fixture { broker, agenda, outbox, work } = fixture(&settings);
    let mut sound = Vec::new();
    // More of those that hang than are their tenant's, in turns with the others.
    for _ in 0..settings.outbox / 64 {
        let some =
            |tenant, count| -> Vec<Dispatch> { (0..count).map(|_| dispatch(tenant)).collect() };
        outbox.publish(some("hangs", 64), Instant::now());
        let confirmed = some("sound", 8);
        sound.extend(confirmed.iter().map(Dispatch::key));
        outbox.publish(confirmed, Instant::now());
    }
    let mut taken_out = agenda.0.subscribe();
    let all_of_them = taken_out.wait_for(|entries| entries.len() >= sound.len());
    let mut entries = tokio::time::timeout(WAIT_TIMEOUT, all_of_them)
        .await
        .expect("what is confirmed is taken out of the store's outbox")
        .unwrap()
        .clone();
    entries.sort_unstable();
    sound.sort_unstable();
    assert_eq!(entries, sound);
    let published = broker.published.lock().unwrap().clone();
    assert!(sound.iter().all(|key| published[&key.execution] == 1));
    work.abort();
}

#[tokio::test]
async fn what_is_the_schedulers_by_now_is_not_published() {
    let settings =
        RecorderSettings { publish_timeout: WAIT_TIMEOUT, ..RecorderSettings::default() };
    let Fixture { broker, agenda, outbox, work } = fixture(&settings);
    let (late, in_time) = (dispatch("sound"), dispatch("sound"));
    let (late_id, in_time_key) = (late.execution, in_time.key());
    // A commit that took as long as publishes are tried.
    outbox.publish(vec![late], Instant::now().checked_sub(WAIT_TIMEOUT).unwrap());
    outbox.publish(vec![in_time], Instant::now());
    drop(outbox);
    tokio::time::timeout(WAIT_TIMEOUT, work).await.expect("it ends with its outbox").unwrap();
    assert!(!broker.published.lock().unwrap().contains_key(&late_id));
    assert_eq!(*agenda.0.borrow(), [in_time_key]);
}

#[tokio::test]
async fn what_is_not_confirmed_in_time_is_the_schedulers() {
    let timeout = Duration::from_millis(20);
    let settings = RecorderSettings { publish_timeout: timeout, ..RecorderSettings::default() };
    let Fixture { agenda, outbox, work, .. } = fixture(&settings);
    outbox.publish(vec![dispatch("hangs")], Instant::now());
    let room = outbox.room.clone();
    drop(outbox);
    tokio::time::timeout(WAIT_TIMEOUT, work).await.expect("nothing waits for it").unwrap();
    assert!(agenda.0.borrow().is_empty());
    assert_eq!(room.available(), settings.outbox as u64);
}
