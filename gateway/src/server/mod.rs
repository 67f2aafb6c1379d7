//! Accepts connections: a bounded number of them, each bounded in how slowly it may speak. What is said on one is in
//! [`connection`].

mod activity;
mod connection;
pub(crate) mod tls;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::Server;
use self::tls::Tls;
use crate::settings::GatewaySettings;

/// How long to wait after the listener failed: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves HTTP/1.1 and HTTP/2 until `shutdown`; returns when every connection is done or the time to drain is over.
pub(crate) async fn run(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    settings: &GatewaySettings,
    shutdown: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(settings.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let cut = CancellationToken::new();
    // Whatever ends this function ends its connections.
    let _cut = cut.clone().drop_guard();
    let server = Arc::new(Server::new(router, tls, settings, shutdown.clone()));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, room)) => {
                let (server, cut) = (Arc::clone(&server), cut.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = server.serve(stream) => {}
                        () = cut.cancelled() => {}
                    }
                    drop(room);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(settings.drain_timeout, tasks.wait()).await.is_err() {
        tracing::warn!("requests that are still at work are cut off");
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let room = Arc::clone(connections).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Answers are small and whole: they need not wait for more.
    stream.set_nodelay(true)?;
    Ok((stream, room))
}
