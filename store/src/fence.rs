//! The fence: which of the reports that come in stand, and what they make of their executions.
//! Decided here, over what the database has, by the domain's table of moves; a backend reads the
//! standings, asks, and writes the changes, all in one transaction.

use std::collections::HashMap;

use wasmill_domain::lifecycle::is_same_epoch;
use wasmill_domain::{
    Digest, Dispatch, ExecutionId, FunctionName, Move, Outcome, State, TenantName, Timestamp,
};

use crate::port::{Finished, Started};

/// Where an execution stands: all of its row that the fence looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) tenant: TenantName,
    pub(crate) function: FunctionName,
    pub(crate) state: State,
    pub(crate) epoch: u32,
    pub(crate) attempt: u32,
    /// Whether the row has all of the last attempt.
    pub(crate) has_attempt: bool,
    /// Whether the row has the event: one that an operator's move has written first has not.
    pub(crate) has_event: bool,
}

impl Standing {
    /// Where the execution of a dispatch stands, where `before` it stood there, or had no row.
    fn of(dispatch: &Dispatch, state: State, attempt: u32, before: Option<&Self>) -> Self {
        let (tenant, function) = (dispatch.tenant.clone(), dispatch.function.clone());
        Self {
            tenant,
            function,
            state,
            epoch: before.map_or(dispatch.epoch, |row| row.epoch),
            attempt,
            has_attempt: false,
            has_event: true,
        }
    }

    /// Whether a dispatch is of this execution: an id alone proves nothing, as whoever can write to
    /// a queue chooses it.
    fn is_of(&self, dispatch: &Dispatch) -> bool {
        self.tenant == dispatch.tenant && self.function == dispatch.function
    }
}

/// What a row becomes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    /// What the row is made from where there is none.
    pub(crate) dispatch: &'a Dispatch,
    /// Whether there is none.
    pub(crate) is_new: bool,
    pub(crate) state: State,
    pub(crate) attempt: u32,
    pub(crate) version: Option<Digest>,
    pub(crate) host: Option<&'a str>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) message: Option<&'a str>,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    /// The attempt that ends the execution: the row keeps all of it.
    pub(crate) last: Option<&'a Finished>,
}

impl<'a> Change<'a> {
    /// A row for an execution that was accepted and has not begun.
    pub(crate) fn accepted(dispatch: &'a Dispatch) -> Self {
        Self {
            dispatch,
            is_new: true,
            state: State::Queued,
            attempt: dispatch.attempt,
            version: None,
            host: None,
            outcome: None,
            message: None,
            due_at: None,
            started_at: None,
            finished_at: None,
            last: None,
        }
    }
}

/// What is known of the executions at hand; those without a row are not in it.
pub(crate) type Standings = HashMap<ExecutionId, Standing>;

/// The state that a row says. One that only a later release knows is closed to this one, as a
/// suspended execution is: no report of its hosts stands, and no other row of the batch is the
/// worse for it.
pub(crate) fn stored_state(word: &str) -> State {
    word.parse().unwrap_or(State::Suspended)
}

/// Whether an outcome of this attempt would stand now.
pub(crate) fn is_open(standing: Option<&Standing>, attempt: u32) -> bool {
    standing.is_none_or(|row| row.attempt == attempt && row.state.after(Move::Succeed).is_ok())
}

/// Whether an outcome of what was dispatched would stand now.
pub(crate) fn is_open_for(standing: Option<&Standing>, dispatch: &Dispatch) -> bool {
    standing.is_none_or(|row| row.is_of(dispatch) && is_same_epoch(row.epoch, dispatch.epoch))
        && is_open(standing, dispatch.attempt)
}

/// The state that `what` leads to from where the execution stands, if the fence lets what was
/// dispatched make it. An execution without a row is queued.
fn passed(standing: Option<&Standing>, dispatch: &Dispatch, what: Move) -> Option<State> {
    match standing {
        None => State::Queued.after(what).ok(),
        Some(row) => {
            let is_this = row.is_of(dispatch)
                && row.attempt == dispatch.attempt
                && is_same_epoch(row.epoch, dispatch.epoch);
            is_this.then(|| row.state.after(what).ok()).flatten()
        }
    }
}

/// Whether this is the attempt that ended by the cancellation of its execution, which the row lacks
/// so far. It says the epoch that the cancellation has begun, so it is no other's.
fn completes(standing: Option<&Standing>, finished: &Finished) -> bool {
    let Finished { dispatch, report, .. } = finished;
    standing.is_some_and(|row| {
        row.is_of(dispatch)
            && (row.state, row.has_attempt) == (State::Cancelled, false)
            && (row.attempt, row.epoch) == (dispatch.attempt, dispatch.epoch)
            && (final_move(finished), report.outcome) == (Move::Cancel, Outcome::Cancelled)
    })
}

/// What each report changes, in order; `None` for one that does not stand. `standings` is brought
/// up to date, so that of two reports of one attempt the first stands.
pub(crate) fn finish<'a>(
    finished: &'a [Finished],
    standings: &mut Standings,
) -> Vec<Option<Change<'a>>> {
    finished.iter().map(|entry| finish_one(entry, standings)).collect()
}

fn finish_one<'a>(finished: &'a Finished, standings: &mut Standings) -> Option<Change<'a>> {
    let Finished { dispatch, report, .. } = finished;
    let standing = standings.get(&dispatch.execution);
    let what = final_move(finished);
    let completed = || completes(standing, finished).then_some(State::Cancelled);
    let state = passed(standing, dispatch, what).or_else(completed)?;
    let attempt =
        if what == Move::Retry { dispatch.attempt.saturating_add(1) } else { dispatch.attempt };
    let has_attempt = what != Move::Retry;
    let after = Standing { has_attempt, ..Standing::of(dispatch, state, attempt, standing) };
    let is_new = standings.insert(dispatch.execution, after).is_none();
    Some(Change {
        dispatch,
        is_new,
        state,
        attempt,
        version: report.version,
        host: Some(&report.host),
        outcome: Some(report.outcome),
        message: report.message.as_deref(),
        due_at: finished.retry_at,
        started_at: Some(report.started_at),
        finished_at: Some(report.finished_at),
        last: (what != Move::Retry).then_some(finished),
    })
}

/// The move that a report makes where it stands.
fn final_move(finished: &Finished) -> Move {
    if finished.retry_at.is_some() { Move::Retry } else { finished.report.outcome.final_move() }
}

/// Whether another attempt follows: it has a row of its own then, as the execution's is the last
/// one's.
pub(crate) fn is_followed(finished: &Finished) -> bool {
    final_move(finished) == Move::Retry
}

/// The executions that a report that stands leads to: those of a success.
pub(crate) fn children(finished: &Finished) -> &[Dispatch] {
    if final_move(finished) == Move::Succeed { &finished.emitted } else { &[] }
}

/// What the beginnings of attempts change: for each execution the last one that stands.
pub(crate) fn start<'a>(started: &'a [Started], standings: &mut Standings) -> Vec<Change<'a>> {
    let mut changes: Vec<Change<'a>> = Vec::with_capacity(started.len());
    let mut places: HashMap<ExecutionId, usize> = HashMap::new();
    for entry in started {
        let Some(mut change) = start_one(entry, standings) else { continue };
        match places.get(&change.dispatch.execution) {
            Some(&place) => {
                change.is_new = changes[place].is_new;
                changes[place] = change;
            }
            None => {
                places.insert(change.dispatch.execution, changes.len());
                changes.push(change);
            }
        }
    }
    changes
}

fn start_one<'a>(started: &'a Started, standings: &mut Standings) -> Option<Change<'a>> {
    let Started { dispatch, version, host, at } = started;
    let before = standings.get(&dispatch.execution);
    let state = passed(before, dispatch, Move::Start)?;
    let standing = Standing::of(dispatch, state, dispatch.attempt, before);
    let is_new = standings.insert(dispatch.execution, standing).is_none();
    Some(Change {
        is_new,
        state,
        version: Some(*version),
        host: Some(host),
        started_at: Some(*at),
        ..Change::accepted(dispatch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_open_where_its_outcome_would_stand() {
        for state in State::ALL {
            let dispatch = Dispatch { attempt: 2, ..crate::conformance::sample::dispatch("total") };
            let standing = Standing::of(&dispatch, state, 2, None);
            let open = matches!(state, State::Queued | State::Running);
            assert_eq!(is_open(Some(&standing), 2), open, "{state}");
            assert_eq!(is_open_for(Some(&standing), &dispatch), open, "{state}");
            assert!(!is_open(Some(&standing), 1) && !is_open(Some(&standing), 3), "{state}");
            for (epoch, same) in [(0, true), (1, true), (2, false)] {
                let of_epoch = dispatch.clone().with_epoch(epoch);
                assert_eq!(
                    is_open_for(Some(&standing), &of_epoch),
                    open && same,
                    "{state} {epoch}"
                );
            }
            let others = [
                Dispatch { tenant: "other".parse().unwrap(), ..dispatch.clone() },
                Dispatch { function: "other".parse().unwrap(), ..dispatch },
            ];
            assert!(others.iter().all(|other| !is_open_for(Some(&standing), other)), "{state}");
        }
        assert!(is_open(None, 7));
    }

    #[test]
    fn only_the_attempt_that_a_cancellation_ended_is_added_to_it() {
        let dispatch = crate::conformance::sample::dispatch("total").with_epoch(2);
        let cancelled = crate::conformance::sample::finished(&dispatch, Outcome::Cancelled);
        let standing = Standing::of(&dispatch, State::Cancelled, 1, None);
        assert!(completes(Some(&standing), &cancelled));
        assert!(!completes(None, &cancelled));
        for state in State::ALL.into_iter().filter(|state| *state != State::Cancelled) {
            assert!(!completes(Some(&Standing { state, ..standing.clone() }), &cancelled));
        }
        assert!(!completes(Some(&Standing { has_attempt: true, ..standing.clone() }), &cancelled));
        for epoch in [0, 1, 3] {
            assert!(!completes(Some(&Standing { epoch, ..standing.clone() }), &cancelled));
        }
        let failed = crate::conformance::sample::finished(&dispatch, Outcome::Trap);
        assert!(!completes(Some(&standing), &failed));
    }

    #[test]
    fn every_end_of_an_attempt_is_possible_from_the_same_states() {
        for what in [Move::Fail, Move::Cancel, Move::Retry] {
            for open in Move::Succeed.sources() {
                assert!(open.after(what).is_ok(), "{open} {what}");
            }
        }
    }
}
