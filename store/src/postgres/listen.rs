//! Hears of changes of the definitions when they are committed, instead of asking again and again.
//!
//! Listening needs a session of its own. It is an addition: whoever relies on it asks now and then
//! all the same, as nothing is notified while the connection is away.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::Executor as _;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use wasmill_domain::Revision;
use wasmill_domain::backoff::Backoff;

use super::listening::CHANNEL;
use super::manifests;
use super::store::Inner;
use crate::port::{Result, StoreError};

/// A connection that was idle for this long is asked whether it is there still.
const IDLE_LIMIT: Duration = Duration::from_secs(15);

/// The pauses between two tries to connect: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

impl Inner {
    /// Listens for changes of the definitions; `None` where there is no way to, which is behind a
    /// pooler without [`PostgresSettings::listen_url`](super::PostgresSettings::listen_url).
    ///
    /// A task with a connection of its own does it, through outages, until the receiver and its
    /// clones are dropped or the store is closed. What happened during an outage is notified after
    /// it.
    pub(super) fn listen(self: &Arc<Self>) -> Option<watch::Receiver<Revision>> {
        let options = self.listening.options.clone()?;
        let (sender, receiver) = watch::channel(Revision::default());
        let listener = Listener {
            options,
            wait_timeout: self.listening.wait_timeout,
            store: Arc::downgrade(self),
            sender,
        };
        let mut is_closed = self.listening.is_closed.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = listener.listen() => {}
                () = listener.sender.closed() => {}
                _ = is_closed.wait_for(|is_closed| *is_closed) => {}
            }
        });
        Some(receiver)
    }
}

struct Listener {
    options: PgConnectOptions,
    wait_timeout: Duration,
    store: Weak<Inner>,
    sender: watch::Sender<Revision>,
}

impl Listener {
    /// Ends with the store.
    async fn listen(&self) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while self.store.strong_count() > 0 {
            let mut is_listening = false;
            if let Err(why) = self.session(&mut is_listening).await {
                tracing::info!(%why, "changes of the definitions are not notified now: they are asked for");
            }
            if is_listening {
                backoff.reset();
            }
            sleep(backoff.pause()).await;
        }
    }

    /// Connects and listens until the connection fails or the store is gone.
    async fn session(&self, is_listening: &mut bool) -> Result<()> {
        let failed = |e: sqlx::Error| StoreError::Unavailable(e.to_string());
        let no_answer =
            |_| StoreError::Unavailable(format!("no answer within {:?}", self.wait_timeout));
        let connect = async {
            let pool =
                PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
            let pool =
                pool.acquire_timeout(self.wait_timeout).connect_with(self.options.clone()).await?;
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok(listener)
        };
        let mut listener =
            timeout(self.wait_timeout, connect).await.map_err(no_answer)?.map_err(failed)?;
        // Only now is nothing missed any more.
        while self.tell().await? {
            *is_listening = true;
            match timeout(IDLE_LIMIT, listener.try_recv()).await {
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => {
                    return Err(StoreError::Unavailable("the connection was cut".into()));
                }
                Ok(Err(error)) => return Err(failed(error)),
                Err(_) => {
                    let alive = timeout(self.wait_timeout, (&mut listener).execute("SELECT 1"));
                    alive.await.map_err(no_answer)?.map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// Tells the revision that the store is at; false if the store is gone.
    async fn tell(&self) -> Result<bool> {
        let Some(store) = self.store.upgrade() else { return Ok(false) };
        let revision = store.read(|session| Box::pin(manifests::revision(session))).await?;
        self.sender.send_if_modified(|known| std::mem::replace(known, revision) != revision);
        Ok(true)
    }
}
