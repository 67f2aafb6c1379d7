//! The bounds of a server.

use std::time::Duration;

use ipnet::IpNet;

/// What a bound that is a part of `max_connections` is at least, unless it is set.
const LEAST_PART: usize = 16;

/// What a server takes on at most. Every field has a default that suits one machine.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Open connections; further ones wait in the listener's backlog. Default: 8,192.
    pub max_connections: usize,
    /// Open connections of one address (of IPv6, of a network of 64 bits), loopback included;
    /// further ones are closed at once. Default: a quarter of `max_connections`, 16 at least.
    pub max_connections_per_address: Option<usize>,
    /// Networks whose addresses may have any number of connections, such as proxies'. Default:
    /// none.
    pub exempt_networks: Vec<IpNet>,
    /// Open connections whose first request's head has not come whole, TLS handshakes included; with
    /// a further one, the oldest is ended of the address that has the most of them. One is as well
    /// where `max_connections` are open and another waits. Default: a quarter of `max_connections`,
    /// 16 at least.
    pub max_pending_connections: Option<usize>,
    /// How long a TLS handshake may take. Default: 10 s.
    pub handshake_timeout: Duration,
    /// Requests at the same time on one connection of HTTP/2; further ones are refused. Default:
    /// 128.
    pub max_streams: u32,
    /// How often a connection of HTTP/2 is asked whether its client is still there. Default: 20 s.
    pub ping_interval: Duration,
    /// How long the client may take to say so. Default: 10 s.
    pub ping_timeout: Duration,
    /// How long a client may take to send a request's head: in HTTP/1.1 the pause since the request
    /// before included, in HTTP/2 the first one's only. Default: 30 s.
    pub header_timeout: Duration,
    /// How long a connection without requests is kept. Default: 60 s; in HTTP/1.1 `header_timeout`
    /// ends it before.
    pub idle_timeout: Duration,
    /// How long a client may take to send a request's body: whoever reads one into memory keeps to
    /// this, and the server does where it discards what is left of one. Who hands a body on while it
    /// comes bounds it by what that is for. Default: 30 s.
    pub body_timeout: Duration,
    /// How long a client may take nothing of a response while bytes of it wait to be taken: over
    /// HTTP/1.1 no byte, over HTTP/2 not the whole of a piece of at most 16 KiB. Then its connection
    /// is ended, over HTTP/2 its stream is reset. A response that has nothing to say for longer is
    /// none of this. Default: 60 s.
    pub write_timeout: Duration,
    /// How much of what a client still sends after its request was refused is read and thrown away,
    /// so that the answer reaches it, in bytes; for `body_timeout` at most. Then its connection is
    /// ended as it is, over HTTP/2 its stream. Default: 256 MiB.
    pub max_discarded_bytes: u64,
    /// How long requests may go on after shutdown began. Default: 10 s.
    pub drain_timeout: Duration,
}

impl ServerSettings {
    /// How many connections an address may have.
    pub(crate) fn connections_per_address(&self) -> usize {
        self.max_connections_per_address.unwrap_or_else(|| self.quarter())
    }

    /// How many connections may be open whose first head has not come.
    pub(crate) fn pending_connections(&self) -> usize {
        self.max_pending_connections.unwrap_or_else(|| self.quarter())
    }

    fn quarter(&self) -> usize {
        (self.max_connections / 4).max(LEAST_PART)
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            max_connections: 8_192,
            max_connections_per_address: None,
            exempt_networks: Vec::new(),
            max_pending_connections: None,
            handshake_timeout: Duration::from_secs(10),
            max_streams: 128,
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            max_discarded_bytes: 256 << 20,
            drain_timeout: Duration::from_secs(10),
        }
    }
}
