//! New connections: from a name to addresses, and to one that guests may reach.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use wasmill_domain::manifest::allowed_hosts::{Scheme, UrlHost};
use wasmtime_wasi_http::Error;

use super::errors::{of_connect, of_hyper, of_lookup, of_tls};
use super::network::Network;
use super::pool::{Connection, FunctionPool};
use super::target::{Failure, Refusal, RequestTarget};

/// How many of a name's addresses are tried.
const MOST_ADDRESSES: usize = 8;

/// TLS sessions of one function that are remembered, to begin the next one sooner.
const SESSIONS: usize = 16;

/// The most that a connection buffers of what comes in, and so the longest head of a response.
const BUFFER: usize = 64 << 10;

/// Connects to `target`, until `by` at the latest.
pub(super) async fn connect(
    network: &Network,
    pool: &Arc<FunctionPool>,
    target: &RequestTarget,
    by: Instant,
) -> Result<Connection, Failure> {
    let addresses = reachable(network, pool, target, by).await?;
    let stream = connect_to_one(&addresses, target.port, by).await?;
    if target.scheme == Scheme::Http {
        return handshake(network, stream, by).await;
    }
    let connector = pool.tls.get_or_try_init(|| async {
        network.tls().await.map(|shared| TlsConnector::from(Arc::new(of_function(&shared))))
    });
    let connector = connector.await.map_err(|error| {
        tracing::warn!(error, "functions cannot speak TLS");
        Error::ConfigurationError
    })?;
    let name = server_name(&target.host)?;
    let stream = timeout_at(by, connector.connect(name, stream))
        .await
        .map_err(|_| Error::ConnectionTimeout)?;
    handshake(network, stream.map_err(|e| of_tls(&e))?, by).await
}

/// Everything shared but the sessions: a function's own are no other's.
fn of_function(shared: &ClientConfig) -> ClientConfig {
    let mut config = shared.clone();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    config
}

fn server_name(host: &UrlHost) -> Result<ServerName<'static>, Error> {
    match host {
        UrlHost::Address(address) => Ok(ServerName::from(*address)),
        UrlHost::Name(name) => {
            ServerName::try_from(name.clone()).map_err(|_| Error::HttpRequestUriInvalid)
        }
    }
}

/// The addresses of the target that guests may connect to, at least one.
async fn reachable(
    network: &Network,
    pool: &Arc<FunctionPool>,
    target: &RequestTarget,
    by: Instant,
) -> Result<Vec<IpAddr>, Failure> {
    let (addresses, is_name) = match &target.host {
        UrlHost::Address(address) => (vec![*address], false),
        UrlHost::Name(name) => {
            let lookup_permit = pool.lookup(by.into_std()).await?;
            let addresses = timeout_at(by, network.resolver.resolve(name, lookup_permit))
                .await
                .map_err(|_| Error::DnsTimeout)?;
            (addresses.map_err(|e| of_lookup(&e))?, true)
        }
    };
    let mut blocked = None;
    let mut reachable = Vec::new();
    for address in addresses {
        // As it is checked it is connected to.
        let address = address.to_canonical();
        match network.networks.why_not(address) {
            Some(why) => blocked = blocked.or(Some((address, why))),
            None => reachable.push(address),
        }
    }
    match (reachable.is_empty(), blocked) {
        (false, _) => {
            reachable.truncate(MOST_ADDRESSES);
            Ok(reachable)
        }
        (true, Some((address, why))) if is_name => Err(Refusal::Resolved { address, why }.into()),
        (true, Some((address, why))) => Err(Refusal::Address { address, why }.into()),
        (true, None) => Err(Error::DestinationNotFound.into()),
    }
}

/// Connects to the first address that answers. Each gets its share of the time.
async fn connect_to_one(addresses: &[IpAddr], port: u16, by: Instant) -> Result<TcpStream, Error> {
    let mut failure = Error::DestinationNotFound;
    for (i, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let others = u32::try_from(addresses.len() - i).unwrap_or(u32::MAX);
        let share = by.saturating_duration_since(now) / others;
        match timeout_at(now + share, TcpStream::connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => {
                // Only makes small requests slower where it fails.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => failure = of_connect(&error),
            Err(_) => failure = Error::ConnectionTimeout,
        }
    }
    Err(failure)
}

/// Starts to speak HTTP on a stream.
async fn handshake<S>(network: &Network, stream: S, by: Instant) -> Result<Connection, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|e| of_hyper(&e))?;
    let driver = network.spawn(async move {
        // Who waits for the response is told as well.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a function's connection ended badly");
        }
    });
    let ready = timeout_at(by, sender.ready()).await.map_err(|_| Error::ConnectionTimeout)?;
    ready.map_err(|e| of_hyper(&e))?;
    Ok(Connection { sender, driver })
}
