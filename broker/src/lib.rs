//! Carries frames from whoever accepts events to the hosts: the port [`Broker`] and its backends, and the
//! [`FramePublisher`] that fills frames.
//!
//! Every backend passes the same suite, `conformance::suite` (behind the feature `conformance`).

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod embedded;
mod line;
mod port;
mod publisher;
pub mod rabbitmq;

pub use line::{Call, HungUp, LINE_FRAME, LINE_WINDOW, Line, Listener, Speaker};
pub use port::*;
pub use publisher::{FramePublisher, PublisherSettings};
