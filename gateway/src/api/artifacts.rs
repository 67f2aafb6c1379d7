//! Artifacts: the `.wasm` files, by the digest of their bytes.

use std::convert::Infallible;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use wasmill_component::{Inspection, inspect};
use wasmill_domain::Digest;
use wasmill_domain::units::ByteSize;

use crate::app::{App, SharedApp, to_its_end};
use crate::auth::Caller;
use crate::body::{self, media_type};
use crate::documents::functions::ArtifactDocument;
use crate::error::{ApiError, Result};
use crate::extract::Segment;

const ACCEPTED: &[&str] = &["application/wasm", "application/octet-stream"];

/// Upload an artifact
///
/// Keeps a `.wasm` for the tenant's deploys to name by its digest. Artifacts that no version names
/// are deleted after a while. Whether another tenant has the same bytes is not told.
#[utoipa::path(post, path = "/v1/artifacts", tag = "artifacts", operation_id = "upload_artifact",
    request_body(content((serde_json::Value = "application/wasm"), (serde_json::Value = "application/octet-stream")),
        description = "The bytes of a WebAssembly component"),
    responses(
        (status = 200, description = "The tenant had it already", body = ArtifactDocument),
        (status = 201, description = "The tenant has it now", body = ArtifactDocument),
        (status = 400, description = "The body breaks off"),
        (status = 409, description = "The tenant has as many artifacts, or bytes of them, as it may"),
        (status = 413, description = "The artifact is too large"),
        (status = 415, description = "Not declared as WebAssembly"),
        (status = 422, description = "Not WebAssembly, or damaged")))]
pub(crate) async fn upload(
    State(app): State<SharedApp>,
    caller: Caller,
    request: Request,
) -> Result<(StatusCode, Json<ArtifactDocument>)> {
    let (parts, body) = request.into_parts();
    if !media_type(&parts.headers)?
        .is_some_and(|media_type| ACCEPTED.contains(&media_type.as_str()))
    {
        return Err(ApiError::MediaType(
            "send the .wasm with 'Content-Type: application/wasm'".into(),
            ACCEPTED,
        ));
    }
    let most = app.settings.max_artifact_bytes;
    let buffered =
        body::read(&app, &caller.owner, &parts.headers, body, most).await.map_err(|error| {
            match error {
                ApiError::TooLarge(_) => ApiError::TooLarge(too_large(most)),
                error => error,
            }
        })?;
    let permit = app.admit_artifact(&caller.tenant).await?;
    let (new, inspection) = to_its_end(async move {
        // Each part of the work has both: the permit, and the share of what bodies may hold.
        let reserved = (permit, buffered.clone());
        let bytes = buffered.bytes.clone();
        let inspection = inspect_artifact(&app, bytes, reserved.clone()).await?;
        let _reserved = reserved;
        let new = app
            .store
            .artifacts
            .put_artifact(&caller.tenant, inspection.digest, buffered.bytes.clone())
            .await?;
        Ok((new, inspection))
    })
    .await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(inspection.into())))
}

fn too_large(most: usize) -> String {
    format!(
        "an artifact has at most {} here, which is the setting gateway.max_artifact_bytes",
        ByteSize(most as u64)
    )
}

/// Show an artifact
///
/// What it is, not its bytes. HEAD tells whether the tenant has it: uploaded it, or has a version
/// that names it. It does not wait until the artifact can be inspected, as GET does.
#[utoipa::path(get, path = "/v1/artifacts/{digest}", tag = "artifacts", operation_id = "show_artifact",
    params(("digest" = String, Path, description = "`sha256:` and 64 hex digits")),
    responses(
        (status = 200, description = "The artifact", body = ArtifactDocument),
        (status = 404, description = "The tenant does not have it")))]
pub(crate) async fn show(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(digest): Segment<Digest>,
    method: Method,
) -> Result<Response> {
    if method == Method::HEAD {
        return is_there(app, caller, digest).await;
    }
    let permit = app.admit_artifact(&caller.tenant).await?;
    let inspection = to_its_end(async move {
        let bytes = of_tenant(&app, &caller, digest).await?;
        inspect_artifact(&app, bytes, permit).await
    });
    Ok(Json(ArtifactDocument::from(inspection.await?)).into_response())
}

/// Whether the tenant has an artifact. Its bytes are read, as those that are lost are to be
/// uploaded again, and not inspected.
async fn is_there(app: SharedApp, caller: Caller, digest: Digest) -> Result<Response> {
    let permit = app.admit_lookup(&caller.tenant).await?;
    to_its_end(async move {
        let _permit = permit;
        of_tenant(&app, &caller, digest).await
    })
    .await?;
    // A body of a length that is not known: the router would tell that of an empty one.
    let nothing = Body::from_stream(stream::empty::<Result<Bytes, Infallible>>());
    Ok(([(CONTENT_TYPE, "application/json")], nothing).into_response())
}

async fn of_tenant(app: &App, caller: &Caller, digest: Digest) -> Result<Bytes> {
    let artifact = app.store.artifacts.tenant_artifact(&caller.tenant, digest).await?;
    artifact.ok_or_else(|| ApiError::NotFound(format!("the artifact {digest} is not here")))
}

/// Reads and validates an artifact, away from the threads that serve requests: it takes a second
/// for the largest. It goes on to its end whoever waits for it, and has what is `reserved` for it
/// until then: it takes memory and a core.
pub(crate) async fn inspect_artifact(
    app: &App,
    bytes: Bytes,
    reserved: impl Send + 'static,
) -> Result<Inspection> {
    let inspecting = app.background.run(move || {
        let inspection = inspect(&bytes);
        drop((bytes, reserved));
        inspection
    });
    let inspected = inspecting.await;
    let inspected =
        inspected.map_err(|e| ApiError::Internal(format!("the inspection of an artifact: {e}")))?;
    inspected.map_err(|error| ApiError::Component(error.to_string()))
}
