//! Carries batches of dispatches from whoever accepts events to the hosts: ports ([`Publishing`],
//! [`Consuming`], [`Streams`], [`Queues`], [`Control`]) and their backends, and the
//! [`BatchPublisher`] that fills batches. [`Broadcasts`] is a port of its own.
//!
//! Every backend passes the same suite, `conformance::suite`.

mod broadcasts;
#[cfg(test)]
mod conformance;
pub mod embedded;
#[cfg(test)]
mod golden;
mod port;
mod publisher;
pub mod rabbitmq;
mod request_stream;

pub use broadcasts::{BroadcastReceiver, Broadcasts, Subscription};
pub use port::*;
pub use publisher::{BatchPublisher, PublisherSettings};
pub use request_stream::{
    IncomingStream, RequestStream, STREAM_CHUNK_BYTES, STREAM_WINDOW, StreamClosed, StreamReceiver,
    StreamSender,
};
