//! Whose turn it is at work that takes long, such as compiling: so many at once, and tenants by
//! turns, so that a tenant with much of it delays itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use wasmill_domain::TenantName;

use crate::turns::TenantTurns;

/// The queue of those who have such work.
pub(crate) struct TurnQueue {
    state: Mutex<State>,
    at_once: usize,
    waiting: usize,
    patience: Duration,
}

struct State {
    running: usize,
    turns: TenantTurns<oneshot::Sender<Turn>>,
    /// How many of each tenant wait.
    waiting: HashMap<TenantName, usize>,
}

/// The right to work; the next one's turn comes when it is dropped.
pub(crate) struct Turn(Option<Arc<TurnQueue>>);

impl TurnQueue {
    /// So many `at_once`; of each tenant, at most `waiting` more wait, each for `patience`.
    pub(crate) fn new(at_once: usize, waiting: usize, patience: Duration) -> Arc<Self> {
        let state = State { running: 0, turns: TenantTurns::default(), waiting: HashMap::new() };
        Arc::new(Self { state: Mutex::new(state), at_once: at_once.max(1), waiting, patience })
    }

    /// Waits for the tenant's turn.
    ///
    /// # Errors
    /// Where too many of the tenant's wait already, or it takes too long.
    pub(crate) async fn turn(self: &Arc<Self>, tenant: &TenantName) -> Result<Turn, NoTurn> {
        let receiver = {
            let mut state = self.state();
            if state.running < self.at_once {
                state.running += 1;
                return Ok(Turn(Some(Arc::clone(self))));
            }
            let waiting = state.waiting.entry(tenant.clone()).or_default();
            if *waiting >= self.waiting {
                return Err(NoTurn::TooMany);
            }
            *waiting += 1;
            let (sender, receiver) = oneshot::channel();
            state.turns.push(tenant, sender);
            receiver
        };
        let waiting = Waiting { queue: self, tenant };
        let turn = tokio::time::timeout(self.patience, receiver).await;
        drop(waiting);
        // Its sender is in the queue, which is here still, until it has sent.
        turn.ok().and_then(Result::ok).ok_or(NoTurn::TooLong)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting.values().sum()
    }

    /// Hands a turn to the next who still waits for one.
    fn pass(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state();
                let next = state.turns.pop();
                if next.is_none() {
                    state.running -= 1;
                }
                next
            };
            let Some(next) = next else { return };
            match next.send(Turn(Some(Arc::clone(self)))) {
                Ok(()) => return,
                // Who waited is gone. The turn that comes back is not dropped as one that was used.
                Err(mut turn) => turn.0 = None,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            queue.pass();
        }
    }
}

/// Why there is no turn.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTurn {
    /// Too many of the tenant's wait.
    #[error("too many of the tenant's components wait to be compiled")]
    TooMany,
    /// It takes too long.
    #[error("others' components are being compiled")]
    TooLong,
}

/// Counts one who waits, until it has its turn or gives up.
struct Waiting<'a> {
    queue: &'a TurnQueue,
    tenant: &'a TenantName,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        if let Some(waiting) = state.waiting.get_mut(self.tenant) {
            *waiting -= 1;
            if *waiting == 0 {
                state.waiting.remove(self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3_600);

    fn tenant(name: &str) -> TenantName {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn another_tenant_waits_for_one_turn_only() {
        let queue = TurnQueue::new(1, 8, PATIENCE);
        let (busy, other) = (tenant("busy"), tenant("other"));
        let first = queue.turn(&busy).await.unwrap();
        let mut more: Vec<_> = (0..7).map(|_| Box::pin(queue.turn(&busy))).collect();
        for waiting in &mut more {
            assert!(waiting.now_or_never().is_none());
        }
        let mut others = Box::pin(queue.turn(&other));
        assert!((&mut others).now_or_never().is_none());
        drop(first);
        // The one that waited longest, of the tenant that came first.
        let second = (&mut more[0]).now_or_never().unwrap().unwrap();
        assert!((&mut others).now_or_never().is_none());
        drop(second);
        let others = others.now_or_never().unwrap().unwrap();
        assert!((&mut more[1]).now_or_never().is_none());
        drop(others);
        assert!((&mut more[1]).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_gives_up_is_passed_over() {
        let queue = TurnQueue::new(1, 8, PATIENCE);
        let tenant = tenant("busy");
        let first = queue.turn(&tenant).await.unwrap();
        let mut gone = Box::pin(queue.turn(&tenant));
        let mut stays = Box::pin(queue.turn(&tenant));
        assert!((&mut gone).now_or_never().is_none() && (&mut stays).now_or_never().is_none());
        drop(gone);
        drop(first);
        let turn = stays.now_or_never().unwrap().unwrap();
        drop(turn);
        assert_eq!(queue.state().running, 0);
        assert!(queue.state().waiting.is_empty());
        // Nor is a turn lost that was handed over and not taken.
        let first = queue.turn(&tenant).await.unwrap();
        let mut gone = Box::pin(queue.turn(&tenant));
        assert!((&mut gone).now_or_never().is_none());
        drop(first);
        drop(gone);
        assert_eq!(queue.state().running, 0);
    }

    #[tokio::test]
    async fn how_many_wait_is_bounded_for_each_tenant() {
        let queue = TurnQueue::new(1, 1, PATIENCE);
        let (busy, other) = (tenant("busy"), tenant("other"));
        let turn = queue.turn(&busy).await.unwrap();
        let mut waiting = Box::pin(queue.turn(&busy));
        assert!((&mut waiting).now_or_never().is_none());
        let refused = queue.turn(&busy).await.err().unwrap();
        assert!(refused.to_string().contains("too many of the tenant's"), "{refused}");
        let mut others = Box::pin(queue.turn(&other));
        assert!((&mut others).now_or_never().is_none(), "another tenant may wait");
        drop(turn);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let queue = TurnQueue::new(1, 1, Duration::ZERO);
        let turn = queue.turn(&tenant("busy")).await.unwrap();
        let refused = queue.turn(&tenant("other")).await.err().unwrap();
        assert!(refused.to_string().contains("others' components"), "{refused}");
        assert!(queue.state().waiting.is_empty());
        drop(turn);
        assert_eq!(queue.state().running, 0);
    }
}
