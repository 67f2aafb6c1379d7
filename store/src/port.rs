//! The port: what a store can do, in terms of the domain only.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use uuid::Uuid;
use wasmill_domain::{
    AttemptReport, Definitions, Digest, Dispatch, Event, EventType, ExecutionId, FunctionName, HostnamePattern,
    HostnameRules, KeyDefinition, LogLine, Manifest, Move, Outcome, Output, Revision, SealedSecret, SealingKeyId,
    SecretName, SecretSummary, State, TenantName, Timestamp,
};

use crate::buckets::Buckets;

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached or cannot work now. The same call may succeed later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// What was asked for does not exist.
    #[error("{0} not found")]
    NotFound(String),
    /// What was asked for does not fit what is there.
    #[error("{0}")]
    Conflict(String),
    /// The tenant has as much of something as it may.
    #[error("{why}")]
    QuotaExceeded {
        /// Which quota: what the setting is called.
        quota: &'static str,
        /// What there is, what there may be, and how to get under it.
        why: String,
    },
    /// The data itself cannot be stored: trying again will not help.
    #[error("the store refuses the data: {0}")]
    Rejected(String),
}

/// The result of a verb of the port.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// All that is kept. One object, shared by every part of a process.
pub trait Store: Catalog + Ledger + Agenda + Buckets {}

impl<T: Catalog + Ledger + Agenda + Buckets> Store for T {}

/// What users define. Every change raises the revision by one, in the transaction that makes it.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// Everything that is defined, or `None` where the revision is still `known`. A definition that cannot be read is among
    /// [`Definitions::broken`] and keeps nobody from the others.
    async fn definitions(&self, known: Revision) -> Result<Option<Definitions>>;

    /// Hears of changes when they are committed, by whichever process: the receiver has the latest revision that was heard of, and
    /// 0 before the first. An addition to asking for the [`Catalog::definitions`] again and again, as nothing is heard while the
    /// database is away; `None` where asking is all there is. Each call listens anew until its receiver is dropped. To be called
    /// within a tokio runtime.
    fn changes(&self) -> Option<watch::Receiver<Revision>> {
        None
    }

    /// Makes one change. A change that alters nothing (the same artifact and manifest deployed again, the same schema
    /// put again) keeps the revision and says so.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a function, version, schema, key, secret or artifact that is not
    /// there, and for an artifact that is not the tenant's; [`Error::QuotaExceeded`] for one
    /// function, schema or key more than the tenant may have; [`Error::Conflict`] for the
    /// last operator key's deletion while others exist, for a host name that is not the tenant's, for a route that another function
    /// has, for a host name that is granted to another tenant, for a first key that is not an operator's, for a secret's version that is
    /// not the next one, and for one secret more than a tenant may have.
    async fn define(&self, change: &Change) -> Result<Changed>;

    /// Every version of a function, the newest first. Empty where there is no such function.
    async fn versions(&self, tenant: &TenantName, function: &FunctionName) -> Result<Vec<Version>>;

    /// Keeps an artifact for a tenant, and says whether the tenant did not have it. Whether others
    /// have the same bytes makes no difference that can be seen.
    ///
    /// # Errors
    /// [`Error::Rejected`] where the digest is not that of the bytes; [`Error::QuotaExceeded`].
    async fn put_artifact(&self, tenant: &TenantName, digest: Digest, bytes: Bytes) -> Result<bool>;

    /// An artifact's bytes, whoever has it: for those who run what is defined, never to answer a
    /// tenant.
    ///
    /// # Errors
    /// [`Error::Unavailable`] as well where the bytes are lost, until they are uploaded again.
    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>>;

    /// The bytes of an artifact that a tenant has: that it uploaded, or that one of its versions
    /// names. None where they are lost, so that it uploads them again, which mends it.
    async fn tenant_artifact(&self, tenant: &TenantName, digest: Digest) -> Result<Option<Bytes>>;

    /// The size of each of these artifacts that a tenant has uploaded, or that its versions have among their files, in the order
    /// asked; `None` for one that it does not have.
    async fn artifact_sizes(&self, tenant: &TenantName, digests: &[Digest]) -> Result<Vec<Option<u64>>>;

    /// What may be told of a tenant's secrets, by name. They are not among the definitions: a process needs those that its functions
    /// ask for, and no others.
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

    /// Adds rows for executions that were accepted, in state `queued`. One that is there already (its outcome may be
    /// faster than this call) is left as it is. With [`Publication::Pending`] each is put in the outbox as well, in the same
    /// transaction, unless the row that is there is of another tenant or function.
    async fn enqueue(&self, dispatches: &[Dispatch], publication: Publication) -> Result<()>;

    /// Notes that attempts have begun. Whatever the state machine or the fence forbids is silently left out, as this is
    /// news for operators and decides nothing.
    async fn start(&self, attempts: &[Started]) -> Result<()>;

    /// Which of these attempts still have no committed outcome and could have one, in the order asked: what a host asks about
    /// a message that is delivered again. `true` where there is no row yet; `false` as well where the execution is suspended or
    /// was cancelled, or is of another tenant or function, because nothing that came of it would
    /// stand.
    async fn unfinished(&self, attempts: &[Dispatch]) -> Result<Vec<bool>>;

    /// Commits the ends of attempts, all in one transaction, and says for each whether it stands. It stands if the
    /// execution is `queued` or `running`, at this attempt, and of this tenant and function (the
    /// fence); one that has no row yet gets it. With it are committed
    /// the attempt, its log lines, and the executions of emitted events together with their outbox entries. One that does not
    /// stand changes nothing at all.
    async fn record(&self, finished: &[Finished]) -> Result<Vec<bool>>;

    /// Makes an operator's move with one execution (suspend, resume, cancel, replay), and gives its new state. Resume and
    /// replay put it in the outbox; a replay begins the next attempt and raises the number of attempts by the same.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] where the table of moves does not have it, or where the move is not an operator's.
    async fn move_execution(&self, tenant: &TenantName, id: ExecutionId, what: Move, at: Timestamp) -> Result<State>;

    /// Executions, the newest first. One whose row cannot be read stands in its place and is in nobody's way.
    async fn executions(&self, query: &ExecutionQuery) -> Result<Vec<ListedExecution>>;

    /// One execution with its event, result and attempts.
    async fn execution(&self, tenant: &TenantName, id: ExecutionId) -> Result<Option<ExecutionDetail>>;

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
    /// Moves up to `limit` scheduled executions that are due to `queued`, into the outbox, and gives them to be published.
    async fn promote_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Dispatch>>;

    /// Up to `limit` outbox entries that were made before `before`, the oldest first.
    async fn outbox(&self, before: Timestamp, limit: u32) -> Result<Vec<Dispatch>>;

    /// Takes entries out of the outbox: the broker has confirmed them.
    async fn published(&self, entries: &[(ExecutionId, u32)]) -> Result<()>;

    /// Takes or renews the lease called `name` for `holder` until `ttl` from now by the database's clock, and gives its
    /// term; `None` while somebody else holds it. A new holder has a higher term.
    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Term>>;

    /// Deletes up to `limit` executions that ended before `before`, with their attempts and logs, and artifacts that no version
    /// names or has among its files, and that are older than `before`, or than artifacts are kept that nobody uses. Gives
    /// the number of executions deleted.
    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64>;
}

/// A change of what is defined.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "changes are rare and there is one at a time")]
pub enum Change {
    /// A new version of a function, made current. Its artifact must be one of the tenant's, and its files must be artifacts of
    /// the tenant's of these sizes; they are kept for as long as a version has them. Its
    /// routes are claimed, and those of the version before given back. The function's oldest versions
    /// beyond the number that the tenant's quota keeps are deleted.
    Deploy {
        /// The tenant.
        tenant: TenantName,
        /// The artifact.
        digest: Digest,
        /// The manifest, which names the function.
        manifest: Manifest,
        /// What the configuration says of host names.
        hostnames: Arc<HostnameRules>,
        /// When.
        at: Timestamp,
    },
    /// Makes an older version current again: the given one, or the one before the current. Its routes are claimed as by a deploy.
    Rollback {
        /// The tenant.
        tenant: TenantName,
        /// The function.
        function: FunctionName,
        /// The version's number.
        to: Option<u32>,
        /// What the configuration says of host names.
        hostnames: Arc<HostnameRules>,
    },
    /// Deletes a function with its versions and triggers; its executions stay, and its buckets until it is forgotten. It is among
    /// [`Definitions::deleted`] from then on.
    DeleteFunction {
        /// The tenant.
        tenant: TenantName,
        /// The function.
        function: FunctionName,
    },
    /// Forgets that a function was deleted: nothing is left of its queue. Its own buckets go with it. One that is not among [`Definitions::deleted`] any more
    /// changes nothing.
    ForgetFunction {
        /// The tenant.
        tenant: TenantName,
        /// The function.
        function: FunctionName,
    },
    /// Sets the schema of an event type.
    PutSchema {
        /// The tenant.
        tenant: TenantName,
        /// The event type.
        event_type: EventType,
        /// The JSON Schema, which compiles.
        schema: serde_json::Value,
        /// When.
        at: Timestamp,
    },
    /// Deletes the schema of an event type.
    DeleteSchema {
        /// The tenant.
        tenant: TenantName,
        /// The event type.
        event_type: EventType,
    },
    /// Grants a host name, or all below one, to a tenant. Its functions may have triggers under it from then on.
    GrantHostname {
        /// Which names.
        pattern: HostnamePattern,
        /// The tenant.
        tenant: TenantName,
        /// When.
        at: Timestamp,
    },
    /// Takes a host name back. Triggers under it answer no more from then on, unless a wider grant covers it.
    RevokeHostname {
        /// As it was granted.
        pattern: HostnamePattern,
    },
    /// Adds an API key.
    PutKey(KeyDefinition),
    /// Adds the first API key, an operator's. Where there are keys already it changes nothing, so
    /// that of several who do this at once one makes a key.
    PutFirstKey(KeyDefinition),
    /// Deletes an API key.
    DeleteKey {
        /// The key's id.
        id: Uuid,
    },
    /// Sets a secret. Its version is the one after that which is kept, or 1.
    PutSecret(SealedSecret),
    /// Deletes a secret. One of the same name that is set later begins with version 1.
    DeleteSecret {
        /// The tenant.
        tenant: TenantName,
        /// The secret.
        name: SecretName,
    },
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The revision that has it.
    pub revision: Revision,
    /// The current version of the function, or the schema's or secret's version; 0 for keys and deletions.
    pub version: u32,
    /// Whether anything changed.
    pub changed: bool,
}

/// What tells an installation from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Its id, at random.
    pub id: Uuid,
    /// When a broker was marked with it last, if ever.
    pub broker_since: Option<Timestamp>,
}

/// What is sealed by one of the operator's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealingKeyUse {
    /// The key.
    pub key: SealingKeyId,
    /// How many secrets it has sealed that are kept, of all tenants.
    pub secrets: u64,
    /// The first of them, by tenant and name.
    pub example: SealedSecret,
}

/// A version of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// Its number, from 1.
    pub number: u32,
    /// Its artifact.
    pub digest: Digest,
    /// The artifact's size in bytes.
    pub size: u64,
    /// Its manifest, or why it cannot be read here.
    pub manifest: Result<Manifest, String>,
    /// When it was deployed first.
    pub deployed_at: Timestamp,
    /// Whether it is the one that runs.
    pub current: bool,
}

/// How an accepted execution reaches its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publication {
    /// The broker has confirmed it.
    Confirmed,
    /// It has not been published: the outbox must.
    Pending,
}

/// An attempt that has begun.
#[derive(Clone, Debug)]
pub struct Started {
    /// What was dispatched; the row is made from it where there is none.
    pub dispatch: Dispatch,
    /// The version that runs.
    pub version: Digest,
    /// The host that runs it.
    pub host: String,
    /// When it began.
    pub at: Timestamp,
}

/// The end of an attempt.
#[derive(Clone, Debug)]
pub struct Finished {
    /// What was dispatched; the row is made from it where there is none.
    pub dispatch: Dispatch,
    /// What happened.
    pub report: AttemptReport,
    /// When the next attempt is due, where one follows: the execution is `scheduled` then. Otherwise the outcome's final
    /// move is made.
    pub retry_at: Option<Timestamp>,
    /// The log, in order.
    pub logs: Vec<LogLine>,
    /// The executions that emitted events lead to; stored only with a success.
    pub emitted: Vec<Dispatch>,
}

/// Which executions to list. All conditions hold together.
#[derive(Clone, Debug)]
pub struct ExecutionQuery {
    /// Of this tenant.
    pub tenant: TenantName,
    /// Of this function.
    pub function: Option<FunctionName>,
    /// In this state.
    pub state: Option<State>,
    /// With this outcome of the last attempt.
    pub outcome: Option<Outcome>,
    /// Of this event type.
    pub event_type: Option<EventType>,
    /// Of the event with this CloudEvents id.
    pub event_id: Option<String>,
    /// Accepted at or after. An id and its acceptance are taken to be of the same minute, as both are made by the process that
    /// accepts: a store may look no further than that.
    pub since: Option<Timestamp>,
    /// Accepted before.
    pub until: Option<Timestamp>,
    /// Older than this one: the last of the page before (keyset paging; the order is that of the ids).
    pub before: Option<ExecutionId>,
    /// At most so many.
    pub limit: u32,
}

impl ExecutionQuery {
    /// All of a tenant's executions, up to `limit`.
    pub fn all_of(tenant: TenantName, limit: u32) -> Self {
        Self {
            tenant,
            function: None,
            state: None,
            outcome: None,
            event_type: None,
            event_id: None,
            since: None,
            until: None,
            before: None,
            limit,
        }
    }
}

/// An execution as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutionSummary {
    /// Its id.
    pub id: ExecutionId,
    /// The tenant.
    pub tenant: TenantName,
    /// The function.
    pub function: FunctionName,
    /// Where it stands.
    pub state: State,
    /// The attempt it is at; the first is 1.
    pub attempt: u32,
    /// How many there are at most.
    pub max_attempts: u32,
    /// The version that ran last.
    pub version: Option<Digest>,
    /// How the last attempt ended.
    pub outcome: Option<Outcome>,
    /// Why it did not succeed.
    pub message: Option<String>,
    /// The event's type.
    pub event_type: EventType,
    /// The event's id.
    pub event_id: String,
    /// The event's source.
    pub event_source: String,
    /// The execution that emitted the event.
    pub parent: Option<ExecutionId>,
    /// The trace it belongs to: 32 hex digits.
    pub trace_id: String,
    /// When the event was accepted.
    pub accepted_at: Timestamp,
    /// When it is due, while it is scheduled.
    pub due_at: Option<Timestamp>,
    /// When the last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// A place in a list: an execution, or what is known of one whose row cannot be read.
pub type ListedExecution = Result<ExecutionSummary, UnreadableExecution>;

/// An execution whose row somebody else wrote, or that a fault has spoiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableExecution {
    /// Its id.
    pub id: ExecutionId,
    /// Which column cannot be read, and why.
    pub why: String,
}

/// An execution with all that is known of it but its log.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutionDetail {
    /// What lists show.
    pub summary: ExecutionSummary,
    /// The event. One that cannot be read back is never sent again: its execution ends as failed when it is its turn.
    pub event: Result<Event, UnreadableEvent>,
    /// The result, once it succeeded; of a command that failed, what its last attempt had written to standard output.
    pub output: Option<Output>,
    /// Its finished attempts, the first one first. `output` is left out of each.
    pub attempts: Vec<(u32, AttemptReport)>,
    /// The executions that its emitted events led to.
    pub children: Vec<ExecutionId>,
}

/// What stands where an event should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableEvent {
    /// As it was stored.
    pub text: String,
    /// Why it is not an event.
    pub why: String,
}

/// A line's place in an execution's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// The attempt.
    pub attempt: u32,
    /// The line's place in it.
    pub seq: u32,
}

/// A line of an execution's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The attempt that wrote it.
    pub attempt: u32,
    /// The line.
    pub line: LogLine,
}

/// Counts the holders of a lease, so that a late writer of an older term can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(pub i64);
