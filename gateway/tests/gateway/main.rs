//! The gateway over real sockets, on the SQLite store and the embedded broker.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod auth;
mod cloudevents;
mod executions;
mod functions;
mod fuzz;
mod harness;
mod invoke;
mod limits;
mod openapi;
mod outage;
mod plain;
mod schemas;
