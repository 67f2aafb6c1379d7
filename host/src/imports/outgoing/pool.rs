//! The connections of one function. Another function never gets one of them: what it could learn
//! from it, or do to it, is nobody's business.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use wasmill_domain::TenantName;
use wasmtime_wasi_http::WasiBody;

use super::resolve::LookupPermit;
use super::target::{Refusal, RequestTarget};
use crate::settings::OutgoingSettings;
use crate::shares::{SharePermit, TenantShares};

/// How long a connection may take to be ready after its response has ended. More than a moment
/// means that it still sends the last request's body, which nobody waits for.
const READY_WITHIN: Duration = Duration::from_millis(100);

/// A connection, and the task that reads and writes it: closed when this is dropped.
pub(super) struct Connection {
    pub(super) sender: SendRequest<WasiBody>,
    pub(super) driver: AbortOnDropHandle<()>,
}

/// The connections of one function.
pub(super) struct FunctionPool {
    /// Connections in use at once.
    pub(super) connections: Arc<Semaphore>,
    /// Lookups at once, of the function and of its tenant.
    lookups: Arc<Semaphore>,
    tenant_lookups: Arc<Semaphore>,
    most_lookups: [usize; 2],
    /// With the function's own memory of TLS sessions.
    pub(super) tls: OnceCell<TlsConnector>,
    idle: Mutex<HashMap<RequestTarget, Vec<Idle>>>,
    most_idle: usize,
    /// Whose function it is, for its share of all that are kept.
    tenant: TenantName,
    idle_permits: TenantShares,
}

/// A connection that waits for the next request.
struct Idle {
    connection: Connection,
    since: Instant,
    _permit: SharePermit,
}

impl FunctionPool {
    pub(super) fn new(
        settings: &OutgoingSettings,
        tenant: TenantName,
        idle_permits: TenantShares,
        tenant_lookups: Arc<Semaphore>,
    ) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(settings.connections_per_function.max(1))),
            lookups: Arc::new(Semaphore::new(settings.lookups_per_function.max(1))),
            tenant_lookups,
            most_lookups: [
                settings.lookups_per_function.max(1),
                settings.lookups_per_tenant.max(1),
            ],
            tls: OnceCell::new(),
            idle: Mutex::default(),
            most_idle: settings.idle_per_function.min(settings.idle),
            tenant,
            idle_permits,
        }
    }

    /// Waits for the function's permits to look a name up, until `by`.
    pub(super) async fn lookup(self: &Arc<Self>, by: Instant) -> Result<LookupPermit, Refusal> {
        let [of_function, of_tenant] = self.most_lookups;
        // The function's own first: while it waits for that, it is in nobody's way. Neither is ever
        // closed.
        let function = timeout_at(by.into(), Arc::clone(&self.lookups).acquire_owned()).await;
        let function =
            function.ok().and_then(Result::ok).ok_or(Refusal::FunctionLookups(of_function))?;
        let tenant = timeout_at(by.into(), Arc::clone(&self.tenant_lookups).acquire_owned()).await;
        let tenant = tenant.ok().and_then(Result::ok).ok_or(Refusal::TenantLookups(of_tenant))?;
        Ok(LookupPermit::new([function, tenant], Arc::clone(self) as _))
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<RequestTarget, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is there already and can be used; the one that was used last, as it is the
    /// likeliest to live.
    pub(super) async fn take(&self, target: &RequestTarget) -> Option<Connection> {
        loop {
            let mut connection = self.idle().get_mut(target)?.pop()?.connection;
            if let Ok(Ok(())) = tokio::time::timeout(READY_WITHIN, connection.sender.ready()).await
            {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request, where there is room for it.
    pub(super) fn put(&self, target: RequestTarget, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let Some(permit) = self.idle_permits.try_acquire(&self.tenant, 1) else { return };
        let mut idle = self.idle();
        if idle.values().map(Vec::len).sum::<usize>() < self.most_idle {
            idle.entry(target).or_default().push(Idle {
                connection,
                since: Instant::now(),
                _permit: permit,
            });
        }
    }

    /// Closes what waits for longer than `timeout`, or was closed by the other side.
    pub(super) fn expire(&self, now: Instant, timeout: Duration) {
        self.idle().retain(|_, waiting| {
            waiting
                .retain(|idle| now - idle.since < timeout && !idle.connection.sender.is_closed());
            !waiting.is_empty()
        });
    }

    /// Whether no connection waits.
    pub(super) fn is_empty(&self) -> bool {
        self.idle().is_empty()
    }
}
