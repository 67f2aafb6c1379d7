//! A connection in use, and the permits for it.

use std::sync::Arc;

use http::HeaderMap;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime_wasi_http::Error;

use super::attempt::{AttemptRequests, Way};
use super::pool::{Connection, FunctionPool};
use super::target::RequestTarget;
use crate::shares::SharePermit;

/// A connection in use. It is closed when this is dropped.
pub(super) struct Lease {
    attempt: Arc<AttemptRequests>,
    pool: Arc<FunctionPool>,
    target: RequestTarget,
    connection: Option<(u64, Connection)>,
    _permits: ConnectionPermits,
}

/// The permits for one connection in use.
pub(super) struct ConnectionPermits {
    pub(super) _of_function: OwnedSemaphorePermit,
    /// Of those of all functions, by tenant.
    pub(super) _of_host: SharePermit,
    pub(super) _of_attempt: OwnedSemaphorePermit,
}

impl Lease {
    /// For a request to `target`. Nothing is in use yet.
    pub(super) fn new(
        attempt: Arc<AttemptRequests>,
        pool: Arc<FunctionPool>,
        target: RequestTarget,
        permits: ConnectionPermits,
    ) -> Self {
        Self { attempt, pool, target, connection: None, _permits: permits }
    }

    /// Takes a connection into use, unless the attempt is over.
    pub(super) fn hold(&mut self, connection: Connection) -> Result<&mut Connection, Error> {
        self.let_go();
        let id = self
            .attempt
            .remember(connection.driver.abort_handle())
            .ok_or(Error::ConnectionTerminated)?;
        Ok(&mut self.connection.insert((id, connection)).1)
    }

    /// Counts bytes of the response.
    pub(super) fn count(&self, bytes: usize) -> Result<(), Error> {
        let counted = self.attempt.count_bytes(bytes, Way::In);
        counted.map_err(|refusal| self.attempt.refuse(&self.target, &refusal))
    }

    /// Puts the connection where the function's next request finds it: the response has ended.
    pub(super) fn give_back(mut self) {
        if let Some(connection) = self.let_go() {
            self.pool.put(self.target.clone(), connection);
        }
    }

    fn let_go(&mut self) -> Option<Connection> {
        let (id, connection) = self.connection.take()?;
        self.attempt.forget(id);
        Some(connection)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Header or trailer fields as they count: with the colon, the space and the line's end.
pub(super) fn length_of_fields(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}
