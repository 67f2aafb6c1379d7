use std::num::NonZeroU16;

use http_body_util::BodyExt as _;
use wasmill_broker::embedded::{EmbeddedBroker, EmbeddedSettings};
use wasmill_broker::{IncomingStream, QueueName, RequestStream, Streams as _};
use wasmill_domain::TenantName;
use wasmill_domain::http_message::Headers;
use wasmill_domain::wire::Writes;

use super::*;
use crate::budget::{Budget, Owner, Refusals};

const SHORT: Duration = Duration::from_millis(20);
const HOUR: Duration = Duration::from_secs(3600);

/// A response whose host is not waited for any more, and what the host and others have of it.
struct Overdue {
    body: ResponseBody,
    host: IncomingStream,
    /// Of which the response has the only one.
    budget: Arc<Budget>,
    _broker: EmbeddedBroker,
    _folder: tempfile::TempDir,
}

impl Overdue {
    /// The host has sent some content by then.
    async fn new(write_timeout: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let queue = folder.path().join("queue");
        let broker = EmbeddedBroker::open(&queue, EmbeddedSettings::default()).unwrap();
        let service = QueueName::of_streams(&TenantName::default(), &"handler".parse().unwrap());
        let mut calls = broker.accept_streams(&service, NonZeroU16::MIN).await.unwrap();
        let opened = broker.open_stream(&service, Bytes::new());
        let (opened, host) = tokio::join!(opened, calls.next());
        let (RequestStream { sender, receiver }, host) = (opened.unwrap(), host.unwrap());
        let content = Download::Data("content".into()).encode(&Writes::default());
        host.stream.sender.send(content).await.unwrap();
        let budget = Budget::new(1, Refusals { all: "all", owner: "owner" });
        let share = budget.take(&Owner::Tenant(TenantName::default()), 1).unwrap();
        let talk = Talk {
            receiver,
            deadline: Box::pin(sleep_until(Instant::now())),
            upload: Uploading::begin(None, sender, Writes::default(), 0),
            _reservation: Arc::new((share, None)),
        };
        let body = ResponseBody::new(talk, None, write_timeout);
        Self { body, host, budget, _broker: broker, _folder: folder }
    }
}

/// Nobody asks for more of a response whose caller takes nothing.
#[tokio::test]
async fn a_response_that_nobody_takes_keeps_nothing_for_ever() {
    let mut overdue = Overdue::new(SHORT).await;
    overdue.host.stream.sender.closed().await;
    assert!(overdue.budget.take(&Owner::Tenant(TenantName::default()), 1).is_ok());
    assert!(overdue.body.frame().await.unwrap().is_err(), "it must not look whole");
    assert!(overdue.body.frame().await.is_none());
}

#[tokio::test]
async fn what_is_there_in_time_may_be_taken_for_a_while() {
    let Overdue { body, host, .. } = Overdue::new(HOUR).await;
    let end = Download::End(Headers::new()).encode(&Writes::default());
    host.stream.sender.send(end).await.unwrap();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "content");
}

/// However slowly it takes it.
#[tokio::test]
async fn who_goes_on_taking_a_response_gets_all_of_it() {
    let line = Arc::new(Mutex::new(Line::default()));
    let overdue = Overdue::new(HOUR).await;
    let talk = lock(&overdue.body.line).talk.take();
    *lock(&line) = Line { talk, last_taken: Some(Instant::now() + SHORT * 10), ..Line::default() };
    let began = Instant::now();
    end_after(Arc::clone(&line), began, SHORT).await;
    assert!(began.elapsed() >= SHORT * 11, "it was cut off after {:?}", began.elapsed());
    assert!(lock(&line).is_overdue && lock(&line).talk.is_none());
    overdue.host.stream.sender.closed().await;
}

#[tokio::test]
async fn what_is_not_there_in_time_is_not_waited_for() {
    let mut overdue = Overdue::new(HOUR).await;
    assert!(overdue.body.frame().await.unwrap().is_ok());
    assert!(overdue.body.frame().await.unwrap().is_err());
    assert!(overdue.body.frame().await.is_none());
}
