//! What operators do with executions.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use wasmill_domain::{ExecutionId, State};
use wasmill_store::OperationResult;

/// How an execution is moved.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OperateExecution {
    /// Why: the execution shows it from then on. At most 1,000 bytes.
    #[param(max_length = 1000)]
    pub(crate) reason: Option<String>,
}

/// What an execution is after an operator has moved it.
#[derive(Serialize, ToSchema)]
#[schema(as = MovedExecution)]
pub(crate) struct OperationResultDocument {
    /// Its id.
    id: Uuid,
    /// Its current state.
    #[schema(value_type = String, examples("cancelled", "suspended"))]
    state: State,
    /// Its epoch, which the operation has begun: what was sent to hosts before does not count any
    /// more.
    epoch: u32,
    /// The attempt it is at.
    attempt: u32,
}

impl OperationResultDocument {
    pub(crate) fn new(id: ExecutionId, moved: &OperationResult) -> Self {
        Self { id: id.0, state: moved.state, epoch: moved.epoch, attempt: moved.attempt }
    }
}
