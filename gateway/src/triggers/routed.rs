//! A request on its way to the function that answers it.

use std::sync::Arc;

use http::StatusCode;
use wasmill_domain::routes::Route;
use wasmill_domain::{ExecutionId, FunctionDefinition, Registry, TenantName, TraceContext};

use crate::error::ApiError;

/// A request that a function answers.
pub(super) struct Routed {
    pub(super) tenant: TenantName,
    pub(super) registry: Arc<Registry>,
    pub(super) function: Arc<FunctionDefinition>,
    pub(super) route: Route,
    /// The path's parameters, decoded.
    pub(super) parameters: Vec<(String, String)>,
    /// What the function sees as the path.
    pub(super) path: String,
    pub(super) trace: TraceContext,
}

/// The problem of a function that did not answer as it should have. What it said is for its owner,
/// who finds it by the execution's id; the caller may be anybody.
pub(super) fn failed(status: StatusCode, execution: ExecutionId) -> ApiError {
    ApiError::Function(status, execution)
}
