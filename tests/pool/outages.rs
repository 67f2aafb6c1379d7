//! PostgreSQL, RabbitMQ or both are away, under load.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use wasmill_store::postgres::testing::Mood;

use crate::support::api::Api;
use crate::support::backends::Private;
use crate::support::eventually;
use crate::support::load::Load;
use crate::support::pool::{Backends, Process};

/// How long a backend is away. Longer than any time limit of a connection.
const OUTAGE: Duration = Duration::from_secs(30);

/// How many clients post at once.
const CLIENTS: usize = 8;

/// How long each of them rests after a request: an outage takes its time, and each order is
/// accounted for.
const REST: Duration = Duration::from_millis(20);

/// A gateway, two hosts and a scheduler, with the functions of the load.
struct OutagePool {
    gateway: Process,
    _others: [Process; 3],
}

impl OutagePool {
    async fn start(backends: &Backends) -> Self {
        let gateway = Process::start("gateway", backends, &[]);
        let others = ["host", "host", "scheduler"].map(|role| Process::start(role, backends, &[]));
        gateway.ready().await;
        gateway.deploy(&["order-total", "order-audit"]).await;
        for process in &others {
            process.ready().await;
        }
        Self { gateway, _others: others }
    }

    fn api(&self) -> Api {
        self.gateway.api()
    }
}

/// Posts orders before, during and after what `outage` does, and accounts for each of them.
/// `accepts` says whether orders are accepted during the outage.
async fn survives(pool: &OutagePool, accepts: bool, outage: impl AsyncFnOnce()) {
    let api = pool.api();
    let load = Load::paced(std::slice::from_ref(&api), CLIENTS, usize::MAX, REST);
    load.reaches(500).await;
    let (accepted, refused) = (load.accepted(), load.refused());
    let begun = Instant::now();
    outage().await;
    assert!(begun.elapsed() >= OUTAGE);
    if accepts {
        assert!(load.accepted() > accepted + 100, "orders are accepted meanwhile");
    } else {
        assert!(load.refused() > refused + 10, "orders are refused meanwhile");
    }
    load.reaches(load.accepted() + 500).await;
    let report = load.stop().await;
    api.quiet(&["order-total", "order-audit"]).await;
    report.check(&api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_backend_may_stop_and_both() {
    let mut servers = Private::start();
    let pool = OutagePool::start(&servers.backends()).await;

    survives(&pool, true, async || {
        servers.postgres.stop();
        tokio::time::sleep(OUTAGE).await;
        assert_eq!(pool.gateway.readiness().await, Some(200), "it accepts events still");
        servers.postgres.start_again();
    })
    .await;

    survives(&pool, true, async || {
        servers.rabbit.stop();
        tokio::time::sleep(OUTAGE).await;
        assert_eq!(pool.gateway.readiness().await, Some(200), "it accepts events still");
        servers.rabbit.start_again();
    })
    .await;

    survives(&pool, false, async || {
        servers.postgres.stop();
        servers.rabbit.stop();
        tokio::time::sleep(OUTAGE).await;
        assert_eq!(pool.gateway.readiness().await, Some(503));
        let order = json!({"customer": "c", "currency": "EUR", "items": [{"sku": "S", "qty": 1, "price_cents": 1}]});
        let refused = pool.api().post_plain("order.created", &order).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        servers.rabbit.start_again();
        servers.postgres.start_again();
    })
    .await;
    eventually("it is well again", async || {
        (pool.gateway.readiness().await == Some(200)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_backend_may_fall_silent() {
    let servers = Private::start();
    let (backends, to_postgres, to_rabbit) = servers.behind_proxies().await;
    let pool = OutagePool::start(&backends).await;

    survives(&pool, true, async || {
        to_postgres.be(Mood::Stalled);
        tokio::time::sleep(OUTAGE).await;
        to_postgres.be(Mood::Fine);
    })
    .await;

    survives(&pool, true, async || {
        to_rabbit.stall(true);
        tokio::time::sleep(OUTAGE).await;
        to_rabbit.stall(false);
    })
    .await;
}
