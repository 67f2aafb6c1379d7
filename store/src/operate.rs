//! What both databases share of operations that are decided by the domain's [`Lifecycle`]: which
//! row is written where there is none yet, and whose it turns out to be.

use std::collections::HashMap;

use wasmill_domain::{
    AttemptKey, Dispatch, Effects, ExecutionId, Lifecycle, Operation, Outcome, State, TenantName,
};

use crate::fence;
use crate::port::{OperationResult, Result, StoreError};

/// The function and the event type of a row that was written before its event has come. Both are
/// names, so that a release that knows nothing of such rows reads them too; it finds that they are
/// not the message's, so that nothing which comes of that stands.
pub(crate) const NOT_KNOWN_YET: &str = "unknown";

/// What operations read of a row.
pub(crate) struct Row {
    pub(crate) tenant: String,
    pub(crate) lifecycle: Lifecycle,
    /// Whether its words are known here. One that is of a later release is not moved.
    pub(crate) is_known: bool,
}

/// The words of a row, and whether they are known here.
pub(crate) fn words(state: &str, outcome: Option<&str>) -> (State, Option<Outcome>, bool) {
    let known = outcome.and_then(|word| word.parse().ok());
    let is_known = state.parse::<State>().is_ok() && known.is_some() == outcome.is_some();
    (fence::stored_state(state), known, is_known)
}

impl Row {
    /// Whether it is one of `tenant`'s.
    pub(crate) fn is_of(&self, tenant: &TenantName) -> bool {
        self.tenant == tenant.as_str()
    }

    /// What an operator's operation makes of it.
    pub(crate) fn operate(&self, operation: &Operation) -> Result<Effects> {
        if !self.is_known {
            let why = "the execution is in a state, or ended in a way, that only a later release knows: move it there";
            return Err(StoreError::Conflict(why.into()));
        }
        self.lifecycle
            .operate(operation)
            .map_err(|refusal| StoreError::Conflict(refusal.to_string()))
    }

    /// What `decide` makes of it, if its words are known.
    pub(crate) fn decide(
        &self,
        decide: impl FnOnce(&Lifecycle) -> Option<Effects>,
    ) -> Option<Effects> {
        self.is_known.then(|| decide(&self.lifecycle)).flatten()
    }
}

/// The row that an operator's operation makes where there is none.
pub(crate) fn before_event(id: ExecutionId, operation: &Operation) -> Result<Lifecycle> {
    Some(operation)
        .filter(|operation| operation.may_precede_row)
        .and_then(|operation| Lifecycle::before_event(id, operation))
        .ok_or_else(|| not_found(id))
}

pub(crate) fn not_found(id: ExecutionId) -> StoreError {
    StoreError::NotFound(format!("execution {id}"))
}

/// What becomes of a row that was written before its event, now that a dispatch brings it.
pub(crate) struct WithEvent {
    /// How many attempts there are at most.
    pub(crate) max_attempts: u32,
    /// What is written beside the event; nothing where only a later release knows the row's words:
    /// they stay as they are.
    pub(crate) effects: Option<Effects>,
}

/// What becomes of a row that was written before its event, now that `dispatch` brings it. An id
/// proves nothing: where the execution is another tenant's, what was decided about it is void. It
/// is not published for that: its message is on its way, or whoever brings it has it published; a
/// host that refused it because of that row looks again after it has brought the event.
pub(crate) fn with_event(row: &Row, dispatch: &Dispatch) -> WithEvent {
    let is_own = row.is_of(&dispatch.tenant);
    let effects = if is_own {
        row.lifecycle.with_event(dispatch)
    } else {
        Effects {
            after: Lifecycle::accepted(dispatch),
            archives_attempt: false,
            publishes: false,
            deletes_row: false,
        }
    };
    let max_attempts = effects.after.max_attempts;
    WithEvent { max_attempts, effects: (row.is_known || !is_own).then_some(effects) }
}

/// Attempts that run, by execution: an earlier one may be about to be stopped.
pub(crate) fn by_execution(
    running: &[(TenantName, AttemptKey)],
) -> HashMap<ExecutionId, Vec<&(TenantName, AttemptKey)>> {
    let mut by_execution: HashMap<ExecutionId, Vec<_>> = HashMap::with_capacity(running.len());
    for attempt in running {
        by_execution.entry(attempt.1.execution).or_default().push(attempt);
    }
    by_execution
}

/// The result of an operation.
pub(crate) fn moved(after: &Lifecycle, to_publish: Option<Dispatch>) -> OperationResult {
    OperationResult {
        state: after.state,
        epoch: after.epoch,
        attempt: after.attempt,
        queued_at: after.queued_at,
        has_event: after.has_event,
        to_publish,
    }
}
