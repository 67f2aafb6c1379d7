//! The batch message in each of its versions.

use super::error::DecodeError;
use super::versions::Writes;
use super::{batch_v1, batch_v2};
use crate::batch::{Batch, MAX_DISPATCHES};
use crate::dispatch::{AttemptKey, Dispatch};
use crate::names::{FunctionName, TenantName};

/// What is known of a batch, whoever can read the rest of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The tenant.
    pub tenant: TenantName,
    /// The function.
    pub function: FunctionName,
    /// The attempts in it, 1 to 64.
    pub attempts: Vec<AttemptKey>,
}

impl Batch {
    /// The bytes of the message, in the version that is written now.
    pub fn encode(&self, writes: &Writes) -> Vec<u8> {
        self.encode_as(writes.batch())
    }

    /// The bytes of the message in a version; in the newest where that is one that there is not.
    pub fn encode_as(&self, version: u8) -> Vec<u8> {
        let bytes = match version {
            1 => batch_v1::encode(self, vec![1]),
            _ => batch_v2::encode(self, vec![2]),
        };
        // Cannot fail: it grows a Vec, and every length is known.
        bytes.unwrap_or_default()
    }

    /// Reads the bytes of a message, in whichever version they are.
    ///
    /// # Errors
    /// Where they are not a batch of a version that is read here. The message must be kept for
    /// those who can read it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (&version, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
        let dispatches: Vec<Dispatch> = match version {
            1 => batch_v1::decode(rest)?,
            2 => batch_v2::decode(rest)?,
            _ => return Err(DecodeError::Version(version)),
        };
        let length = dispatches.len();
        Self::new(dispatches).ok_or(DecodeError::Length(length))
    }
}

impl Identity {
    /// What can be told of a message that [`Batch::decode`] may not be able to read: a batch of a
    /// newer version, or with something in it that is not known here. None of damaged bytes, as a
    /// rule.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        let (tenant, function, attempts) = match version {
            0 => return None,
            1 => batch_v1::identify(rest)?,
            _ => batch_v2::identify(rest)?,
        };
        (1..=MAX_DISPATCHES).contains(&attempts.len()).then_some(Self {
            tenant,
            function,
            attempts,
        })
    }
}
