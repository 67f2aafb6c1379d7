//! What is sent to a host: one attempt at an execution, and why the execution exists.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::definition::Revision;
use crate::event::Event;
use crate::execution::ExecutionId;
use crate::names::{FunctionName, TenantName};
use crate::timestamp::Timestamp;
use crate::trace::TraceContext;

/// Why an execution exists. In JSON an object whose member `kind` says which of these it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    /// An event came in.
    Event,
    /// An execution emitted the event.
    EmittedBy {
        /// Which one.
        execution: ExecutionId,
        /// How many executions of its chain were before it: 1 where the one that emitted the event
        /// began the chain, or where nobody knows.
        #[serde(default = "first_depth")]
        depth: u32,
    },
    /// Another execution is to be made again.
    ReplayOf {
        /// Which one.
        execution: ExecutionId,
    },
    /// A schedule fired.
    Schedule {
        /// The schedule's name.
        name: String,
        /// When it was to fire, whenever it did.
        due: Timestamp,
    },
    /// A workflow came to this step.
    WorkflowStep {
        /// The run of the workflow.
        run: ExecutionId,
        /// The step's position in the workflow.
        path: String,
    },
    /// Somebody asked for this function and waits for the answer: an invocation by the API, or an
    /// HTTP request.
    Invocation,
}

impl Origin {
    /// Which of the kinds it is: the word that stands in JSON and in the database.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::EmittedBy { .. } => "emitted_by",
            Self::ReplayOf { .. } => "replay_of",
            Self::Schedule { .. } => "schedule",
            Self::WorkflowStep { .. } => "workflow_step",
            Self::Invocation => "invocation",
        }
    }

    /// The execution that emitted the event, where one did.
    pub fn parent(&self) -> Option<ExecutionId> {
        match self {
            Self::EmittedBy { execution, .. } => Some(*execution),
            _ => None,
        }
    }

    /// How many executions that emitted events led to it, as far as that is known: 0 where none
    /// did.
    pub fn depth(&self) -> u32 {
        match self {
            Self::EmittedBy { depth, .. } => *depth,
            _ => 0,
        }
    }

    /// What is known of an origin where only the execution that emitted the event is.
    pub fn of_parent(parent: Option<ExecutionId>) -> Self {
        parent.map_or(Self::Event, |execution| Self::EmittedBy { execution, depth: first_depth() })
    }
}

/// The depth of what an execution emitted that began its chain.
fn first_depth() -> u32 {
    1
}

/// Names an attempt: what messages, the outbox and the fence know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptKey {
    /// The execution.
    pub execution: ExecutionId,
    /// The epoch that it was dispatched in, as [`Dispatch::epoch`].
    pub epoch: u32,
    /// Which attempt; the first is 1.
    pub attempt: u32,
}

/// One attempt at an execution on its way to a host: all that a host must know, and all that a row
/// needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// The tenant.
    pub tenant: TenantName,
    /// The function that is to run.
    pub function: FunctionName,
    /// The execution.
    pub execution: ExecutionId,
    /// The execution's epoch, which every operator's operation raises; the first is 1. What was
    /// dispatched in an earlier epoch than the execution is in does not count any more. 0, where
    /// the message does not say (version 1 cannot), is no condition.
    pub epoch: u32,
    /// Which attempt; the first is 1.
    pub attempt: u32,
    /// How many there are at most; fixed at acceptance, raised by a replay.
    pub max_attempts: u32,
    /// When the event was accepted.
    pub accepted_at: Timestamp,
    /// When this attempt was handed to the broker; queue wait counts from here.
    pub queued_at: Timestamp,
    /// The span that this attempt's span is a child of.
    pub trace: TraceContext,
    /// Why the execution exists.
    pub origin: Origin,
    /// The first execution of the chain that led to this one, as far as it is known: itself, where
    /// it began the chain.
    pub root: ExecutionId,
    /// The revision of the definitions by which it was decided that the function runs: no host runs
    /// it by an earlier one. 0, where nobody knows any more (a retry, what was in the outbox), is
    /// no condition.
    pub revision: Revision,
    /// The event; shared by the executions that it fans out to.
    pub event: Arc<Event>,
}

impl Dispatch {
    /// The only attempt at a new execution that an event led to, accepted now, by no revision in
    /// particular.
    pub fn new(
        tenant: TenantName,
        function: FunctionName,
        trace: TraceContext,
        event: Arc<Event>,
    ) -> Self {
        let (execution, now) = (ExecutionId::new(), Timestamp::now());
        Self {
            tenant,
            function,
            execution,
            epoch: 1,
            attempt: 1,
            max_attempts: 1,
            accepted_at: now,
            queued_at: now,
            trace,
            origin: Origin::Event,
            root: execution,
            revision: Revision(0),
            event,
        }
    }

    /// Of this execution, which begins its chain.
    #[must_use]
    pub fn with_execution(self, execution: ExecutionId) -> Self {
        Self { execution, root: execution, ..self }
    }

    /// At this attempt of so many.
    #[must_use]
    pub fn with_attempt(self, attempt: u32, max_attempts: u32) -> Self {
        Self { attempt, max_attempts, ..self }
    }

    /// With so many attempts.
    #[must_use]
    pub fn with_max_attempts(self, max_attempts: u32) -> Self {
        Self { max_attempts, ..self }
    }

    /// In this epoch.
    #[must_use]
    pub fn with_epoch(self, epoch: u32) -> Self {
        Self { epoch, ..self }
    }

    /// Accepted then, and queued at once.
    #[must_use]
    pub fn with_accepted_at(self, accepted_at: Timestamp) -> Self {
        Self { accepted_at, queued_at: accepted_at, ..self }
    }

    /// For this reason, where the execution begins its chain.
    #[must_use]
    pub fn with_origin(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// Emitted by what `parent` dispatched, and in its chain.
    #[must_use]
    pub fn emitted_by(self, parent: &Self) -> Self {
        Self {
            origin: Origin::EmittedBy {
                execution: parent.execution,
                depth: parent.origin.depth().saturating_add(1),
            },
            root: parent.root,
            ..self
        }
    }

    /// Decided by this revision of the definitions.
    #[must_use]
    pub fn with_revision(self, revision: Revision) -> Self {
        Self { revision, ..self }
    }

    /// What it is known by.
    pub fn key(&self) -> AttemptKey {
        AttemptKey { execution: self.execution, epoch: self.epoch, attempt: self.attempt }
    }

    /// The execution that emitted the event, where one did.
    pub fn parent(&self) -> Option<ExecutionId> {
        self.origin.parent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_the_word_in_json() {
        let execution = ExecutionId::new();
        for origin in [
            Origin::Event,
            Origin::EmittedBy { execution, depth: 3 },
            Origin::ReplayOf { execution },
            Origin::Schedule {
                name: "nightly".into(),
                due: Timestamp::from_micros(1_780_000_000_000_000),
            },
            Origin::WorkflowStep { run: execution, path: "a/0".into() },
            Origin::Invocation,
        ] {
            let json = serde_json::to_value(&origin).unwrap();
            assert_eq!(json["kind"], origin.kind());
            assert_eq!(serde_json::from_value::<Origin>(json).unwrap(), origin);
        }
    }

    #[test]
    fn a_chain_keeps_its_first_execution() {
        let event = Arc::new(Event::new("1", "/s", "a.b".parse().unwrap(), "{}").unwrap());
        let new = || {
            Dispatch::new(
                TenantName::default(),
                "f".parse().unwrap(),
                TraceContext::new_root(),
                Arc::clone(&event),
            )
        };
        let first = new();
        let second = new().emitted_by(&first);
        let third = new().emitted_by(&second);
        assert_eq!((first.parent(), first.root), (None, first.execution));
        assert_eq!((third.parent(), third.root), (Some(second.execution), first.execution));
        let depths = [&first, &second, &third].map(|dispatch| dispatch.origin.depth());
        assert_eq!(depths, [0, 1, 2]);
        // What an earlier release has stored does not say.
        let stored = serde_json::json!({"kind": "emitted_by", "execution": first.execution});
        assert_eq!(serde_json::from_value::<Origin>(stored).unwrap().depth(), 1);
        let key = AttemptKey { execution: third.execution, epoch: 4, attempt: 2 };
        assert_eq!(third.with_epoch(4).with_attempt(2, 3).key(), key);
    }
}
