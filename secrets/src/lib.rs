//! Secrets: sealed at rest by the operator's keys, opened where a function may have them, shown
//! nowhere.
//!
//! [`Keyring`] is the operator's key file; it seals and opens. [`Vault`] opens what somebody else
//! keeps, and so is a [`SecretSource`]: it knows the keeper as a [`SealedSecrets`], so that this
//! crate need not know the store.

mod keyring;
mod secret;
mod source;
mod vault;

pub use keyring::{KeyFileError, Keyring};
pub use secret::Secret;
pub use source::{NoSecrets, SecretError, SecretSource};
pub use vault::{SealedSecrets, Unavailable, Vault, VaultSettings};
