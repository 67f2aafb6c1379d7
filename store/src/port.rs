//! The ports: what a store can do, in terms of the domain only. Each is a trait of at most ten
//! verbs with a module of its own; a backend implements all of them, and whoever uses one takes
//! that and no other.

mod agenda;
mod artifacts;
mod buckets;
mod catalog;
mod dead_letters;
mod error;
mod history;
mod identity;
mod leases;
mod ledger;
mod nodes;
mod orders;
mod retention;
mod secrets;
mod types;

pub use self::agenda::Agenda;
pub(crate) use self::agenda::PUBLISH_TIMEOUT;
pub use self::artifacts::Artifacts;
pub use self::buckets::Buckets;
pub use self::catalog::Catalog;
pub use self::dead_letters::DeadLetters;
pub use self::error::{Result, StoreError};
pub use self::history::History;
pub use self::identity::Identity;
pub use self::leases::Leases;
pub use self::ledger::Ledger;
pub use self::nodes::Nodes;
pub(crate) use self::orders::OPEN_LOOKED_AT;
pub use self::orders::Orders;
pub use self::retention::Retention;
pub use self::secrets::Secrets;
pub use self::types::*;
