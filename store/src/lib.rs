//! Where definitions and history are kept: the port [`Store`] and its backends.
//!
//! The port has five faces, each a handful of verbs: [`Catalog`] holds what users define,
//! [`Ledger`] what became of their events, [`Agenda`] what is still to be done, [`Buckets`] what
//! functions keep, [`DeadLetters`] what nobody could read. [`Nodes`], which processes are alive,
//! and [`Orders`], what hosts hear of what they run, are ports of their own. Every backend passes
//! the same suite (`conformance`). sqlx is used nowhere else in wasmill.
//!
//! A backend is one folder of SQL. What does not depend on the database is outside: `fence` decides
//! which reports stand, `operate` what of operators' moves the domain does not know, `migrations`
//! whether a schema is one to work on, `claims` what a version may have of host names and routes,
//! `changes` who reads what changed and who everything, `convert` turns columns into domain values,
//! [`RegistryWatch`] follows the definitions.

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
mod orders;
mod port;
pub mod postgres;
mod quota;
mod secrets;
pub mod sqlite;
mod watch;

#[cfg(test)]
mod conformance;

pub use buckets::{
    Bucket, BucketQuota, BucketSummary, Buckets, KeyPage, MAX_BATCH_BYTES, MAX_BATCH_KEYS,
    MAX_KEY_BYTES, Swap, ValueVersion,
};
pub use dead_letters::{DeadLetter, DeadLetterSummary, DeadLetters};
pub use migrations::SchemaMode;
pub use nodes::{LiveNode, NODE_TIMEOUT, Node, Nodes};
pub use orders::Orders;
pub use port::*;
pub use quota::{Quotas, TenantQuota};
pub use watch::RegistryWatch;
