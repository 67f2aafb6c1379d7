//! What waits for a batch, by queue.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use wasmill_domain::batch::{MAX_DISPATCHES, SOFT_MAX_BYTES};
use wasmill_domain::{Dispatch, TenantName};

use super::message::weight;
use super::settings::PublisherSettings;
use crate::port::{BrokerError, Publishing, QueueName, Result};

/// Gets the result of a publish.
pub(super) type Waiter = oneshot::Sender<Result<()>>;

/// What the clones of a publisher share with the tasks of its queues.
pub(super) struct Batchers {
    pub(super) broker: Arc<dyn Publishing>,
    pub(super) settings: PublisherSettings,
    state: Mutex<WaitingDispatches>,
}

/// The queues that dispatches wait for. Each has a task for as long as anything of it waits or
/// awaits a confirm.
#[derive(Default)]
pub(super) struct WaitingDispatches {
    pub(super) queues: HashMap<QueueName, Batcher>,
    /// The weight of everything that waits.
    pub(super) weights: Weights,
}

/// How much waits, and of that how much is whose.
#[derive(Default)]
pub(super) struct Weights {
    all: usize,
    tenants: HashMap<TenantName, usize>,
}

/// What waits for a batch of one queue.
pub(super) struct Batcher {
    tenant: TenantName,
    waiting: VecDeque<Waiting>,
    /// The queue's task has nothing to send, and must be woken when there is something.
    idle: bool,
    wake: Arc<Notify>,
}

/// A dispatch that waits for a batch.
pub(super) struct Waiting {
    pub(super) dispatch: Dispatch,
    pub(super) weight: usize,
    pub(super) done: Waiter,
}

impl Batchers {
    pub(super) fn new(broker: Arc<dyn Publishing>, settings: PublisherSettings) -> Self {
        Self { broker, settings, state: Mutex::default() }
    }

    /// Lets a dispatch wait for its batch. True where its queue has no task yet: the caller must
    /// start one.
    ///
    /// # Errors
    /// [`BrokerError::Full`] where too many of the queue's dispatches wait already, or too many bytes
    /// of the tenant's; [`BrokerError::Unavailable`] where too many of all tenants' do.
    pub(super) fn enqueue(
        &self,
        queue: &QueueName,
        dispatch: Dispatch,
        done: Waiter,
    ) -> Result<bool> {
        let weight = weight(&dispatch);
        let tenant = dispatch.tenant.clone();
        let mut state = self.lock();
        state.weights.check(&tenant, weight, self.settings.waiting_bytes, queue)?;
        let waiting = Waiting { dispatch, weight, done };
        let is_new = match state.queues.entry(queue.clone()) {
            Entry::Occupied(mut batcher) => {
                if batcher.get().waiting() >= self.settings.waiting {
                    return Err(BrokerError::Full(queue.clone()));
                }
                batcher.get_mut().push(waiting);
                false
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Batcher::new(tenant.clone())).push(waiting);
                true
            }
        };
        state.weights.add(tenant, weight);
        Ok(is_new)
    }

    /// Forgets a queue whose task has ended before it was empty.
    pub(super) fn abandon(&self, queue: &QueueName) {
        let mut state = self.lock();
        if let Some(batcher) = state.queues.remove(queue) {
            let weight = batcher.waiting.iter().map(|waiting| waiting.weight).sum();
            state.weights.remove(&batcher.tenant, weight);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, WaitingDispatches> {
        // Nothing panics while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingDispatches {
    /// The dispatches of a queue's next batch: no more than a batch may have, and at least one where
    /// any waits.
    pub(super) fn take_batch(&mut self, queue: &QueueName) -> Vec<Waiting> {
        let Some(batcher) = self.queues.get_mut(queue) else { return Vec::new() };
        let (taken, weight) = batcher.take_batch();
        self.weights.remove(&batcher.tenant, weight);
        taken
    }
}

impl Weights {
    /// Whether so much more of a tenant may wait while `limit` is the bound of all: no more than it
    /// leaves free for others, but what a tenant begins with wherever there is room.
    fn check(
        &self,
        tenant: &TenantName,
        more: usize,
        limit: usize,
        queue: &QueueName,
    ) -> Result<()> {
        let own = self.tenants.get(tenant);
        match limit.checked_sub(self.all + more) {
            Some(free) if own.is_none_or(|own| own + more <= free) => Ok(()),
            // One that has so much by itself waits for its own queues, and is told so; whoever has
            // less suffers from others, and may be helped by an outbox.
            _ if own.is_some_and(|own| own + more > limit / 4) => {
                Err(BrokerError::Full(queue.clone()))
            }
            _ => Err(BrokerError::Unavailable(
                "too many bytes of all tenants wait to be published already".into(),
            )),
        }
    }

    fn add(&mut self, tenant: TenantName, weight: usize) {
        self.all += weight;
        *self.tenants.entry(tenant).or_default() += weight;
    }

    fn remove(&mut self, tenant: &TenantName, weight: usize) {
        self.all -= weight;
        if let Some(own) = self.tenants.get_mut(tenant) {
            *own -= weight;
            if *own == 0 {
                self.tenants.remove(tenant);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> usize {
        assert_eq!(self.all, self.tenants.values().sum::<usize>());
        self.all
    }
}

impl Batcher {
    fn new(tenant: TenantName) -> Self {
        Self { tenant, waiting: VecDeque::new(), idle: false, wake: Arc::new(Notify::new()) }
    }

    /// How many dispatches wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn push(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
        if std::mem::take(&mut self.idle) {
            self.wake.notify_one();
        }
    }

    /// The queue's task waits until it is woken.
    pub(super) fn set_idle(&mut self) -> Arc<Notify> {
        self.idle = true;
        Arc::clone(&self.wake)
    }

    /// The dispatches of the next batch, and their weight.
    fn take_batch(&mut self) -> (Vec<Waiting>, usize) {
        let mut weight = 0;
        let fitting = self.waiting.iter().take(MAX_DISPATCHES).take_while(|next| {
            let fits = weight == 0 || weight + next.weight <= SOFT_MAX_BYTES;
            weight += if fits { next.weight } else { 0 };
            fits
        });
        let count = fitting.count();
        (self.waiting.drain(..count).collect(), weight)
    }
}
