//! What a transition makes of an execution: of an operator, of a message that nobody can read, of
//! an event that cannot be read back. Decided here, once for every database: a backend reads a
//! [`Lifecycle`], asks, and writes what comes of it. (What the ends of attempts make of executions
//! is decided by the same table, many at once, in the store's fence.)

use std::time::Duration;

use crate::dispatch::{AttemptKey, Dispatch};
use crate::execution::{ExecutionId, Outcome};
use crate::state::{State, Transition, TransitionNotAllowed};
use crate::timestamp::Timestamp;

/// What holds a suspended execution where nobody said who.
pub const HELD_BY_OPERATOR: &str = "operator";

/// The longest reason for an operation, in bytes.
pub const LONGEST_REASON: usize = 1_000;

/// How long a row is kept that an operation has made before the execution's event came, by
/// default; and how old an id may be for that: what waits in a queue may be without a row for days,
/// where the store was away when it was accepted.
pub const EARLY_ROW_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What an operator does with one execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Suspend, resume, cancel or replay.
    pub what: Transition,
    /// When.
    pub at: Timestamp,
    /// Why, for those who look at the execution later.
    pub reason: Option<String>,
    /// Who. It holds the execution, where that is suspended.
    pub by: Option<String>,
    /// Whether the execution may have no row yet. It gets one without an event then, where it is
    /// cancelled or suspended, so that the message that comes later finds what was decided.
    pub may_precede_row: bool,
}

impl Operation {
    /// An operation at some time, without a reason, of an execution that has a row.
    pub fn new(what: Transition, at: Timestamp) -> Self {
        Self { what, at, reason: None, by: None, may_precede_row: false }
    }

    /// Because of this, where it is given.
    #[must_use]
    pub fn with_reason(self, reason: Option<String>) -> Self {
        Self { reason, ..self }
    }

    /// By somebody.
    #[must_use]
    pub fn by(self, by: impl Into<String>) -> Self {
        Self { by: Some(by.into()), ..self }
    }

    /// Of an execution that may have no row yet, where `may` is true.
    #[must_use]
    pub fn before_row(self, may: bool) -> Self {
        Self { may_precede_row: may, ..self }
    }
}

/// All of an execution's row that transitions read and change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// Its current state.
    pub state: State,
    /// Its epoch.
    pub epoch: u32,
    /// The attempt it is at.
    pub attempt: u32,
    /// How many there are at most.
    pub max_attempts: u32,
    /// How the last attempt ended.
    pub outcome: Option<Outcome>,
    /// Why it did not succeed.
    pub message: Option<String>,
    /// When its current attempt was handed to the broker.
    pub queued_at: Timestamp,
    /// When it is due, while it is delayed.
    pub due_at: Option<Timestamp>,
    /// When it, or its last attempt, ended.
    pub finished_at: Option<Timestamp>,
    /// What holds it while it is suspended.
    pub held_by: Option<String>,
    /// Why its state was changed last, where somebody said so.
    pub reason: Option<String>,
    /// When its state was changed last by anything but the ends of its attempts.
    pub changed_at: Option<Timestamp>,
    /// Whether the row has all of the last attempt: what it cost, and its log.
    pub has_attempt: bool,
    /// Whether the row has the event. One that was written before the event came has not.
    pub has_event: bool,
}

/// The effects of a transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects {
    /// The row's values from then on. Where [`Effects::archives_attempt`] is true the row has no
    /// attempt any more.
    pub after: Lifecycle,
    /// Whether the last attempt gets a row of its own before that, as another one will follow it.
    pub archives_attempt: bool,
    /// Whether the attempt that it is at is to be put in the outbox.
    pub publishes: bool,
    /// Whether the row is deleted instead: it has no event, and nothing is decided about the
    /// execution any more. It is as if no operation had been made.
    pub deletes_row: bool,
}

/// Why an operator's operation is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is none of an operator's.
    #[error("'{0}' is not an operator's operation")]
    NotOperators(Transition),
    /// The table of transitions does not have it.
    #[error(transparent)]
    NotAllowed(#[from] TransitionNotAllowed),
}

/// Whether two epochs are the same as far as they are known: 0 is that of what does not say.
pub fn is_same_epoch(one: u32, other: u32) -> bool {
    one == other || one == 0 || other == 0
}

/// The epoch after an operator's operation.
fn next_epoch(epoch: u32) -> u32 {
    epoch.max(1).saturating_add(1)
}

/// What is said of an attempt that ended by an operator's operation.
pub fn cancellation(reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("cancelled by an operator: {reason}"),
        None => "cancelled by an operator".to_owned(),
    }
}

impl Lifecycle {
    /// That of an execution whose row is to be written before its event is known, as an operator
    /// moves it: `None` where the operation is none that may come first.
    pub fn before_event(id: ExecutionId, operation: &Operation) -> Option<Self> {
        if !matches!(operation.what, Transition::Cancel | Transition::Suspend) {
            return None;
        }
        let accepted = Self {
            state: State::Queued,
            epoch: 1,
            attempt: 1,
            max_attempts: 1,
            outcome: None,
            message: None,
            queued_at: id.made_at(),
            due_at: None,
            finished_at: None,
            held_by: None,
            reason: None,
            changed_at: None,
            has_attempt: false,
            has_event: false,
        };
        accepted.operate(operation).ok().map(|effects| effects.after)
    }

    /// That of an execution that was accepted just now.
    pub fn accepted(dispatch: &Dispatch) -> Self {
        Self {
            state: State::Queued,
            epoch: dispatch.epoch,
            attempt: dispatch.attempt,
            max_attempts: dispatch.max_attempts,
            outcome: None,
            message: None,
            queued_at: dispatch.queued_at,
            due_at: None,
            finished_at: None,
            held_by: None,
            reason: None,
            changed_at: None,
            has_attempt: false,
            has_event: true,
        }
    }

    /// What an operator's operation makes of it. It begins the next epoch: what was dispatched
    /// before does not count any more.
    ///
    /// # Errors
    /// [`Refusal`]: nothing changes.
    pub fn operate(&self, operation: &Operation) -> Result<Effects, Refusal> {
        let Operation { what, at, reason, by, .. } = operation;
        if !matches!(
            what,
            Transition::Suspend | Transition::Resume | Transition::Cancel | Transition::Replay
        ) {
            return Err(Refusal::NotOperators(*what));
        }
        let state = self.state.after(*what)?;
        let mut after = Self {
            state,
            epoch: next_epoch(self.epoch),
            due_at: None,
            held_by: None,
            reason: reason.clone(),
            changed_at: Some(*at),
            ..self.clone()
        };
        let mut archives_attempt = false;
        match what {
            Transition::Suspend => {
                after.held_by = Some(by.clone().unwrap_or_else(|| HELD_BY_OPERATOR.to_owned()));
            }
            // The attempt that was interrupted, or did not begin, did not end: it is made again.
            Transition::Resume => after.queued_at = *at,
            Transition::Cancel => {
                after.finished_at = Some(*at);
                // An attempt that runs ends with it; one that ended before keeps its outcome.
                if self.state == State::Running {
                    after.outcome = Some(Outcome::Cancelled);
                    after.message = Some(cancellation(reason.as_deref()));
                }
            }
            _ => {
                after.attempt = self.attempt.saturating_add(1);
                after.max_attempts = self.max_attempts.saturating_add(1);
                after.queued_at = *at;
                archives_attempt = self.has_attempt;
                after.has_attempt = false;
            }
        }
        let publishes = state == State::Queued && self.has_event;
        // Whatever message of it comes is of the first epoch, which counts again.
        let deletes_row = *what == Transition::Resume && !self.has_event;
        Ok(Effects { after, archives_attempt, publishes, deletes_row })
    }

    /// What it becomes when its event comes, where the row was written before. One that was replayed
    /// meanwhile is published then.
    pub fn with_event(&self, dispatch: &Dispatch) -> Effects {
        let added = self.attempt.saturating_sub(1);
        let after = Self {
            max_attempts: dispatch.max_attempts.saturating_add(added),
            has_event: true,
            ..self.clone()
        };
        let publishes = after.state == State::Queued;
        Effects { after, archives_attempt: false, publishes, deletes_row: false }
    }

    /// What becomes of it where no process can read the message of `attempt`; `None` where it does
    /// not wait for that message.
    pub fn end_by_dead_letter(
        &self,
        attempt: &AttemptKey,
        why: &str,
        at: Timestamp,
    ) -> Option<Effects> {
        if !self.is_at(attempt) {
            return None;
        }
        self.fail(Outcome::Poisoned, why, at)
    }

    /// What becomes of it where the message of `attempt` that nobody could read is sent again;
    /// `None` where it did not end by that message.
    pub fn reopen(&self, attempt: &AttemptKey, at: Timestamp) -> Option<Effects> {
        let ended_by_it = self.is_at(attempt)
            && (self.state, self.outcome) == (State::Failed, Some(Outcome::Poisoned))
            && !self.has_attempt;
        ended_by_it.then(|| {
            let after = Self {
                state: State::Queued,
                outcome: None,
                message: None,
                finished_at: None,
                reason: None,
                changed_at: Some(at),
                ..self.clone()
            };
            // Its message is what is sent.
            Effects { after, archives_attempt: false, publishes: false, deletes_row: false }
        })
    }

    /// What becomes of it where its event cannot be read back, so that it could never run; `None`
    /// where it does not wait to run.
    pub fn give_up(&self, why: &str, at: Timestamp) -> Option<Effects> {
        self.fail(Outcome::Rejected, why, at)
    }

    fn fail(&self, outcome: Outcome, why: &str, at: Timestamp) -> Option<Effects> {
        let state = self.state.after(Transition::Fail).ok()?;
        let after = Self {
            state,
            outcome: Some(outcome),
            message: Some(why.to_owned()),
            due_at: None,
            finished_at: Some(at),
            changed_at: Some(at),
            ..self.clone()
        };
        Some(Effects { after, archives_attempt: false, publishes: false, deletes_row: false })
    }

    fn is_at(&self, attempt: &AttemptKey) -> bool {
        self.attempt == attempt.attempt && is_same_epoch(self.epoch, attempt.epoch)
    }
}

#[cfg(test)]
mod tests;
