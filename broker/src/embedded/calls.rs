//! Calls within the process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::line::{Call, Line};
use crate::port::{Calls, Error, QueueName, Result};

/// How many calls may wait for an answer, of each service.
const WAITING: usize = 1_024;

/// Who is called, by whom. Cheap to clone: clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Exchange {
    services: Arc<Mutex<HashMap<QueueName, Arc<Service>>>>,
}

#[derive(Default)]
struct Service {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Ringing>,
    answering: usize,
    closed: bool,
}

/// A call that nobody has answered yet.
struct Ringing {
    call: Call,
    answered: watch::Sender<bool>,
}

impl Exchange {
    fn lock(&self) -> MutexGuard<'_, HashMap<QueueName, Arc<Service>>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn call(&self, name: &QueueName, opening: Bytes) -> Result<Line> {
        let service = self.lock().get(name).cloned().ok_or_else(|| Error::NoQueue(name.clone()))?;
        let mut state = service.lock();
        if state.answering == 0 {
            return Err(Error::NoQueue(name.clone()));
        }
        if state.waiting.len() >= WAITING {
            // Some may have given up.
            state.waiting.retain(|ringing| !ringing.answered.is_closed());
            if state.waiting.len() >= WAITING {
                return Err(Error::Full(name.clone()));
            }
        }
        let (here, there, answered) = Line::within_process();
        state.waiting.push_back(Ringing { call: Call { opening, line: there }, answered });
        drop(state);
        service.changed.notify_one();
        Ok(here)
    }

    pub(super) fn answer(&self, name: &QueueName) -> Answering {
        let mut services = self.lock();
        let service = Arc::clone(services.entry(name.clone()).or_default());
        service.lock().answering += 1;
        drop(services);
        Answering { exchange: self.clone(), name: name.clone(), service }
    }

    /// Ends every service: whoever answers hears of no further calls.
    pub(super) fn close(&self) {
        for (_, service) in self.lock().drain() {
            let mut state = service.lock();
            state.closed = true;
            state.waiting.clear();
            drop(state);
            service.changed.notify_waiters();
        }
    }
}

impl Service {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who answers.
pub(super) struct Answering {
    exchange: Exchange,
    name: QueueName,
    service: Arc<Service>,
}

#[async_trait]
impl Calls for Answering {
    async fn next(&mut self) -> Option<Call> {
        loop {
            let changed = self.service.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Before looking, so that no change is missed.
            changed.as_mut().enable();
            {
                let mut state = self.service.lock();
                if state.closed {
                    return None;
                }
                while let Some(ringing) = state.waiting.pop_front() {
                    // Whoever has hung up meanwhile is not called back.
                    if ringing.answered.send(true).is_ok() {
                        if !state.waiting.is_empty() {
                            self.service.changed.notify_one();
                        }
                        return Some(ringing.call);
                    }
                }
            }
            changed.await;
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut services = self.exchange.lock();
        let mut state = self.service.lock();
        state.answering -= 1;
        if state.answering == 0 {
            state.waiting.clear();
            if services.get(&self.name).is_some_and(|known| Arc::ptr_eq(known, &self.service)) {
                services.remove(&self.name);
            }
        } else if !state.waiting.is_empty() {
            // What this one was told of, another one is told of.
            self.service.changed.notify_one();
        }
    }
}
