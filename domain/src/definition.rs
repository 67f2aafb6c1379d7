//! What users have defined: functions, schemas, keys, as one snapshot of one revision, or as the
//! difference between two.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Digest;
use crate::hostname::HostnamePattern;
use crate::key::KeyDefinition;
use crate::manifest::Manifest;
use crate::names::{EventType, FunctionName, TenantName};
use crate::timestamp::Timestamp;

/// Counts the changes of all definitions; each change makes it larger by one. 0 is the empty
/// system.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub i64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is defined at one revision: everything, or what changed since an earlier one.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    /// The revision.
    pub revision: Revision,
    /// Every function, at its current version.
    pub functions: Vec<FunctionDefinition>,
    /// The schema of each event type that has one.
    pub schemas: Vec<SchemaDefinition>,
    /// The API keys.
    pub keys: Vec<KeyDefinition>,
    /// The host names that were granted by the API.
    pub hostnames: Vec<HostnameDefinition>,
    /// Functions that were deleted, while their queues may still hold something.
    pub deleted: Vec<(TenantName, FunctionName)>,
    /// What is defined as well, and cannot be read here.
    pub unreadable: Vec<UnreadableDefinition>,
    /// None where this is everything. Otherwise all that changed since the revision that was asked
    /// about: what is named here is as it is found above, or gone; what is not, is as it was.
    pub changes: Option<Vec<DefinitionId>>,
}

/// What tells a definition from all others, in the words in which it is stored: what is defined may
/// have a name that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DefinitionId {
    /// What it is.
    pub kind: DefinitionKind,
    /// The tenant; empty for API keys and host names, which are told apart without it.
    pub tenant: String,
    /// The function, the event type, the host name or the secret; of an API key its id, in
    /// hexadecimal digits without hyphens.
    pub name: String,
}

impl DefinitionId {
    /// The id of an API key.
    pub fn of_key(id: Uuid) -> Self {
        Self { kind: DefinitionKind::Key, tenant: String::new(), name: id.simple().to_string() }
    }
}

/// A definition that this process cannot read: another release wrote it, or something that is not
/// wasmill. It breaks itself only: everything else is as it would be without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableDefinition {
    /// What it is.
    pub kind: DefinitionKind,
    /// The tenant as it is stored; empty for what has none.
    pub tenant: String,
    /// What it is called, as it is stored: the function, the event type, the key's label, the host
    /// name.
    pub name: String,
    /// A key's id.
    pub key: Option<Uuid>,
    /// Why it cannot be read.
    pub why: String,
}

impl UnreadableDefinition {
    /// Whether it is a function of a tenant's.
    pub fn is_function_of(&self, tenant: &TenantName) -> bool {
        self.kind == DefinitionKind::Function && self.tenant == tenant.as_str()
    }

    /// What tells it from all others.
    pub fn id(&self) -> DefinitionId {
        match (self.kind, self.key) {
            (DefinitionKind::Key, Some(key)) => DefinitionId::of_key(key),
            (kind @ (DefinitionKind::Key | DefinitionKind::Hostname), _) => {
                DefinitionId { kind, tenant: String::new(), name: self.name.clone() }
            }
            (kind, _) => {
                DefinitionId { kind, tenant: self.tenant.clone(), name: self.name.clone() }
            }
        }
    }
}

/// The kinds of definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DefinitionKind {
    /// A function at its current version.
    Function,
    /// The schema of an event type.
    Schema,
    /// An API key.
    Key,
    /// A granted host name.
    Hostname,
    /// A function that was deleted.
    DeletedFunction,
    /// A secret. Secrets are not among the [`Definitions`]; that one changed is among the changes.
    Secret,
}

impl fmt::Display for UnreadableDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, tenant, name, key: _, why: _ } = self;
        match kind {
            DefinitionKind::Function => write!(f, "function '{name}' of tenant '{tenant}'"),
            DefinitionKind::Schema => {
                write!(f, "the schema of event type '{name}' of tenant '{tenant}'")
            }
            DefinitionKind::Key => write!(f, "API key '{name}' of tenant '{tenant}'"),
            DefinitionKind::Hostname => write!(f, "host name '{name}' of tenant '{tenant}'"),
            DefinitionKind::DeletedFunction => {
                write!(f, "the deleted function '{name}' of tenant '{tenant}'")
            }
            DefinitionKind::Secret => write!(f, "the secret '{name}' of tenant '{tenant}'"),
        }
    }
}

/// A function at its current version.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionDefinition {
    /// The tenant.
    pub tenant: TenantName,
    /// The name.
    pub name: FunctionName,
    /// The version's number: 1 for the first deploy.
    pub version: u32,
    /// The version's artifact.
    pub digest: Digest,
    /// The version's manifest, schemas inlined.
    pub manifest: Arc<Manifest>,
    /// When this version was deployed.
    pub deployed_at: Timestamp,
}

/// The schema of an event type.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaDefinition {
    /// The tenant.
    pub tenant: TenantName,
    /// The event type.
    pub event_type: EventType,
    /// Counts the schema's changes, from 1.
    pub version: u32,
    /// The JSON Schema.
    pub schema: Arc<serde_json::Value>,
    /// When this version was put.
    pub updated_at: Timestamp,
}

/// A host name, or all below one, that an operator granted to a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostnameDefinition {
    /// Which names.
    pub pattern: HostnamePattern,
    /// Whose they are.
    pub tenant: TenantName,
    /// When they were granted.
    pub granted_at: Timestamp,
}
