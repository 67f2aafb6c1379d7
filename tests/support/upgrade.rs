//! Releases side by side: a pool of one whose processes become another, and back, while clients
//! post.

use std::path::Path;

use rustix::process::Signal;

use super::load::{Load, Report};
use super::pool::{Backends, Process};

/// How many clients post at once.
const CLIENTS: usize = 16;

/// The processes of the pool. The gateways come first.
const ROLES: [&str; 6] = ["gateway", "gateway", "host", "host", "host", "scheduler"];

/// Functions of the load.
const FUNCTIONS: [&str; 2] = ["order-total", "order-audit"];

/// Whose processes are replaced first.
pub(crate) type Order = [&'static str; 3];

/// Starts a pool of the binary `first` on an empty database, brings the schema to that of `new`,
/// makes every process one of `second` and then one of `first` again, in these orders, and gives
/// the account of what clients posted meanwhile.
///
/// Each accepted order's executions have ended once then.
pub(crate) async fn forth_and_back(
    backends: &Backends,
    [first, second]: [&Path; 2],
    new: &Path,
    orders: [Order; 2],
    events: usize,
) -> Report {
    backends.migrate_by(first);
    let mut pool = ROLES.map(|role| Process::start_of(first, role, backends, &[]));
    for process in &pool {
        process.ready().await;
    }
    pool[0].deploy(&FUNCTIONS).await;
    for gateway in &pool[..2] {
        for function in FUNCTIONS {
            gateway.knows(function).await;
        }
    }
    let gateways = [pool[0].api(), pool[1].api()];
    let load = Load::start(&gateways, CLIENTS, events);
    // The last ones are posted to a pool that is whole again.
    let pause = events / (2 * ROLES.len() + 3);
    let mut next = pause;
    load.reaches(next).await;
    // While the processes of the first release work.
    backends.migrate_by(new);
    for (binary, roles) in [second, first].into_iter().zip(orders) {
        for role in roles {
            for process in pool.iter_mut().filter(|process| process.role == role) {
                next += pause;
                load.reaches(next).await;
                process.signal(Signal::TERM);
                assert_eq!(process.exit_code().await, Some(0), "a {role} is told to end");
                process.restart_as(binary);
                process.ready().await;
            }
        }
    }
    let report = load.finish().await;
    assert!(report.accepted.len() >= events);
    gateways[0].quiet(&FUNCTIONS).await;
    report.check(&gateways[0]).await;
    report
}
