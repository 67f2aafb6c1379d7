//! What a gateway asks a host before a deploy, over a request stream: whether a version could run.
//! One message each way. [`crate::wire`] has their bytes.

use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::names::TenantName;

/// The question.
#[derive(Clone, Debug, PartialEq)]
pub struct PreflightRequest {
    /// Whose version it is.
    pub tenant: TenantName,
    /// Its artifact, which the host gets from the store.
    pub digest: Digest,
    /// Its manifest.
    pub manifest: Manifest,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreflightAnswer {
    /// It could run.
    Passed,
    /// It could not, for the reason that whoever deploys is told.
    Refused(String),
    /// It could not with this manifest.
    Manifest {
        /// The manifest's dotted key.
        key: String,
        /// What is wrong with its value.
        message: String,
    },
    /// Nothing is known to be wrong: the check itself could not be made. Perhaps it can later.
    Unavailable(String),
    /// The host cannot read the question: it is of an older release.
    Unread(String),
}

/// Why bytes are not a message of the kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub(crate) String);
