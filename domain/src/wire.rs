//! What processes send each other, as bytes: a type of its own for each version of each format, so that no change of a domain
//! type changes a format.
//!
//! A release reads the newest version of each format and the one before, and writes the newest that every live process reads:
//! [`Reads`] says what one reads, [`Writes`] what is written.

mod versions;

pub use self::versions::{Reads, Writes};
