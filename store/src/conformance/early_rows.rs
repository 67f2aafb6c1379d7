//! Rows that operations make of executions of which nothing is known yet: how many there may be,
//! and how long they stay. The store has the quotas of [`small`](super::quotas::small).

use std::sync::Arc;
use std::time::Duration;

use wasmill_domain::{Dispatch, Operation, State, TenantName, Transition};

use super::Store;
use super::sample::{dispatch, execution_in, now, soon, state_of, tenant};
use crate::port::{OperationResult, Publication, Result, StoreError};

async fn operate(
    store: &dyn Store,
    tenant: &TenantName,
    dispatch: &Dispatch,
    what: Transition,
) -> Result<OperationResult> {
    let operation = Operation::new(what, now()).before_row(true);
    store.transition_execution(tenant, dispatch.execution, &operation).await
}

/// Whether the tenant may have one more; it has it then.
async fn admits(store: &dyn Store, tenant: &TenantName) -> bool {
    match operate(store, tenant, &dispatch("total"), Transition::Cancel).await {
        Ok(_) => true,
        Err(StoreError::QuotaExceeded { quota, why }) => {
            assert!(quota == "early_rows" && why.contains("quota 'early_rows'"), "{why}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

pub(crate) async fn what_nothing_is_known_of_has_a_quota(store: Arc<dyn Store>) {
    let (store, ours) = (&*store, &tenant());
    let [held, cancelled] = [dispatch("total"), dispatch("total")];
    operate(store, ours, &held, Transition::Suspend).await.unwrap();
    operate(store, ours, &cancelled, Transition::Cancel).await.unwrap();
    assert!(!admits(store, ours).await);
    // What has a row is moved as ever, and other tenants have their own.
    operate(store, ours, &held, Transition::Cancel).await.unwrap();
    let queued = execution_in(store, State::Queued).await;
    operate(store, ours, &queued, Transition::Suspend).await.unwrap();
    assert!(admits(store, &"other".parse().unwrap()).await);
    // Its event comes, and makes room.
    store.enqueue(std::slice::from_ref(&cancelled), Publication::Confirmed).await.unwrap();
    let again = dispatch("total");
    operate(store, ours, &again, Transition::Suspend).await.unwrap();
    assert!(!admits(store, ours).await);
    operate(store, ours, &again, Transition::Resume).await.unwrap();
    assert!(admits(store, ours).await);
    assert!(!admits(store, ours).await);
}

pub(crate) async fn operations_at_once_keep_within_the_quota(store: Arc<dyn Store>) {
    let admitted = (0..8).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { admits(&*store, &tenant()).await })
    });
    let mut count = 0;
    for admitted in admitted.collect::<Vec<_>>() {
        count += u32::from(admitted.await.unwrap());
    }
    assert_eq!(count, 2);
}

pub(crate) async fn what_nothing_comes_of_is_forgotten(store: Arc<dyn Store>) {
    let (store, ours) = (&*store, &tenant());
    let [held, cancelled] = [dispatch("total"), dispatch("total")];
    operate(store, ours, &held, Transition::Suspend).await.unwrap();
    operate(store, ours, &cancelled, Transition::Cancel).await.unwrap();
    let before = now().minus(Duration::from_secs(60));
    assert_eq!(store.prune_early_rows(before, 10).await.unwrap(), 0);
    store.enqueue(std::slice::from_ref(&cancelled), Publication::Confirmed).await.unwrap();
    assert_eq!(store.prune_early_rows(soon(), 10).await.unwrap(), 1);
    assert_eq!(store.prune_early_rows(soon(), 10).await.unwrap(), 0);
    assert_eq!(store.execution(ours, held.execution).await.unwrap(), None);
    assert_eq!(state_of(store, &cancelled).await, (State::Cancelled, 1));
    // As if nothing had been decided about it.
    let one = std::slice::from_ref(&held);
    assert_eq!(store.unfinished(one).await.unwrap(), [true]);
    store.enqueue(one, Publication::Confirmed).await.unwrap();
    assert_eq!(state_of(store, &held).await, (State::Queued, 1));
    assert!(admits(store, ours).await && admits(store, ours).await);
}

/// What is deleted as old takes its note with it, however long notes are kept.
pub(crate) async fn what_is_old_makes_room(store: Arc<dyn Store>) {
    let (store, ours) = (&*store, &tenant());
    assert!(admits(store, ours).await && admits(store, ours).await);
    assert!(!admits(store, ours).await);
    assert_eq!(store.prune_executions(soon(), None, 10).await.unwrap().deleted, 2);
    assert!(admits(store, ours).await && admits(store, ours).await);
    assert!(!admits(store, ours).await);
}

/// A release that does not know notes leaves them behind: where it deletes a row as old, and where
/// it brings the event. `run` runs a statement past the store, and says how many rows it changed.
pub(crate) async fn what_another_release_leaves_is_not_counted(
    store: Arc<dyn Store>,
    run: impl AsyncFn(&'static str) -> u64,
) {
    let (store, ours) = (&*store, &tenant());
    for statement in ["DELETE FROM executions", "UPDATE executions SET event_id = 'came'"] {
        assert!(admits(store, ours).await && admits(store, ours).await);
        assert!(!admits(store, ours).await);
        assert_eq!(run(statement).await, 2, "{statement}");
    }
    assert!(admits(store, ours).await && admits(store, ours).await);
    assert!(!admits(store, ours).await);
}
