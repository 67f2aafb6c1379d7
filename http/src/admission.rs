//! Which connections may be open: so many altogether, so many of one address, and so many whose
//! first request's head has not come.
//!
//! Whoever opens connections and says nothing holds only what others who say nothing would: a
//! connection on which no whole head has been received yet is ended as soon as somebody waits for
//! its permit: the oldest of the address that has the most such connections. So an address that
//! opens many ends its own, and TLS handshakes need no bound besides: each is such a connection.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::settings::ServerSettings;

/// How often the log tells of addresses that have too many connections.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

/// The bounds, and what is open.
pub(crate) struct Admission {
    open_permits: Arc<Semaphore>,
    most_of_address: usize,
    most_pending: usize,
    exempt: Vec<IpNet>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// Connections of each address, of those that have some.
    of_address: HashMap<IpAddr, usize>,
    /// What ends each connection whose first head has not come, by address, the oldest first;
    /// `None` for addresses that have no bound, which count as one.
    pending: HashMap<Option<IpAddr>, BTreeMap<u64, CancellationToken>>,
    pending_count: usize,
    next: u64,
    /// Connections that were refused since the log told of it.
    refused: u64,
    warned: Option<Instant>,
}

/// The address that a request came from, as what it has is counted: of IPv6 the first 64 bits. A
/// request has it among its extensions, unless the address may have any number of connections
/// ([`ServerSettings::exempt_networks`]), as that of a proxy stands for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

/// A connection's share of its address's bound, until it is dropped.
pub(crate) struct AddressShare {
    admission: Arc<Admission>,
    /// `None` where the address has no bound.
    address: Option<IpAddr>,
}

/// An open connection, until it is dropped.
pub(crate) struct ConnectionPermit {
    number: u64,
    /// Cancelled where the connection is to be ended because others wait.
    pub(crate) cut: CancellationToken,
    share: AddressShare,
    _permit: OwnedSemaphorePermit,
}

impl Admission {
    pub(crate) fn new(settings: &ServerSettings) -> Arc<Self> {
        let most = settings.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            open_permits: Arc::new(Semaphore::new(most)),
            most_of_address: settings.connections_per_address().max(1),
            most_pending: settings.pending_connections().max(1),
            exempt: settings.exempt_networks.clone(),
            open: Mutex::default(),
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing that holds the lock panics.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection from `peer`; `None` where its address has as many as it may.
    pub(crate) fn share(self: &Arc<Self>, peer: IpAddr) -> Option<AddressShare> {
        let peer = peer.to_canonical();
        if self.exempt.iter().any(|network| network.contains(&peer)) {
            return Some(AddressShare { admission: Arc::clone(self), address: None });
        }
        let address = counted_as(peer);
        let mut open = self.open();
        let count = open.of_address.entry(address).or_default();
        if *count < self.most_of_address {
            *count += 1;
            return Some(AddressShare { admission: Arc::clone(self), address: Some(address) });
        }
        open.refused += 1;
        if open.warned.is_none_or(|at| at.elapsed() >= WARNING_PAUSE) {
            let refused = std::mem::take(&mut open.refused);
            open.warned = Some(Instant::now());
            drop(open);
            tracing::warn!(
                %address,
                refused,
                most = self.most_of_address,
                "connections are refused: their address has as many as max_connections_per_address allows"
            );
        }
        None
    }

    /// Waits for a permit for a connection. Where there is none, one whose first head has not come
    /// is closed.
    pub(crate) async fn acquire(self: &Arc<Self>, share: AddressShare) -> Option<ConnectionPermit> {
        let permit = match Arc::clone(&self.open_permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.cut_oldest();
                // Cannot fail: the semaphore is never closed.
                Arc::clone(&self.open_permits).acquire_owned().await.ok()?
            }
        };
        let cut = CancellationToken::new();
        let mut open = self.open();
        if open.pending_count >= self.most_pending {
            open.cut_oldest();
        }
        let number = open.next;
        open.next += 1;
        open.pending.entry(share.address).or_default().insert(number, cut.clone());
        open.pending_count += 1;
        Some(ConnectionPermit { number, cut, share, _permit: permit })
    }

    /// Ends a connection whose first head has not come, if there is one: the oldest of the address
    /// that has the most of them.
    pub(crate) fn cut_oldest(&self) {
        self.open().cut_oldest();
    }
}

impl Open {
    fn cut_oldest(&mut self) {
        let oldest = |of_address: &BTreeMap<u64, _>| of_address.keys().next().copied();
        let most = self
            .pending
            .iter()
            .filter_map(|(address, of_address)| {
                let oldest = oldest(of_address)?;
                Some((of_address.len(), Reverse(oldest), *address))
            })
            .max_by_key(|(count, oldest, _)| (*count, *oldest));
        if let Some((_, Reverse(number), address)) = most
            && let Some(cut) = self.take_pending(address, number)
        {
            cut.cancel();
        }
    }

    fn take_pending(&mut self, address: Option<IpAddr>, number: u64) -> Option<CancellationToken> {
        let of_address = self.pending.get_mut(&address)?;
        let cut = of_address.remove(&number)?;
        if of_address.is_empty() {
            self.pending.remove(&address);
        }
        self.pending_count -= 1;
        Some(cut)
    }
}

impl ConnectionPermit {
    /// The first head has come whole: the connection is not ended for others any more.
    pub(crate) fn head_received(&self) {
        self.share.admission.open().take_pending(self.share.address, self.number);
    }

    /// Whose it is; `None` where its address has no bound.
    pub(crate) fn client_address(&self) -> Option<ClientAddress> {
        self.share.address.map(ClientAddress)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.head_received();
    }
}

impl Drop for AddressShare {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut open = self.admission.open();
        if let Some(count) = open.of_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.of_address.remove(&address);
            }
        }
    }
}

/// What an address counts as: of IPv6 the first 64 bits, as whoever has one of these has all of
/// them.
fn counted_as(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(
        most: usize,
        of_address: usize,
        pending: usize,
        exempt: &[&str],
    ) -> Arc<Admission> {
        Admission::new(&ServerSettings {
            max_connections: most,
            max_connections_per_address: Some(of_address),
            max_pending_connections: Some(pending),
            exempt_networks: exempt.iter().map(|network| network.parse().unwrap()).collect(),
            ..ServerSettings::default()
        })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_and_gets_them_back() {
        let admission = admission(10, 2, 10, &["10.1.0.0/16"]);
        let one = address("192.0.2.1");
        let shares: Vec<AddressShare> = (0..2).map(|_| admission.share(one).unwrap()).collect();
        assert!(admission.share(one).is_none());
        // The same one, as a socket for both kinds shows it.
        assert!(admission.share(address("::ffff:192.0.2.1")).is_none());
        let _other = admission.share(address("192.0.2.2")).unwrap();
        let _exempt: Vec<AddressShare> =
            (0..9).map(|_| admission.share(address("10.1.2.3")).unwrap()).collect();
        drop(shares);
        assert!(admission.share(one).is_some());
        assert_eq!(
            admission.open().of_address.len(),
            1,
            "only those that have some are remembered"
        );
    }

    #[test]
    fn of_ipv6_the_network_counts() {
        let admission = admission(10, 1, 10, &[]);
        let _one = admission.share(address("2001:db8:0:1::1")).unwrap();
        assert!(admission.share(address("2001:db8:0:1:ffff::2")).is_none());
        assert!(admission.share(address("2001:db8:0:2::1")).is_some());
    }

    #[tokio::test]
    async fn whoever_waits_gets_the_place_of_the_oldest_that_is_silent() {
        let admission = admission(3, 10, 10, &[]);
        let permit = async || {
            admission.acquire(admission.share(address("192.0.2.1")).unwrap()).await.unwrap()
        };
        let (first, second, third) = (permit().await, permit().await, permit().await);
        first.head_received();
        let waiting = permit();
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("there was no room"),
            () = second.cut.cancelled() => {}
        }
        assert!(!first.cut.is_cancelled() && !third.cut.is_cancelled());
        drop(second);
        waiting.await;
    }

    #[tokio::test]
    async fn those_that_are_silent_are_bounded() {
        let admission = admission(10, 10, 2, &[]);
        let permit = async || {
            admission.acquire(admission.share(address("192.0.2.1")).unwrap()).await.unwrap()
        };
        let head_received = permit().await;
        head_received.head_received();
        let (first, second) = (permit().await, permit().await);
        assert!(!first.cut.is_cancelled());
        let third = permit().await;
        assert!(
            first.cut.is_cancelled()
                && !second.cut.is_cancelled()
                && !head_received.cut.is_cancelled()
        );
        drop(third);
        assert_eq!(admission.open().pending_count, 1);
    }

    #[tokio::test]
    async fn an_address_that_has_many_silent_ones_ends_its_own() {
        let admission = admission(20, 20, 4, &["10.0.0.0/8"]);
        let permit = async |from: &str| {
            admission.acquire(admission.share(address(from)).unwrap()).await.unwrap()
        };
        // Those of others are older, and each has no more than one.
        let others = [permit("192.0.2.1").await, permit("10.1.2.3").await];
        let mut many = vec![permit("192.0.2.9").await, permit("192.0.2.9").await];
        for _ in 0..10 {
            many.push(permit("192.0.2.9").await);
        }
        assert!(others.iter().all(|other| !other.cut.is_cancelled()));
        let open: Vec<bool> = many.iter().map(|permit| !permit.cut.is_cancelled()).collect();
        assert_eq!(open.iter().filter(|open| **open).count(), 2);
        assert!(open[10] && open[11], "the newest ones stay");
        let next = permit("192.0.2.2").await;
        assert!(many[10].cut.is_cancelled() && !next.cut.is_cancelled());
        drop((others, many, next));
        let open = admission.open();
        assert!(open.pending.is_empty() && open.pending_count == 0);
    }
}
