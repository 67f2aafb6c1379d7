//! A store in between that can be told to be away, or to refuse what has to do with some execution.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::watch;
use wasmill_domain::{
    DefinitionKind, Definitions, Dispatch, ExecutionId, FunctionDefinition, Operation, Revision,
    TenantName, UnreadableDefinition,
};
use wasmill_store::sqlite::SqliteStore;
use wasmill_store::testing::{self, Hook};
use wasmill_store::{Catalog, Finished, Ledger, Publication, Result, StoreError};

use super::WAIT_TIMEOUT;

pub(super) type Proxy = testing::Proxy<SqliteStore, Faults>;

/// What is wrong with the store: nothing at first.
#[derive(Default)]
pub(super) struct Faults {
    away: AtomicBool,
    /// Executions whose results and logs are refused.
    refused: Mutex<HashSet<ExecutionId>>,
    /// Functions whose definitions cannot be read.
    unreadable: Mutex<Vec<&'static str>>,
    /// Whether some were, ever.
    unreadable_once: AtomicBool,
    records: AtomicUsize,
    asked: AtomicUsize,
    asked_for_open: AtomicUsize,
    /// Calls of this verb wait.
    held: watch::Sender<Option<&'static str>>,
    /// How many calls have been held.
    holds: watch::Sender<usize>,
    letters_refused: AtomicUsize,
    /// What is done right after the next answer to `unfinished`.
    after_unfinished: Mutex<Option<Interleaved>>,
}

/// What an operator does, or the gateway that writes the row.
pub(super) enum Interleaved {
    Operate(TenantName, ExecutionId, Operation),
    Enqueue(Dispatch),
}

impl Faults {
    /// Has somebody do this right after the next answer to `unfinished`.
    pub(super) fn after_unfinished(&self, what: Interleaved) {
        *self.after_unfinished.lock().unwrap() = Some(what);
    }

    /// Whether it was done.
    pub(super) fn was_done(&self) -> bool {
        self.after_unfinished.lock().unwrap().is_none()
    }

    /// Takes these functions for another release's, and no others.
    pub(super) fn set_unreadable(&self, functions: &[&'static str]) {
        *self.unreadable.lock().unwrap() = functions.to_vec();
        self.unreadable_once.store(true, Ordering::SeqCst);
    }

    pub(super) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    pub(super) fn refuse_content_of(&self, id: ExecutionId) {
        self.refused.lock().unwrap().insert(id);
    }

    /// Calls of `record`, refused ones included.
    pub(super) fn records(&self) -> usize {
        self.records.load(Ordering::SeqCst)
    }

    /// Calls of `orders`, refused ones included.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Calls of `has_open`.
    pub(super) fn asked_for_open(&self) -> usize {
        self.asked_for_open.load(Ordering::SeqCst)
    }

    /// Has calls of a verb wait from now on.
    pub(super) fn hold(&self, verb: &'static str) {
        self.held.send_replace(Some(verb));
    }

    /// Lets all calls go on.
    pub(super) fn hold_nothing(&self) {
        self.held.send_replace(None);
    }

    /// Waits until a call has been held.
    pub(super) async fn holds(&self) {
        let mut holds = self.holds.subscribe();
        let held = holds.wait_for(|calls| *calls > 0);
        tokio::time::timeout(WAIT_TIMEOUT, held).await.expect("the call comes in time").unwrap();
    }

    /// How many dead letters were not taken, as the store was away.
    pub(super) fn letters_refused(&self) -> usize {
        self.letters_refused.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Hook for Faults {
    async fn before(&self, verb: &'static str) -> Result<()> {
        if verb == "record" {
            self.records.fetch_add(1, Ordering::SeqCst);
        }
        if verb == "orders" {
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
        if verb == "has_open" {
            self.asked_for_open.fetch_add(1, Ordering::SeqCst);
        }
        let mut held = self.held.subscribe();
        if *held.borrow() == Some(verb) {
            self.holds.send_modify(|calls| *calls += 1);
            // The sender is here.
            let _ = held.wait_for(|held| *held != Some(verb)).await;
        }
        if !self.away.load(Ordering::SeqCst) {
            return Ok(());
        }
        if verb == "put_dead_letter" {
            self.letters_refused.fetch_add(1, Ordering::SeqCst);
        }
        Err(StoreError::Unavailable("cut off by the test".into()))
    }

    async fn definitions(
        &self,
        inner: &dyn Catalog,
        known: Revision,
    ) -> Result<Option<Definitions>> {
        // What is taken for unreadable changes without a change of the store.
        let mut all = match inner.definitions(known).await? {
            Some(_) if self.unreadable_once.load(Ordering::SeqCst) => {
                inner.definitions(Revision(-1)).await?
            }
            changed => changed,
        };
        if let Some(all) = &mut all {
            let unreadable = self.unreadable.lock().unwrap();
            let is_unreadable =
                |function: &mut FunctionDefinition| unreadable.contains(&function.name.as_str());
            all.unreadable.extend(all.functions.extract_if(.., is_unreadable).map(|function| {
                UnreadableDefinition {
                    kind: DefinitionKind::Function,
                    tenant: function.tenant.to_string(),
                    name: function.name.to_string(),
                    key: None,
                    why: "made so by the test".into(),
                }
            }));
        }
        Ok(all)
    }

    async fn unfinished(&self, inner: &dyn Ledger, attempts: &[Dispatch]) -> Result<Vec<bool>> {
        let open = inner.unfinished(attempts).await?;
        let what = self.after_unfinished.lock().unwrap().take();
        match what {
            Some(Interleaved::Operate(tenant, id, operation)) => {
                inner.transition_execution(&tenant, id, &operation).await?;
            }
            Some(Interleaved::Enqueue(dispatch)) => {
                inner.enqueue(&[dispatch], Publication::Confirmed).await?;
            }
            None => {}
        }
        Ok(open)
    }

    async fn record(&self, inner: &dyn Ledger, finished: &[Finished]) -> Result<Vec<bool>> {
        let has_content = |f: &Finished| f.report.output.is_some() || !f.logs.is_empty();
        let is_refused = |f: &Finished| {
            has_content(f) && self.refused.lock().unwrap().contains(&f.dispatch.execution)
        };
        if finished.iter().any(is_refused) {
            return Err(StoreError::Rejected("refused by the test".into()));
        }
        inner.record(finished).await
    }
}
