//! The port: what a store can do, in terms of the domain only.

mod error;
mod types;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use wasmill_domain::{
    AttemptKey, Definitions, Digest, Dispatch, ExecutionId, FunctionName, Operation, Revision,
    SealedSecret, SecretName, SecretSummary, TenantName, Timestamp,
};

pub use self::error::{Error, Result};
pub use self::types::*;
use crate::buckets::Buckets;
use crate::dead_letters::DeadLetters;

/// All that is kept. One object, shared by every part of a process.
pub trait Store: Catalog + Ledger + Agenda + Buckets + DeadLetters {}

impl<T: Catalog + Ledger + Agenda + Buckets + DeadLetters> Store for T {}

/// What users define. Every change raises the revision by one, in the transaction that makes it.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// What changed of the definitions since the revision `known`, all as of one revision, or
    /// `None` where that is still `known`: [`Definitions::changes`] tells which definitions changed,
    /// deleted ones included, and nothing of others is read. Everything that is defined where that
    /// is not known: there never was such a revision, which is so for -1, or it was too long ago. A
    /// definition that cannot be read is among [`Definitions::broken`] and keeps nobody from the
    /// others.
    async fn definitions(&self, known: Revision) -> Result<Option<Definitions>>;

    /// Hears of changes when they are committed, by whichever process: the receiver has the latest
    /// revision that was heard of, and 0 before the first. An addition to asking for the
    /// [`Catalog::definitions`] again and again, as nothing is heard while the database is away;
    /// `None` where asking is all there is. Each call listens anew until its receiver is dropped.
    /// To be called within a tokio runtime.
    fn changes(&self) -> Option<watch::Receiver<Revision>> {
        None
    }

    /// Makes one change. A change that alters nothing (the same artifact and manifest deployed
    /// again, the same schema put again) keeps the revision and says so.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a function, version, schema, key, secret or artifact that is not
    /// there, and for an artifact that is not the tenant's; [`Error::QuotaExceeded`] for one
    /// function, schema or key more than the tenant may have; [`Error::Conflict`] for the last
    /// operator key's deletion while others exist, for a host name that is not the tenant's, for a
    /// route that another function has, for a host name that is granted to another tenant, for a
    /// first key that is not an operator's, for a secret's version that is not the next one, and
    /// for one secret more than a tenant may have.
    async fn define(&self, change: &Change) -> Result<Changed>;

    /// Every version of a function, the newest first. Empty where there is no such function.
    async fn versions(&self, tenant: &TenantName, function: &FunctionName) -> Result<Vec<Version>>;

    /// Keeps an artifact for a tenant, and says whether the tenant did not have it. Whether others
    /// have the same bytes makes no difference that can be seen.
    ///
    /// # Errors
    /// [`Error::Rejected`] where the digest is not that of the bytes; [`Error::QuotaExceeded`].
    async fn put_artifact(&self, tenant: &TenantName, digest: Digest, bytes: Bytes)
    -> Result<bool>;

    /// An artifact's bytes, whoever has it: for those who run what is defined, never to answer a
    /// tenant.
    ///
    /// # Errors
    /// [`Error::Unavailable`] as well where the bytes are lost, until they are uploaded again.
    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>>;

    /// The bytes of an artifact that a tenant has: that it uploaded, or that one of its versions
    /// names. None where they are lost, so that it uploads them again, which mends it.
    async fn tenant_artifact(&self, tenant: &TenantName, digest: Digest) -> Result<Option<Bytes>>;

    /// The size of each of these artifacts that a tenant has uploaded, or that its versions have
    /// among their files, in the order asked; `None` for one that it does not have.
    async fn artifact_sizes(
        &self,
        tenant: &TenantName,
        digests: &[Digest],
    ) -> Result<Vec<Option<u64>>>;

    /// What may be told of a tenant's secrets, by name. They are not among the definitions: a
    /// process needs those that its functions ask for, and no others.
    async fn secrets(&self, tenant: &TenantName) -> Result<Vec<SecretSummary>>;

    /// A tenant's secret, sealed.
    async fn secret(&self, tenant: &TenantName, name: &SecretName) -> Result<Option<SealedSecret>>;

    /// The operator's keys that secrets of any tenant are sealed by, by id, each with the number of
    /// its secrets and one of them: by that a process finds out whether it could open them.
    async fn sealing_keys(&self) -> Result<Vec<SealingKeyUse>>;

    /// What tells this installation from others. It is made with the database and never changes.
    async fn installation(&self) -> Result<Installation>;

    /// Notes that a broker is marked with this installation's id, for the first time or anew.
    async fn broker_marked(&self, at: Timestamp) -> Result<()>;
}

/// What became of events.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Whether the database answers.
    async fn ping(&self) -> Result<()>;

    /// Adds rows for executions that were accepted, in state `queued`. One that is there already
    /// (its outcome may be faster than this call) is left as it is. With [`Publication::Pending`]
    /// each is put in the outbox as well, in the same transaction, unless the row that is there is
    /// of another tenant or function.
    async fn enqueue(&self, dispatches: &[Dispatch], publication: Publication) -> Result<()>;

    /// Notes that attempts have begun. Whatever the state machine or the fence forbids is silently
    /// left out, as this is news for operators and decides nothing.
    async fn start(&self, attempts: &[Started]) -> Result<()>;

    /// Which of these attempts still have no committed outcome and could have one, in the order
    /// asked: what a host asks about a message that is delivered again. `true` where there is no
    /// row yet; `false` as well where the execution is suspended or was cancelled, or is of another
    /// tenant or function, because nothing that came of it would stand.
    async fn unfinished(&self, attempts: &[Dispatch]) -> Result<Vec<bool>>;

    /// Commits the ends of attempts, all in one transaction, and says for each whether it stands.
    /// It stands if the execution is `queued` or `running`, in this epoch, at this attempt, and of
    /// this tenant and function (the fence); one that has no row yet gets it. So does the attempt of
    /// a cancelled execution that ended by its cancellation, where it says the epoch which that has
    /// begun: it is added to the row. With an end are committed
    /// the attempt, its log lines, and the executions of emitted events together with their outbox
    /// entries. One that does not stand changes nothing at all.
    async fn record(&self, finished: &[Finished]) -> Result<Vec<bool>>;

    /// Makes an operator's move with one execution (suspend, resume, cancel, replay), and says what
    /// it is from then on: [`Lifecycle::operate`](wasmill_domain::Lifecycle::operate) decides. It
    /// begins the next epoch: what was dispatched before does not count any more. Resume and replay
    /// put it in the outbox.
    ///
    /// One that has no row gets one where the operation says that it may have none yet, and is to
    /// be suspended or cancelled. Its event is added when the execution is enqueued, or its outcome
    /// reported; one that was resumed or replayed meanwhile is put in the outbox then. Such a row
    /// binds nobody but its tenant: where the execution turns out to be another's, it is that one's
    /// as if the move had not been made.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] where the table of moves does not have it, or where
    /// the move is not an operator's.
    async fn move_execution(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
        operation: &Operation,
    ) -> Result<Moved>;

    /// Executions, the newest first. One whose row cannot be read stands in its place and is in
    /// nobody's way.
    async fn executions(&self, query: &ExecutionQuery) -> Result<Vec<ListedExecution>>;

    /// One execution with its event, result and attempts.
    async fn execution(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
    ) -> Result<Option<ExecutionDetail>>;

    /// Log lines of an execution by attempt and place, after `after` where given, at most `limit`.
    async fn logs(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
        after: Option<LogPosition>,
        limit: u32,
    ) -> Result<Vec<LogEntry>>;
}

/// What is still to be done.
#[async_trait]
pub trait Agenda: Send + Sync + 'static {
    /// Moves up to `limit` scheduled executions that are due to `queued`, into the outbox, and
    /// gives them to be published.
    async fn promote_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Dispatch>>;

    /// Up to `limit` outbox entries that were made before `before`, the oldest first.
    async fn outbox(&self, before: Timestamp, limit: u32) -> Result<Vec<Dispatch>>;

    /// Takes entries out of the outbox: the broker has confirmed them. One that was made in a later
    /// epoch stays.
    async fn published(&self, entries: &[AttemptKey]) -> Result<()>;

    /// Takes or renews the lease called `name` for `holder` until `ttl` from now by the database's
    /// clock, and gives its term; `None` while somebody else holds it. A new holder has a higher
    /// term.
    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Term>>;

    /// Deletes up to `limit` executions that ended before `before`, with their attempts and logs,
    /// and artifacts that no version names or has among its files, and that are older than
    /// `before`, or than artifacts are kept that nobody uses. Gives the number of executions
    /// deleted.
    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64>;
}
