//! The requests of one attempt: what they may still use, what became of them, and their end.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use wasmill_domain::manifest::allowed_hosts::HostPattern;
use wasmill_domain::units::ByteSize;
use wasmill_domain::{FunctionName, LogLevel, Manifest, TenantName};
use wasmtime_wasi_http::Error;

use super::network::Network;
use super::target::Refusal;
use crate::execution::CurrentExecution;
use crate::log::SharedLog;

/// The requests of one attempt.
pub(super) struct AttemptRequests {
    pub(super) network: Arc<Network>,
    pub(super) allowed: Vec<HostPattern>,
    pub(super) tenant: TenantName,
    pub(super) function: FunctionName,
    /// What goes out as `traceparent` and `tracestate`.
    pub(super) traceparent: String,
    pub(super) tracestate: Option<String>,
    /// When the attempt is cut off.
    pub(super) deadline: Instant,
    /// One permit for each request, until its response has ended.
    pub(super) at_once: Arc<Semaphore>,
    most_requests: u32,
    requests_left: AtomicU32,
    most_bytes: ByteSize,
    bytes_left: AtomicU64,
    over: CancellationToken,
    log: SharedLog,
    state: Mutex<RequestState>,
}

/// What changes hands under a lock.
#[derive(Default)]
struct RequestState {
    is_over: bool,
    last_refusal: Option<String>,
    /// The tasks behind the connections in use.
    connections: HashMap<u64, AbortHandle>,
    next_connection: u64,
}

/// Which way bytes go.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Out,
    In,
}

impl AttemptRequests {
    pub(super) fn new(
        network: Arc<Network>,
        manifest: &Manifest,
        deadline: Instant,
        execution: &CurrentExecution,
        log: SharedLog,
    ) -> Arc<Self> {
        let limits = &manifest.limits;
        Arc::new(Self {
            allowed: manifest.allowed_hosts.clone().unwrap_or_default(),
            tenant: execution.tenant.clone(),
            function: execution.function.clone(),
            traceparent: execution.span.to_string(),
            tracestate: execution.span.tracestate.clone(),
            deadline,
            at_once: Arc::new(Semaphore::new(network.settings().requests_at_once)),
            most_requests: limits.http_requests,
            requests_left: AtomicU32::new(limits.http_requests),
            most_bytes: limits.http_bytes,
            bytes_left: AtomicU64::new(limits.http_bytes.0),
            over: CancellationToken::new(),
            log,
            state: Mutex::default(),
            network,
        })
    }

    // Never held across an await. After a panic the state is still one.
    fn state(&self) -> MutexGuard<'_, RequestState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request.
    pub(super) fn count_request(&self) -> Result<(), Refusal> {
        let left = self
            .requests_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| Refusal::Requests(self.most_requests))
    }

    /// Counts bytes of a request or a response. Once they are too many, all further ones are.
    pub(super) fn count_bytes(&self, bytes: usize, way: Way) -> Result<(), Refusal> {
        let bytes = bytes as u64;
        let before = self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            Some(left.saturating_sub(bytes))
        });
        match before {
            Ok(left) if left >= bytes => Ok(()),
            _ => Err(match way {
                Way::Out => Refusal::RequestBytes(self.most_bytes),
                Way::In => Refusal::ResponseBytes(self.most_bytes),
            }),
        }
    }

    /// Writes down what was refused, for the operator, and says what the guest is told.
    pub(super) fn refuse(&self, to: impl std::fmt::Display, refusal: &Refusal) -> Error {
        let mut state = self.state();
        // What comes later is no part of the attempt's log: the next attempt's may have begun.
        if !state.is_over {
            let message = format!("outgoing request to {to} refused: {refusal}");
            self.log.note(LogLevel::Warn, message.clone());
            state.last_refusal = Some(message);
        }
        refusal.code()
    }

    /// Remembers a connection for as long as it is in use; `None` where the attempt is over.
    pub(super) fn remember(&self, connection: AbortHandle) -> Option<u64> {
        let mut state = self.state();
        if state.is_over {
            return None;
        }
        let id = state.next_connection;
        state.next_connection += 1;
        state.connections.insert(id, connection);
        Some(id)
    }

    /// The connection is not in use any more.
    pub(super) fn forget(&self, id: u64) {
        self.state().connections.remove(&id);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Does something until it is done or the attempt is over.
    pub(super) async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.over.run_until_cancelled(work).await
    }

    /// Ends the attempt: what is under way is aborted, and its connections are closed. What was
    /// refused last is returned.
    pub(super) fn end(&self) -> Option<String> {
        let mut state = self.state();
        state.is_over = true;
        self.over.cancel();
        for (_, connection) in state.connections.drain() {
            connection.abort();
        }
        state.last_refusal.take()
    }
}
