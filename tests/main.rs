//! End to end: the real binary as real processes, real guests, spoken to as users do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod architecture;
mod cli;
mod cloudevents;
mod crash;
mod demo;
mod hostile;
mod keys;
mod pool;
mod retries;
mod support;
mod triggers;
mod watch;
