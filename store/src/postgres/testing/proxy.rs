//! A TCP proxy that can fall silent, as a network does: connections stay open and carry nothing.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a [`Proxy`] does to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It carries.
    Fine,
    /// It carries nothing, new connections included.
    Stalled,
    /// What is connected carries nothing for ever; what connects from now on is fine.
    Forgetful,
}

/// A proxy on a port of its own, for as long as the runtime lives.
pub struct Proxy {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
}

impl Proxy {
    /// A proxy in front of `server` (`host:port`), in good mood.
    pub async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mood, watched) = watch::channel(Mood::Fine);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(client, server.clone(), watched.clone()));
            }
        });
        Self { address, mood }
    }

    /// Where it listens: host and port.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes what it does, to the connections that it has as well.
    pub fn be(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }
}

async fn carry(client: TcpStream, server: String, mut mood: watch::Receiver<Mood>) {
    // The sender is gone with the test.
    if mood.wait_for(|mood| *mood != Mood::Stalled).await.is_err() {
        return;
    }
    let is_new = *mood.borrow() == Mood::Forgetful;
    let Ok(server) = TcpStream::connect(server).await else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::spawn(pump(from_client, to_server, mood.clone(), is_new));
    pump(from_server, to_client, mood, is_new).await;
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mood: watch::Receiver<Mood>,
    is_new: bool,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if mood
            .wait_for(|mood| *mood == Mood::Fine || (is_new && *mood == Mood::Forgetful))
            .await
            .is_err()
        {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
