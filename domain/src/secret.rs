//! Secrets as they are kept: sealed, so that whoever reads them here learns nothing but their
//! names.

use bytes::Bytes;

use crate::names::{SealingKeyId, SecretName, TenantName};
use crate::timestamp::Timestamp;

/// The longest value that a secret may have, in bytes.
pub const LONGEST_SECRET: usize = 64 << 10;

/// How many secrets a tenant may have.
pub const MOST_SECRETS: i64 = 1000;

/// A version of a secret, sealed by one of the operator's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSecret {
    /// Whose it is.
    pub tenant: TenantName,
    /// Its name.
    pub name: SecretName,
    /// Counts the values that it has had, from 1.
    pub version: u32,
    /// The key that opens it.
    pub key: SealingKeyId,
    /// What is left of the value.
    pub sealed: Bytes,
    /// When it got this value.
    pub at: Timestamp,
}

/// What may be told of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSummary {
    /// Its name.
    pub name: SecretName,
    /// Counts the values that it has had, from 1.
    pub version: u32,
    /// The key that its value is sealed by.
    pub key: SealingKeyId,
    /// When it was set first.
    pub created_at: Timestamp,
    /// When it got its value.
    pub updated_at: Timestamp,
}
