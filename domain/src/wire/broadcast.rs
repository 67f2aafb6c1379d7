//! The message that is broadcast to all processes, in each of its versions.

use super::broadcast_error::BroadcastError;
use super::broadcast_v1;
use super::versions::Writes;
use crate::order::Order;

/// What is broadcast. Nothing of it is stored: who is not there does not hear of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broadcast {
    /// Orders for hosts.
    pub orders: Vec<Order>,
}

impl Broadcast {
    /// The bytes of the message, in the version that is written now: there is one.
    pub fn encode(&self, _writes: &Writes) -> Vec<u8> {
        // Cannot fail: it grows a Vec, and every length is known.
        broadcast_v1::encode(&self.orders, vec![1]).unwrap_or_default()
    }

    /// Reads the bytes of a message. What is in it of a kind that is not known here is left out,
    /// unless it says that it must be understood.
    ///
    /// # Errors
    /// Where they are not a broadcast of a version that is read here. Nothing is lost by it: a
    /// broadcast only makes faster what is found out by asking the store.
    pub fn decode(bytes: &[u8]) -> Result<Self, BroadcastError> {
        match bytes.split_first() {
            None => Err(BroadcastError::Empty),
            Some((1, rest)) => Ok(Self { orders: broadcast_v1::decode(rest)? }),
            Some((version, _)) => Err(BroadcastError::Version(*version)),
        }
    }
}
