//! What is asked of a store, and what it answers.

use std::sync::Arc;

use uuid::Uuid;
use wasmill_domain::{
    AttemptReport, Digest, Dispatch, Event, EventType, ExecutionId, FunctionName, HostnamePattern,
    HostnameRules, KeyDefinition, LogLine, Manifest, Origin, Outcome, Output, Revision,
    SealedSecret, SealingKeyId, SecretName, State, TenantName, Timestamp,
};

/// A change of what is defined.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "changes are rare and there is one at a time")]
pub enum Change {
    /// A new version of a function, made current. Its artifact must be one of the tenant's, and its
    /// files must be artifacts of the tenant's of these sizes; they are kept for as long as a
    /// version has them. Its routes are claimed, and those of the version before given back. The
    /// function's oldest versions beyond the number that the tenant's quota keeps are deleted.
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
    /// Makes an older version current again: the given one, or the one before the current. Its
    /// routes are claimed as by a deploy.
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
    /// Deletes a function with its versions and triggers; its executions stay, and its buckets
    /// until it is forgotten. It is among [`deleted`](wasmill_domain::Definitions::deleted) from
    /// then on.
    DeleteFunction {
        /// The tenant.
        tenant: TenantName,
        /// The function.
        function: FunctionName,
    },
    /// Forgets that a function was deleted: nothing is left of its queue. Its own buckets go with
    /// it. One that is not among [`deleted`](wasmill_domain::Definitions::deleted) any more changes
    /// nothing.
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
    /// Grants a host name, or all below one, to a tenant. Its functions may have triggers under it
    /// from then on.
    GrantHostname {
        /// Which names.
        pattern: HostnamePattern,
        /// The tenant.
        tenant: TenantName,
        /// When.
        at: Timestamp,
    },
    /// Takes a host name back. Triggers under it answer no more from then on, unless a wider grant
    /// covers it.
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
    /// The current version of the function, or the schema's or secret's version; 0 for keys and
    /// deletions.
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
pub struct FunctionVersion {
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
    /// When the next attempt is due, where one follows: the execution is `delayed` then.
    /// Otherwise the outcome's final transition is made.
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
    /// Accepted at or after. An id and its acceptance are taken to be of the same minute, as both
    /// are made by the process that accepts: a store may look no further than that.
    pub since: Option<Timestamp>,
    /// Accepted before.
    pub until: Option<Timestamp>,
    /// Older than this one: the last of the page before (keyset paging; the order is that of the
    /// ids).
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

/// What an execution is after an operator's operation.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationResult {
    /// Its current state.
    pub state: State,
    /// Its epoch, which the operation has begun.
    pub epoch: u32,
    /// The attempt that it is at.
    pub attempt: u32,
    /// When that was handed to the broker; about, where the event has not come yet.
    pub queued_at: Timestamp,
    /// Whether its event has come. Where it has not, nothing is known of the execution yet.
    pub has_event: bool,
    /// What was put in the outbox and may be published at once; `None` where nothing was, or where
    /// that cannot be read back.
    pub to_publish: Option<Dispatch>,
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
    /// Its epoch, which every operator's operation raises; the first is 1. 0 where it is not known.
    pub epoch: u32,
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
    /// Why it exists.
    pub origin: Origin,
    /// The first execution of the chain that led to it, as far as it is known.
    pub root: ExecutionId,
    /// The trace it belongs to: 32 hex digits.
    pub trace_id: String,
    /// When the event was accepted.
    pub accepted_at: Timestamp,
    /// When it is due, while it is delayed.
    pub due_at: Option<Timestamp>,
    /// When the last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When it was moved last by anything but the ends of its attempts.
    pub changed_at: Option<Timestamp>,
    /// What holds it, while it is suspended.
    pub held_by: Option<String>,
    /// Why it was moved last, where somebody said so.
    pub reason: Option<String>,
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
    /// The event. One that cannot be read back is never sent again: its execution ends as failed
    /// when it is its turn.
    pub event: Result<Event, UnreadableEvent>,
    /// The result, once it succeeded; of a command that failed, what its last attempt had written
    /// to standard output.
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

/// A line's position in an execution's log.
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

/// What one call of [`Retention::prune_executions`](super::Retention::prune_executions) did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many executions it deleted.
    pub deleted: u64,
    /// After which one the next call goes on; `None` once all are looked at that may be old.
    pub next: Option<ExecutionId>,
}

/// Counts the holders of a lease, so that a late writer of an older term can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(pub i64);
