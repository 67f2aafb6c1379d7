//! `wasmill:function/context`.

use crate::bindings::wasmill::function::context::{Execution, Host};
use crate::execution::CurrentExecution;
use crate::guest::Guest;

impl Host for Guest {
    fn current(&mut self) -> Execution {
        self.calls.count();
        // An instance is made within its first attempt, so there always is one.
        self.execution.as_ref().map_or_else(no_execution, Execution::from)
    }
}

impl From<&CurrentExecution> for Execution {
    fn from(current: &CurrentExecution) -> Self {
        Self {
            id: current.id.to_string(),
            tenant: current.tenant.to_string(),
            function: current.function.to_string(),
            version: current.version.to_string(),
            attempt: current.attempt,
            max_attempts: current.max_attempts,
            deadline_ms: current.deadline.as_millis(),
            traceparent: current.span.to_string(),
            tracestate: current.span.tracestate.clone(),
        }
    }
}

/// What is answered where there is none.
fn no_execution() -> Execution {
    Execution {
        id: String::new(),
        tenant: String::new(),
        function: String::new(),
        version: String::new(),
        attempt: 0,
        max_attempts: 0,
        deadline_ms: 0,
        traceparent: String::new(),
        tracestate: None,
    }
}
