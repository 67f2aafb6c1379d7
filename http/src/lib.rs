//! The HTTP server of every role: a listener with bounds, TLS, HTTP/1.1 and HTTP/2, and probes. What
//! is answered is an [`axum::Router`]'s business: nothing here knows what a request is for. Another
//! may take its place ([`Routes`]), once the process has started.
//!
//! [`serve`] accepts connections: a bounded number of them ([`admission`]), each bounded in how
//! slowly it may send and take. One connection is in [`connection`], what must be true of every
//! message in [`message`], why a message is refused in [`refusal`], what is left of a request's body
//! in [`upload`], and what happens below HTTP in [`stream`]. Whether a client takes its responses is
//! told by [`writes`] and, of each stream of HTTP/2, by [`stream_tasks`]. [`serve_probes`] answers
//! `/healthz` and `/readyz` for a role that serves nothing else, [`while_starting`] for one that
//! will; both look once for all who ask ([`coalesced`]).

mod activity;
mod admission;
mod coalesced;
mod connection;
mod listener;
mod message;
mod probes;
mod refusal;
mod routes;
mod settings;
mod stream;
mod stream_tasks;
mod tls;
mod unread;
mod upload;
mod writes;

pub use admission::ClientAddress;
pub use coalesced::Coalesced;
pub use listener::serve;
pub use message::{MAX_HEADERS, has_no_content};
pub use probes::{Part, Readiness, serve_probes, while_starting};
pub use refusal::{PROBLEM_JSON, Refusal};
pub use routes::Routes;
pub use settings::ServerSettings;
pub use tls::{Tls, TlsError, TlsFiles};
