//! The gateway over real sockets, on the SQLite store and the embedded broker.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod auth;
mod cloudevents;
mod credentials;
mod dead_letters;
mod executions;
mod files;
mod framing;
mod functions;
mod fuzz;
mod gates;
mod handlers;
mod harness;
mod http1;
mod http2;
mod invoke;
mod keyvalue;
mod limits;
mod nodes;
mod openapi;
mod operate;
mod outage;
mod owners;
mod permits;
mod plain;
mod preflight;
mod probes;
mod readback;
mod responses;
mod rollbacks;
mod schema_limits;
mod schemas;
mod secrets;
mod shares;
mod tls;
mod webhooks;
