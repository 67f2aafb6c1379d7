//! The JSON Schemas of event types.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use http::StatusCode;
use wasmill_domain::registry::Replaced;
use wasmill_domain::schema::MAX_BYTES;
use wasmill_domain::{EventType, Timestamp};
use wasmill_store::Change;

use crate::app::SharedApp;
use crate::auth::Caller;
use crate::body;
use crate::documents::schemas::{
    ListSchemas, SchemaDocument, SchemaPage, SchemaPut, SchemaSummary,
};
use crate::error::{ApiError, Result};
use crate::extract::{Params, Segment};
use crate::page::{self, MAX_PAGE};
use crate::problem::Fault;

/// List schemas
#[utoipa::path(get, path = "/v1/schemas", tag = "schemas", params(ListSchemas), operation_id = "list_schemas",
    responses((status = 200, description = "A page of schemas", body = SchemaPage)))]
pub(crate) async fn list(
    caller: Caller,
    Params(query): Params<ListSchemas>,
) -> Result<Json<SchemaPage>> {
    let limit = page::limit(query.limit, MAX_PAGE, MAX_PAGE)?;
    let schemas = caller.registry.schemas_of(&caller.tenant);
    let after = schemas
        .into_iter()
        .filter(|s| query.cursor.as_ref().is_none_or(|cursor| s.event_type > *cursor));
    let (schemas, next) = page::cut(after, limit, |schema| schema.event_type.clone());
    Ok(Json(SchemaPage {
        schemas: schemas.into_iter().map(|s| SchemaSummary::from(s.as_ref())).collect(),
        next,
    }))
}

/// Show the schema of an event type
#[utoipa::path(get, path = "/v1/schemas/{type}", tag = "schemas", operation_id = "show_schema",
    params(("type" = String, Path, description = "The event type; a slash is written %2F")),
    responses(
        (status = 200, description = "The schema", body = SchemaDocument),
        (status = 404, description = "The type has no schema")))]
pub(crate) async fn show(
    caller: Caller,
    Segment(event_type): Segment<EventType>,
) -> Result<Json<SchemaDocument>> {
    let schema = caller.registry.schema(&caller.tenant, &event_type);
    let schema = schema
        .ok_or_else(|| ApiError::NotFound(format!("event type '{event_type}' has no schema")))?;
    Ok(Json(schema.as_ref().into()))
}

/// Set the schema of an event type
///
/// From then on every event of this type must satisfy it, next to the schemas of the triggers that
/// match. Draft 2020-12, or the draft that `$schema` names. Nothing is fetched: a `$ref` may point
/// into the schema only.
#[utoipa::path(put, path = "/v1/schemas/{type}", tag = "schemas", operation_id = "put_schema",
    params(("type" = String, Path, description = "The event type; a slash is written %2F")),
    request_body(content((serde_json::Value = "application/json"), (serde_json::Value = "application/schema+json")),
        description = "The JSON Schema, up to 1 MiB"),
    responses(
        (status = 200, description = "It is in use", body = SchemaPut),
        (status = 400, description = "Not JSON"),
        (status = 409, description = "The tenant has as many schemas as it may"),
        (status = 413, description = "The schema is too large"),
        (status = 415, description = "Not declared as JSON"),
        (status = 422, description = "Not a valid schema, or it refers to something outside of itself")))]
pub(crate) async fn put(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(event_type): Segment<EventType>,
    request: Request,
) -> Result<Json<SchemaPut>> {
    let tenant = caller.tenant;
    let permit = app.admit_definition(&tenant).await?;
    let (parts, body) = request.into_parts();
    let schema: serde_json::Value =
        body::document(&app, &caller.owner, &parts.headers, body, MAX_BYTES).await?;
    let source = Arc::new(schema);
    // The patterns of a large schema take a while to compile.
    let (registry, new) =
        (app.registry.current(), (tenant.clone(), event_type.clone(), Arc::clone(&source)));
    let its_permit = permit.clone();
    let checked = app.compute(&tenant, move || {
        // The document is held for as long as this takes, whether or not its client waits.
        let _permit = its_permit;
        let (tenant, event_type, source) = new;
        registry.schema_compiler().compile(Arc::clone(&source))?;
        registry.check_quota(&tenant, &[&source], Replaced::Type(event_type.as_str()))
    });
    checked.await?.map_err(|error| ApiError::Schema(Fault::at(error.pointer, error.message)))?;
    let (event_type, schema) = (event_type, Arc::unwrap_or_clone(source));
    let change = Change::PutSchema {
        tenant: tenant.clone(),
        event_type: event_type.clone(),
        schema,
        at: Timestamp::now(),
    };
    let changed = app.store.catalog.define(&change).await?;
    drop((change, permit));
    app.reach(changed.revision).await;
    tracing::info!(%tenant, %event_type, version = changed.version, changed = changed.changed, "schema put");
    Ok(Json(SchemaPut {
        event_type: event_type.to_string(),
        version: changed.version,
        changed: changed.changed,
        revision: changed.revision.0,
    }))
}

/// Delete the schema of an event type
#[utoipa::path(delete, path = "/v1/schemas/{type}", tag = "schemas", operation_id = "delete_schema",
    params(("type" = String, Path, description = "The event type; a slash is written %2F")),
    responses((status = 204, description = "It is gone"), (status = 404, description = "The type has no schema")))]
pub(crate) async fn delete(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(event_type): Segment<EventType>,
) -> Result<StatusCode> {
    let tenant = caller.tenant;
    let change = Change::DeleteSchema { tenant: tenant.clone(), event_type: event_type.clone() };
    let changed = app.store.catalog.define(&change).await?;
    app.reach(changed.revision).await;
    tracing::info!(%tenant, %event_type, "schema deleted");
    Ok(StatusCode::NO_CONTENT)
}
