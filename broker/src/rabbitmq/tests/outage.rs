//! Connections that are lost, and ones that go silent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::support::{Scope, becomes, in_time, next, numbered, text};
use crate::port::{
    BrokerError, Consuming as _, Control as _, Message, Publishing as _, Queues as _,
};
use crate::rabbitmq::RabbitSettings;
use crate::rabbitmq::testing::{Proxy, address};

/// Settings that notice an outage and its end soon.
fn alert() -> RabbitSettings {
    RabbitSettings {
        publish_timeout: Duration::from_secs(1),
        operation_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_millis(500),
        heartbeat: Duration::from_secs(1),
        retry_first: Duration::from_millis(20),
        retry_at_most: Duration::from_millis(200),
        ..RabbitSettings::default()
    }
}

async fn behind_a_proxy(settings: RabbitSettings) -> (Proxy, Scope) {
    let direct = address();
    let proxy = Proxy::to(&direct).await;
    let scope = Scope::by(&proxy.instead_of(&direct), &direct, settings);
    (proxy, scope)
}

/// Cuts over and over while `work` goes on, at least `times` times; each time only once there was a
/// connection again.
async fn cutting<T>(
    proxy: &Proxy,
    scope: &Scope,
    times: usize,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    let cuts = async {
        for _ in 0..times {
            becomes(async || scope.broker.ping().await.is_ok()).await;
            tokio::time::sleep(Duration::from_millis(30)).await;
            proxy.cut();
        }
    };
    tokio::select! {
        _ = &mut work => panic!("the work was done before the connection was cut {times} times"),
        () = cuts => work.await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unconfirmed_when_the_connection_is_cut_is_sent_again() {
    let settings = RabbitSettings { publish_timeout: Duration::from_secs(60), ..alert() };
    let (proxy, scope) = behind_a_proxy(settings).await;
    let queue = scope.queue().await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let publishers: Vec<_> = (0..8)
        .map(|publisher| {
            let (broker, queue, stop) =
                (Arc::clone(&scope.broker), queue.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut sent = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let publishes = (sent..sent + 20).map(|number| {
                        broker.publish(&queue, Message::new(format!("{publisher} {number}")))
                    });
                    join_all(publishes).await.into_iter().for_each(Result::unwrap);
                    sent += 20;
                }
                sent
            })
        })
        .collect();
    let all = async {
        let mut all = Vec::new();
        for publisher in publishers {
            all.push(publisher.await.unwrap());
        }
        all
    };
    let stopping = async {
        let working = cutting(&proxy, &scope, 10, std::future::pending::<()>());
        // Only its cuts matter here: the work goes on for as long as they do.
        let _ = tokio::time::timeout(Duration::from_secs(3), working).await;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let (sent, ()) = in_time(async { tokio::join!(all, stopping) }).await;
    // Each is there, maybe more than once, and a publisher's own come in order but for what came
    // before.
    let (mut deliveries, settle) = scope.consume(&queue, 500).await;
    let mut seen = vec![0; sent.len()];
    while seen != sent {
        let delivery = next(&mut deliveries).await;
        let body = text(&delivery);
        let (publisher, number) = body.split_once(' ').unwrap();
        let (seen, number) =
            (&mut seen[publisher.parse::<usize>().unwrap()], number.parse::<usize>().unwrap());
        assert!(number <= *seen, "{body} came before what was published before it");
        *seen = (*seen).max(number + 1);
        settle.ack(&[delivery.tag]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_goes_on_after_its_connection_is_cut() {
    let (proxy, scope) = behind_a_proxy(alert()).await;
    let queue = scope.queue().await;
    let direct = scope.other();
    for body in numbered(0..600) {
        in_time(direct.publish(&queue, Message::new(body))).await.unwrap();
    }
    let (mut deliveries, settle) = scope.consume(&queue, 10).await;
    let work = async {
        let mut seen = vec![0; 600];
        while seen.contains(&0) {
            let delivery = next(&mut deliveries).await;
            seen[text(&delivery).parse::<usize>().unwrap()] += 1;
            // Some are acknowledged over a channel that has just been lost, and come again.
            tokio::time::sleep(Duration::from_millis(2)).await;
            settle.ack(&[delivery.tag]).await.unwrap();
        }
        seen
    };
    let seen = in_time(cutting(&proxy, &scope, 5, work)).await;
    assert!(seen.iter().all(|times| (1..=6).contains(times)), "{seen:?}");
    // The last ones may come again too.
    let rest = async {
        loop {
            let delivery = next(&mut deliveries).await;
            settle.ack(&[delivery.tag]).await.unwrap();
        }
    };
    tokio::select! {
        () = rest => {}
        () = scope.depth_becomes(&queue, 0, 0) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prefetch_and_the_tags_are_new_after_a_cut() {
    let (proxy, scope) = behind_a_proxy(alert()).await;
    let queue = scope.queue().await;
    scope.publish(&queue, numbered(0..9)).await;
    let (mut deliveries, settle) = scope.consume(&queue, 3).await;
    let mut old = Vec::new();
    for _ in 0..3 {
        old.push(next(&mut deliveries).await.tag);
    }
    proxy.cut();
    let mut new = Vec::new();
    for body in numbered(0..3) {
        let delivery = next(&mut deliveries).await;
        assert_eq!((text(&delivery), delivery.redeliveries), (body, 1));
        new.push(delivery.tag);
    }
    assert!(new.iter().all(|tag| !old.contains(tag)));
    // No more than three, and none for tags of before.
    settle.ack(&old).await.unwrap();
    scope.depth_becomes(&queue, 6, 3).await;
    assert!(tokio::time::timeout(Duration::from_millis(150), deliveries.next()).await.is_err());
    settle.ack(&new).await.unwrap();
    assert_eq!(text(&next(&mut deliveries).await), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_on_after_a_cut_and_a_lost_reply_is_told() {
    let (proxy, scope) = behind_a_proxy(alert()).await;
    let queue = scope.queue().await;
    let lost = in_time(scope.broker.request(&queue, Message::new("lost"))).await.unwrap();
    proxy.cut();
    let error = in_time(lost.wait(Duration::from_secs(60))).await.unwrap_err();
    assert!(matches!(error, BrokerError::Unavailable(_)), "{error}");
    let (mut deliveries, settle) = scope.consume(&queue, 2).await;
    let request = next(&mut deliveries).await;
    assert_eq!(text(&request), "lost");
    // Its requester is gone, and nobody minds.
    in_time(scope.broker.reply(&request.message.reply_to.unwrap(), "late".into())).await.unwrap();
    settle.ack(&[request.tag]).await.unwrap();
    let found = in_time(scope.broker.request(&queue, Message::new("found"))).await.unwrap();
    let request = next(&mut deliveries).await;
    in_time(scope.broker.reply(&request.message.reply_to.unwrap(), "reply".into())).await.unwrap();
    assert_eq!(in_time(found.wait(Duration::from_secs(60))).await.unwrap(), "reply");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_connection_is_noticed_and_replaced() {
    let (proxy, scope) = behind_a_proxy(alert()).await;
    let queue = scope.queue().await;
    let (mut deliveries, settle) = scope.consume(&queue, 10).await;
    scope.publish(&queue, numbered(0..1)).await;
    let unacked = next(&mut deliveries).await;
    proxy.stall(true);
    // A publish takes no longer than it may, and once the stall is noticed nobody waits any more.
    let begun = Instant::now();
    let published = in_time(scope.broker.publish(&queue, Message::new("stalled"))).await;
    assert!(matches!(published, Err(BrokerError::Unconfirmed(_))), "{published:?}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(matches!(in_time(scope.broker.depth(&queue)).await, Err(BrokerError::Unavailable(_))));
    becomes(async || {
        let begun = Instant::now();
        let published = scope.broker.publish(&queue, Message::new("stalled")).await;
        // It was never sent, and that is known.
        matches!(published, Err(BrokerError::Unavailable(_)))
            && begun.elapsed() < Duration::from_millis(100)
    })
    .await;
    // It tries to connect meanwhile, and leaves nothing behind that waits for an answer.
    let accepted = proxy.accepted();
    becomes(async || proxy.accepted() >= accepted + 4).await;
    settle.ack(&[unacked.tag]).await.unwrap();
    proxy.stall(false);
    becomes(async || scope.broker.publish(&queue, Message::new("after")).await.is_ok()).await;
    // What was tried during the stall may have arrived.
    let mut bodies = Vec::new();
    while bodies.last().is_none_or(|body| body != "after") {
        let delivery = next(&mut deliveries).await;
        bodies.push(text(&delivery));
        settle.ack(&[delivery.tag]).await.unwrap();
    }
    assert_eq!(bodies[0], "0");
    in_time(scope.broker.ping()).await.unwrap();
}

/// Every connection has a thread of lapin's. Whoever gives up on one must not leave its thread
/// behind, as the stall may be long and the trials many.
#[tokio::test(flavor = "multi_thread")]
async fn trials_to_connect_leave_no_threads_behind() {
    // Nobody else's threads may be counted: this test goes on in a process of its own.
    if std::env::var_os(ALONE).is_none() {
        let program = std::env::current_exe().unwrap();
        let arguments = [
            "--exact",
            "rabbitmq::tests::outage::trials_to_connect_leave_no_threads_behind",
            "--nocapture",
        ];
        let output =
            std::process::Command::new(program).args(arguments).env(ALONE, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let (proxy, scope) =
        behind_a_proxy(RabbitSettings { connect_timeout: Duration::from_millis(100), ..alert() })
            .await;
    in_time(scope.broker.ping()).await.unwrap();
    assert_eq!(io_threads(), 2);
    proxy.stall(true);
    let accepted = proxy.accepted();
    becomes(async || proxy.accepted() >= accepted + 20).await;
    // One each may be trying just now, and one each be ending.
    assert!(io_threads() <= 4, "{} threads", io_threads());
    proxy.stall(false);
    becomes(async || scope.broker.ping().await.is_ok()).await;
    becomes(async || io_threads() == 2).await;
    in_time(scope.broker.close()).await;
    becomes(async || io_threads() == 0).await;
}

const ALONE: &str = "WASMILL_TEST_ALONE";

fn io_threads() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("lapin-io-loop")).count()
}
