//! Where secrets come from, for whoever needs one.

use async_trait::async_trait;
use wasmill_domain::{SealingKeyId, SecretName, TenantName};

use crate::secret::Secret;

/// Why a secret cannot be had, though it may exist. The texts name the secret and never tell of its
/// value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// This process has no key at all.
    #[error("there is no operator key here to open secrets with: set secrets.key_file")]
    NoKey,
    /// The key that it was sealed by is not in this process's key file.
    #[error(
        "secret '{name}' is sealed by the operator key '{key}', which is not in this process's secrets.key_file"
    )]
    UnknownKey {
        /// The secret.
        name: SecretName,
        /// The key that would open it.
        key: SealingKeyId,
    },
    /// The key does not open what is kept: it was damaged or moved, or the key file has another key
    /// of that id.
    #[error("secret '{name}' cannot be opened by the operator key '{key}': set it again")]
    Damaged {
        /// The secret.
        name: SecretName,
        /// The key that should have opened it.
        key: SealingKeyId,
    },
    /// What keeps it does not answer now. The same call may succeed later.
    #[error("secrets cannot be had now: {0}")]
    Unavailable(String),
}

/// Gives out secrets.
#[async_trait]
pub trait SecretSource: Send + Sync + 'static {
    /// The value of a tenant's secret; `None` where there is no secret of this name.
    ///
    /// # Errors
    /// Where it cannot be opened here, or not now.
    async fn reveal(
        &self,
        tenant: &TenantName,
        name: &SecretName,
    ) -> Result<Option<Secret>, SecretError>;
}

/// The source of a process without an operator's key.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSecrets;

#[async_trait]
impl SecretSource for NoSecrets {
    async fn reveal(&self, _: &TenantName, _: &SecretName) -> Result<Option<Secret>, SecretError> {
        Err(SecretError::NoKey)
    }
}
