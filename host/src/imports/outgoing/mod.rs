//! `wasi:http/outgoing-handler`: what guests may ask of the network.
//!
//! A request is held against the manifest's `allowed_hosts`, its name is looked up here, every
//! address is held against what is on the public internet, and the connection is made to an address
//! that passed: nothing is looked up a second time. The host follows no redirects; a guest that
//! does sends a new request, which is checked like the first. What moves bytes runs on threads of
//! its own, and ends with the attempt.

mod address;
mod attempt;
mod body;
mod connect;
mod errors;
mod exchange;
mod lease;
mod network;
mod pool;
mod resolve;
mod target;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, Request, Response};
use tokio_util::task::AbortOnDropHandle;
use wasmill_domain::Manifest;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use self::attempt::AttemptRequests;
use self::exchange::{Times, exchange};
pub(crate) use self::network::Network;
#[cfg(test)]
pub(crate) use self::resolve::LookupPermit;
pub(crate) use self::resolve::{Resolve, SystemResolver};
use self::target::{Failure, Refusal, RequestTarget};
use crate::execution::CurrentExecution;
use crate::log::SharedLog;

/// The most that a guest may write of a body at once. The host may come to hold twice as much for
/// each body.
const WRITE_AT_ONCE: usize = 64 << 10;

/// A response on its way, and what goes on while its body is read.
type Answer = Box<dyn Future<Output = Result<(Response<WasiBody>, Transfer), Error>> + Send>;

/// What carries a body, or a word on how that ended.
type Transfer = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// What an instance may ask of the network.
pub(crate) struct Outgoing {
    network: Arc<Network>,
    /// `None` where nothing may be asked.
    attempt: Option<Arc<AttemptRequests>>,
    /// What was said of the last socket that the attempt asked for.
    socket_refusal: Option<String>,
}

impl Outgoing {
    /// For a new instance; nothing is sent before an attempt begins.
    pub(crate) fn new(network: Arc<Network>) -> Self {
        Self { network, attempt: None, socket_refusal: None }
    }

    /// Begins an attempt: what the one before left behind is aborted.
    pub(crate) fn begin(
        &mut self,
        manifest: &Manifest,
        deadline: Instant,
        execution: &CurrentExecution,
        log: &SharedLog,
    ) {
        self.end();
        self.socket_refusal = None;
        // The trial before a deploy is no attempt: what starts there must not reach anybody.
        let may_send = manifest.allowed_hosts.is_some() && execution.attempt > 0;
        self.attempt = may_send.then(|| {
            AttemptRequests::new(
                Arc::clone(&self.network),
                manifest,
                deadline,
                execution,
                log.clone(),
            )
        });
    }

    /// Ends the attempt: nothing that it asked for goes on. What was refused last is returned.
    pub(crate) fn end(&self) -> Option<String> {
        let of_request = self.attempt.as_ref().and_then(|attempt| attempt.end());
        of_request.or_else(|| self.socket_refusal.clone())
    }

    /// Remembers that a socket was refused; says whether that is new.
    pub(crate) fn refuse_socket(&mut self, message: &str) -> bool {
        let is_new = self.socket_refusal.as_deref() != Some(message);
        if is_new {
            self.socket_refusal = Some(message.to_owned());
        }
        is_new
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.end();
    }
}

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Transfer,
    ) -> Answer {
        let Some(attempt) = &self.attempt else {
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        };
        match send(attempt, request, options) {
            Err(error) => Box::new(std::future::ready(Err(error))),
            Ok(exchange) => Box::new(async move {
                // Fails where the attempt is over or the exchange panicked.
                let response = exchange.await.map_err(|_| Error::InternalError(None))??;
                let done: Transfer = Box::new(std::future::ready(Ok(())));
                Ok((response, done))
            }),
        }
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        WRITE_AT_ONCE
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        WRITE_AT_ONCE
    }
}

/// Checks what can be checked at once, and starts the exchange where bytes are moved.
fn send(
    attempt: &Arc<AttemptRequests>,
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<AbortOnDropHandle<Result<Response<WasiBody>, Error>>, Error> {
    let target = RequestTarget::of(request.uri()).map_err(|refusal| {
        let host: String = request.uri().host().unwrap_or_default().chars().take(80).collect();
        attempt.refuse(format_args!("'{host}'"), &refusal)
    })?;
    let refuse = |refusal: Refusal| attempt.refuse(&target, &refusal);
    attempt.count_request().map_err(refuse)?;
    if request.method() == Method::CONNECT {
        return Err(refuse(Refusal::Tunnel));
    }
    target.check(&attempt.allowed).map_err(refuse)?;
    let at_once = attempt.network.settings().requests_at_once;
    let permit = Arc::clone(&attempt.at_once)
        .try_acquire_owned()
        .map_err(|_| refuse(Refusal::AtOnce(at_once)))?;
    let times = Times::new(options, attempt.network.settings());
    let attempt = Arc::clone(attempt);
    let network = Arc::clone(&attempt.network);
    Ok(network.spawn(async move {
        let exchange = exchange(&attempt, &target, request, times, permit);
        match attempt.unless_over(exchange).await {
            None => Err(Error::ConnectionTerminated),
            Some(Ok(response)) => Ok(response),
            Some(Err(Failure::Failed(error))) => Err(error),
            Some(Err(Failure::Refused(refusal))) => Err(attempt.refuse(&target, &refusal)),
        }
    }))
}
