//! What operators do with executions.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use wasmill_domain::units::Span;
use wasmill_domain::{ExecutionId, State, Transition};
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

/// The same as a document.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OperateExecution)]
pub(crate) struct OperateExecutionBody {
    /// Why: the execution shows it from then on. At most 1,000 bytes.
    #[schema(max_length = 1000)]
    pub(crate) reason: Option<String>,
}

/// What was noted about an execution of which nothing is known yet.
#[derive(Serialize, ToSchema)]
#[schema(as = EarlyOperation)]
pub(crate) struct EarlyOperationDocument {
    /// Its id.
    id: Uuid,
    /// What was asked for: `cancel`, `suspend` or `resume`.
    #[schema(examples("cancel"))]
    operation: &'static str,
    /// What that comes to.
    detail: String,
}

impl EarlyOperationDocument {
    pub(crate) fn new(id: ExecutionId, what: Transition, kept: Duration) -> Self {
        const UNKNOWN: &str = "nothing is known of this execution yet";
        let kept = Span(kept);
        let detail = match what {
            Transition::Cancel => format!("{UNKNOWN}: it is cancelled if it comes within {kept}"),
            Transition::Suspend => format!("{UNKNOWN}: it is suspended if it comes within {kept}"),
            _ => format!("{UNKNOWN}: it runs when it comes"),
        };
        Self { id: id.0, operation: what.as_str(), detail }
    }
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
