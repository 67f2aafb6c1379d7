//! What processes send each other, as bytes: a type of its own for each version of each format, so
//! that no change of a domain type changes a format. All are
//! [postcard](https://postcard.jamesmunns.com/wire-format) behind a byte that is the version.
//!
//! A release reads the newest version of each format and the one before, and writes the newest that
//! every live process reads: [`Reads`] says what one reads, [`Writes`] what is written. What a
//! version cannot carry is left out where it is written.
//!
//! A field of a version never changes, and none is added at its end. What comes to be needed
//! travels as an [`Extra`]: with a tag that says whether a reader who does not know it may pass
//! over it. Every version of every format has a file in `golden/`, which tests read and write.
//!
//! | format | versions | read by |
//! | --- | --- | --- |
//! | batch | 1, 2 | [`Batch::decode`](crate::Batch::decode) |
//! | HTTP messages | 1, 2 | [`Opening`](crate::http_message::Opening), [`Upload`](crate::http_message::Upload), [`Download`](crate::http_message::Download) |
//! | questions about versions to deploy | 1 | [`PreflightRequest`](crate::preflight::PreflightRequest), [`PreflightAnswer`](crate::preflight::PreflightAnswer) |
//! | broadcasts | 1 | [`Broadcast::decode`] |

mod batch;
mod batch_v1;
mod batch_v2;
mod broadcast;
mod broadcast_error;
mod broadcast_v1;
mod error;
mod event;
mod extras;
mod http;
mod http_v1;
mod http_v2;
mod octets;
mod preflight;
mod preflight_v1;
#[cfg(test)]
mod tests;
mod versions;

pub use self::batch::Identity;
pub use self::broadcast::Broadcast;
pub use self::broadcast_error::BroadcastError;
pub use self::error::DecodeError;
pub use self::extras::{Extra, MUST_UNDERSTAND};
pub use self::versions::{Reads, Writes};
