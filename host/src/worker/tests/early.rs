//! Operations on executions whose rows are not written yet: by their own operators, and by those of
//! another tenant who know the id.

use std::time::Duration;

use wasmill_broker::Broadcasts as _;
use wasmill_domain::wire::Broadcast;
use wasmill_domain::{
    Dispatch, Operation, Order, OrderKind, State, TenantName, Timestamp, Transition,
};
use wasmill_store::{Agenda as _, History as _, Ledger as _, Publication};

use super::proxy::Interleaved;
use super::{HELLO, HOSTILE, System, WAIT_TIMEOUT, dispatch, only_attempt};
use crate::HostSettings;

const FOREVER: Duration = Duration::from_secs(3_600);

/// Asks the store about nothing that it is not notified of.
fn trusting() -> HostSettings {
    HostSettings {
        announce_after: FOREVER,
        beat: FOREVER,
        ask_after: FOREVER,
        ..HostSettings::default()
    }
}

/// Asks the store about every message, and never announces what runs.
fn asking() -> HostSettings {
    HostSettings { ask_after: Duration::ZERO, ..trusting() }
}

fn other() -> TenantName {
    "other".parse().unwrap()
}

fn early(what: Transition) -> Operation {
    Operation::new(what, Timestamp::now()).before_row(true)
}

fn hello() -> Dispatch {
    dispatch("hello", "greeting.requested", r#"{"name": "Ada"}"#)
}

impl System {
    /// Another tenant's operator does this, and a gateway notifies hosts of it.
    async fn order_of_another(&self, ours: &Dispatch, what: Transition) {
        let moved = self
            .store
            .inner()
            .transition_execution(&other(), ours.execution, &early(what))
            .await
            .unwrap();
        let order = Order {
            tenant: Some(other()),
            execution: ours.execution,
            epoch: moved.epoch,
            kind: OrderKind::of(what).unwrap(),
            reason: None,
        };
        let body = Broadcast { orders: vec![order] }.encode(self.publisher.writes());
        self.broker.broadcast(body.into()).await.unwrap();
    }

    /// The execution has run once, by its first message, and nothing is left to be published.
    async fn ran_once(&self, ours: &Dispatch, records: usize) {
        let ended = self.ended(ours.execution).await;
        assert_eq!((ended.summary.state, ended.summary.epoch), (State::Succeeded, 1));
        only_attempt(&ended);
        self.drained(&ours.function).await;
        assert_eq!(self.store.hook().records(), records + 1);
        let all = self.store.outbox(Timestamp::now().plus(WAIT_TIMEOUT), 10).await.unwrap();
        assert_eq!(all, []);
        assert_eq!(self.store.execution(&other(), ours.execution).await.unwrap(), None);
    }
}

#[tokio::test]
async fn another_tenants_operator_does_not_keep_an_execution_from_running() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    for settings in [trusting(), asking()] {
        let host = system.start_with(settings);
        for what in [Transition::Cancel, Transition::Suspend] {
            // The gateway writes the row before the message comes, or the host does.
            for is_enqueued in [true, false] {
                let (ours, records) = (hello(), system.store.hook().records());
                system.order_of_another(&ours, what).await;
                let one = std::slice::from_ref(&ours);
                if is_enqueued {
                    system.store.enqueue(one, Publication::Confirmed).await.unwrap();
                }
                system.publisher.publish(ours.clone()).await.unwrap();
                system.ran_once(&ours, records).await;
                system.store.enqueue(one, Publication::Confirmed).await.unwrap();
                system.ran_once(&ours, records).await;
            }
        }
        host.stop().await;
    }
}

/// The host that had it is gone.
#[tokio::test]
async fn another_tenants_operator_changes_nothing_between_two_deliveries() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let (ours, records) = (hello(), system.store.hook().records());
    system.publish_redelivered("hello", vec![ours.clone()], 1).await;
    let cancel = early(Transition::Cancel);
    let id = ours.execution;
    system.store.inner().transition_execution(&other(), id, &cancel).await.unwrap();
    let host = system.start_with(trusting());
    system.ran_once(&ours, records).await;
    host.stop().await;
}

/// Neither the broadcast nor what the store says of the attempts that run.
#[tokio::test]
async fn another_tenants_operator_does_not_stop_what_runs() {
    let system = System::new().await;
    system.deploy(HOSTILE, "name = 'slow'\n[limits]\ntimeout = '10m'").await;
    let host = system.start_with(HostSettings { beat: Duration::from_millis(20), ..trusting() });
    let ours = dispatch("slow", "hostile.slow", r#"{"ms": 700}"#);
    let records = system.store.hook().records();
    system.publisher.publish(ours.clone()).await.unwrap();
    let asked = async |times: usize| {
        let until = system.store.hook().asked() + times;
        let asking = async {
            while system.store.hook().asked() < until {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(WAIT_TIMEOUT, asking).await.unwrap();
    };
    asked(1).await;
    system.order_of_another(&ours, Transition::Cancel).await;
    asked(2).await;
    system.ran_once(&ours, records).await;
    host.stop().await;
}

/// Its own operator has held it and lets it go on while its message is being refused.
#[tokio::test]
async fn what_is_resumed_while_its_message_is_refused_runs() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let host = system.start_with(asking());
    let (ours, records) = (hello(), system.store.hook().records());
    let (tenant, id) = (ours.tenant.clone(), ours.execution);
    let suspend = early(Transition::Suspend);
    system.store.inner().transition_execution(&tenant, id, &suspend).await.unwrap();
    let resume = Interleaved::Operate(tenant, id, early(Transition::Resume));
    system.store.hook().after_unfinished(resume);
    system.publisher.publish(ours.clone()).await.unwrap();
    system.ran_once(&ours, records).await;
    assert!(system.store.hook().was_done());
    host.stop().await;
}

/// The gateway writes the row while the host looks at the message.
#[tokio::test]
async fn what_is_enqueued_while_its_message_is_looked_at_runs() {
    let system = System::new().await;
    system.deploy(HELLO, "name = 'hello'").await;
    let host = system.start_with(asking());
    let (ours, records) = (hello(), system.store.hook().records());
    let cancel = early(Transition::Cancel);
    let id = ours.execution;
    system.store.inner().transition_execution(&other(), id, &cancel).await.unwrap();
    system.store.hook().after_unfinished(Interleaved::Enqueue(ours.clone()));
    system.publisher.publish(ours.clone()).await.unwrap();
    system.ran_once(&ours, records).await;
    assert!(system.store.hook().was_done());
    host.stop().await;
}
