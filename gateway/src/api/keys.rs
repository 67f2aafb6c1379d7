//! API keys: for operators, and for everybody until the first key exists.

use axum::Json;
use axum::extract::{Request, State};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderName};
use uuid::Uuid;
use wasmill_domain::{ApiKey, KeyDefinition, Timestamp};
use wasmill_store::Change;

use crate::app::SharedApp;
use crate::auth::Caller;
use crate::body;
use crate::documents::keys::{CreatedKey, KeyDocument, KeyPage, ListKeys, NewKey};
use crate::error::{ApiError, Result};
use crate::extract::{Params, Segment};
use crate::page::{self, MAX_PAGE};
use crate::problem::Fault;

/// The longest label, in characters, as the description counts them.
const MAX_LABEL: usize = 200;

/// List API keys
///
/// Of every tenant, without their texts, which are not kept. For operator keys.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", params(ListKeys), operation_id = "list_keys",
    responses((status = 200, description = "A page of keys", body = KeyPage)))]
pub(crate) async fn list(caller: Caller, Params(query): Params<ListKeys>) -> Result<Json<KeyPage>> {
    caller.must_be_operator()?;
    let limit = page::limit(query.limit, MAX_PAGE, MAX_PAGE)?;
    let mut keys: Vec<_> = caller
        .registry
        .keys()
        .filter(|k| query.cursor.is_none_or(|cursor| k.id > cursor))
        .collect();
    keys.sort_unstable_by_key(|key| key.id);
    let (keys, next) = page::cut(keys, limit, |key| key.id);
    Ok(Json(KeyPage { keys: keys.into_iter().map(KeyDocument::from).collect(), next }))
}

/// Create an API key
///
/// The answer has the key's text, this once. From the first key on, every request needs one, so the
/// first must be an operator's.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", operation_id = "create_key", request_body = NewKey,
    responses(
        (status = 201, description = "The key", body = CreatedKey),
        (status = 400, description = "Not the document of a key"),
        (status = 409, description = "The first key must be an operator's, or the tenant has as many as it may"),
        (status = 413, description = "The document is too large"),
        (status = 415, description = "Not JSON")))]
pub(crate) async fn create(
    State(app): State<SharedApp>,
    caller: Caller,
    request: Request,
) -> Result<(StatusCode, [(HeaderName, &'static str); 1], Json<CreatedKey>)> {
    caller.must_be_operator()?;
    let (parts, body) = request.into_parts();
    let new: NewKey =
        body::document(&app, &caller.owner, &parts.headers, body, app.settings.max_document_bytes)
            .await?;
    if new.label.chars().count() > MAX_LABEL {
        let detail = format!("'label' must have at most {MAX_LABEL} characters");
        return Err(ApiError::BadDocument(Fault::at("/label", detail)));
    }
    let key = ApiKey::generate()
        .map_err(|e| ApiError::Internal(format!("no random bytes for a key: {e}")))?;
    let definition = KeyDefinition {
        id: Uuid::now_v7(),
        tenant: new.tenant.unwrap_or(caller.tenant),
        role: new.role,
        label: new.label,
        hash: ApiKey::hash_of(key.reveal()),
        created_at: Timestamp::now(),
    };
    let document = KeyDocument::from(&definition);
    tracing::info!(id = %definition.id, tenant = %definition.tenant, role = %definition.role, "key created");
    let changed = app.store.catalog.define(&Change::PutKey(definition)).await?;
    app.reach(changed.revision).await;
    let created = CreatedKey { definition: document, key: key.reveal().to_owned() };
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(created)))
}

/// Delete an API key
///
/// It stops working at once here and within a second elsewhere.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "keys", operation_id = "delete_key",
    params(("id" = Uuid, Path, description = "The key's id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such key"),
        (status = 409, description = "It is the last operator key, and others exist")))]
pub(crate) async fn delete(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(id): Segment<Uuid>,
) -> Result<StatusCode> {
    caller.must_be_operator()?;
    let changed = app.store.catalog.define(&Change::DeleteKey { id }).await?;
    app.reach(changed.revision).await;
    tracing::info!(%id, "key deleted");
    Ok(StatusCode::NO_CONTENT)
}
