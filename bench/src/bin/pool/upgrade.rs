//! Two releases on one database and one broker, under load, forth and back: nothing that is accepted is lost.

use std::path::Path;

use rustix::process::Signal;

use crate::support::backends::Shared;
use crate::support::load::Load;
use crate::support::pool::{Backends, Process};

/// How many clients post at once.
const CLIENTS: usize = 16;

/// The processes of a pool by their roles.
const ROLES: [&str; 6] = ["gateway", "gateway", "host", "host", "host", "scheduler"];

/// Functions of the load.
const FUNCTIONS: [&str; 2] = ["order-total", "order-audit"];

/// Which role is replaced first, on the way from one release to the other and on the way back.
const ORDERS: [[[&str; 3]; 2]; 2] = [
    [["gateway", "host", "scheduler"], ["gateway", "host", "scheduler"]],
    [["scheduler", "host", "gateway"], ["host", "scheduler", "gateway"]],
];

/// Runs both orders, each with `events` orders: a pool of the old release that is upgraded and taken back, and a pool of the
/// new one that is taken back and upgraded.
pub(crate) async fn run(old: &Path, new: &Path, events: usize) {
    for (starts, [forth, back]) in [(true, ORDERS[0]), (false, ORDERS[1])] {
        let (first, second) = if starts { (old, new) } else { (new, old) };
        println!("{} first, {events} events", if starts { "the old release" } else { "the new release" });
        let shared = Shared::without_schema().await;
        one_way_and_back(shared.backends(), [first, second], new, [forth, back], events).await;
    }
}

/// A pool of `first` whose processes become `second` and then `first` again, while clients post.
async fn one_way_and_back(
    backends: &Backends,
    [first, second]: [&Path; 2],
    new: &Path,
    orders: [[&str; 3]; 2],
    events: usize,
) {
    backends.migrate_by(first);
    let mut pool: Vec<Process> = ROLES.map(|role| Process::start_of(first, role, backends, &[])).into();
    for process in &pool {
        process.ready().await;
    }
    pool[0].deploy(&FUNCTIONS).await;
    for gateway in pool.iter().filter(|process| process.role == "gateway") {
        for function in FUNCTIONS {
            gateway.knows(function).await;
        }
    }
    let gateways: Vec<_> = pool[..2].iter().map(Process::api).collect();
    let load = Load::start(&gateways, CLIENTS, events);
    let replacements = 2 * pool.len();
    let mut step = events / (replacements + 3);
    let pause = step;
    load.reaches(step).await;
    // While the first release works, and where it is the new one, again.
    backends.migrate_by(new);
    for (binary, roles) in [second, first].into_iter().zip(orders) {
        for role in roles {
            for process in pool.iter_mut().filter(|process| process.role == role) {
                step += pause;
                load.reaches(step).await;
                process.signal(Signal::TERM);
                assert_eq!(process.exit_code().await, Some(0), "a {role} is told to end");
                process.restart_as(binary);
                process.ready().await;
            }
        }
        println!("  all processes are of {}, {} events accepted", binary.display(), load.accepted());
    }
    let report = load.finish().await;
    assert!(report.accepted.len() >= events);
    let api = &gateways[0];
    api.quiet(&FUNCTIONS).await;
    report.check(api).await;
    let (accepted, cut_off, refused) = (report.accepted.len(), report.cut_off, report.refused);
    println!("  {accepted} accepted, each ended once; {cut_off} cut off, {refused} refused");
}
