//! The execution that a guest works on, as the guest can ask about it.

use wasmill_domain::{Digest, ExecutionId, FunctionName, TenantName, Timestamp, TraceContext};

/// What a guest can ask about its execution.
pub(crate) struct CurrentExecution {
    pub(crate) id: ExecutionId,
    pub(crate) tenant: TenantName,
    pub(crate) function: FunctionName,
    pub(crate) version: Digest,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) deadline: Timestamp,
    pub(crate) span: TraceContext,
}

impl CurrentExecution {
    /// What a command finds of it in its environment.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (String, String)> {
        let trace = [
            ("TRACEPARENT", Some(self.span.to_string())),
            ("TRACESTATE", self.span.tracestate.clone()),
        ];
        let ids = [
            ("WASMILL_EXECUTION_ID", Some(self.id.to_string())),
            ("WASMILL_FUNCTION", Some(self.function.to_string())),
            ("WASMILL_TENANT", Some(self.tenant.to_string())),
            ("WASMILL_ATTEMPT", Some(self.attempt.to_string())),
        ];
        let all = ids.into_iter().chain(trace);
        all.filter_map(|(name, value)| Some((name.to_owned(), value?)))
    }
}
