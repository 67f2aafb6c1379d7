//! The fence: which of the reports that come in stand, and what they make of their executions.
//! Decided here, over what the database has, by the domain's table of transitions; a backend
//! reads the current states, asks, and writes the changes, all in one transaction.

use std::collections::HashMap;

use wasmill_domain::lifecycle::is_same_epoch;
use wasmill_domain::{
    Digest, Dispatch, ExecutionId, FunctionName, Outcome, State, TenantName, Timestamp, Transition,
};

use crate::port::{Finished, Started};

/// The current state of an execution: all of its row that the fence looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CurrentState {
    pub(crate) tenant: TenantName,
    pub(crate) function: FunctionName,
    pub(crate) state: State,
    pub(crate) epoch: u32,
    pub(crate) attempt: u32,
    /// Whether the row has all of the last attempt.
    pub(crate) has_attempt: bool,
    /// Whether the row has the event: one that an operator's operation has written first has not.
    pub(crate) has_event: bool,
}

impl CurrentState {
    /// The current state of a dispatch's execution, where `before` is what its row had, or had no
    /// row.
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

    /// Whether the row is nothing to a dispatch: another tenant's operator has written it before the
    /// event came, and it turns out to be the dispatch's own.
    pub(crate) fn is_void_for(&self, dispatch: &Dispatch) -> bool {
        !self.has_event && self.tenant != dispatch.tenant
    }

    /// Whether a dispatch is of this execution: an id alone proves nothing, as whoever can write to
    /// a queue chooses it.
    fn is_of(&self, dispatch: &Dispatch) -> bool {
        self.tenant == dispatch.tenant && self.function == dispatch.function
    }
}

/// What a row becomes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowChange<'a> {
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

impl<'a> RowChange<'a> {
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
pub(crate) type CurrentStates = HashMap<ExecutionId, CurrentState>;

/// The state that a row says. One that only a later release knows is closed to this one, as a
/// suspended execution is: no report of its hosts stands, and no other row of the batch is the
/// worse for it.
pub(crate) fn stored_state(word: &str) -> State {
    word.parse().unwrap_or(State::Suspended)
}

/// Whether an outcome of this attempt would stand now.
pub(crate) fn is_open(current: Option<&CurrentState>, attempt: u32) -> bool {
    current.is_none_or(|row| row.attempt == attempt && row.state.after(Transition::Succeed).is_ok())
}

/// Whether an outcome of what was dispatched would stand now.
pub(crate) fn is_open_for(current: Option<&CurrentState>, dispatch: &Dispatch) -> bool {
    let current = current.filter(|row| !row.is_void_for(dispatch));
    current.is_none_or(|row| row.is_of(dispatch) && is_same_epoch(row.epoch, dispatch.epoch))
        && is_open(current, dispatch.attempt)
}

/// The state that `what` leads to from where the execution stands, if the fence lets what was
/// dispatched make it. An execution without a row is queued.
fn passed(current: Option<&CurrentState>, dispatch: &Dispatch, what: Transition) -> Option<State> {
    match current {
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
fn completes(current: Option<&CurrentState>, finished: &Finished) -> bool {
    let Finished { dispatch, report, .. } = finished;
    current.is_some_and(|row| {
        row.is_of(dispatch)
            && (row.state, row.has_attempt) == (State::Cancelled, false)
            && (row.attempt, row.epoch) == (dispatch.attempt, dispatch.epoch)
            && (final_transition(finished), report.outcome)
                == (Transition::Cancel, Outcome::Cancelled)
    })
}

/// What each report changes, in order; `None` for one that does not stand. `current_states` is
/// brought up to date, so that of two reports of one attempt the first stands.
pub(crate) fn finish<'a>(
    finished: &'a [Finished],
    current_states: &mut CurrentStates,
) -> Vec<Option<RowChange<'a>>> {
    finished.iter().map(|entry| finish_one(entry, current_states)).collect()
}

fn finish_one<'a>(
    finished: &'a Finished,
    current_states: &mut CurrentStates,
) -> Option<RowChange<'a>> {
    let Finished { dispatch, report, .. } = finished;
    let current = current_states.get(&dispatch.execution);
    let what = final_transition(finished);
    let completed = || completes(current, finished).then_some(State::Cancelled);
    let state = passed(current, dispatch, what).or_else(completed)?;
    let attempt = if what == Transition::Retry {
        dispatch.attempt.saturating_add(1)
    } else {
        dispatch.attempt
    };
    let has_attempt = what != Transition::Retry;
    let after = CurrentState { has_attempt, ..CurrentState::of(dispatch, state, attempt, current) };
    let is_new = current_states.insert(dispatch.execution, after).is_none();
    Some(RowChange {
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
        last: (what != Transition::Retry).then_some(finished),
    })
}

/// Items in rounds: each round has no execution twice and is in the order of ids; what is of one
/// execution keeps its order.
pub(crate) fn rounds<T>(items: &[T], id: impl Fn(&T) -> ExecutionId) -> Vec<Vec<usize>> {
    let mut indices: Vec<usize> = (0..items.len()).collect();
    indices.sort_by_key(|&index| id(&items[index]));
    let mut rounds: Vec<Vec<usize>> = Vec::with_capacity(1);
    let (mut last, mut round) = (None, 0);
    for index in indices {
        let this = id(&items[index]);
        round = if last == Some(this) { round + 1 } else { 0 };
        last = Some(this);
        if rounds.len() == round {
            rounds.push(Vec::with_capacity(if round == 0 { items.len() } else { 1 }));
        }
        rounds[round].push(index);
    }
    rounds
}

/// The transition that a report makes where it stands.
fn final_transition(finished: &Finished) -> Transition {
    if finished.retry_at.is_some() {
        Transition::Retry
    } else {
        finished.report.outcome.final_transition()
    }
}

/// Whether another attempt follows: it has a row of its own then, as the execution's is the last
/// one's.
pub(crate) fn is_followed(finished: &Finished) -> bool {
    final_transition(finished) == Transition::Retry
}

/// The executions that a report that stands leads to: those of a success.
pub(crate) fn children(finished: &Finished) -> &[Dispatch] {
    if final_transition(finished) == Transition::Succeed { &finished.emitted } else { &[] }
}

/// What the beginnings of attempts change: for each execution the last one that stands.
pub(crate) fn start<'a>(
    started: &'a [Started],
    current_states: &mut CurrentStates,
) -> Vec<RowChange<'a>> {
    let mut changes: Vec<RowChange<'a>> = Vec::with_capacity(started.len());
    let mut indices: HashMap<ExecutionId, usize> = HashMap::new();
    for entry in started {
        let Some(mut change) = start_one(entry, current_states) else { continue };
        match indices.get(&change.dispatch.execution) {
            Some(&index) => {
                change.is_new = changes[index].is_new;
                changes[index] = change;
            }
            None => {
                indices.insert(change.dispatch.execution, changes.len());
                changes.push(change);
            }
        }
    }
    changes
}

fn start_one<'a>(
    started: &'a Started,
    current_states: &mut CurrentStates,
) -> Option<RowChange<'a>> {
    let Started { dispatch, version, host, at } = started;
    let before = current_states.get(&dispatch.execution);
    let state = passed(before, dispatch, Transition::Start)?;
    let current = CurrentState::of(dispatch, state, dispatch.attempt, before);
    let is_new = current_states.insert(dispatch.execution, current).is_none();
    Some(RowChange {
        is_new,
        state,
        version: Some(*version),
        host: Some(host),
        started_at: Some(*at),
        ..RowChange::accepted(dispatch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_open_where_its_outcome_would_stand() {
        for state in State::ALL {
            let dispatch = Dispatch { attempt: 2, ..crate::conformance::sample::dispatch("total") };
            let current = CurrentState::of(&dispatch, state, 2, None);
            let open = matches!(state, State::Queued | State::Running);
            assert_eq!(is_open(Some(&current), 2), open, "{state}");
            assert_eq!(is_open_for(Some(&current), &dispatch), open, "{state}");
            assert!(!is_open(Some(&current), 1) && !is_open(Some(&current), 3), "{state}");
            for (epoch, same) in [(0, true), (1, true), (2, false)] {
                let of_epoch = dispatch.clone().with_epoch(epoch);
                assert_eq!(is_open_for(Some(&current), &of_epoch), open && same, "{state} {epoch}");
            }
            let others = [
                Dispatch { tenant: "other".parse().unwrap(), ..dispatch.clone() },
                Dispatch { function: "other".parse().unwrap(), ..dispatch },
            ];
            assert!(others.iter().all(|other| !is_open_for(Some(&current), other)), "{state}");
            // Whose row it is, is not known before the event has come.
            let early = CurrentState { has_event: false, ..current.clone() };
            let [of_other_tenant, of_other_function] = &others;
            assert!(is_open_for(Some(&early), of_other_tenant), "{state}");
            assert!(!is_open_for(Some(&early), of_other_function), "{state}");
        }
        assert!(is_open(None, 7));
    }

    #[test]
    fn only_the_attempt_that_a_cancellation_ended_is_added_to_it() {
        let dispatch = crate::conformance::sample::dispatch("total").with_epoch(2);
        let cancelled = crate::conformance::sample::finished(&dispatch, Outcome::Cancelled);
        let current = CurrentState::of(&dispatch, State::Cancelled, 1, None);
        assert!(completes(Some(&current), &cancelled));
        assert!(!completes(None, &cancelled));
        for state in State::ALL.into_iter().filter(|state| *state != State::Cancelled) {
            assert!(!completes(Some(&CurrentState { state, ..current.clone() }), &cancelled));
        }
        assert!(!completes(
            Some(&CurrentState { has_attempt: true, ..current.clone() }),
            &cancelled
        ));
        for epoch in [0, 1, 3] {
            assert!(!completes(Some(&CurrentState { epoch, ..current.clone() }), &cancelled));
        }
        let failed = crate::conformance::sample::finished(&dispatch, Outcome::Trap);
        assert!(!completes(Some(&current), &failed));
    }

    #[test]
    fn every_end_of_an_attempt_is_possible_from_the_same_states() {
        for what in [Transition::Fail, Transition::Cancel, Transition::Retry] {
            for open in Transition::Succeed.sources() {
                assert!(open.after(what).is_ok(), "{open} {what}");
            }
        }
    }
}
