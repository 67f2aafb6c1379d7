//! The schemas of event types.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use wasmill_domain::{EventType, SchemaDefinition, Timestamp};

/// Which schemas to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListSchemas {
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    pub(crate) cursor: Option<EventType>,
    /// How many at most: 1 to 500. Default: 500.
    #[param(minimum = 1, maximum = 500, default = 500)]
    pub(crate) limit: Option<u32>,
}

/// A page of schemas.
#[derive(Serialize, ToSchema)]
pub(crate) struct SchemaPage {
    /// The schemas, by event type.
    pub(crate) schemas: Vec<SchemaSummary>,
    /// The cursor of the next page; null on the last.
    #[schema(value_type = Option<String>, required = true)]
    pub(crate) next: Option<EventType>,
}

/// A schema as it is listed.
#[derive(Serialize, ToSchema)]
pub(crate) struct SchemaSummary {
    /// The event type.
    #[serde(rename = "type")]
    event_type: String,
    /// Counts the schema's changes, from 1.
    version: u32,
    /// When this version was put.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// A schema.
#[derive(Serialize, ToSchema)]
#[schema(as = Schema)]
pub(crate) struct SchemaDocument {
    #[serde(flatten)]
    summary: SchemaSummary,
    /// The JSON Schema.
    #[schema(value_type = Value)]
    schema: Arc<serde_json::Value>,
}

/// What putting a schema came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct SchemaPut {
    /// The event type.
    #[serde(rename = "type")]
    pub(crate) event_type: String,
    /// The version that checks events now.
    pub(crate) version: u32,
    /// Whether this changed anything.
    pub(crate) changed: bool,
    /// The revision of all definitions that has it.
    pub(crate) revision: i64,
}

impl From<&SchemaDefinition> for SchemaSummary {
    fn from(schema: &SchemaDefinition) -> Self {
        Self {
            event_type: schema.event_type.to_string(),
            version: schema.version,
            updated_at: schema.updated_at,
        }
    }
}

impl From<&SchemaDefinition> for SchemaDocument {
    fn from(schema: &SchemaDefinition) -> Self {
        Self { summary: schema.into(), schema: Arc::clone(&schema.schema) }
    }
}
