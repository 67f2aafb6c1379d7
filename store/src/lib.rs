//! Where definitions and history are kept: the port [`Store`] and its backends.
//!
//! The port has three faces, each a handful of verbs: [`Catalog`] holds what users define, [`Ledger`] what became of their
//! events, [`Agenda`] what is still to be done. Every backend passes the same suite (`conformance`). sqlx is used nowhere else in
//! wasmill.
//!
//! A backend is one folder of SQL. What does not depend on the database is outside: `fence` decides which reports stand,
//! `convert` turns columns into domain values, [`RegistryWatch`] follows the definitions.

mod convert;
mod fence;
mod port;
pub mod postgres;
pub mod sqlite;
mod watch;

#[cfg(test)]
mod conformance;

pub use port::*;
pub use watch::RegistryWatch;
