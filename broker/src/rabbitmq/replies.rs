//! Requests that await their replies.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::sync::oneshot;

/// The requests of a publish channel that await their replies, by their correlation ids.
pub(super) struct Replies {
    waiting: HashMap<u64, oneshot::Sender<Bytes>>,
    at_most: usize,
    /// With so many, those that nobody waits for any more are removed.
    look_at: usize,
}

impl Replies {
    pub(super) fn new(at_most: usize) -> Self {
        Self { waiting: HashMap::new(), at_most, look_at: 64.min(at_most) }
    }

    /// Awaits the reply to a request. `false` where too many are awaited.
    pub(super) fn await_for(&mut self, request: u64, waiter: oneshot::Sender<Bytes>) -> bool {
        if self.waiting.len() >= self.look_at {
            self.waiting.retain(|_, waiter| !waiter.is_closed());
            if self.waiting.len() >= self.at_most {
                return false;
            }
            // Each removal is preceded by as many requests as it looks at.
            self.look_at = (self.waiting.len() * 2).clamp(64.min(self.at_most), self.at_most);
        }
        self.waiting.insert(request, waiter);
        true
    }

    /// A reply has arrived. It is dropped where nobody waits.
    pub(super) fn arrived(&mut self, request: u64, body: Bytes) {
        if let Some(waiter) = self.waiting.remove(&request) {
            let _ = waiter.send(body);
        }
    }

    /// Removes a request: its waiter learns that there is no reply.
    pub(super) fn forget(&mut self, request: u64) {
        self.waiting.remove(&request);
    }

    /// Removes all but those of which `keep` is true. Their waiters learn that the connection is
    /// gone.
    pub(super) fn give_up(&mut self, keep: impl Fn(u64) -> bool) {
        self.waiting.retain(|request, _| keep(*request));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_nobody_waits_for_make_room() {
        let mut replies = Replies::new(100);
        let mut receivers = Vec::new();
        for request in 0..100 {
            let (waiter, receiver) = oneshot::channel();
            assert!(replies.await_for(request, waiter));
            receivers.push(receiver);
        }
        assert!(!replies.await_for(100, oneshot::channel().0));
        receivers.drain(..50);
        for request in 200..250 {
            let (waiter, receiver) = oneshot::channel();
            assert!(replies.await_for(request, waiter), "{request}");
            receivers.push(receiver);
        }
        assert!(!replies.await_for(300, oneshot::channel().0));
    }

    #[test]
    fn the_given_up_learn_of_it() {
        let mut replies = Replies::new(10);
        let (lost, kept) = (oneshot::channel(), oneshot::channel());
        assert!(replies.await_for(1, lost.0) && replies.await_for(2, kept.0));
        replies.give_up(|request| request == 2);
        replies.arrived(1, "late".into());
        replies.arrived(2, "reply".into());
        let (mut lost, mut kept) = (lost.1, kept.1);
        assert!(lost.try_recv().is_err());
        assert_eq!(kept.try_recv().unwrap(), "reply");
    }
}
