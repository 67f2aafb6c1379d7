//! Two releases on one database and one broker, under load, forth and back: nothing that is
//! accepted is lost.

use std::path::Path;

use crate::support::backends::SharedBackends;
use crate::support::upgrade::{Order, forth_and_back};

/// Whose processes are replaced first, on the way from one release to the other and on the way
/// back: for a pool that begins with the old release, and for one that begins with the new.
const ORDERS: [[Order; 2]; 2] = [
    [["gateway", "host", "scheduler"], ["gateway", "host", "scheduler"]],
    [["scheduler", "host", "gateway"], ["host", "scheduler", "gateway"]],
];

/// Runs both orders with as many events each: a pool of the old release that is upgraded and taken
/// back, and one of the new release that is taken back and upgraded.
pub(crate) async fn run(old: &Path, new: &Path, events: usize) {
    let pools = [("the old release first", [old, new]), ("the new release first", [new, old])];
    for ((what, binaries), orders) in pools.into_iter().zip(ORDERS) {
        let shared = SharedBackends::without_schema().await;
        let report = forth_and_back(shared.backends(), binaries, new, orders, events).await;
        println!(
            "{what}: {} accepted and each ended once, {} cut off, {} refused",
            report.accepted.len(),
            report.cut_off,
            report.refused
        );
    }
}
