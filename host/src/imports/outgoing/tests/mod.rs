//! Requests to real servers on this machine, by the hooks that wasi:http calls, with a resolver
//! that says what a test wants.

mod limits;
mod lookups;
mod ssrf;
mod support;
mod tls;
mod traffic;
