//! Accepts connections, as many as there may be, and lets those finish that are there when the
//! server is to stop.

use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, ConnectionPermit};
use crate::connection::Server;
use crate::routes::Routes;
use crate::settings::ServerSettings;
use crate::tls::Tls;

/// How many bytes a socket holds of what is written to it; the system takes twice as many for its
/// own book-keeping, or less where that is its limit.
const SEND_BUFFER: usize = 256 << 10;

/// How long to wait after the listener failed: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves HTTP/1.1 and HTTP/2 on `listener` until `shutdown`; returns when every connection is done
/// or the time to drain is over. With `tls`, its files are looked at again and again meanwhile. A
/// listener that fails is tried again.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    routes: Routes,
    settings: &ServerSettings,
    shutdown: CancellationToken,
) {
    if let Some(tls) = &tls {
        tokio::spawn(Arc::clone(tls).watch(shutdown.clone()));
    }
    let admission = Admission::new(settings);
    let cut = CancellationToken::new();
    // Whatever ends this function ends its connections.
    let _cut = cut.clone().drop_guard();
    let server = Arc::new(Server::new(routes, tls, settings, shutdown.clone()));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &admission) => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok(None) => {}
            Ok(Some((stream, permit))) => {
                let (server, cut) = (Arc::clone(&server), cut.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = server.serve(stream, &permit) => {}
                        () = permit.cut.cancelled() => {}
                        () = cut.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Whatever there is too little of, this one gives back.
                admission.cut_oldest();
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

/// The next connection, once there is room for it; `None` for one whose address has too many.
async fn accept(
    listener: &TcpListener,
    admission: &Arc<Admission>,
) -> std::io::Result<Option<(TcpStream, ConnectionPermit)>> {
    let (stream, peer) = listener.accept().await?;
    let Some(share) = admission.share(peer.ip()) else { return Ok(None) };
    // Answers are small and whole: they need not wait for more. Where this fails the client is
    // gone, and its connection ends as soon as it is read.
    let _ = stream.set_nodelay(true);
    // Linux tells that a socket has room again when a third of what it holds is gone, and lets it
    // grow to megabytes: a slow client would look as if it took nothing, and hold as much.
    let _ = set_socket_send_buffer_size(&stream, SEND_BUFFER);
    Ok(admission.acquire(share).await.map(|permit| (stream, permit)))
}
