//! What a consumer holds, and how it is settled.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use lapin::Channel;
use lapin::message::Delivery as AmqpDelivery;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tracing::debug;

use super::wire;
use crate::port::{Delivery, Result, Settle, Tag};

/// How many bits of a [`Tag`] are RabbitMQ's own number, which starts over with each channel. The rest counts channels.
const NUMBER_BITS: u32 = 40;

/// What a consumer holds. One for all its channels, which come and go with connections.
#[derive(Default)]
pub(super) struct Holding {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many channels there were.
    epoch: u64,
    /// The channel of this epoch, unless it is lost.
    channel: Option<Arc<Channel>>,
    /// The numbers of what was handed out over it and is not settled.
    held: BTreeSet<u64>,
    /// Nothing more is to be held: the last one who could settle is gone.
    over: bool,
}

/// One acknowledgement on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stroke {
    number: u64,
    /// It is meant for all before it as well.
    multiple: bool,
}

/// How to settle.
#[derive(Clone, Copy)]
enum How {
    Ack,
    Release,
}

impl Holding {
    /// Goes on with another channel. What was held on the one before is no longer held. `false` where nothing is to be held
    /// any more.
    pub(super) fn move_to(&self, channel: Arc<Channel>) -> bool {
        let mut state = self.lock();
        if state.over {
            return false;
        }
        state.epoch += 1;
        state.channel = Some(channel);
        state.held.clear();
        true
    }

    /// The channel is no more, nor is what was held on it.
    pub(super) fn lose(&self) {
        let mut state = self.lock();
        state.channel = None;
        state.held.clear();
    }

    /// Takes a message in hand. The one who calls it has got it over the channel of this epoch.
    pub(super) fn take(&self, delivery: AmqpDelivery) -> Delivery {
        let number = delivery.delivery_tag;
        let mut state = self.lock();
        state.held.insert(number);
        let tag = tag(state.epoch, number);
        drop(state);
        let (message, redeliveries) = wire::received(delivery);
        Delivery { tag, redeliveries, message }
    }

    /// How much is held.
    pub(super) fn count(&self) -> u64 {
        let state = self.lock();
        let is_there = state.channel.as_ref().is_some_and(|channel| channel.status().connected());
        if is_there { state.held.len() as u64 } else { 0 }
    }

    /// Whether nobody can settle any more.
    pub(super) fn is_over(&self) -> bool {
        self.lock().over
    }

    /// Puts back messages that were on their way and never taken in hand.
    pub(super) fn put_back(channel: &Channel, numbers: impl Iterator<Item = u64>) {
        for number in numbers {
            send(channel, How::Release, Stroke { number, multiple: false });
        }
    }

    /// Settles what is held of `tags`.
    fn settle(&self, tags: &[Tag], how: How) {
        let mut state = self.lock();
        let Some(channel) = state.channel.clone() else { return };
        // Strokes must reach the wire in the order they are worked out in: one for all up to a number is wrong once these are
        // gone. So the lock is kept until they are queued.
        for stroke in state.strokes(tags) {
            send(&channel, how, stroke);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes `tags` out of what is held and says how to tell RabbitMQ with few words: one for the oldest without a gap, and one
    /// for each of the others.
    fn strokes(&mut self, tags: &[Tag]) -> Vec<Stroke> {
        let numbers = tags.iter().filter_map(|tag| number(self.epoch, *tag));
        let mut settled: Vec<u64> = numbers.filter(|number| self.held.remove(number)).collect();
        settled.sort_unstable();
        let oldest_held = self.held.first().copied().unwrap_or(u64::MAX);
        let oldest = settled.partition_point(|number| *number < oldest_held);
        let together = settled[..oldest].last().map(|number| Stroke { number: *number, multiple: oldest > 1 });
        let single = settled[oldest..].iter().map(|number| Stroke { number: *number, multiple: false });
        together.into_iter().chain(single).collect()
    }
}

/// Queues an acknowledgement to be written. It is not awaited: RabbitMQ gives no answer, and where it does not arrive the
/// message is delivered again.
fn send(channel: &Channel, how: How, stroke: Stroke) {
    let Stroke { number, multiple } = stroke;
    let mut context = Context::from_waker(Waker::noop());
    // The first poll queues it; the rest would only wait for the write.
    let queued = match how {
        How::Ack => pin!(channel.basic_ack(number, BasicAckOptions { multiple })).poll(&mut context),
        How::Release => {
            pin!(channel.basic_nack(number, BasicNackOptions { multiple, requeue: true })).poll(&mut context)
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

/// What a consumer settles by. Dropping it closes the channel, and RabbitMQ puts back what is held.
pub(super) struct Settler(pub(super) Arc<Holding>);

#[async_trait]
impl Settle for Settler {
    async fn ack(&self, tags: &[Tag]) -> Result<()> {
        self.0.settle(tags, How::Ack);
        Ok(())
    }

    async fn release(&self, tags: &[Tag]) -> Result<()> {
        self.0.settle(tags, How::Release);
        Ok(())
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        let channel = {
            let mut state = self.0.lock();
            state.over = true;
            state.held.clear();
            state.channel.take()
        };
        if let Some(channel) = channel
            && channel.status().connected()
        {
            // The consumer's other half may still have hold of the channel.
            let closed = pin!(channel.close(200, "settled".into())).poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(Err(error)) = closed {
                debug!(%error, "the channel of a consumer was lost already");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(epoch: u64, held: impl IntoIterator<Item = u64>) -> State {
        State { epoch, held: held.into_iter().collect(), ..State::default() }
    }

    fn strokes(state: &mut State, numbers: &[u64]) -> Vec<(u64, bool)> {
        let tags: Vec<Tag> = numbers.iter().map(|number| tag(state.epoch, *number)).collect();
        state.strokes(&tags).into_iter().map(|stroke| (stroke.number, stroke.multiple)).collect()
    }

    #[test]
    fn the_oldest_without_a_gap_go_together() {
        let mut state = holding(1, 1..=9);
        assert_eq!(strokes(&mut state, &[2, 4, 1]), [(2, true), (4, false)]);
        assert_eq!(strokes(&mut state, &[9, 7]), [(7, false), (9, false)]);
        // 4 is gone already: no gap.
        assert_eq!(strokes(&mut state, &[5, 3]), [(5, true)]);
        assert_eq!(strokes(&mut state, &[6]), [(6, false)]);
        assert_eq!(strokes(&mut state, &[8]), [(8, false)]);
        assert!(state.held.is_empty());
    }

    #[test]
    fn what_is_not_held_is_left_out() {
        let mut state = holding(3, [5, 6]);
        assert_eq!(strokes(&mut state, &[4, 7]), []);
        assert_eq!(strokes(&mut state, &[]), []);
        assert_eq!(strokes(&mut state, &[5, 5]), [(5, false)]);
        // Of the channel before, and of none.
        assert_eq!(state.strokes(&[tag(2, 6), Tag(6), Tag(u64::MAX)]), []);
        assert_eq!(strokes(&mut state, &[6]), [(6, false)]);
    }
}
