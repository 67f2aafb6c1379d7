//! Request streams within the process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::port::{BrokerError, IncomingStreams, QueueName, Result};
use crate::request_stream::{IncomingStream, RequestStream};

/// How many streams of one service may wait to be accepted.
const MAX_PENDING: usize = 1_024;

/// Connects those who open request streams to those who accept them. Clones share the services.
#[derive(Clone, Default)]
pub(super) struct CallRouter {
    services: Arc<Mutex<HashMap<QueueName, Arc<Service>>>>,
}

#[derive(Default)]
struct Service {
    state: Mutex<ServiceState>,
    changed: Notify,
}

#[derive(Default)]
struct ServiceState {
    pending: VecDeque<PendingStream>,
    acceptors: usize,
    closed: bool,
}

/// A stream that nobody has accepted yet.
struct PendingStream {
    incoming: IncomingStream,
    accepted: watch::Sender<bool>,
}

impl CallRouter {
    fn lock(&self) -> MutexGuard<'_, HashMap<QueueName, Arc<Service>>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a stream to whoever accepts those of `name`.
    pub(super) fn open(&self, name: &QueueName, opening: Bytes) -> Result<RequestStream> {
        let service =
            self.lock().get(name).cloned().ok_or_else(|| BrokerError::NoQueue(name.clone()))?;
        let mut state = service.lock();
        if state.acceptors == 0 {
            return Err(BrokerError::NoQueue(name.clone()));
        }
        if state.pending.len() >= MAX_PENDING {
            // Some may be closed already.
            state.pending.retain(|pending| !pending.accepted.is_closed());
            if state.pending.len() >= MAX_PENDING {
                return Err(BrokerError::Full(name.clone()));
            }
        }
        let (here, there, accepted) = RequestStream::within_process();
        state.pending.push_back(PendingStream {
            incoming: IncomingStream { opening, stream: there },
            accepted,
        });
        drop(state);
        service.changed.notify_one();
        Ok(here)
    }

    /// Begins to accept the streams of `name`.
    pub(super) fn accept(&self, name: &QueueName) -> Acceptor {
        let mut services = self.lock();
        let service = Arc::clone(services.entry(name.clone()).or_default());
        service.lock().acceptors += 1;
        drop(services);
        Acceptor { router: self.clone(), name: name.clone(), service }
    }

    /// Ends every service: acceptors receive no further streams.
    pub(super) fn close(&self) {
        for (_, service) in self.lock().drain() {
            let mut state = service.lock();
            state.closed = true;
            state.pending.clear();
            drop(state);
            service.changed.notify_waiters();
        }
    }
}

impl Service {
    fn lock(&self) -> MutexGuard<'_, ServiceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who accepts a service's streams.
pub(super) struct Acceptor {
    router: CallRouter,
    name: QueueName,
    service: Arc<Service>,
}

#[async_trait]
impl IncomingStreams for Acceptor {
    async fn next(&mut self) -> Option<IncomingStream> {
        loop {
            let changed = self.service.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Before the state is read, so that no change is missed.
            changed.as_mut().enable();
            {
                let mut state = self.service.lock();
                if state.closed {
                    return None;
                }
                while let Some(pending) = state.pending.pop_front() {
                    // One that was closed meanwhile is skipped.
                    if pending.accepted.send(true).is_ok() {
                        if !state.pending.is_empty() {
                            self.service.changed.notify_one();
                        }
                        return Some(pending.incoming);
                    }
                }
            }
            changed.await;
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        let mut services = self.router.lock();
        let mut state = self.service.lock();
        state.acceptors -= 1;
        if state.acceptors == 0 {
            state.pending.clear();
            if services.get(&self.name).is_some_and(|known| Arc::ptr_eq(known, &self.service)) {
                services.remove(&self.name);
            }
        } else if !state.pending.is_empty() {
            // The notification that this acceptor may have got is passed on to another one.
            self.service.changed.notify_one();
        }
    }
}
