//! Requests that await their replies. Replies are never written to disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::port::{BrokerError, PendingReply, ReplyTo, Result};

/// The requests that await their replies.
#[derive(Debug)]
pub(super) struct Replies {
    /// Another one for each run of the process: a message of an earlier run asks for a reply that
    /// nobody awaits.
    address: String,
    most: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<Bytes>>,
    /// How many were left when those that had given up were last removed.
    after_sweep: usize,
}

impl Table {
    /// Removes those that have given up. Done only when the table has doubled since, so that it
    /// costs little and the table is at most twice as large as it must be.
    fn sweep(&mut self, most: usize) {
        if self.waiting.len() >= most || self.waiting.len() > 2 * self.after_sweep + 16 {
            self.waiting.retain(|_, waiting| !waiting.is_closed());
            self.after_sweep = self.waiting.len();
        }
    }
}

impl Replies {
    pub(super) fn new(most: usize) -> Self {
        Self { address: format!("embedded/{}", Uuid::new_v4()), most, table: Mutex::default() }
    }

    /// An address for one reply.
    pub(super) fn expect(&self) -> Result<(ReplyTo, PendingReply)> {
        let (sender, receiver) = oneshot::channel();
        let mut table = self.lock();
        table.sweep(self.most);
        if table.waiting.len() >= self.most {
            return Err(BrokerError::Unavailable(format!(
                "{} requests await their replies already",
                self.most
            )));
        }
        let correlation = table.next;
        table.next += 1;
        table.waiting.insert(correlation, sender);
        drop(table);
        let to = ReplyTo { address: self.address.clone(), correlation: correlation.to_string() };
        Ok((to, PendingReply::new(receiver)))
    }

    /// Gives a reply to whoever awaits it, if anybody does.
    pub(super) fn deliver(&self, to: &ReplyTo, body: Bytes) {
        if to.address != self.address {
            return;
        }
        let Ok(correlation) = to.correlation.parse::<u64>() else { return };
        let waiting = self.lock().waiting.remove(&correlation);
        if let Some(waiting) = waiting {
            // Where it has given up meanwhile, the reply goes nowhere.
            let _ = waiting.send(body);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        // Nothing panics while it is locked.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn those_who_gave_up_take_no_room() {
        let replies = Replies::new(100);
        for _ in 0..10_000 {
            let (_, pending) = replies.expect().unwrap();
            drop(pending);
        }
        assert!(replies.lock().waiting.len() <= 17);
        let _kept: Vec<_> = (0..100).map(|_| replies.expect().unwrap()).collect();
        assert!(matches!(replies.expect(), Err(BrokerError::Unavailable(_))));
    }

    #[tokio::test]
    async fn a_reply_reaches_its_own_request_only() {
        let replies = Replies::new(10);
        let (first, first_reply) = replies.expect().unwrap();
        let (second, second_reply) = replies.expect().unwrap();
        replies.deliver(&ReplyTo { address: "elsewhere".into(), ..first.clone() }, "no".into());
        replies.deliver(&ReplyTo { correlation: "x".into(), ..first.clone() }, "no".into());
        replies.deliver(&second, "two".into());
        replies.deliver(&first, "one".into());
        replies.deliver(&first, "again".into());
        assert_eq!(first_reply.wait(Duration::from_secs(5)).await.unwrap(), "one");
        assert_eq!(second_reply.wait(Duration::from_secs(5)).await.unwrap(), "two");
    }
}
