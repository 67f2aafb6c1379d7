//! What operators decide about executions that this host runs or is about to run.
//!
//! A gateway commits a cancellation or a suspension and then broadcasts an order. What runs is
//! stopped at once ([`RunningAttempts`](crate::worker)); what is about to run is looked up among
//! the orders of late ([`Control::concerns`]), which costs nothing while there are none. An order
//! is a hint: the store is asked before anything is left undone by it.
//!
//! A host does not receive every order. Whatever was dispatched before it subscribed, or before a
//! broadcast that it could not read, is asked about ([`Control::has_received`]), and so is what has
//! waited for a while, as a gateway that cannot broadcast answers only when every host asks anyway.
//! What runs is asked about again and again ([`beat()`]).

mod beat;
mod listen;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmill_domain::wire::Broadcast;
use wasmill_domain::{AttemptKey, Dispatch, ExecutionId, Order, TenantName, Timestamp};

pub(crate) use self::beat::beat;
pub(crate) use self::listen::listen;
use crate::worker::running_attempts::RunningAttempts;

/// How many orders are kept. With more, all are forgotten, and what was dispatched before is asked
/// about.
const MOST: usize = 10_000;

/// How long an order is kept. What was dispatched before it is asked about long before that.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// While there is no subscription, nothing that was dispatched is late enough.
const NEVER: i64 = i64::MAX;

/// The orders of late.
pub(crate) struct Control {
    running: Arc<RunningAttempts>,
    orders: Mutex<Orders>,
    /// How many there are, to be looked at without the lock.
    count: AtomicUsize,
    /// Since when every order has been received, in microseconds; [`NEVER`] while that is not so.
    received_since: AtomicI64,
    /// How far the clocks of gateways may be ahead of this host's.
    clock_difference: Duration,
}

struct Orders {
    /// One of another tenant is kept beside the execution's own.
    all: HashMap<(ExecutionId, Option<TenantName>), (Order, Instant)>,
    swept: Instant,
}

impl Control {
    /// Stops what runs where an order says so.
    pub(crate) fn new(running: Arc<RunningAttempts>, clock_difference: Duration) -> Self {
        Self {
            running,
            orders: Mutex::new(Orders { all: HashMap::new(), swept: Instant::now() }),
            count: AtomicUsize::new(0),
            received_since: AtomicI64::new(NEVER),
            clock_difference,
        }
    }

    /// Whether every order about what was dispatched then has been received.
    pub(crate) fn has_received(&self, dispatched_at: Timestamp) -> bool {
        let since = self.received_since.load(Ordering::Acquire);
        since != NEVER && dispatched_at >= Timestamp::from_micros(since).plus(self.clock_difference)
    }

    /// Whether an order has been received that may be about this dispatch.
    pub(crate) fn concerns(&self, dispatch: &Dispatch) -> bool {
        self.count.load(Ordering::Acquire) > 0
            && self.concerns_attempt(&dispatch.tenant, &dispatch.key())
    }

    fn concerns_attempt(&self, tenant: &TenantName, key: &AttemptKey) -> bool {
        let orders = self.lock();
        // The store is asked, so that one which does not say whose it is does no harm.
        [Some(tenant.clone()), None].into_iter().any(|tenant| {
            let order = orders.all.get(&(key.execution, tenant));
            order.is_some_and(|(order, _)| order.may_be_about(key))
        })
    }

    /// A broadcast has come. An order is kept before what runs is looked at, and what begins to run
    /// is looked up after it is among what runs: so none slips through.
    fn receive(&self, body: &Bytes) {
        match Broadcast::decode(body) {
            Ok(broadcast) => {
                for order in broadcast.orders {
                    self.keep(order.clone());
                    self.running.stop(&order);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a broadcast cannot be read: the store is asked instead");
                self.have_missed_some();
            }
        }
    }

    fn keep(&self, order: Order) {
        let mut orders = self.lock();
        if orders.swept.elapsed() >= KEPT_FOR {
            orders.all.retain(|_, (_, at)| at.elapsed() < KEPT_FOR);
            orders.swept = Instant::now();
        }
        if orders.all.len() >= MOST {
            orders.all.clear();
            self.have_missed_some();
        }
        let key = (order.execution, order.tenant.clone());
        orders.all.insert(key, (order, Instant::now()));
        self.count.store(orders.all.len(), Ordering::Release);
    }

    /// What was dispatched until now may have orders that are not here.
    fn have_missed_some(&self) {
        self.received_since.fetch_max(Timestamp::now().as_micros(), Ordering::AcqRel);
    }

    fn begin_to_receive(&self) {
        self.received_since.store(Timestamp::now().as_micros(), Ordering::Release);
    }

    fn receive_no_more(&self) {
        self.received_since.store(NEVER, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        // Never held across an await, and nothing panics while it is held.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use wasmill_domain::OrderKind;
    use wasmill_domain::wire::Writes;

    use super::*;

    fn order(execution: ExecutionId, epoch: u32) -> Order {
        let tenant = Some(TenantName::default());
        Order { tenant, execution, epoch, kind: OrderKind::Cancel, reason: None }
    }

    fn broadcast(orders: Vec<Order>) -> Bytes {
        Broadcast { orders }.encode(&Writes::default()).into()
    }

    #[test]
    fn an_order_concerns_what_was_dispatched_before_it() {
        let control = Control::new(Arc::default(), Duration::ZERO);
        let id = ExecutionId::new();
        let key = |epoch| AttemptKey { execution: id, epoch, attempt: 1 };
        assert_eq!(control.count.load(Ordering::SeqCst), 0);
        control.receive(&broadcast(vec![order(ExecutionId::new(), 2), order(id, 2)]));
        control.receive(&Bytes::from_static(b"not a broadcast"));
        let tenant = TenantName::default();
        let concerns = |epoch| control.concerns_attempt(&tenant, &key(epoch));
        assert!(concerns(1) && !concerns(2));
        control.receive(&broadcast(vec![order(id, 4)]));
        assert!(concerns(3) && !concerns(4));
        assert_eq!(control.count.load(Ordering::SeqCst), 2);
        // What another tenant's operator decided takes the place of nothing.
        let other = Order { tenant: Some("other".parse().unwrap()), ..order(id, 9) };
        control.receive(&broadcast(vec![other]));
        assert!(concerns(3) && !concerns(4));
        let of_nobody = Order { tenant: None, ..order(id, 9) };
        control.receive(&broadcast(vec![of_nobody]));
        assert!(concerns(4), "the store is asked");
    }

    #[test]
    fn nothing_has_been_received_before_it_subscribed() {
        let control = Control::new(Arc::default(), Duration::from_secs(1));
        let soon = |seconds| Timestamp::now().plus(Duration::from_secs(seconds));
        assert!(!control.has_received(soon(100)));
        let before = Timestamp::now();
        control.begin_to_receive();
        assert!(!control.has_received(before) && control.has_received(soon(2)));
        control.receive_no_more();
        assert!(!control.has_received(soon(2)));
    }

    #[test]
    fn too_many_orders_are_as_good_as_none_received() {
        let control = Control::new(Arc::default(), Duration::ZERO);
        control.begin_to_receive();
        std::thread::sleep(Duration::from_millis(2));
        let dispatched = Timestamp::now();
        assert!(control.has_received(dispatched));
        std::thread::sleep(Duration::from_millis(2));
        for _ in 0..=MOST {
            control.keep(order(ExecutionId::new(), 2));
        }
        assert_eq!(control.count.load(Ordering::SeqCst), 1);
        assert!(!control.has_received(dispatched) && control.has_received(Timestamp::now()));
    }

    /// A newer release may broadcast what this one must not pass over.
    #[test]
    fn what_cannot_be_read_is_as_good_as_not_received() {
        let control = Control::new(Arc::default(), Duration::ZERO);
        control.begin_to_receive();
        let dispatched = Timestamp::now();
        assert!(control.has_received(dispatched));
        while Timestamp::now() == dispatched {
            std::hint::spin_loop();
        }
        // Version 1, and one part with the tag 0x87 and no body.
        control.receive(&Bytes::from_static(&[1, 1, 0x87, 0]));
        assert!(!control.has_received(dispatched) && control.has_received(Timestamp::now()));
        // Where nothing is received, that stays so.
        control.receive_no_more();
        control.receive(&Bytes::from_static(&[1, 1, 0x87, 0]));
        assert!(!control.has_received(Timestamp::now()));
    }
}
