//! From names to addresses.

use std::any::Any;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Says which addresses a name has.
#[async_trait]
pub(crate) trait Resolve: Send + Sync + 'static {
    /// The addresses, in the order in which they are to be tried. The permit is released when
    /// nothing of the lookup goes on any more, which may be long after the one who asked has given
    /// up.
    async fn resolve(&self, name: &str, lookup_permit: LookupPermit) -> io::Result<Vec<IpAddr>>;
}

/// The permits for one lookup: its function's and its tenant's.
pub(crate) struct LookupPermit {
    _permits: [OwnedSemaphorePermit; 2],
    /// The function's connections, so that it is not forgotten, and begins anew with all of its
    /// permits, while one is in use.
    _pool: Arc<dyn Any + Send + Sync>,
}

impl LookupPermit {
    /// With the permits of the function and of its tenant, and what must not be forgotten
    /// meanwhile.
    pub(super) fn new(
        permits: [OwnedSemaphorePermit; 2],
        pool: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        Self { _permits: permits, _pool: pool }
    }
}

/// Looks one name up, and does not return before it has.
type Lookup = fn(&str) -> io::Result<Vec<IpAddr>>;

/// Asks the system, as every program on the machine does.
pub(crate) struct SystemResolver<L = Lookup> {
    threads: Arc<Semaphore>,
    lookup: L,
}

impl SystemResolver {
    /// Looks up at most so many names at once, each on a thread.
    pub(crate) fn new(at_once: usize) -> Self {
        Self::with_lookup(at_once, |name| {
            Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
        })
    }
}

impl<L> SystemResolver<L> {
    /// The same by something else that looks names up.
    pub(super) fn with_lookup(at_once: usize, lookup: L) -> Self {
        Self { threads: Arc::new(Semaphore::new(at_once.max(1))), lookup }
    }
}

#[async_trait]
impl<L> Resolve for SystemResolver<L>
where
    L: Fn(&str) -> io::Result<Vec<IpAddr>> + Clone + Send + Sync + 'static,
{
    async fn resolve(&self, name: &str, lookup_permit: LookupPermit) -> io::Result<Vec<IpAddr>> {
        // Cannot fail: the semaphore is never closed.
        let permit = Arc::clone(&self.threads).acquire_owned().await.map_err(io::Error::other)?;
        let (name, look_up) = (name.to_owned(), self.lookup.clone());
        let lookup = tokio::task::spawn_blocking(move || {
            // A lookup cannot be cancelled: whoever gave up on it leaves it with all of its
            // permits.
            let _permits = (permit, lookup_permit);
            look_up(&name)
        });
        lookup.await.map_err(io::Error::other)?
    }
}
