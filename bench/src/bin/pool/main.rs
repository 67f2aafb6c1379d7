//! What a pool of real processes does on RabbitMQ and PostgreSQL (`AMQP_URL` and `DATABASE_URL`, or those of this machine).
//!
//!     cargo build --release -p wasmill && cargo run --release -p wasmill-bench --bin pool -- scale-out
//!
//! - `scale-out`: how fast 1, 2 and 4 hosts drain the same backlog of executions that wait;
//! - `fairness`: what one tenant notices of another's backlog;
//! - `speed PIPE LOAD`: events recorded for each second and their latency, in turns with a bare pipeline of the same parts. `PIPE` is that
//!   program, which serves `POST /` and `GET /stats` on port 8082, and `LOAD` its generator of load.
//!
//! Only the ratios of one run mean anything.

#![expect(clippy::print_stdout, reason = "the report of this program")]

mod fairness;
mod scale_out;
mod speed;
/// The processes are those of the end-to-end tests.
#[path = "../../../../tests/support/mod.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod support;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match arguments[..] {
        ["scale-out"] => runtime.block_on(scale_out::run()),
        ["fairness"] => runtime.block_on(fairness::run()),
        ["speed", pipe, load] => runtime.block_on(speed::run(pipe, load)),
        _ => println!("usage: pool scale-out | fairness | speed PIPE LOAD"),
    }
}

/// The value below which `percent` of the sorted values are.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}
