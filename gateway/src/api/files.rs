//! Files of functions: kept by the digest of their content, for deploys to name.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Request, State};
use http::StatusCode;
use wasmill_domain::manifest::files::{FilePart, MOST_FILES};
use wasmill_domain::units::ByteSize;
use wasmill_domain::{Digest, Manifest, TenantName, manifest};

use crate::app::{App, SharedApp, to_its_end};
use crate::auth::Caller;
use crate::body::{self, media_type};
use crate::documents::functions::{FileDocument, FileQuestion, MissingFiles};
use crate::error::{ApiError, Result};

const ACCEPTED: &[&str] = &["application/octet-stream"];

/// Upload a file
///
/// Keeps a file's content for the tenant's deploys to name by its digest, with the path that it has
/// in the function's folder. What no version has among its files is deleted after a while.
#[utoipa::path(post, path = "/v1/files", tag = "artifacts", operation_id = "upload_file",
    request_body(content((serde_json::Value = "application/octet-stream")), description = "The file's content"),
    responses(
        (status = 200, description = "The tenant had it already", body = FileDocument),
        (status = 201, description = "The tenant has it now", body = FileDocument),
        (status = 400, description = "The body breaks off"),
        (status = 409, description = "The tenant has as many artifacts, or bytes of them, as it may"),
        (status = 413, description = "The file is too large"),
        (status = 415, description = "Not declared as bytes")))]
pub(crate) async fn upload(
    State(app): State<SharedApp>,
    caller: Caller,
    request: Request,
) -> Result<(StatusCode, Json<FileDocument>)> {
    let (parts, body) = request.into_parts();
    if !media_type(&parts.headers)?
        .is_some_and(|media_type| ACCEPTED.contains(&media_type.as_str()))
    {
        return Err(ApiError::MediaType(
            "send the file with 'Content-Type: application/octet-stream'".into(),
            ACCEPTED,
        ));
    }
    let most = app.settings.max_artifact_bytes;
    let buffered =
        body::read(&app, &caller.owner, &parts.headers, body, most).await.map_err(|error| {
            match error {
                ApiError::TooLarge(_) => ApiError::TooLarge(format!(
                    "a file has at most {} here, which is the setting gateway.max_artifact_bytes",
                    ByteSize(most as u64)
                )),
                error => error,
            }
        })?;
    let permit = app.admit_artifact(&caller.tenant).await?;
    let (new, document) = to_its_end(async move {
        // Each part of the work has both: the permit, and the share of what bodies may hold.
        let (_permit, reserved) = (permit.clone(), (permit, buffered.clone()));
        let digesting = app.background.run(move || {
            let digest = Digest::of(&reserved.1.bytes);
            drop(reserved);
            digest
        });
        let digest = digesting.await;
        let digest =
            digest.map_err(|e| ApiError::Internal(format!("the digest of a file: {e}")))?;
        let new = app
            .store
            .artifacts
            .put_artifact(&caller.tenant, digest, buffered.bytes.clone())
            .await?;
        Ok((new, FileDocument { digest, size: buffered.bytes.len() as u64 }))
    })
    .await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(document)))
}

/// Ask which files are missing
///
/// Of these digests, those that the tenant has not uploaded, or not any more: each once.
#[utoipa::path(post, path = "/v1/files/missing", tag = "artifacts", operation_id = "missing_files",
    request_body = FileQuestion,
    responses(
        (status = 200, description = "What is to be uploaded before a deploy", body = MissingFiles),
        (status = 400, description = "Not the document of a question, or one with too many digests"),
        (status = 413, description = "The document is too large"),
        (status = 415, description = "Not JSON")))]
pub(crate) async fn missing(
    State(app): State<SharedApp>,
    caller: Caller,
    request: Request,
) -> Result<Json<MissingFiles>> {
    let (parts, body) = request.into_parts();
    let FileQuestion { digests } =
        body::document(&app, &caller.owner, &parts.headers, body, app.settings.max_document_bytes)
            .await?;
    if digests.len() > MOST_FILES {
        return Err(ApiError::BadRequest(format!("'digests' has at most {MOST_FILES} of them")));
    }
    let digests: Vec<Digest> = digests.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let sizes = app.store.artifacts.artifact_sizes(&caller.tenant, &digests).await?;
    let missing =
        digests.into_iter().zip(sizes).filter(|(_, size)| size.is_none()).map(|(digest, _)| digest);
    Ok(Json(MissingFiles { missing: missing.collect() }))
}

/// Makes sure that the files of a version are within bounds, and there.
pub(crate) async fn check(app: &App, tenant: &TenantName, manifest: &Manifest) -> Result<()> {
    let parts: Vec<&FilePart> = manifest.file_parts().collect();
    if parts.is_empty() {
        return Ok(());
    }
    let refused = |key: String, message: String| {
        ApiError::from(manifest::ManifestError::Value { key, message })
    };
    let (most, most_bytes) = (app.settings.max_files, app.settings.max_files_bytes);
    if parts.len() > most {
        let message = format!(
            "are {}, and a function has at most {most} here (gateway.max_files)",
            parts.len()
        );
        return Err(refused("files".into(), message));
    }
    let bytes = parts.iter().map(|part| part.size).fold(0, u64::saturating_add);
    if bytes > most_bytes {
        let [bytes, most] = [bytes, most_bytes].map(ByteSize);
        let message = format!(
            "have {bytes} together, and a function's have at most {most} here (gateway.max_files_bytes)"
        );
        return Err(refused("files".into(), message));
    }
    let digests: Vec<Digest> = parts.iter().map(|part| part.digest).collect();
    let sizes = app.store.artifacts.artifact_sizes(tenant, &digests).await?;
    for (i, (part, size)) in parts.iter().zip(sizes).enumerate() {
        let FilePart { path, digest, size: said } = part;
        match size {
            None => {
                let why = format!(
                    "the file '{path}' ({digest}) is not here: upload it by POST /v1/files first"
                );
                return Err(ApiError::Unprocessable(why));
            }
            Some(size) if size != *said => {
                return Err(refused(
                    format!("files[{i}].size"),
                    format!("is {said}, and the file '{path}' has {size} bytes"),
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
