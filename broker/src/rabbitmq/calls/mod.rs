//! Request streams over RabbitMQ.
//!
//! # Opening one
//! A stream is opened by a message to the service's queue, which is a classic one whose messages
//! expire within seconds and are kept in memory. Whoever opens streams and whoever accepts them has
//! a **reply queue**, an exclusive queue of the process that is deleted with its connection; all
//! streams of a process share it. When the connection is lost, so are the reply queue and all
//! streams: callers open new ones, a stream never comes back.
//!
//! The opening message stays in the service's queue, unacknowledged, for as long as its stream
//! lasts: so the prefetch is how many streams a process accepts at a time. One that is redelivered
//! was accepted by a process that is gone. Its request may be half done, so it is not accepted
//! again: its caller is told that the stream is closed.
//!
//! # Control messages
//! What two ends send to each other's reply queues are **control messages** (`control_message`):
//! data, numbered from 0, and how much of it was consumed, so that no end sends more than a window
//! ahead. An end that sends nothing else sends keep-alives; one that is idle for too long is taken
//! for lost (`stream_end`).
//!
//! They have versions (`codec`). A process reads all that it knows and writes the one that
//! [`RabbitSettings::writes`](super::RabbitSettings::writes) says. A reader skips a kind or an
//! extra that it does not know, unless its bit "must understand" is set: then the stream is closed.
//! An opening message that a process cannot read is requeued for one that can.

mod acceptor;
mod codec;
mod control_message;
mod control_sender;
mod open_streams;
mod reply_queue;
mod router;
mod service_queue;
mod stream_end;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

pub(super) use self::acceptor::Acceptor;
pub(super) use self::router::CallRouter;
pub(super) use self::service_queue::arguments;
