//! What a role of the pool answers to probes: that it lives, from its first moment on, and whether
//! it can do its work, or what it still waits for.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use wasmill_broker::Control;
use wasmill_domain::Timestamp;
use wasmill_domain::backoff::Backoff;
use wasmill_host::HostStatus;
use wasmill_http::{Part, Readiness, Routes, ServerSettings, Tls, serve_probes, while_starting};
use wasmill_store::{Identity, StoreError};

use super::{server, tls};
use crate::config;

/// The longest pause between two tries while a backend is not there yet.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Whether a process can do its work: not while it starts, then as it is told by
/// [`StartReadiness::begin`].
#[derive(Default)]
pub(super) struct StartReadiness {
    /// Since when the database does not answer.
    unreachable_since: Mutex<Option<Timestamp>>,
    begun: OnceLock<PoolReadiness>,
}

impl StartReadiness {
    /// From now on it is ready whenever its backends are.
    pub(super) fn begin(&self, readiness: PoolReadiness) {
        // A process begins once.
        let _ = self.begun.set(readiness);
    }

    /// Tries what needs the database until it works or cannot work.
    pub(super) async fn wait_for<T, F>(
        &self,
        what: &str,
        mut work: impl FnMut() -> F,
    ) -> anyhow::Result<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut backoff = Backoff::new(Duration::from_millis(100), LONGEST_PAUSE);
        loop {
            let begun_at = Timestamp::now();
            match work().await {
                Err(error @ StoreError::Unavailable(_)) => {
                    self.unreachable_since().get_or_insert(begun_at);
                    tracing::warn!(%error, "waiting for {what}");
                    tokio::time::sleep(backoff.pause()).await;
                }
                other => {
                    *self.unreachable_since() = None;
                    return other.with_context(|| what.to_owned());
                }
            }
        }
    }

    /// Serves probes where the configuration says so, until what is given is dropped.
    pub(super) async fn probes(
        self: &Arc<Self>,
        key: &str,
        address: Option<SocketAddr>,
    ) -> anyhow::Result<Option<DropGuard>> {
        let Some(address) = address else { return Ok(None) };
        let (listener, stop) = (listen(key, address).await?, CancellationToken::new());
        tokio::spawn(serve_probes(listener, Arc::clone(self) as _, stop.clone()));
        Ok(Some(stop.drop_guard()))
    }

    fn unreachable_since(&self) -> std::sync::MutexGuard<'_, Option<Timestamp>> {
        self.unreachable_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Readiness for StartReadiness {
    async fn parts(&self) -> Vec<Part> {
        if let Some(begun) = self.begun.get() {
            return begun.parts().await;
        }
        // Why is in the log: anybody may ask for this.
        let database = match *self.unreachable_since() {
            Some(since) => Err(format!("unreachable since {since}")),
            None => Ok(()),
        };
        vec![("database", database), ("process", Err("it is starting".into()))]
    }

    fn notes(&self) -> Vec<String> {
        self.begun.get().map(Readiness::notes).unwrap_or_default()
    }
}

/// A gateway's server. It answers probes, and `503` to everything else, until its routes are
/// replaced.
pub(super) struct Front {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) settings: ServerSettings,
    pub(super) routes: Routes,
    /// Ends some time after the shutdown: see [`wasmill_http::serve`].
    pub(super) served: JoinHandle<()>,
}

impl Front {
    /// Listens, and answers by what `start` knows, until `shutdown`.
    pub(super) async fn open(
        gateway: &config::Gateway,
        start: &Arc<StartReadiness>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        const KEY: &str = "gateway.listen";
        let config::GatewayTls { certificate, key } = &gateway.tls;
        let names = ["gateway.tls.certificate", "gateway.tls.key"];
        let tls = tls::load(certificate.as_deref(), key.as_deref(), names)?;
        let settings = server::settings_of(gateway);
        let listener = listen(KEY, gateway.listen).await?;
        let address = listener.local_addr().context(KEY)?;
        let routes = while_starting(Arc::clone(start) as _);
        let served = {
            let (tls, routes, settings) = (tls.clone(), routes.clone(), settings.clone());
            let shutdown = shutdown.clone();
            tokio::spawn(async move {
                wasmill_http::serve(listener, tls, routes, &settings, shutdown).await;
            })
        };
        Ok(Self { address, tls, settings, routes, served })
    }
}

async fn listen(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{key}: cannot listen on {address}"))
}

/// What a process is there for, beyond its backends.
pub(super) enum Role {
    Host(HostStatus),
    Scheduler,
}

/// Whether a process that has begun can do its work.
pub(super) struct PoolReadiness {
    pub(super) store: Arc<dyn Identity>,
    pub(super) broker: Arc<dyn Control>,
    pub(super) role: Role,
    pub(super) notes: Vec<String>,
    pub(super) shutdown: CancellationToken,
    pub(super) away: AwayBackends,
}

/// Which backends did not answer when they were asked last.
#[derive(Default)]
pub(super) struct AwayBackends {
    database: AtomicBool,
    broker: AtomicBool,
}

/// How a backend is, for anybody to read: its own words may have addresses and names of users, and
/// are in the log, once until it answers again.
fn answered<E: fmt::Display>(
    backend: &'static str,
    ping: Result<(), E>,
    was_away: &AtomicBool,
) -> Part {
    let was_away = was_away.swap(ping.is_err(), Ordering::Relaxed);
    let state = ping.map_err(|error| {
        if !was_away {
            tracing::warn!(%error, backend, "a backend does not answer");
        }
        "it does not answer; the log of this process says why".to_owned()
    });
    (backend, state)
}

#[async_trait]
impl Readiness for PoolReadiness {
    async fn parts(&self) -> Vec<Part> {
        let (store, broker) = tokio::join!(self.store.ping(), self.broker.ping());
        let mut parts = vec![
            answered("database", store, &self.away.database),
            answered("broker", broker, &self.away.broker),
        ];
        let running = if self.shutdown.is_cancelled() {
            Err("it is shutting down".to_owned())
        } else {
            Ok(())
        };
        parts.push(("process", running));
        if let Role::Host(status) = &self.role {
            let (functions, consuming) = (status.functions(), status.consuming());
            let all = status.has_begun() && functions == consuming;
            let consumers = if all {
                Ok(())
            } else {
                Err(format!("{consuming} of {functions} queues are consumed"))
            };
            parts.push(("consumers", consumers));
        }
        parts
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn a_backend_s_own_words_are_not_told_to_anybody() {
        let away = AtomicBool::new(false);
        let (_, told) = answered("database", Err("no entry for user 'canary'"), &away);
        assert_eq!(told, Err("it does not answer; the log of this process says why".to_owned()));
        assert!(away.load(Ordering::Relaxed), "it is not logged again");
        assert_eq!(answered("database", Ok::<_, String>(()), &away), ("database", Ok(())));
        assert!(!away.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn what_is_waited_for_is_told_with_when_it_began() {
        let start = StartReadiness::default();
        let database = async || {
            let parts = start.parts().await;
            assert_eq!(parts[1], ("process", Err("it is starting".into())), "{parts:?}");
            assert_eq!(parts[0].0, "database");
            parts[0].1.clone()
        };
        assert_eq!(database().await, Ok(()), "nothing is known of it yet");
        let (tries, first) = (AtomicU32::new(0), OnceLock::new());
        let waited =
            start.wait_for("the database", async || match tries.fetch_add(1, Ordering::Relaxed) {
                0 => Err(StoreError::Unavailable("away".into())),
                1 | 2 => {
                    let why = database().await.unwrap_err();
                    assert!(why.starts_with("unreachable since 20"), "{why}");
                    assert_eq!(first.get_or_init(|| why.clone()), &why, "it is told anew");
                    Err(StoreError::Unavailable("away".into()))
                }
                _ => Ok(()),
            });
        waited.await.unwrap();
        assert_eq!(database().await, Ok(()));
        let cannot = start.wait_for("the database", async || {
            Err::<(), _>(StoreError::Rejected("too old".into()))
        });
        assert!(format!("{:#}", cannot.await.unwrap_err()).contains("too old"));
    }
}
