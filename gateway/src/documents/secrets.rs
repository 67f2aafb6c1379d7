//! Secrets, without their values.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use wasmill_domain::{SecretName, SecretSummary, Timestamp};

/// Which secrets to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListSecrets {
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    pub(crate) cursor: Option<SecretName>,
    /// How many at most: 1 to 500. Default: 500.
    #[param(minimum = 1, maximum = 500, default = 500)]
    pub(crate) limit: Option<u32>,
}

/// A page of secrets.
#[derive(Serialize, ToSchema)]
pub(crate) struct SecretPage {
    /// The secrets, by name.
    pub(crate) secrets: Vec<SecretDocument>,
    /// The cursor of the next page; null on the last.
    #[schema(value_type = Option<String>, required = true)]
    pub(crate) next: Option<SecretName>,
}

/// What may be told of a secret.
#[derive(Serialize, ToSchema)]
#[schema(as = Secret)]
pub(crate) struct SecretDocument {
    /// Its name.
    name: String,
    /// Counts the values that it has had, from 1.
    version: u32,
    /// The operator's key that its value is sealed by.
    sealing_key: String,
    /// When it was set first.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it got its value.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// What setting a secret came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct SecretPut {
    /// Its name.
    pub(crate) name: String,
    /// Counts the values that it has had, from 1.
    pub(crate) version: u32,
    /// The revision of all definitions that has it.
    pub(crate) revision: i64,
}

impl From<SecretSummary> for SecretDocument {
    fn from(secret: SecretSummary) -> Self {
        let SecretSummary { name, version, key, created_at, updated_at } = secret;
        Self {
            name: name.to_string(),
            version,
            sealing_key: key.to_string(),
            created_at,
            updated_at,
        }
    }
}
