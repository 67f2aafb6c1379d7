//! What hosts are notified of about executions that they run or are about to run.

use crate::dispatch::AttemptKey;
use crate::execution::ExecutionId;
use crate::lifecycle::is_same_epoch;
use crate::names::TenantName;
use crate::state::{State, Transition};

/// What is to become of an attempt that a host has in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderKind {
    /// The execution was cancelled: the attempt ends.
    Cancel,
    /// The execution was suspended: the attempt is interrupted, and made again when it is resumed.
    Suspend,
    /// Whatever comes of the attempt would not stand: its execution went on without it. The store
    /// says so of one attempt, and nobody broadcasts it.
    Abandon,
}

/// An order about one execution: what was dispatched in an earlier epoch than the order's does not
/// count any more. It is a hint, as whoever can write to the broker can make one: the store
/// decides. It binds the executions of its tenant only, as an id proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Whose operator has decided; `None` where the message does not say.
    pub tenant: Option<TenantName>,
    /// The execution.
    pub execution: ExecutionId,
    /// The epoch that the operation behind it has begun.
    pub epoch: u32,
    /// What is to be done.
    pub kind: OrderKind,
    /// Why, where somebody said so.
    pub reason: Option<String>,
}

impl OrderKind {
    /// What hosts are notified of by an operator's operation; `None` where they need not know.
    pub fn of(what: Transition) -> Option<Self> {
        match what {
            Transition::Cancel => Some(Self::Cancel),
            Transition::Suspend => Some(Self::Suspend),
            _ => None,
        }
    }
}

impl Order {
    /// Whether it is about this attempt of a tenant's execution, for sure as far as whose it is: one
    /// that does not say its tenant is about none.
    pub fn is_about(&self, tenant: &TenantName, attempt: &AttemptKey) -> bool {
        self.tenant.as_ref() == Some(tenant) && self.may_be_about(attempt)
    }

    /// Whether it is about this attempt, if it is about its tenant's.
    pub fn may_be_about(&self, attempt: &AttemptKey) -> bool {
        self.execution == attempt.execution && self.epoch > attempt.epoch
    }

    /// The order for a host that runs `attempt` of the tenant's execution, which is in that state,
    /// epoch and attempt; `None` where the outcome would stand. It is for that attempt and no other:
    /// one that its execution has gone on without may be of the same epoch as the one that is valid.
    pub fn for_attempt(
        tenant: &TenantName,
        attempt: &AttemptKey,
        state: State,
        epoch: u32,
        at_attempt: u32,
        reason: Option<String>,
    ) -> Option<Self> {
        let is_open = at_attempt == attempt.attempt
            && is_same_epoch(epoch, attempt.epoch)
            && state.after(Transition::Succeed).is_ok();
        let kind = match state {
            State::Cancelled => OrderKind::Cancel,
            State::Suspended => OrderKind::Suspend,
            _ => OrderKind::Abandon,
        };
        (!is_open).then(|| Self {
            tenant: Some(tenant.clone()),
            execution: attempt.execution,
            epoch,
            kind,
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_whose_outcome_would_stand_has_no_order() {
        let key = AttemptKey { execution: ExecutionId::new(), epoch: 2, attempt: 3 };
        let kind = |state, epoch, attempt| {
            let tenant = TenantName::default();
            let order = Order::for_attempt(&tenant, &key, state, epoch, attempt, None)?;
            assert_eq!((order.execution, order.epoch), (key.execution, epoch));
            assert_eq!(order.is_about(&tenant, &key), epoch > key.epoch);
            Some(order.kind)
        };
        assert_eq!(kind(State::Running, 2, 3), None);
        assert_eq!(kind(State::Queued, 2, 3), None);
        assert_eq!(kind(State::Queued, 4, 3), Some(OrderKind::Abandon), "resumed since");
        assert_eq!(kind(State::Delayed, 2, 4), Some(OrderKind::Abandon), "another host's");
        assert_eq!(kind(State::Cancelled, 3, 3), Some(OrderKind::Cancel));
        assert_eq!(kind(State::Suspended, 3, 3), Some(OrderKind::Suspend));
    }

    #[test]
    fn an_order_is_about_what_was_dispatched_before_it() {
        let (tenant, other) = (TenantName::default(), "other".parse().unwrap());
        let order = Order {
            tenant: Some(tenant.clone()),
            execution: ExecutionId::new(),
            epoch: 3,
            kind: OrderKind::Suspend,
            reason: None,
        };
        let of_epoch = |epoch| AttemptKey { execution: order.execution, epoch, attempt: 1 };
        assert!(order.is_about(&tenant, &of_epoch(1)) && order.is_about(&tenant, &of_epoch(0)));
        assert!(!order.is_about(&tenant, &of_epoch(3)) && !order.is_about(&tenant, &of_epoch(4)));
        let another = AttemptKey { execution: ExecutionId::new(), ..of_epoch(1) };
        assert!(!order.is_about(&tenant, &another));
        assert!(!order.is_about(&other, &of_epoch(1)), "it is another tenant's");
        // Of one epoch there may be the attempt that is valid, beside one that is not any more.
        let abandon = Order { kind: OrderKind::Abandon, ..order.clone() };
        assert!(
            !abandon.is_about(&tenant, &of_epoch(3)) && abandon.is_about(&tenant, &of_epoch(2))
        );
        let of_nobody = Order { tenant: None, ..order.clone() };
        assert!(!of_nobody.is_about(&tenant, &of_epoch(1)) && of_nobody.may_be_about(&of_epoch(1)));
    }
}
