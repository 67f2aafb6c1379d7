//! What became of events: the verbs that write, and those that decide.

use async_trait::async_trait;
use wasmill_domain::{Dispatch, ExecutionId, Operation, TenantName};

use super::error::Result;
use super::types::{Finished, OperationResult, Publication, Started};

/// What became of events, as it is written.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Adds rows for executions that were accepted, in state `queued`. One that is there already
    /// (its outcome may be faster than this call) is left as it is. With [`Publication::Pending`]
    /// each is put in the outbox as well, in the same transaction, unless the row that is there is
    /// of another tenant or function.
    async fn enqueue(&self, dispatches: &[Dispatch], publication: Publication) -> Result<()>;

    /// Notes that attempts have begun. Whatever the state machine or the fence forbids is silently
    /// left out, as this only informs operators.
    async fn start(&self, attempts: &[Started]) -> Result<()>;

    /// Which of these attempts still have no committed outcome and could have one, in the order
    /// asked: what a host asks about a message that is delivered again. `true` where there is no
    /// row yet; `false` as well where the execution is suspended or was cancelled, or is of another
    /// tenant or function, because nothing that came of it would stand.
    async fn unfinished(&self, attempts: &[Dispatch]) -> Result<Vec<bool>>;

    /// Commits the ends of attempts, all in one transaction, and says for each whether it stands.
    /// It stands if the execution is `queued` or `running`, in this epoch, at this attempt, and of
    /// this tenant and function (the fence); one that has no row yet gets it. So does the attempt
    /// of a cancelled execution that ended by its cancellation, where it says the epoch which that
    /// has begun: it is added to the row. With an end are committed the attempt, its log lines, and
    /// the executions of emitted events together with their outbox entries. One that does not stand
    /// changes nothing at all.
    async fn record(&self, finished: &[Finished]) -> Result<Vec<bool>>;

    /// Performs an operator's operation on one execution (suspend, resume, cancel, replay), and
    /// says what it is from then on: [`Lifecycle::operate`](wasmill_domain::Lifecycle::operate)
    /// decides. It begins the next epoch: what was dispatched before does not count any more.
    /// Resume and replay put it in the outbox.
    ///
    /// One that has no row gets one where the operation says that it may have none yet, and is to
    /// be suspended or cancelled. Its event is added when the execution is enqueued, or its outcome
    /// reported; one that was resumed or replayed meanwhile is put in the outbox then. Such a row
    /// binds nobody but its tenant: where the execution turns out to be another's, it is that one's
    /// as if the operation had not been made.
    ///
    /// # Errors
    /// [`Error::NotFound`](super::StoreError::NotFound);
    /// [`Error::Conflict`](super::StoreError::Conflict) where the table of transitions does not
    /// have it, or where the transition is not an operator's.
    async fn transition_execution(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
        operation: &Operation,
    ) -> Result<OperationResult>;
}
