//! What answers a server's requests, which may change once while it serves.

use std::sync::{Arc, OnceLock};

use axum::Router;

/// A router, and the one that takes its place. A connection is never handed from one to the other:
/// each request is answered by the one that is current when its head has come.
#[derive(Clone)]
pub struct Routes {
    first: Router,
    next: Arc<OnceLock<Router>>,
}

impl From<Router> for Routes {
    fn from(first: Router) -> Self {
        Self { first, next: Arc::default() }
    }
}

impl Routes {
    /// From now on `next` answers, on every connection. It is replaced once: whatever is given
    /// later is not served.
    pub fn replace(&self, next: Router) {
        let _ = self.next.set(next);
    }

    pub(crate) fn current(&self) -> &Router {
        self.next.get().unwrap_or(&self.first)
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    use crate::probes::{Part, Readiness, while_starting};
    use crate::{ServerSettings, serve};

    use super::*;

    struct Starting;

    #[async_trait]
    impl Readiness for Starting {
        async fn parts(&self) -> Vec<Part> {
            vec![("process", Err("it is starting".into()))]
        }

        fn notes(&self) -> Vec<String> {
            Vec::new()
        }
    }

    /// The status of the next answer, which has a length.
    async fn status(stream: &mut TcpStream) -> String {
        stream.write_all(b"GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        stream.read_exact(&mut vec![0; length.parse().unwrap()]).await.unwrap();
        head.split(' ').nth(1).unwrap().to_owned()
    }

    /// Nobody who is answered after the start is told of it, since when ever the connection is there.
    #[tokio::test]
    async fn connections_from_before_the_start_are_answered_by_what_was_started() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (routes, shutdown) = (while_starting(Arc::new(Starting)), CancellationToken::new());
        let served = {
            let (routes, shutdown) = (routes.clone(), shutdown.clone());
            tokio::spawn(async move {
                serve(listener, None, routes, &ServerSettings::default(), shutdown).await;
            })
        };
        let mut used = TcpStream::connect(address).await.unwrap();
        let mut silent = TcpStream::connect(address).await.unwrap();
        assert_eq!(status(&mut used).await, "503");
        routes.replace(Router::new().route("/work", get(async || "done")));
        assert_eq!(status(&mut used).await, "200");
        assert_eq!(status(&mut silent).await, "200");
        drop((used, silent));
        shutdown.cancel();
        served.await.unwrap();
    }
}
