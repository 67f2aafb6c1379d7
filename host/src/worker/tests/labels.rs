//! Functions that ask for hosts with certain labels.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmill_broker::{BrokerError, Depth, QueueName, RequestStream, Streams as _};
use wasmill_domain::http_message::Download;
use wasmill_domain::{Digest, Manifest, Revision, State, TenantName, Timestamp};
use wasmill_store::{Catalog as _, Change};

use super::calls::{WEB_ECHO, call, received};
use super::{HELLO, System, WAIT_TIMEOUT, Working, dispatch, name};
use crate::HostSettings;

const EVENT: &str = r#"{"name": "Ada"}"#;

fn with_labels(labels: &[&str]) -> HostSettings {
    HostSettings {
        labels: Some(labels.iter().map(|label| label.parse().unwrap()).collect()),
        ..HostSettings::default()
    }
}

fn web_echo_on(label: &str) -> String {
    format!(
        "name = 'web-echo'\nkind = 'http'\nruns_on = ['{label}']\n[[trigger]]\nhttp = '/{{*path}}'"
    )
}

impl Working {
    async fn consumes(&self, count: usize) {
        let waiting = async {
            while (self.status.has_begun(), self.status.functions(), self.status.consuming())
                != (true, count, count)
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(WAIT_TIMEOUT, waiting)
            .await
            .expect("it consumes what it should in time");
    }
}

impl System {
    /// Waits until a message of the function is in a host's hand.
    async fn unacked(&self, function: &str) {
        self.deep(function, Depth { ready: 0, unacked: 1 }).await;
    }

    /// Waits until a message of the function is in the queue.
    async fn ready(&self, function: &str) {
        self.deep(function, Depth { ready: 1, unacked: 0 }).await;
    }

    /// Opens a request stream, whose first message nobody can read.
    async fn opened(&self, function: &str) -> wasmill_broker::Result<RequestStream> {
        let service = QueueName::of_streams(&TenantName::default(), &name(function));
        self.broker.open_stream(&service, Bytes::new()).await
    }

    async fn deep(&self, function: &str, wanted: Depth) {
        let waiting = async {
            while self.depth(function).await != wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(WAIT_TIMEOUT, waiting).await.expect("the queue gets there in time");
    }
}

#[tokio::test]
async fn a_function_runs_where_every_label_is() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'\nruns_on = ['gpu', 'eu']").await;
    system.deploy(HELLO, "name = 'anywhere'").await;
    let elsewhere = system.start_with(with_labels(&["gpu", "us"]));
    elsewhere.consumes(1).await;
    let waits = system.publish("hello", "greeting.requested", EVENT).await;
    let runs = system.publish("anywhere", "greeting.requested", EVENT).await;
    system.ended(runs).await;
    assert_eq!(system.depth("hello").await, Depth { ready: 1, unacked: 0 });

    let here = system.start_with(with_labels(&["eu", "gpu", "large"]));
    assert_eq!(system.ended(waits).await.summary.state, State::Succeeded);
    here.stop().await;
    elsewhere.stop().await;
}

#[tokio::test]
async fn a_version_may_move_to_other_hosts_and_back() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let host = system.start_with(with_labels(&["small"]));
    host.consumes(1).await;
    system.deploy(HELLO, "name = 'hello'\nruns_on = ['large']").await;
    host.consumes(0).await;
    let id = system.publish("hello", "greeting.requested", EVENT).await;
    assert_eq!(system.depth("hello").await, Depth { ready: 1, unacked: 0 });
    system.deploy(HELLO, "name = 'hello'\nruns_on = ['small']").await;
    assert_eq!(system.ended(id).await.summary.state, State::Succeeded);
    assert!(!host.status.is_draining());
    let status = host.status.clone();
    host.stop().await;
    assert!(status.is_draining() && status.consuming() == 0);
}

/// The same of one that answers requests: it is not accepted any more, by whoever is to accept none.
#[tokio::test]
async fn a_version_that_answers_may_move_to_other_hosts_and_back() {
    let system = System::new().await;
    system.deploy(WEB_ECHO, &web_echo_on("small")).await;
    let host = system.start_with(with_labels(&["small"]));
    let (execution, mut stream) = call(&system, "GET", "/status/200").await;
    assert!(matches!(received(&mut stream).await[..], [Download::Head(_), ..]));
    assert_eq!(system.ended(execution).await.summary.state, State::Succeeded);

    system.deploy(WEB_ECHO, &web_echo_on("large")).await;
    host.consumes(0).await;
    assert!(matches!(system.opened("web-echo").await, Err(BrokerError::NoQueue(_))));
    system.deploy(WEB_ECHO, &web_echo_on("small")).await;
    let (execution, mut stream) = call(&system, "GET", "/status/200").await;
    assert!(matches!(received(&mut stream).await[..], [Download::Head(_), ..]));
    assert_eq!(system.ended(execution).await.summary.state, State::Succeeded);
    host.stop().await;
}

/// While it still works at an event that it has of the version, requests are for others already.
#[tokio::test]
async fn a_version_that_moved_answers_nothing_while_its_last_event_is_worked_at() {
    let system = System::new().await;
    system.deploy(WEB_ECHO, &web_echo_on("small")).await;
    // It asks about each event before it runs it.
    let host =
        system.start_with(HostSettings { ask_after: Duration::ZERO, ..with_labels(&["small"]) });
    let (_, mut stream) = call(&system, "GET", "/status/200").await;
    received(&mut stream).await;
    system.store.hook().hold("unfinished");
    system.publish("web-echo", "some.event", EVENT).await;
    system.store.hook().holds().await;
    system.deploy(WEB_ECHO, &web_echo_on("large")).await;
    let refused = async {
        while system.opened("web-echo").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, refused).await.expect("it accepts no request any more");
    assert_eq!(system.depth("web-echo").await, Depth { ready: 0, unacked: 1 });
    system.store.hook().hold_nothing();
    host.consumes(0).await;
    host.stop().await;
}

/// A message that this host took while it could still read the version goes back after a pause, as
/// messages do that only a newer host reads: given back at once, it would go round and round until
/// it counted as poisoned.
#[tokio::test]
async fn what_a_host_cannot_read_any_more_goes_back_after_a_pause() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'\n[limits]\nconcurrency = 1").await;
    system.deploy(HELLO, "name = 'other'").await;
    let pause = Duration::from_millis(300);
    let host = system.start_with(HostSettings { unread_pause: pause, ..HostSettings::default() });
    host.consumes(2).await;
    // By definitions that the host cannot know yet: it takes the message and waits for them.
    system.store.hook().set_away(true);
    let ahead = Revision(system.registry.current().revision().0 + 1);
    let dispatch = dispatch("hello", "greeting.requested", EVENT).with_revision(ahead);
    let id = dispatch.execution;
    system.publisher.publish(dispatch).await.unwrap();
    system.unacked("hello").await;
    system.store.hook().set_unreadable(&["hello"]);
    let change = Change::Deploy {
        tenant: TenantName::default(),
        digest: Digest::of(HELLO),
        manifest: Manifest::from_toml("name = 'other'\ndescription = 'a change'").unwrap(),
        hostnames: Arc::default(),
        at: Timestamp::now(),
    };
    assert_eq!(system.store.inner().define(&change).await.unwrap().revision, ahead);
    let begun = Instant::now();
    system.store.hook().set_away(false);
    host.consumes(1).await;
    system.ready("hello").await;
    assert!(begun.elapsed() >= pause, "{:?}", begun.elapsed());
    system.store.hook().set_unreadable(&[]);
    system.deploy(HELLO, "name = 'other'\ndescription = 'another change'").await;
    assert_eq!(system.ended(id).await.summary.state, State::Succeeded);
    host.stop().await;
}

/// What only a newer release can read waits for one, and is not taken for deleted.
#[tokio::test]
async fn what_cannot_be_read_waits_for_a_host_that_can() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    system.deploy(HELLO, "name = 'other'").await;
    let host = system.start();
    host.consumes(2).await;
    system.store.hook().set_unreadable(&["hello"]);
    system.deploy(HELLO, "name = 'other'\ndescription = 'a change'").await;
    host.consumes(1).await;
    let id = system.publish("hello", "greeting.requested", EVENT).await;
    let runs = system.publish("other", "greeting.requested", EVENT).await;
    system.ended(runs).await;
    assert_eq!(system.depth("hello").await, Depth { ready: 1, unacked: 0 });
    system.store.hook().set_unreadable(&[]);
    system.deploy(HELLO, "name = 'other'\ndescription = 'another change'").await;
    assert_eq!(system.ended(id).await.summary.state, State::Succeeded);
    host.stop().await;
}
