//! A TCP proxy that cuts connections, and stalls them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Between a broker and its RabbitMQ. It ends with its last handle.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<ProxyState>>,
    accepted: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Default)]
struct ProxyState {
    /// How often all connections were cut.
    cuts: u64,
    /// Connections are accepted, and nothing is carried.
    stalled: bool,
    /// What RabbitMQ sends is held back; what is sent to it is carried.
    mute: bool,
}

impl Proxy {
    /// A proxy to the RabbitMQ at a URL that names its port.
    ///
    /// # Panics
    /// Where the URL is none, or no port can be had.
    pub async fn to(url: &str) -> Self {
        let upstream = authority(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, watched) = watch::channel(ProxyState::default());
        let mut last_handle = watched.clone();
        let accepted = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&accepted);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    connection = listener.accept() => {
                        let (client, _) = connection.unwrap();
                        counter.fetch_add(1, Ordering::Relaxed);
                        tokio::spawn(carry(client, upstream.clone(), watched.clone()));
                    }
                    _ = last_handle.wait_for(|_| false) => return,
                }
            }
        });
        Self { address, state: Arc::new(state), accepted }
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// The URL with the proxy in the place of the RabbitMQ.
    pub fn instead_of(&self, url: &str) -> String {
        url.replacen(authority(url), &self.address.to_string(), 1)
    }

    /// Cuts all connections. New ones are carried.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Carries nothing, or carries again: what was held back meanwhile is carried then.
    pub fn stall(&self, stalled: bool) {
        self.state.send_modify(|state| state.stalled = stalled);
    }

    /// Holds back what RabbitMQ sends, or lets it through again with what was held back. What is
    /// sent to it is carried.
    pub fn mute(&self, mute: bool) {
        self.state.send_modify(|state| state.mute = mute);
    }
}

/// `host:port` of a URL that names both.
fn authority(url: &str) -> &str {
    let authority = url.split_once("://").unwrap().1.split(['/', '?']).next().unwrap();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

async fn carry(client: TcpStream, upstream: String, mut state: watch::Receiver<ProxyState>) {
    let begun = state.borrow().cuts;
    let both = {
        let mut state = state.clone();
        async move {
            if state.wait_for(|state| !state.stalled).await.is_err() {
                return;
            }
            let Ok(server) = TcpStream::connect(upstream).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = pass(from_client, to_server, state.clone(), |state| !state.stalled) => {}
                () = pass(from_server, to_client, state, |state| !state.stalled && !state.mute) => {}
            }
        }
    };
    tokio::select! {
        () = both => {}
        _ = state.wait_for(|state| state.cuts != begun) => {}
    }
}

/// Carries bytes one way until it ends, while it may.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<ProxyState>,
    may: impl Fn(&ProxyState) -> bool,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|state| may(state)).await.is_err()
            || to.write_all(&buffer[..length]).await.is_err()
        {
            return;
        }
    }
}
