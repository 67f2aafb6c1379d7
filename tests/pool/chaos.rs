//! Everything goes wrong at once, and nothing is lost.

use std::time::Duration;

use rustix::process::Signal;
use wasmill_broker::{Depth, Queues as _};
use wasmill_store::postgres::testing::Mood;

use crate::support::backends::{Private, queue_of};
use crate::support::load::Load;
use crate::support::pool::Process;

/// How many orders are accepted; each leads to two executions, and one of these to a third.
const ORDERS: usize = 20_000;

/// How many clients post at once.
const CLIENTS: usize = 32;

/// How long the network is silent: longer than a heartbeat and a call's time limit.
const NETWORK_PAUSE: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_orders_through_every_failure() {
    let mut servers = Private::start();
    let (backends, to_postgres, to_rabbit) = servers.behind_proxies().await;
    let mut gateways = ["gateway"; 2].map(|role| Process::start(role, &backends, &[]));
    let mut hosts = ["host"; 3].map(|role| Process::start(role, &backends, &[]));
    let mut schedulers = ["scheduler"; 2].map(|role| Process::start(role, &backends, &[]));
    for process in gateways.iter().chain(&hosts).chain(&schedulers) {
        process.ready().await;
    }
    gateways[0].deploy(&["order-total", "order-audit"]).await;
    for gateway in &gateways {
        gateway.knows("order-total").await;
        gateway.knows("order-audit").await;
    }

    let load = Load::start(&[gateways[0].api(), gateways[1].api()], CLIENTS, ORDERS);
    let mut next = 0;
    // Each failure hits a system at work.
    let mut at_work = async || {
        next += ORDERS / 12;
        load.reaches(next).await;
    };
    for host in &mut hosts {
        at_work().await;
        host.kill_9();
        host.restart();
    }
    for gateway in &mut gateways {
        at_work().await;
        gateway.kill_9();
        gateway.restart();
    }
    for scheduler in &mut schedulers {
        at_work().await;
        scheduler.kill_9();
        scheduler.restart();
    }
    at_work().await;
    servers.rabbit.kill();
    servers.rabbit.start_again();
    at_work().await;
    servers.postgres.kill();
    servers.postgres.start_again();
    at_work().await;
    to_postgres.be(Mood::Stalled);
    tokio::time::sleep(NETWORK_PAUSE).await;
    to_postgres.be(Mood::Fine);
    at_work().await;
    to_rabbit.stall(true);
    tokio::time::sleep(NETWORK_PAUSE).await;
    to_rabbit.stall(false);

    let report = load.finish().await;
    assert!(report.accepted.len() >= ORDERS);
    assert!(report.cut_off > 0, "the failures hit requests under way");
    let api = gateways[0].api();
    api.quiet(&["order-total", "order-audit"]).await;
    report.check(&api).await;

    // What a host still holds would come back when it ends.
    for host in &mut hosts {
        host.signal(Signal::TERM);
        assert_eq!(host.exit_code().await, Some(0));
    }
    let broker = servers.backends().broker_client();
    for function in ["order-total", "order-audit"] {
        assert_eq!(
            broker.depth(&queue_of(function)).await.unwrap(),
            Depth::default(),
            "{function}"
        );
    }
    broker.close().await;
}
