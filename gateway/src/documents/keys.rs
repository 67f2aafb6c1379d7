//! API keys.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use wasmill_domain::{KeyDefinition, KeyRole, TenantName, Timestamp};

/// A key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// What it may do: `operator` (everything, in every tenant) or `tenant` (everything in one
    /// tenant but its keys).
    #[schema(value_type = String)]
    pub(crate) role: KeyRole,
    /// The tenant that it acts for. Default: the one that is acted for here.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(crate) tenant: Option<TenantName>,
    /// A note for people.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub(crate) label: String,
}

/// Which keys to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListKeys {
    /// `next` of the page before.
    pub(crate) cursor: Option<Uuid>,
    /// How many at most: 1 to 500. Default: 500.
    #[param(minimum = 1, maximum = 500, default = 500)]
    pub(crate) limit: Option<u32>,
}

/// A page of keys, of every tenant.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyPage {
    /// The keys, by id.
    pub(crate) keys: Vec<KeyDocument>,
    /// The cursor of the next page; null on the last.
    #[schema(required = true)]
    pub(crate) next: Option<Uuid>,
}

/// An API key, without its text, which is not kept.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyDocument {
    /// Names the key.
    id: Uuid,
    /// The tenant that it acts for.
    tenant: String,
    /// What it may do.
    #[schema(value_type = String)]
    role: KeyRole,
    /// A note for people.
    label: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// A key that was just made: the only time that its text is seen.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedKey {
    #[serde(flatten)]
    pub(crate) definition: KeyDocument,
    /// The key's text, for `Authorization: Bearer`.
    #[schema(examples("wm_…"))]
    pub(crate) key: String,
}

impl From<&KeyDefinition> for KeyDocument {
    fn from(key: &KeyDefinition) -> Self {
        let KeyDefinition { id, tenant, role, label, created_at, .. } = key;
        Self {
            id: *id,
            tenant: tenant.to_string(),
            role: *role,
            label: label.clone(),
            created_at: *created_at,
        }
    }
}
