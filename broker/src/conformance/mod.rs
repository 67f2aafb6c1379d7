//! What every backend must do, as tests that take any [`Broker`].

mod broadcasts;
mod consuming;
mod events;
mod marks;
mod publishing;
mod requests;
mod streams;
mod support;

use std::future::Future;
use std::sync::Arc;

pub(crate) use self::broadcasts::broadcasts_suite;
pub(crate) use self::support::{QUEUE_MAX_BATCHES, Redeliveries};

use crate::port::{Consuming, Control, Publishing, Queues, Streams};

/// What a backend is: all of the ports. Only the suite takes a broker as a whole.
pub(crate) trait Broker: Publishing + Consuming + Streams + Queues + Control {}

impl<T: Publishing + Consuming + Streams + Queues + Control> Broker for T {}

/// Runs every test. `factory` gives a broker whose queues are full at [`QUEUE_MAX_BATCHES`]; it may
/// be the same one each time, as the tests use queues of their own. `redeliveries` is what it knows
/// of these.
pub(crate) async fn suite<F, Fut>(factory: F, redeliveries: Redeliveries)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Broker>>,
{
    publishing::what_is_published_comes_out_in_order(factory().await).await;
    publishing::contents_arrive_as_they_were(factory().await).await;
    events::any_event_comes_out_as_it_was(factory().await).await;
    publishing::large_messages_arrive(factory().await).await;
    publishing::publishers_at_once_keep_their_own_order(factory().await).await;
    publishing::publishes_in_flight_keep_the_order_they_began_in(factory().await).await;
    publishing::queues_do_not_mind_each_other(factory().await).await;
    publishing::a_full_queue_refuses_and_takes_again(factory().await).await;
    publishing::no_queue_is_an_error(factory().await).await;
    publishing::declaring_twice_changes_nothing(factory().await).await;
    consuming::a_consumer_may_come_first(factory().await).await;
    consuming::no_more_than_the_prefetch_is_unacknowledged(factory().await).await;
    consuming::what_is_acked_is_gone(factory().await).await;
    consuming::what_is_released_comes_first_and_is_counted(factory().await, redeliveries).await;
    consuming::unknown_tags_are_ignored(factory().await).await;
    consuming::consumers_share_a_queue(factory().await).await;
    consuming::dropping_the_settler_requeues(factory().await).await;
    consuming::dropping_the_deliveries_keeps_what_is_unacknowledged(factory().await).await;
    consuming::a_dropped_next_loses_nothing(factory().await).await;
    consuming::deleting_ends_consumers(factory().await).await;
    requests::a_reply_finds_its_request(factory().await).await;
    requests::a_reply_to_nobody_is_no_error(factory().await).await;
    requests::no_reply_is_an_error(factory().await).await;
    marks::a_mark_is_told_from_others(factory().await).await;
    marks::queues_are_listed(factory().await).await;
    streams::both_ends_receive_in_order(factory().await).await;
    streams::a_half_closed_stream_still_receives(factory().await).await;
    streams::closing_is_noticed(factory().await).await;
    streams::a_sender_waits_for_its_receiver(factory().await).await;
    streams::a_service_without_acceptors_is_no_queue(factory().await).await;
    streams::streams_are_shared_and_each_accepted_once(factory().await).await;
}
