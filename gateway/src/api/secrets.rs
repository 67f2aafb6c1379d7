//! Secrets: set, list, delete. Their values come in here and never go out.

use axum::Json;
use axum::extract::{Request, State};
use http::StatusCode;
use wasmill_domain::secret::LONGEST_SECRET;
use wasmill_domain::{Manifest, SecretName, TenantName, Timestamp, manifest};
use wasmill_store::{Change, Changed, StoreError};

use crate::app::{App, SharedApp};
use crate::auth::Caller;
use crate::body;
use crate::documents::secrets::{ListSecrets, SecretDocument, SecretPage, SecretPut};
use crate::error::{ApiError, Result};
use crate::extract::{Params, Segment};
use crate::page::{self, MAX_PAGE};

/// How often a secret is sealed anew because somebody else has set it in the same moment.
const TRIES: usize = 4;

/// List secrets
///
/// Their names and when they were set; never their values.
#[utoipa::path(get, path = "/v1/secrets", tag = "secrets", params(ListSecrets), operation_id = "list_secrets",
    responses((status = 200, description = "A page of secrets", body = SecretPage)))]
pub(crate) async fn list(
    State(app): State<SharedApp>,
    caller: Caller,
    Params(query): Params<ListSecrets>,
) -> Result<Json<SecretPage>> {
    let limit = page::limit(query.limit, MAX_PAGE, MAX_PAGE)?;
    let secrets = app.store.secrets.secrets(&caller.tenant).await?;
    let after =
        secrets.into_iter().filter(|s| query.cursor.as_ref().is_none_or(|cursor| s.name > *cursor));
    let (secrets, next) = page::cut(after, limit, |secret| secret.name.clone());
    Ok(Json(SecretPage { secrets: secrets.into_iter().map(SecretDocument::from).collect(), next }))
}

/// Set a secret
///
/// The body is the value, byte for byte. It is sealed by the operator's key before it is stored,
/// and no answer ever has it. Attempts that begin from now on get it, within seconds.
#[utoipa::path(put, path = "/v1/secrets/{name}", tag = "secrets", operation_id = "put_secret",
    params(("name" = String, Path, description = "The secret's name")),
    request_body(content((serde_json::Value = "application/octet-stream")), description = "The value, 1 byte to 64 KiB"),
    responses(
        (status = 200, description = "It has this value now", body = SecretPut),
        (status = 201, description = "There was none of this name", body = SecretPut),
        (status = 409, description = "The gateway has no operator key to seal it with, or the tenant has too many secrets"),
        (status = 413, description = "The value is too long"),
        (status = 415, description = "The body is compressed")))]
pub(crate) async fn put(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(name): Segment<SecretName>,
    request: Request,
) -> Result<(StatusCode, Json<SecretPut>)> {
    let (parts, body) = request.into_parts();
    let buffered = body::read(&app, &caller.owner, &parts.headers, body, LONGEST_SECRET).await?;
    if buffered.bytes.is_empty() {
        return Err(ApiError::BadRequest("the body is empty, and it is the secret's value".into()));
    }
    let tenant = caller.tenant;
    let changed = seal_and_keep(&app, &tenant, &name, &buffered.bytes).await?;
    app.reach(changed.revision).await;
    tracing::info!(%tenant, secret = %name, version = changed.version, "secret set");
    let status = if changed.version == 1 { StatusCode::CREATED } else { StatusCode::OK };
    Ok((
        status,
        Json(SecretPut {
            name: name.to_string(),
            version: changed.version,
            revision: changed.revision.0,
        }),
    ))
}

async fn seal_and_keep(
    app: &App,
    tenant: &TenantName,
    name: &SecretName,
    value: &[u8],
) -> Result<Changed> {
    let keyring = app.keyring.as_ref().ok_or_else(|| {
        ApiError::Conflict(
            "this gateway has no operator key to seal secrets with: make one by `wasmill secrets keygen FILE` and name the \
             file in secrets.key_file (WASMILL_SECRETS_KEY_FILE), for gateways and hosts"
                .into(),
        )
    })?;
    let mut tries = 0;
    loop {
        let known =
            app.store.secrets.secret(tenant, name).await?.map_or(0, |secret| secret.version);
        let sealed = keyring.seal(tenant, name, known.saturating_add(1), value, Timestamp::now());
        let sealed =
            sealed.map_err(|e| ApiError::Internal(format!("no random bytes to seal with: {e}")))?;
        tries += 1;
        match app.store.catalog.define(&Change::PutSecret(sealed)).await {
            Err(StoreError::Conflict(_)) if tries < TRIES => {}
            done => return Ok(done?),
        }
    }
}

/// Delete a secret
///
/// Attempts of functions whose manifest names it end with outcome `error` from then on.
#[utoipa::path(delete, path = "/v1/secrets/{name}", tag = "secrets", operation_id = "delete_secret",
    params(("name" = String, Path, description = "The secret's name")),
    responses((status = 204, description = "It is gone"), (status = 404, description = "No such secret")))]
pub(crate) async fn delete(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(name): Segment<SecretName>,
) -> Result<StatusCode> {
    let tenant = caller.tenant;
    let changed = app
        .store
        .catalog
        .define(&Change::DeleteSecret { tenant: tenant.clone(), name: name.clone() })
        .await?;
    app.reach(changed.revision).await;
    tracing::info!(%tenant, secret = %name, "secret deleted");
    Ok(StatusCode::NO_CONTENT)
}

/// Makes sure that every secret is there that a manifest names.
pub(crate) async fn check_granted(
    app: &App,
    tenant: &TenantName,
    manifest: &Manifest,
) -> Result<()> {
    if manifest.granted_secrets().next().is_none() {
        return Ok(());
    }
    let secrets = app.store.secrets.secrets(tenant).await?;
    let missing = manifest
        .granted_secrets()
        .find(|(_, name)| secrets.iter().all(|secret| secret.name != *name));
    match missing {
        Some((key, name)) => Err(manifest::ManifestError::Value {
            key: format!("secrets.{key}"),
            message: format!("there is no secret '{name}': `wasmill secrets set {name}` sets it"),
        }
        .into()),
        None => Ok(()),
    }
}
