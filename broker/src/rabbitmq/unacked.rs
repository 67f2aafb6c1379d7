//! The deliveries of a consumer that are not settled yet, and how they are settled.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use lapin::Channel;
use lapin::message::Delivery as AmqpDelivery;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tracing::debug;

use super::amqp;
use crate::port::{Delivery, Result, Settle, Tag};

/// How many bits of a [`Tag`] are RabbitMQ's own number, which starts over with each channel. The
/// rest counts channels.
const NUMBER_BITS: u32 = 40;

/// The unacknowledged deliveries of a consumer. One for all its channels, as each connection has
/// another one.
#[derive(Default)]
pub(super) struct UnackedDeliveries {
    state: Mutex<UnackedState>,
}

#[derive(Default)]
struct UnackedState {
    /// How many channels there were.
    epoch: u64,
    /// The channel of this epoch, unless it is lost.
    channel: Option<Arc<Channel>>,
    /// The numbers of what was delivered over it and is not settled.
    numbers: BTreeSet<u64>,
    /// The half that settles is dropped: nothing more is to be delivered.
    ended: bool,
}

/// One acknowledgement on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settlement {
    number: u64,
    /// It settles all before it as well.
    multiple: bool,
}

/// How to settle.
#[derive(Clone, Copy)]
enum Verdict {
    Ack,
    Release,
}

impl UnackedDeliveries {
    /// Continues with another channel. What was unacknowledged on the one before was requeued.
    /// `false` where nothing more is to be delivered.
    pub(super) fn move_to(&self, channel: Arc<Channel>) -> bool {
        let mut state = self.lock();
        if state.ended {
            return false;
        }
        state.epoch += 1;
        state.channel = Some(channel);
        state.numbers.clear();
        true
    }

    /// The channel is lost: what was unacknowledged on it is requeued.
    pub(super) fn lose(&self) {
        let mut state = self.lock();
        state.channel = None;
        state.numbers.clear();
    }

    /// Adds a delivery. It must be one of this epoch's channel.
    pub(super) fn take(&self, delivery: AmqpDelivery) -> Delivery {
        let number = delivery.delivery_tag;
        let mut state = self.lock();
        state.numbers.insert(number);
        let tag = tag(state.epoch, number);
        drop(state);
        let (message, redeliveries) = amqp::received(delivery);
        Delivery { tag, redeliveries, message }
    }

    /// How many deliveries are unacknowledged.
    pub(super) fn count(&self) -> u64 {
        let state = self.lock();
        let is_there = state.channel.as_ref().is_some_and(|channel| channel.status().connected());
        if is_there { state.numbers.len() as u64 } else { 0 }
    }

    /// Whether nobody can settle any more.
    pub(super) fn is_ended(&self) -> bool {
        self.lock().ended
    }

    /// Requeues deliveries that were never received from the consumer.
    pub(super) fn requeue(channel: &Channel, numbers: impl Iterator<Item = u64>) {
        for number in numbers {
            send(channel, Verdict::Release, Settlement { number, multiple: false });
        }
    }

    /// Settles those of `tags` that are unacknowledged.
    fn settle(&self, tags: &[Tag], verdict: Verdict) {
        let mut state = self.lock();
        let Some(channel) = state.channel.clone() else { return };
        // Settlements must be sent in the order in which they are computed: one for everything up
        // to a number is wrong once some of that is settled. So the lock is kept until they are
        // queued.
        for settlement in state.settlements(tags) {
            send(&channel, verdict, settlement);
        }
    }

    fn lock(&self) -> MutexGuard<'_, UnackedState> {
        // Nothing panics while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnackedState {
    /// Removes `tags`, and returns the fewest settlements for them: one for the oldest without a
    /// gap, and one for each of the others.
    fn settlements(&mut self, tags: &[Tag]) -> Vec<Settlement> {
        let numbers = tags.iter().filter_map(|tag| number(self.epoch, *tag));
        let mut settled: Vec<u64> = numbers.filter(|number| self.numbers.remove(number)).collect();
        settled.sort_unstable();
        let oldest_left = self.numbers.first().copied().unwrap_or(u64::MAX);
        let oldest = settled.partition_point(|number| *number < oldest_left);
        let together = settled[..oldest]
            .last()
            .map(|number| Settlement { number: *number, multiple: oldest > 1 });
        let single =
            settled[oldest..].iter().map(|number| Settlement { number: *number, multiple: false });
        together.into_iter().chain(single).collect()
    }
}

/// Queues a settlement to be sent. It is not awaited: RabbitMQ does not answer it, and where it
/// does not arrive the message is delivered again.
fn send(channel: &Channel, verdict: Verdict, settlement: Settlement) {
    let Settlement { number, multiple } = settlement;
    let mut context = Context::from_waker(Waker::noop());
    // The first poll queues it; the rest would only wait for the write.
    let queued = match verdict {
        Verdict::Ack => {
            pin!(channel.basic_ack(number, BasicAckOptions { multiple })).poll(&mut context)
        }
        Verdict::Release => {
            pin!(channel.basic_nack(number, BasicNackOptions { multiple, requeue: true }))
                .poll(&mut context)
        }
    };
    if let Poll::Ready(Err(error)) = queued {
        debug!(%error, "messages were settled on a channel that is lost, and will be delivered again");
    }
}

fn tag(epoch: u64, number: u64) -> Tag {
    Tag(epoch << NUMBER_BITS | number & ((1 << NUMBER_BITS) - 1))
}

/// RabbitMQ's number of a tag of this epoch.
fn number(epoch: u64, of: Tag) -> Option<u64> {
    let number = of.0 & ((1 << NUMBER_BITS) - 1);
    (tag(epoch, number) == of).then_some(number)
}

/// The half of a consumer that settles. Dropping it closes the channel, and RabbitMQ requeues what
/// is unacknowledged.
pub(super) struct RabbitSettle(pub(super) Arc<UnackedDeliveries>);

#[async_trait]
impl Settle for RabbitSettle {
    async fn ack(&self, tags: &[Tag]) -> Result<()> {
        self.0.settle(tags, Verdict::Ack);
        Ok(())
    }

    async fn release(&self, tags: &[Tag]) -> Result<()> {
        self.0.settle(tags, Verdict::Release);
        Ok(())
    }
}

impl Drop for RabbitSettle {
    fn drop(&mut self) {
        let channel = {
            let mut state = self.0.lock();
            state.ended = true;
            state.numbers.clear();
            state.channel.take()
        };
        if let Some(channel) = channel
            && channel.status().connected()
        {
            // The consumer's other half may still use the channel.
            let closed = pin!(channel.close(200, "settled".into()))
                .poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(Err(error)) = closed {
                debug!(%error, "the channel of a consumer was lost already");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_of(epoch: u64, numbers: impl IntoIterator<Item = u64>) -> UnackedState {
        UnackedState { epoch, numbers: numbers.into_iter().collect(), ..UnackedState::default() }
    }

    fn settlements(state: &mut UnackedState, numbers: &[u64]) -> Vec<(u64, bool)> {
        let tags: Vec<Tag> = numbers.iter().map(|number| tag(state.epoch, *number)).collect();
        state
            .settlements(&tags)
            .into_iter()
            .map(|settlement| (settlement.number, settlement.multiple))
            .collect()
    }

    #[test]
    fn the_oldest_without_a_gap_go_together() {
        let mut state = state_of(1, 1..=9);
        assert_eq!(settlements(&mut state, &[2, 4, 1]), [(2, true), (4, false)]);
        assert_eq!(settlements(&mut state, &[9, 7]), [(7, false), (9, false)]);
        // 4 is gone already: no gap.
        assert_eq!(settlements(&mut state, &[5, 3]), [(5, true)]);
        assert_eq!(settlements(&mut state, &[6]), [(6, false)]);
        assert_eq!(settlements(&mut state, &[8]), [(8, false)]);
        assert!(state.numbers.is_empty());
    }

    #[test]
    fn what_is_not_held_is_left_out() {
        let mut state = state_of(3, [5, 6]);
        assert_eq!(settlements(&mut state, &[4, 7]), []);
        assert_eq!(settlements(&mut state, &[]), []);
        assert_eq!(settlements(&mut state, &[5, 5]), [(5, false)]);
        // Of the channel before, and of none.
        assert_eq!(state.settlements(&[tag(2, 6), Tag(6), Tag(u64::MAX)]), []);
        assert_eq!(settlements(&mut state, &[6]), [(6, false)]);
    }
}
