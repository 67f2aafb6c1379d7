//! Messages that no process could read.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use wasmill_domain::{ExecutionId, Timestamp};
use wasmill_store::DeadLetterSummary;

/// Which dead letters to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListDeadLetters {
    /// `next` of the page before.
    pub(crate) cursor: Option<Uuid>,
    /// How many at most: 1 to 500. Default: 50.
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub(crate) limit: Option<u32>,
}

/// A page of dead letters.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetterPage {
    /// The letters, the newest first.
    pub(crate) dead_letters: Vec<DeadLetterDocument>,
    /// The cursor of the next page; null on the last.
    #[schema(required = true)]
    pub(crate) next: Option<Uuid>,
}

/// A message that no process could read.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(crate) struct DeadLetterDocument {
    /// Its id: a UUIDv7.
    id: Uuid,
    /// Whose queue it was in.
    tenant: String,
    /// Which function's queue it was in.
    function: String,
    /// Why it could not be read.
    reason: String,
    /// When it was taken off the queue.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// How long the message is, in bytes.
    size: u64,
    /// How many executions failed by it, as poisoned.
    executions: u64,
}

/// What sending a dead letter again came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct Redriven {
    /// Its id. The letter is no more.
    pub(crate) id: Uuid,
    /// The executions in it, as far as they can be told.
    #[schema(value_type = Vec<Uuid>)]
    pub(crate) executions: Vec<ExecutionId>,
    /// How many of them had failed by it, and wait again.
    pub(crate) reopened: u64,
}

impl From<DeadLetterSummary> for DeadLetterDocument {
    fn from(summary: DeadLetterSummary) -> Self {
        Self {
            id: summary.id,
            tenant: summary.tenant.to_string(),
            function: summary.function.to_string(),
            reason: summary.reason,
            at: summary.at,
            size: summary.size,
            executions: summary.executions,
        }
    }
}
