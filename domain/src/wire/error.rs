//! Why bytes cannot be read.

use super::versions::Reads;
use crate::names::NameError;

/// Why bytes are not a batch.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("an empty message")]
    Empty,
    /// Of another release of wasmill, or not from wasmill.
    #[error("batches of version {0} cannot be read here (1 and 2 can)")]
    Version(u8),
    /// Of a newer release, with something that must not be passed over.
    #[error("the batch has something that is not known here (tag {0})")]
    Extra(u8),
    /// Cut off or damaged.
    #[error("the batch cannot be read: {0}")]
    Damaged(#[from] postcard::Error),
    /// A name in it is none.
    #[error("the batch cannot be read: {0}")]
    Name(#[from] NameError),
    /// Bytes that belong to nothing.
    #[error("{0} bytes stand behind the batch")]
    Behind(usize),
    /// What should be the depth of a chain is none.
    #[error("the batch cannot be read: a depth is of 4 bytes")]
    Depth,
    /// None or too many dispatches, or more of something than there are dispatches.
    #[error("a batch of {0} dispatches: expected 1 to 64")]
    Length(usize),
}

impl DecodeError {
    /// Whether a newer release may have written the bytes, and can read them.
    pub fn may_be_newer(&self) -> bool {
        match self {
            Self::Version(version) => *version > Reads::HERE.batch,
            Self::Extra(_) => true,
            _ => false,
        }
    }
}
