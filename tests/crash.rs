//! kill -9 in the middle of the work: nothing that was accepted is lost, and nothing is recorded
//! twice.

use super::support::Dev;
use super::support::load::Load;

/// How many events are accepted.
const EVENTS: usize = 20_000;

/// How many clients post at once.
const CLIENTS: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn three_kills_in_twenty_thousand_events() {
    let mut dev = Dev::with_samples(&["order-total", "order-audit"]);
    let api = dev.api();
    let load = Load::start(std::slice::from_ref(&api), CLIENTS, EVENTS);
    for kill in 1..=3 {
        load.reaches(EVENTS * kill / 4).await;
        dev.kill_9();
        dev.restart();
    }
    let report = load.finish().await;
    assert!(report.cut_off > 0, "the kills hit requests under way");
    assert!(report.accepted.len() >= EVENTS);
    api.quiet(&["order-total", "order-audit"]).await;
    report.check(&api).await;
    assert!(dev.terminate());
}
