//! Where definitions and history are kept: ports and their backends.
//!
//! A port is a handful of verbs of one concern (`port`): [`Catalog`], [`Artifacts`] and [`Secrets`]
//! hold what users define, [`Ledger`] and [`History`] what became of their events, [`Agenda`] what
//! is still to be done, [`Retention`] ends history, [`Leases`] say who does what only one may do,
//! [`Buckets`] hold what functions keep, [`DeadLetters`] what nobody could read, [`Nodes`] which
//! processes are alive, [`Orders`] what hosts are to do with what they run, [`Identity`] which
//! installation all of it belongs to. Whoever uses a store takes the ports that it uses. Every
//! backend passes the same suite (`conformance`). sqlx is used nowhere else in wasmill.
//!
//! A backend is one folder of SQL. What does not depend on the database is outside: `fence` decides
//! which reports stand, `operate` what of operators' operations the domain does not know,
//! `migrations` whether a schema is one to work on, `claims` what a version may have of host names
//! and routes, `changes` who reads what changed and who everything, `convert` turns columns into
//! domain values, [`RegistryWatch`] follows the definitions.

mod buckets;
mod changes;
mod claims;
mod convert;
mod dead_letters;
mod fence;
mod files;
mod masking;
mod migrations;
mod nodes;
mod operate;
mod port;
pub mod postgres;
mod quota;
mod secrets;
pub mod sqlite;
#[cfg(any(test, feature = "conformance"))]
pub mod testing;
mod watch;

#[cfg(test)]
mod conformance;

pub use buckets::{
    Bucket, BucketQuota, BucketSummary, KeyPage, MAX_BATCH_BYTES, MAX_BATCH_KEYS, MAX_KEY_BYTES,
    Swap, ValueVersion,
};
pub use dead_letters::{DeadLetter, DeadLetterSummary};
pub use migrations::SchemaMode;
pub use nodes::{LiveNode, NODE_TIMEOUT, Node, no_host_for};
pub use port::*;
pub use quota::{Quotas, TenantQuota};
pub use watch::RegistryWatch;
