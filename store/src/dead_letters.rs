//! Messages that no process could read, until an operator has them sent again or deletes them.

use bytes::Bytes;
use uuid::Uuid;
use wasmill_domain::{FunctionName, TenantName, Timestamp};

/// A message that no process could read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id: a UUIDv7 that whoever keeps it makes.
    pub id: Uuid,
    /// Whose queue it was in.
    pub tenant: TenantName,
    /// Which function's queue it was in.
    pub function: FunctionName,
    /// Why it could not be read.
    pub reason: String,
    /// When it was taken off the queue.
    pub at: Timestamp,
    /// The message's headers.
    pub headers: Vec<(String, String)>,
    /// The message's bytes.
    pub body: Bytes,
}

/// A dead letter as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterSummary {
    /// Its id.
    pub id: Uuid,
    /// Whose queue it was in.
    pub tenant: TenantName,
    /// Which function's queue it was in.
    pub function: FunctionName,
    /// Why it could not be read.
    pub reason: String,
    /// When it was taken off the queue.
    pub at: Timestamp,
    /// How long the message is, in bytes.
    pub size: u64,
    /// How many executions ended by it.
    pub executions: u64,
}
