//! Messages that no process can read, with a real RabbitMQ and a real PostgreSQL.

use std::num::NonZeroU16;

use serde_json::{Value, json};
use wasmill_broker::{Consuming as _, Delivery, Message, Publishing as _};

use crate::support::backends::{SharedBackends, queue_of};
use crate::support::pool::Process;
use crate::support::{eventually, wasmill};

/// What the command line says, with a gateway.
fn cli(gateway: &Process, arguments: &[&str]) -> Vec<u8> {
    let output = wasmill().args(["--url", &gateway.url]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn letters(gateway: &Process) -> Vec<Value> {
    let listed: Value =
        serde_json::from_slice(&cli(gateway, &["--json", "dead-letters", "list"])).unwrap();
    listed["dead_letters"].as_array().unwrap().clone()
}

async fn next(consumption: &mut wasmill_broker::Consumption) -> Delivery {
    let next = consumption.deliveries.next();
    tokio::time::timeout(std::time::Duration::from_secs(60), next)
        .await
        .expect("a message comes")
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_read_is_listed_exported_and_sent_again() {
    let shared = SharedBackends::new().await;
    let gateway = Process::start("gateway", shared.backends(), &[]);
    gateway.ready().await;
    gateway.deploy(&["hello"]).await;
    let api = gateway.api();
    let ids = api.accepted("greeting.requested", &json!({"name": "Ada"})).await;
    let broker = shared.backends().broker_client();
    let queue = queue_of("hello");

    // Its message comes to be damaged, and another is of a release to come.
    let mut consumption = broker.consume(&queue, NonZeroU16::MIN).await.unwrap();
    let original = next(&mut consumption).await;
    let damaged = original.message.body.slice(..original.message.body.len() - 1);
    let mut newer = original.message.body.to_vec();
    newer[0] = 9;
    for body in [damaged.clone(), newer.clone().into()] {
        broker.publish(&queue, Message { body, ..original.message.clone() }).await.unwrap();
    }
    consumption.settle.ack(&[original.tag]).await.unwrap();
    drop(consumption);
    let host = Process::start("host", shared.backends(), &[]);
    host.ready().await;

    let ended = api.ended(&ids[0]).await;
    assert_eq!(
        (&ended["state"], &ended["outcome"]),
        (&json!("failed"), &json!("poisoned")),
        "{ended}"
    );
    let first = eventually("the letter is kept", async || letters(&gateway).pop()).await;
    assert_eq!((&first["function"], &first["executions"]), (&json!("hello"), &json!(1)), "{first}");
    // What a newer process can read comes to it.
    let mut consumption = broker.consume(&queue, NonZeroU16::MIN).await.unwrap();
    let left = next(&mut consumption).await;
    assert_eq!(left.message.body, newer);
    consumption.settle.ack(&[left.tag]).await.unwrap();
    drop(consumption);

    let id = first["id"].as_str().unwrap();
    assert_eq!(cli(&gateway, &["dead-letters", "export", id]), damaged);

    let sent: Value =
        serde_json::from_slice(&cli(&gateway, &["--json", "dead-letters", "redrive", id])).unwrap();
    assert_eq!((&sent["executions"], &sent["reopened"]), (&json!(ids), &json!(1)), "{sent}");
    // It is no better than before.
    let second = eventually("it comes back", async || letters(&gateway).pop()).await;
    assert_ne!(second["id"], first["id"]);
    let again = api.ended(&ids[0]).await;
    assert_eq!(again["outcome"], "poisoned", "{again}");
    cli(&gateway, &["dead-letters", "delete", second["id"].as_str().unwrap()]);
    assert!(letters(&gateway).is_empty());
    broker.close().await;
}
