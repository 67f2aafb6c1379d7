//! What functions keep with `wasi:keyvalue`, as operators see it.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use wasmill_domain::{BucketName, FunctionName};
use wasmill_store::{Bucket, BucketSummary};

use super::executions::inert;
use crate::app::SharedApp;
use crate::auth::Caller;
use crate::body;
use crate::documents::keyvalue::{
    BucketKeyPage, BucketPage, ListBucketKeys, ListBuckets, WhichValue,
};
use crate::error::{ApiError, Result};
use crate::extract::{Params, Segment};
use crate::page::{self, MAX_PAGE};

impl Caller {
    /// A bucket of the caller's tenant.
    fn bucket(&self, name: BucketName, function: Option<FunctionName>) -> Bucket {
        Bucket { tenant: self.tenant.clone(), function, name }
    }
}

/// List buckets
#[utoipa::path(get, path = "/v1/keyvalue", tag = "keyvalue", params(ListBuckets), operation_id = "list_buckets",
    responses((status = 200, description = "A page of buckets", body = BucketPage)))]
pub(crate) async fn list(
    State(app): State<SharedApp>,
    caller: Caller,
    Params(query): Params<ListBuckets>,
) -> Result<Json<BucketPage>> {
    let limit = page::limit(query.limit, MAX_PAGE, MAX_PAGE)?;
    let all = app.store.buckets.buckets(&caller.tenant).await?;
    let position = |summary: &BucketSummary| {
        let function = summary.bucket.function.as_deref().unwrap_or_default();
        (summary.bucket.name.to_string(), function.to_owned())
    };
    let cursor =
        query.cursor.as_deref().map(|cursor| cursor.split_once('/').unwrap_or((cursor, "")));
    let is_after = |summary: &BucketSummary| {
        let (name, function) = position(summary);
        cursor.is_none_or(|cursor| (name.as_str(), function.as_str()) > cursor)
    };
    let (buckets, next) = page::cut(all.into_iter().filter(is_after), limit, position);
    let next = next.map(|(name, function)| format!("{name}/{function}"));
    Ok(Json(BucketPage { buckets: buckets.into_iter().map(Into::into).collect(), next }))
}

/// List the keys of a bucket
///
/// A bucket that nothing was written to is an empty one.
#[utoipa::path(get, path = "/v1/keyvalue/{bucket}", tag = "keyvalue", operation_id = "list_bucket_keys",
    params(("bucket" = String, Path, description = "The bucket's name"), ListBucketKeys),
    responses((status = 200, description = "A page of keys", body = BucketKeyPage)))]
pub(crate) async fn keys(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(name): Segment<BucketName>,
    Params(query): Params<ListBucketKeys>,
) -> Result<Json<BucketKeyPage>> {
    let limit = page::limit(query.limit, MAX_PAGE, MAX_PAGE)?;
    let after = query.cursor.map(|cursor| cursor.parse::<u64>()).transpose();
    let after = after
        .map_err(|_| ApiError::BadRequest("'cursor' must be the 'next' of another page".into()))?;
    let page = app.store.buckets.keys(&caller.bucket(name, query.function), after, limit).await?;
    Ok(Json(BucketKeyPage { keys: page.keys, next: page.next.map(|next| next.to_string()) }))
}

/// Get a value
#[utoipa::path(get, path = "/v1/keyvalue/{bucket}/value", tag = "keyvalue", operation_id = "get_value",
    params(("bucket" = String, Path, description = "The bucket's name"), WhichValue),
    responses(
        (status = 200, description = "The value's bytes", content((Vec<u8> = "application/octet-stream"))),
        (status = 404, description = "The bucket has no such key"),
        (status = 422, description = "No key can be so")))]
pub(crate) async fn get(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(name): Segment<BucketName>,
    Params(query): Params<WhichValue>,
) -> Result<Response> {
    let bucket = caller.bucket(name, query.function);
    let value = app
        .store
        .buckets
        .values(&bucket, std::slice::from_ref(&query.key))
        .await?
        .into_iter()
        .next()
        .flatten();
    let value = value.ok_or_else(|| no_such_key(&bucket, &query.key))?;
    Ok((inert(), [(CONTENT_TYPE, "application/octet-stream")], value).into_response())
}

/// Set a value
///
/// The body is the value, whatever its media type.
#[utoipa::path(put, path = "/v1/keyvalue/{bucket}/value", tag = "keyvalue", operation_id = "set_value",
    params(("bucket" = String, Path, description = "The bucket's name"), WhichValue),
    request_body(content((Vec<u8> = "application/octet-stream")), description = "The value"),
    responses(
        (status = 204, description = "It is set"),
        (status = 404, description = "There is no such function to own a bucket"),
        (status = 409, description = "The bucket would exceed its quota"),
        (status = 413, description = "The value is longer than the installation allows"),
        (status = 415, description = "The body is compressed"),
        (status = 422, description = "No key can be so")))]
pub(crate) async fn set(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(name): Segment<BucketName>,
    Params(query): Params<WhichValue>,
    request: Request,
) -> Result<StatusCode> {
    let quota = &app.settings.bucket_quota;
    let (parts, body) = request.into_parts();
    let limit = usize::try_from(quota.value_bytes).unwrap_or(usize::MAX);
    // Its share of what bodies may hold is kept until the value is stored.
    let value = body::read(&app, &caller.owner, &parts.headers, body, limit).await?;
    let bucket = caller.bucket(name, query.function);
    app.store.buckets.set_values(&bucket, &[(query.key, value.bytes.clone())], quota).await?;
    tracing::info!(tenant = %bucket.tenant, bucket = %bucket.name, "a value is set");
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a value
#[utoipa::path(delete, path = "/v1/keyvalue/{bucket}/value", tag = "keyvalue", operation_id = "delete_value",
    params(("bucket" = String, Path, description = "The bucket's name"), WhichValue),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "The bucket has no such key"),
        (status = 422, description = "No key can be so")))]
pub(crate) async fn delete(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(name): Segment<BucketName>,
    Params(query): Params<WhichValue>,
) -> Result<StatusCode> {
    let bucket = caller.bucket(name, query.function);
    if app.store.buckets.delete_values(&bucket, std::slice::from_ref(&query.key)).await? == 0 {
        return Err(no_such_key(&bucket, &query.key));
    }
    tracing::info!(tenant = %bucket.tenant, bucket = %bucket.name, "a value is deleted");
    Ok(StatusCode::NO_CONTENT)
}

fn no_such_key(bucket: &Bucket, key: &str) -> ApiError {
    let key: String = key.chars().take(80).collect();
    ApiError::NotFound(match &bucket.function {
        Some(function) => {
            format!("function {function}'s bucket '{}' has no key '{key}'", bucket.name)
        }
        None => format!("the shared bucket '{}' has no key '{key}'", bucket.name),
    })
}
