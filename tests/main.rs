//! End to end: the real binary as real processes, real guests, spoken to as users do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod architecture;
mod authoring;
mod cli;
mod cloudevents;
mod commands;
mod crash;
mod data;
mod demo;
mod dialect;
mod doctor;
mod guests;
mod hostile;
mod hostnames;
mod https;
mod keys;
mod keyvalue;
mod languages;
mod orders;
mod pool;
mod released;
mod retries;
mod secrets;
mod serve;
mod support;
mod triggers;
mod wasi3;
mod watch;
