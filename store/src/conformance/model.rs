//! Random sequences of operations, on a store and on a small model of it that is built on the
//! domain's table of transitions. Both must come to the same.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wasmill_domain::{
    AttemptKey, Dispatch, ExecutionId, Operation, Outcome, State, Timestamp, Transition,
};

use super::Fresh;
use super::sample::{at_attempt, dispatch, finished, soon, started, tenant};
use crate::conformance::Store;
use crate::port::{ExecutionQuery, Finished, Publication, StoreError};

/// How many executions there are at the beginning; emitted events add to them.
const ROOTS: usize = 5;

/// One of the executions, taken modulo their number, and how far off its current attempt and epoch
/// a report is.
#[derive(Clone, Copy, Debug)]
struct ModelTarget {
    who: usize,
    off: i8,
    off_epoch: i8,
}

#[derive(Clone, Debug)]
enum End {
    Final(Outcome),
    Emitting(u8),
    Retry { after: u8 },
}

#[derive(Clone, Debug)]
enum Op {
    Enqueue { who: Vec<usize>, pending: bool },
    Start(Vec<ModelTarget>),
    Record(Vec<(ModelTarget, End)>),
    Promote { passed: u8, limit: u8 },
    Operate { who: usize, what: Transition },
    Published(Vec<ModelTarget>),
}

#[derive(Clone, Debug)]
struct Row {
    state: State,
    epoch: u32,
    attempt: u32,
    max_attempts: u32,
    due: Option<Timestamp>,
    attempts: Vec<(u32, Outcome)>,
    children: BTreeSet<ExecutionId>,
}

/// What the port's documentation says, in memory.
struct Model {
    executions: Vec<Dispatch>,
    rows: BTreeMap<ExecutionId, Row>,
    /// By execution and attempt, the epoch that an entry was made in.
    outbox: BTreeMap<(ExecutionId, u32), u32>,
    /// Counts due times up, so that no two are the same.
    clock: Timestamp,
}

impl Model {
    fn new() -> Self {
        Self {
            executions: (0..ROOTS).map(|_| dispatch("total")).collect(),
            rows: BTreeMap::new(),
            outbox: BTreeMap::new(),
            clock: Timestamp::from_micros(1_800_000_000_000_000),
        }
    }

    fn tick(&mut self, seconds: u8) -> Timestamp {
        self.clock = self.clock.plus(Duration::from_micros(1));
        self.clock.plus(Duration::from_secs(seconds.into()))
    }

    /// The dispatch that a target means.
    fn aim(&self, target: ModelTarget) -> Dispatch {
        let dispatch = &self.executions[target.who % self.executions.len()];
        let (epoch, attempt) =
            self.rows.get(&dispatch.execution).map_or((1, 1), |row| (row.epoch, row.attempt));
        at_attempt(dispatch, attempt.saturating_add_signed(target.off.into()).max(1))
            .with_epoch(epoch.saturating_add_signed(target.off_epoch.into()).max(1))
    }

    /// Whether an attempt may make `what` now, and where it leads.
    fn passes(&self, key: AttemptKey, what: Transition) -> Option<State> {
        match self.rows.get(&key.execution) {
            None => State::Queued.after(what).ok(),
            Some(row) if (row.attempt, row.epoch) == (key.attempt, key.epoch) => {
                row.state.after(what).ok()
            }
            Some(_) => None,
        }
    }

    fn is_open(&self, key: AttemptKey) -> bool {
        self.passes(key, Transition::Succeed).is_some()
    }

    /// Whether an entry of the outbox is of any use: it is sent as its execution is then.
    fn is_wanted(&self, id: ExecutionId, attempt: u32) -> bool {
        self.rows.get(&id).is_some_and(|row| {
            row.attempt == attempt && row.state.after(Transition::Succeed).is_ok()
        })
    }

    fn row(&mut self, dispatch: &Dispatch) -> &mut Row {
        self.rows.entry(dispatch.execution).or_insert_with(|| Row {
            state: State::Queued,
            epoch: dispatch.epoch,
            attempt: dispatch.attempt,
            max_attempts: dispatch.max_attempts,
            due: None,
            attempts: vec![],
            children: BTreeSet::new(),
        })
    }

    fn enqueue(&mut self, dispatch: &Dispatch, pending: bool) {
        let epoch = self.row(dispatch).epoch;
        if pending && self.is_wanted(dispatch.execution, dispatch.attempt) {
            self.outbox.entry((dispatch.execution, dispatch.attempt)).or_insert(epoch);
        }
    }

    fn start(&mut self, dispatch: &Dispatch) {
        if let Some(state) = self.passes(dispatch.key(), Transition::Start) {
            self.row(dispatch).state = state;
        }
    }

    /// Whether this is the attempt that a cancelled execution lacks.
    fn is_completed_by(&self, entry: &Finished) -> bool {
        let Finished { dispatch, report, retry_at, .. } = entry;
        let key = dispatch.key();
        (report.outcome, retry_at.is_none()) == (Outcome::Cancelled, true)
            && self.rows.get(&key.execution).is_some_and(|row| {
                (row.state, row.attempt, row.epoch) == (State::Cancelled, key.attempt, key.epoch)
                    && row.attempts.iter().all(|(attempt, _)| *attempt != key.attempt)
            })
    }

    fn record(&mut self, entry: &Finished) -> bool {
        let Finished { dispatch, report, retry_at, emitted, .. } = entry;
        let what =
            if retry_at.is_some() { Transition::Retry } else { report.outcome.final_transition() };
        let completed = || self.is_completed_by(entry).then_some(State::Cancelled);
        let Some(state) = self.passes(dispatch.key(), what).or_else(completed) else {
            return false;
        };
        let row = self.row(dispatch);
        row.state = state;
        row.due = *retry_at;
        row.attempts.push((dispatch.attempt, report.outcome));
        if what == Transition::Retry {
            row.attempt += 1;
        }
        if what == Transition::Succeed {
            row.children.extend(emitted.iter().map(|child| child.execution));
            for child in emitted {
                self.enqueue(child, true);
                self.executions.push(child.clone());
            }
        }
        true
    }

    fn promote(&mut self, now: Timestamp, limit: usize) -> Vec<(ExecutionId, u32)> {
        let mut due: Vec<(Timestamp, ExecutionId)> = self
            .rows
            .iter()
            .filter_map(|(id, row)| Some((row.due?, *id)))
            .filter(|(due, _)| *due <= now)
            .collect();
        due.sort_unstable();
        due.truncate(limit);
        let mut promoted = Vec::new();
        for (_, id) in due {
            let Some(row) = self.rows.get_mut(&id) else { continue };
            row.state = row.state.after(Transition::Promote).expect("what is due is delayed");
            row.due = None;
            promoted.push((id, row.attempt));
            self.outbox.insert((id, row.attempt), row.epoch);
        }
        promoted
    }

    /// `None` where there is no such execution; an error where it cannot make the transition.
    fn operate(&mut self, id: ExecutionId, what: Transition) -> Option<Result<State, ()>> {
        let row = self.rows.get_mut(&id)?;
        let operators =
            [Transition::Suspend, Transition::Resume, Transition::Cancel, Transition::Replay];
        let Some(state) = row.state.after(what).ok().filter(|_| operators.contains(&what)) else {
            return Some(Err(()));
        };
        row.state = state;
        row.due = None;
        row.epoch += 1;
        if what == Transition::Replay {
            row.attempt += 1;
            row.max_attempts += 1;
        }
        if state == State::Queued {
            self.outbox.insert((id, row.attempt), row.epoch);
        }
        Some(Ok(state))
    }
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        3 => (0u8..3).prop_map(End::Emitting),
        2 => proptest::sample::select(Outcome::ALL.to_vec()).prop_map(End::Final),
        3 => (0u8..20).prop_map(|after| End::Retry { after }),
    ]
}

fn target() -> impl Strategy<Value = ModelTarget> {
    let off = || prop_oneof![8 => Just(0i8), 1 => Just(-1i8), 1 => Just(1i8)];
    (0usize..64, off(), off()).prop_map(|(who, off, off_epoch)| ModelTarget { who, off, off_epoch })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (prop::collection::vec(0usize..64, 1..4), any::<bool>()).prop_map(|(who, pending)| Op::Enqueue { who, pending }),
        3 => prop::collection::vec(target(), 1..4).prop_map(Op::Start),
        5 => prop::collection::vec((target(), end()), 1..6).prop_map(Op::Record),
        3 => (0u8..20, 0u8..4).prop_map(|(passed, limit)| Op::Promote { passed, limit }),
        4 => (0usize..64, proptest::sample::select(Transition::ALL.to_vec())).prop_map(|(who, what)| Op::Operate { who, what }),
        2 => prop::collection::vec(target(), 1..4).prop_map(Op::Published),
    ]
}

/// What is handed to `record` for an end.
fn entry(model: &mut Model, target: ModelTarget, end: &End) -> Finished {
    let dispatch = model.aim(target);
    match end {
        End::Final(outcome) => finished(&dispatch, *outcome),
        End::Retry { after } => {
            Finished { retry_at: Some(model.tick(*after)), ..finished(&dispatch, Outcome::Error) }
        }
        End::Emitting(children) => {
            let child = || super::sample::dispatch("mail").emitted_by(&dispatch);
            Finished {
                emitted: (0..*children).map(|_| child()).collect(),
                ..finished(&dispatch, Outcome::Success)
            }
        }
    }
}

/// Does one operation on both and compares what they answer.
async fn apply(model: &mut Model, store: &dyn Store, op: &Op) {
    match op {
        Op::Enqueue { who, pending } => {
            let all: Vec<Dispatch> = who
                .iter()
                .map(|who| model.aim(ModelTarget { who: *who, off: 0, off_epoch: 0 }))
                .collect();
            let publication = if *pending { Publication::Pending } else { Publication::Confirmed };
            store.enqueue(&all, publication).await.unwrap();
            all.iter().for_each(|dispatch| model.enqueue(dispatch, *pending));
        }
        Op::Start(targets) => {
            let all: Vec<Dispatch> = targets.iter().map(|target| model.aim(*target)).collect();
            store.start(&all.iter().map(started).collect::<Vec<_>>()).await.unwrap();
            all.iter().for_each(|dispatch| model.start(dispatch));
        }
        Op::Record(ends) => {
            let batch: Vec<Finished> =
                ends.iter().map(|(target, end)| entry(model, *target, end)).collect();
            let expected: Vec<bool> = batch.iter().map(|entry| model.record(entry)).collect();
            assert_eq!(store.record(&batch).await.unwrap(), expected);
        }
        Op::Promote { passed, limit } => {
            let now = model.tick(*passed);
            let expected = model.promote(now, (*limit).into());
            let promoted = store.promote_due(now, (*limit).into()).await.unwrap();
            assert_eq!(
                promoted.iter().map(|d| (d.execution, d.attempt)).collect::<Vec<_>>(),
                expected
            );
        }
        Op::Operate { who, what } => {
            let id = model.aim(ModelTarget { who: *who, off: 0, off_epoch: 0 }).execution;
            let moved = store
                .transition_execution(&tenant(), id, &Operation::new(*what, model.clock))
                .await;
            match model.operate(id, *what) {
                Some(Ok(state)) => assert_eq!(moved.unwrap().state, state),
                Some(Err(())) => {
                    assert!(matches!(moved, Err(StoreError::Conflict(_))), "{moved:?}");
                }
                None => assert!(matches!(moved, Err(StoreError::NotFound(_))), "{moved:?}"),
            }
        }
        Op::Published(targets) => {
            let entries: Vec<AttemptKey> =
                targets.iter().map(|target| model.aim(*target).key()).collect();
            store.published(&entries).await.unwrap();
            for key in &entries {
                model.outbox.retain(|entry, epoch| {
                    *entry != (key.execution, key.attempt) || *epoch > key.epoch
                });
            }
        }
    }
}

/// Compares everything that can be seen of both.
async fn compare(model: &mut Model, store: &dyn Store) {
    let listed = store.executions(&ExecutionQuery::all_of(tenant(), 10_000)).await.unwrap();
    let seen: Vec<_> = listed
        .into_iter()
        .rev()
        .map(Result::unwrap)
        .map(|s| (s.id, s.state, (s.epoch, s.attempt), s.max_attempts, s.due_at))
        .collect();
    let rows = model
        .rows
        .iter()
        .map(|(id, row)| (*id, row.state, (row.epoch, row.attempt), row.max_attempts, row.due));
    assert_eq!(seen, rows.collect::<Vec<_>>());
    let wanted = model.outbox.iter().filter(|((id, attempt), _)| model.is_wanted(*id, *attempt));
    model.outbox = wanted.map(|(entry, epoch)| (*entry, *epoch)).collect();
    let outbox = store
        .outbox(soon().max(model.clock.plus(Duration::from_secs(3600))), 10_000)
        .await
        .unwrap();
    let sent: BTreeSet<_> = outbox.iter().map(|d| (d.execution, d.attempt)).collect();
    assert_eq!(sent, model.outbox.keys().copied().collect());
    assert!(outbox.iter().all(|d| d.epoch == model.rows[&d.execution].epoch));
    let asked: Vec<Dispatch> = [(-1, 0), (0, 0), (1, 0), (0, -1), (0, 1)]
        .into_iter()
        .flat_map(|(off, off_epoch)| {
            (0..model.executions.len()).map(move |who| ModelTarget { who, off, off_epoch })
        })
        .map(|target| model.aim(target))
        .collect();
    let expected: Vec<bool> = asked.iter().map(|asked| model.is_open(asked.key())).collect();
    assert_eq!(store.unfinished(&asked).await.unwrap(), expected);
}

/// Compares what each execution left behind.
async fn compare_details(model: &Model, store: &dyn Store) {
    for (id, row) in &model.rows {
        let detail = store.execution(&tenant(), *id).await.unwrap().unwrap();
        let attempts: Vec<_> =
            detail.attempts.iter().map(|(number, report)| (*number, report.outcome)).collect();
        assert_eq!(attempts, row.attempts);
        assert_eq!(detail.children.iter().copied().collect::<BTreeSet<_>>(), row.children);
        assert_eq!(detail.output.is_some(), row.state == State::Succeeded);
    }
}

/// Runs random sequences of operations on a fresh store each.
pub(crate) fn agrees<F: Future<Output = Fresh>>(fresh: impl Fn() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner =
        TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let sequences = prop::collection::vec(op(), 1..40);
    let outcome = runner.run(&sequences, |ops| {
        runtime.block_on(async {
            let fresh = fresh().await;
            let mut model = Model::new();
            for op in &ops {
                apply(&mut model, &*fresh.store, op).await;
                compare(&mut model, &*fresh.store).await;
            }
            compare_details(&model, &*fresh.store).await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
