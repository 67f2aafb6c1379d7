//! The states of an execution and the transitions between them: the one table.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The current state of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Due later: accepted with a delay, or waiting for its next attempt.
    #[serde(rename = "delayed", alias = "scheduled")]
    Delayed,
    /// On its way to a host.
    Queued,
    /// A host runs it.
    Running,
    /// Held by an operator.
    Suspended,
    /// Done.
    Succeeded,
    /// Given up; it keeps its event and can be replayed.
    Failed,
    /// Cancelled.
    Cancelled,
}

/// What can happen to an execution: the name of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
    /// Its due time has come.
    Promote,
    /// A host begins an attempt. Allowed while running too: the message comes again when its host
    /// died.
    Start,
    /// An attempt succeeded.
    Succeed,
    /// An attempt failed for good.
    Fail,
    /// An attempt failed and another one is due later.
    Retry,
    /// An operator holds it.
    Suspend,
    /// An operator lets it go on.
    Resume,
    /// It is cancelled.
    Cancel,
    /// A failed one is run again.
    Replay,
}

/// A transition that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .from.refusal(*.what))]
pub struct TransitionNotAllowed {
    /// The state it is in.
    pub from: State,
    /// What was asked.
    pub what: Transition,
}

/// Every allowed transition: from, what happens, to. Whatever is not here cannot happen.
/// `docs/states.md` draws it and is tested against it.
pub const TRANSITIONS: [(State, Transition, State); 19] = [
    (State::Delayed, Transition::Promote, State::Queued),
    (State::Delayed, Transition::Suspend, State::Suspended),
    (State::Delayed, Transition::Cancel, State::Cancelled),
    (State::Queued, Transition::Start, State::Running),
    (State::Queued, Transition::Succeed, State::Succeeded),
    (State::Queued, Transition::Fail, State::Failed),
    (State::Queued, Transition::Retry, State::Delayed),
    (State::Queued, Transition::Suspend, State::Suspended),
    (State::Queued, Transition::Cancel, State::Cancelled),
    (State::Running, Transition::Start, State::Running),
    (State::Running, Transition::Succeed, State::Succeeded),
    (State::Running, Transition::Fail, State::Failed),
    (State::Running, Transition::Retry, State::Delayed),
    (State::Running, Transition::Suspend, State::Suspended),
    (State::Running, Transition::Cancel, State::Cancelled),
    (State::Suspended, Transition::Resume, State::Queued),
    (State::Suspended, Transition::Cancel, State::Cancelled),
    (State::Failed, Transition::Replay, State::Queued),
    (State::Cancelled, Transition::Replay, State::Queued),
];

/// What a delayed execution is called in tables, and was called in the API of releases before.
const DELAYED_IN_TABLES: &str = "scheduled";

impl State {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Delayed,
        Self::Queued,
        Self::Running,
        Self::Suspended,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The state after `what`.
    ///
    /// # Errors
    /// Where the table does not have the transition.
    pub fn after(self, what: Transition) -> Result<Self, TransitionNotAllowed> {
        let found = TRANSITIONS.iter().find(|(from, by, _)| *from == self && *by == what);
        found.map(|(_, _, to)| *to).ok_or(TransitionNotAllowed { from: self, what })
    }

    /// Whether nothing more happens unless an operator asks for it.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The word for it in code, API, command line and docs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delayed => "delayed",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl State {
    /// Why an execution in this state does not do `what`, in plain words.
    fn refusal(self, what: Transition) -> String {
        match what {
            Transition::Suspend if self == Self::Suspended => "the execution is suspended already",
            Transition::Cancel if self == Self::Cancelled => "the execution is cancelled already",
            Transition::Resume if !self.is_terminal() => {
                return format!("the execution is {self}, not suspended: there is nothing to resume");
            }
            Transition::Replay if !self.is_terminal() => {
                return format!("the execution is {self}: only one that has failed or was cancelled can be replayed");
            }
            Transition::Suspend | Transition::Resume | Transition::Cancel if self.is_terminal() => {
                return format!("the execution has ended already: it is {self}");
            }
            _ => return format!("'{what}' is not possible for an execution that is {self}"),
        }
        .to_owned()
    }

    /// The word for it in the databases' tables: that of the API, but for a delayed execution.
    /// Releases before this one know that as `scheduled`, and so do the conditions of an index over
    /// all of history; rows keep that word, so that either release makes what is due run.
    pub fn as_stored(self) -> &'static str {
        match self {
            Self::Delayed => DELAYED_IN_TABLES,
            other => other.as_str(),
        }
    }
}

impl Transition {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Promote,
        Self::Start,
        Self::Succeed,
        Self::Fail,
        Self::Retry,
        Self::Suspend,
        Self::Resume,
        Self::Cancel,
        Self::Replay,
    ];

    /// The states from which it is allowed.
    pub fn sources(self) -> impl Iterator<Item = State> {
        TRANSITIONS.into_iter().filter(move |(_, by, _)| *by == self).map(|(from, _, _)| from)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Start => "start",
            Self::Succeed => "succeed",
            Self::Fail => "fail",
            Self::Retry => "retry",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Replay => "replay",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;

    /// Reads the word of the API or that of the tables.
    fn from_str(text: &str) -> Result<Self, String> {
        let named = |state: &Self| state.as_str() == text || state.as_stored() == text;
        Self::ALL.into_iter().find(named).ok_or_else(|| {
            format!("'{text}' is not a state: one of {}", Self::ALL.map(Self::as_str).join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_a_function() {
        for (i, (from, what, _)) in TRANSITIONS.iter().enumerate() {
            assert!(
                !TRANSITIONS[i + 1..].iter().any(|(f, w, _)| f == from && w == what),
                "{from} {what} stands twice"
            );
        }
    }

    #[test]
    fn what_ended_changes_only_by_replay() {
        for (from, what, _) in TRANSITIONS {
            assert!(!from.is_terminal() || what == Transition::Replay, "{from} {what}");
        }
        assert!(State::Succeeded.after(Transition::Replay).is_err());
    }

    #[test]
    fn every_state_can_be_reached_and_named() {
        for state in State::ALL {
            assert!(
                state == State::Queued
                    || TRANSITIONS.iter().any(|(from, _, to)| *to == state && *from != state)
            );
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(state.as_stored().parse(), Ok(state));
            let json = format!("\"{}\"", state.as_stored());
            assert_eq!(serde_json::from_str::<State>(&json).unwrap(), state);
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
    }

    /// The diagram in the docs is the table.
    #[test]
    fn the_diagram_shows_the_table() {
        let drawn = include_str!("../../docs/states.md");
        let mut edges: Vec<&str> = drawn
            .lines()
            .map(str::trim)
            .filter(|line| line.contains(" --> ") && !line.contains("[*]"))
            .collect();
        let mut table: Vec<String> = TRANSITIONS
            .iter()
            .map(|(from, what, to)| format!("{from} --> {to} : {what}"))
            .collect();
        edges.sort_unstable();
        table.sort_unstable();
        assert_eq!(edges, table);
    }
}
