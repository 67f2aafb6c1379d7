//! What a pool of real processes does on RabbitMQ and PostgreSQL (`AMQP_URL` and `DATABASE_URL`, or
//! those of this machine).
//!
//!     cargo build --release -p wasmill && cargo run --release -p wasmill-bench --bin pool -- scale-out
//!
//! - `scale-out`: how fast 1, 2 and 4 hosts drain the same backlog of executions that wait;
//! - `fairness`: what one tenant notices of another's backlog;
//! - `speed PIPE LOAD`: events recorded for each second and their latency, alternating with a bare
//!   pipeline of the same parts. `PIPE` is that program, which serves `POST /` and `GET /stats` on
//!   port 8082, and `LOAD` its generator of load.
//!
//! Only the ratios of one run mean anything.
//!
//! - `upgrade OLD NEW EVENTS`: two releases, each a binary, side by side under load and in both
//!   orders; it fails where anything that was accepted is lost. `scripts/upgrade-test` builds the
//!   older one.

#![expect(clippy::print_stdout, reason = "the report of this program")]

mod fairness;
mod scale_out;
mod speed;
/// The processes are those of the end-to-end tests.
#[path = "../../../../tests/support/mod.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod support;
mod upgrade;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match arguments[..] {
        ["scale-out"] => runtime.block_on(scale_out::run()),
        ["fairness"] => runtime.block_on(fairness::run()),
        ["speed", pipe, load] => runtime.block_on(speed::run(pipe, load)),
        ["upgrade", old, new, events] => match events.parse() {
            Ok(events) => runtime.block_on(upgrade::run(old.as_ref(), new.as_ref(), events)),
            Err(_) => println!("'{events}' is not a number of events"),
        },
        _ => {
            println!("usage: pool scale-out | fairness | speed PIPE LOAD | upgrade OLD NEW EVENTS");
        }
    }
}

/// The value below which `percent` of the sorted values are.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}
