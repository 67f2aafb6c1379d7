//! Functions: deploy, show, roll back, delete.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::extract::{Request, State};
use bytes::Bytes;
use http::StatusCode;
use wasmill_broker::QueueName;
use wasmill_component::{Artifact, FileSource, PreflightError};
use wasmill_domain::manifest::Trigger;
use wasmill_domain::registry::Replaced;
use wasmill_domain::{
    Digest, FunctionDefinition, FunctionName, Manifest, Registry, TenantName, Timestamp, manifest,
};
use wasmill_store::{Artifacts, Change, FunctionVersion};

use super::artifacts::inspect_artifact;
use super::{files, hostnames, secrets};
use crate::app::{App, SharedApp, to_its_end};
use crate::auth::Caller;
use crate::body;
use crate::documents::functions::{
    Deploy, Deployed, FunctionDocument, FunctionPage, FunctionSummary, ListFunctions, ListVersions,
    Rollback, UnreadableFunction, VersionDocument, VersionPage, VersionSummary, WebhookDocument,
};
use crate::error::{ApiError, Result};
use crate::extract::{Params, Segment};
use crate::page::{self, MAX_PAGE};
use crate::problem::Fault;
use crate::webhooks::WebhookTrigger;

/// How many versions a function's own document shows.
const SHOWN_VERSIONS: usize = 20;

/// List functions
#[utoipa::path(get, path = "/v1/functions", tag = "functions", params(ListFunctions), operation_id = "list_functions",
    responses((status = 200, description = "A page of functions", body = FunctionPage)))]
pub(crate) async fn list(
    caller: Caller,
    Params(query): Params<ListFunctions>,
) -> Result<Json<FunctionPage>> {
    let limit = page::limit(query.limit, MAX_PAGE, MAX_PAGE)?;
    let functions = caller.registry.functions_of(&caller.tenant);
    let after = functions
        .into_iter()
        .filter(|f| query.cursor.as_ref().is_none_or(|cursor| f.name > *cursor));
    let (functions, next) = page::cut(after, limit, |function| function.name.clone());
    let functions = functions.into_iter().map(|f| f.as_ref().into()).collect();
    let unreadable = match query.cursor {
        Some(_) => Vec::new(),
        None => caller
            .registry
            .unreadable_functions_of(&caller.tenant)
            .map(UnreadableFunction::from)
            .collect(),
    };
    Ok(Json(FunctionPage { functions, unreadable, next }))
}

/// Show a function
///
/// With its manifest, its newest versions and what waits in its queue.
#[utoipa::path(get, path = "/v1/functions/{name}", tag = "functions", operation_id = "show_function",
    params(("name" = String, Path, description = "The function's name")),
    responses(
        (status = 200, description = "The function", body = FunctionDocument),
        (status = 404, description = "No such function"),
        (status = 422, description = "It cannot be read: another release of wasmill deployed it")))]
pub(crate) async fn show(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(name): Segment<FunctionName>,
) -> Result<Json<FunctionDocument>> {
    let function = caller.registry.function(&caller.tenant, &name);
    let function = function.ok_or_else(|| missing(&caller.registry, &caller.tenant, &name))?;
    let versions = app.store.catalog.versions(&caller.tenant, &name).await?;
    let depth = app.broker.queues.depth(&QueueName::of_function(&caller.tenant, &name)).await;
    Ok(Json(FunctionDocument {
        summary: FunctionSummary::from(function.as_ref()),
        manifest: Arc::clone(&function.manifest),
        versions: versions.iter().take(SHOWN_VERSIONS).map(VersionSummary::from).collect(),
        queue: depth.ok().map(Into::into),
        webhooks: webhooks_of(&app, function),
        not_owned: hostnames::not_owned(&app, &caller.registry, &caller.tenant, &function.manifest),
    }))
}

/// What was counted at the triggers of a function that ask for signatures.
fn webhooks_of(app: &App, function: &FunctionDefinition) -> Vec<WebhookDocument> {
    let triggers = function.manifest.triggers.iter().filter_map(Trigger::as_http);
    let signed = triggers.filter(|trigger| trigger.webhook.is_some()).map(|trigger| {
        let target = WebhookTrigger { tenant: &function.tenant, function: &function.name, trigger };
        WebhookDocument::new(trigger, app.webhooks.counted(target))
    });
    signed.collect()
}

/// List the versions of a function
#[utoipa::path(get, path = "/v1/functions/{name}/versions", tag = "functions", operation_id = "list_versions",
    params(("name" = String, Path, description = "The function's name"), ListVersions),
    responses(
        (status = 200, description = "A page of versions, the newest first", body = VersionPage),
        (status = 404, description = "No such function")))]
pub(crate) async fn versions(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(name): Segment<FunctionName>,
    Params(query): Params<ListVersions>,
) -> Result<Json<VersionPage>> {
    let limit = page::limit(query.limit, MAX_PAGE, MAX_PAGE)?;
    let versions = app.store.catalog.versions(&caller.tenant, &name).await?;
    if versions.is_empty() {
        return Err(unknown(&name));
    }
    let after =
        versions.into_iter().filter(|v| query.cursor.is_none_or(|cursor| v.number < cursor));
    let (versions, next) = page::cut(after, limit, |version: &FunctionVersion| version.number);
    Ok(Json(VersionPage {
        versions: versions.into_iter().map(VersionDocument::from).collect(),
        next,
    }))
}

/// Deploy a function
///
/// Checks that the component can run with this manifest, keeps both as a new version and makes it
/// current. The same artifact and manifest as the current version's change nothing.
#[utoipa::path(put, path = "/v1/functions/{name}", tag = "functions", operation_id = "deploy_function",
    params(("name" = String, Path, description = "The function's name, the same as in the manifest")),
    request_body = Deploy,
    responses(
        (status = 200, description = "Nothing changed", body = Deployed),
        (status = 201, description = "A new version is live", body = Deployed),
        (status = 400, description = "Not the document of a deploy"),
        (status = 409, description = "It does not fit what is there, or the tenant has as many functions as it may"),
        (status = 413, description = "The document is too large"),
        (status = 415, description = "Not JSON"),
        (status = 422, description = "Manifest, schema or component cannot be used, or the artifact was not uploaded")))]
pub(crate) async fn deploy(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(name): Segment<FunctionName>,
    request: Request,
) -> Result<(StatusCode, Json<Deployed>)> {
    let (parts, body) = request.into_parts();
    let Deploy { manifest, digest } =
        body::document(&app, &caller.owner, &parts.headers, body, app.settings.max_document_bytes)
            .await?;
    let tenant = caller.tenant;
    let manifest = read_manifest(manifest, &name)?;
    let manifest = check(&app, &tenant, digest, manifest).await?;
    // Before anybody can route events to it. A broker that is away is no obstacle: whoever
    // publishes or consumes declares too.
    if let Err(error) = app.broker.publishing.declare(&QueueName::of_function(&tenant, &name)).await
    {
        tracing::warn!(%tenant, function = %name, %error, "the function's queue is not declared yet");
    }
    let hostnames = Arc::clone(&app.settings.hostnames);
    let change = Change::Deploy {
        tenant: tenant.clone(),
        digest,
        manifest,
        hostnames,
        at: Timestamp::now(),
    };
    let changed = app.store.catalog.define(&change).await?;
    app.reach(changed.revision).await;
    tracing::info!(%tenant, function = %name, version = changed.version, changed = changed.changed, "deployed");
    let status = if changed.changed { StatusCode::CREATED } else { StatusCode::OK };
    Ok((
        status,
        Json(Deployed {
            name: name.to_string(),
            version: changed.version,
            digest,
            changed: changed.changed,
            revision: changed.revision.0,
        }),
    ))
}

/// Roll a function back
///
/// Makes an older version current again, at once, if it could be deployed now: its routes are free,
/// its host names the tenant's, and the secrets that it names are there. The versions after it stay
/// and can be gone back to.
#[utoipa::path(post, path = "/v1/functions/{name}/rollback", tag = "functions", operation_id = "roll_back_function",
    params(("name" = String, Path, description = "The function's name")),
    request_body(content = Rollback, description = "Where to; no body at all means the version before the current"),
    responses(
        (status = 200, description = "The older version is live", body = Deployed),
        (status = 400, description = "Not the document of a rollback"),
        (status = 404, description = "No such function, or no such version to go back to"),
        (status = 409, description = "It does not fit what is there: a route or a host name is another's"),
        (status = 413, description = "The document is too large"),
        (status = 415, description = "Not JSON"),
        (status = 422, description = "The version cannot run any more, or a secret that it names is missing")))]
pub(crate) async fn rollback(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(name): Segment<FunctionName>,
    request: Request,
) -> Result<Json<Deployed>> {
    let (parts, body) = request.into_parts();
    let nothing = axum::body::HttpBody::size_hint(&body).exact() == Some(0);
    let Rollback { to } = if nothing {
        Rollback::default()
    } else {
        body::document(&app, &caller.owner, &parts.headers, body, app.settings.max_document_bytes)
            .await?
    };
    let tenant = caller.tenant;
    let to = Some(check_target(&app, &tenant, &name, to).await?);
    let hostnames = Arc::clone(&app.settings.hostnames);
    let change = Change::Rollback { tenant: tenant.clone(), function: name.clone(), to, hostnames };
    let changed = app.store.catalog.define(&change).await?;
    app.reach(changed.revision).await;
    let versions = app.store.catalog.versions(&tenant, &name).await?;
    let live = versions.into_iter().find(|version| version.number == changed.version);
    let live = live.ok_or_else(|| {
        ApiError::NotFound(format!("function '{name}' was deleted in the same moment"))
    })?;
    tracing::info!(%tenant, function = %name, version = live.number, "rolled back");
    Ok(Json(Deployed {
        name: name.to_string(),
        version: live.number,
        digest: live.digest,
        changed: changed.changed,
        revision: changed.revision.0,
    }))
}

/// Delete a function
///
/// With its versions and triggers. Its executions stay; those that still wait are cancelled by the
/// hosts.
#[utoipa::path(delete, path = "/v1/functions/{name}", tag = "functions", operation_id = "delete_function",
    params(("name" = String, Path, description = "The function's name")),
    responses((status = 204, description = "It is gone"), (status = 404, description = "No such function")))]
pub(crate) async fn delete(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(name): Segment<FunctionName>,
) -> Result<StatusCode> {
    let tenant = caller.tenant;
    // The queue stays: another gateway may still publish to it for a moment, and what it holds must
    // come to its end.
    let change = Change::DeleteFunction { tenant: tenant.clone(), function: name.clone() };
    let changed = app.store.catalog.define(&change).await?;
    app.reach(changed.revision).await;
    tracing::info!(%tenant, function = %name, "deleted");
    Ok(StatusCode::NO_CONTENT)
}

fn unknown(name: &FunctionName) -> ApiError {
    ApiError::NotFound(format!("there is no function '{name}'"))
}

/// Why a function cannot be shown or called that the registry does not have.
pub(crate) fn missing(registry: &Registry, tenant: &TenantName, name: &FunctionName) -> ApiError {
    match registry.unreadable_function(tenant, name) {
        None => unknown(name),
        Some(unreadable) => ApiError::Unprocessable(format!(
            "function '{name}' is unreadable: {}. Another release of wasmill deployed it; deploy it again, or use that release",
            unreadable.why
        )),
    }
}

/// Reads a manifest.
fn read_manifest(document: serde_json::Value, name: &FunctionName) -> Result<Manifest> {
    let manifest = Manifest::from_json(document)?;
    if manifest.name != *name {
        let detail =
            format!("the manifest's name is '{}', but the path says '{name}'", manifest.name);
        return Err(ApiError::Manifest(Fault::at("/manifest/name", detail)));
    }
    Ok(manifest)
}

/// Makes sure that a manifest's schemas compile, and that the tenant has room for them.
async fn compile_schemas(app: &App, tenant: &TenantName, manifest: Manifest) -> Result<Manifest> {
    if manifest.triggers.iter().all(|trigger| trigger.schema().is_none()) {
        return Ok(manifest);
    }
    // The patterns of a large schema take a while to compile.
    let (registry, owner) = (app.registry.current(), tenant.clone());
    app.compute(tenant, move || check_schemas(&registry, &owner, &manifest).map(|()| manifest))
        .await?
}

fn check_schemas(registry: &Registry, tenant: &TenantName, manifest: &Manifest) -> Result<()> {
    let schemas = manifest
        .triggers
        .iter()
        .enumerate()
        .filter_map(|(i, trigger)| Some((i, trigger.schema()?)));
    for (i, schema) in schemas.clone() {
        registry.schema_compiler().compile(Arc::new(schema.clone())).map_err(|error| {
            let pointer = format!("/manifest/trigger/{i}/schema{}", error.pointer);
            ApiError::Schema(Fault::at(pointer, format!("trigger[{i}].schema: {}", error.message)))
        })?;
    }
    let schemas: Vec<_> = schemas.map(|(_, schema)| schema).collect();
    let quota = registry.check_quota(tenant, &schemas, Replaced::Function(&manifest.name));
    quota.map_err(|error| ApiError::Schema(Fault::at("/manifest/trigger", error.message)))
}

/// Makes sure that a version can run and has what it names, and settles its kind. Its routes and
/// host names are claimed by the store.
async fn check(
    app: &SharedApp,
    tenant: &TenantName,
    digest: Digest,
    manifest: Manifest,
) -> Result<Manifest> {
    let manifest = compile_schemas(app, tenant, manifest).await?;
    files::check(app, tenant, &manifest).await?;
    let manifest = preflight(app, tenant, digest, manifest).await?;
    check_webhooks(app, tenant, &manifest).await?;
    secrets::check_granted(app, tenant, &manifest).await?;
    Ok(manifest)
}

/// Makes sure that the version that a rollback goes to could be deployed now, and gives its number.
async fn check_target(
    app: &SharedApp,
    tenant: &TenantName,
    name: &FunctionName,
    to: Option<u32>,
) -> Result<u32> {
    let versions = app.store.catalog.versions(tenant, name).await?;
    let current =
        versions.iter().find(|version| version.current).map_or(0, |version| version.number);
    let target = versions.into_iter().find(|version| match to {
        Some(to) => version.number == to,
        None => version.number < current,
    });
    let Some(FunctionVersion { number, digest, manifest, .. }) = target else {
        return Err(ApiError::NotFound(match to {
            Some(to) => {
                format!("there is no version {to} of function '{name}' whose artifact is here")
            }
            None => format!("there is no function '{name}' with a version before the current one"),
        }));
    };
    let unreadable = |why| {
        ApiError::Unprocessable(format!(
            "version {number} of function '{name}' cannot be read: {why}"
        ))
    };
    check(app, tenant, digest, manifest.map_err(unreadable)?).await?;
    Ok(number)
}

/// Makes sure that the secrets exist that webhooks are signed with.
async fn check_webhooks(app: &App, tenant: &TenantName, manifest: &Manifest) -> Result<()> {
    for (i, trigger) in manifest.triggers.iter().enumerate() {
        let Some(webhook) = trigger.as_http().and_then(|trigger| trigger.webhook.as_ref()) else {
            continue;
        };
        for (j, name) in webhook.secrets.iter().enumerate() {
            if app.store.secrets.secret(tenant, name).await?.is_none() {
                let message =
                    format!("there is no secret '{name}': `wasmill secrets set {name}` sets it");
                return Err(manifest::ManifestError::Value {
                    key: format!("trigger[{i}].webhook.secrets[{j}]"),
                    message,
                }
                .into());
            }
        }
    }
    Ok(())
}

/// An artifact in the store.
struct Stored {
    artifacts: Arc<dyn Artifacts>,
    tenant: TenantName,
    digest: Digest,
}

#[async_trait]
impl Artifact for Stored {
    async fn bytes(&self) -> Result<Bytes, PreflightError> {
        self.file(self.digest).await
    }
}

#[async_trait]
impl FileSource for Stored {
    async fn file(&self, digest: Digest) -> Result<Bytes, PreflightError> {
        let unavailable = |cause: String| PreflightError::Unavailable(cause);
        let artifact = self
            .artifacts
            .tenant_artifact(&self.tenant, digest)
            .await
            .map_err(|e| unavailable(e.to_string()))?;
        artifact.ok_or_else(|| unavailable(format!("the artifact {digest} is gone")))
    }
}

/// Makes sure that a host could run this version, and settles its kind.
async fn preflight(
    app: &SharedApp,
    tenant: &TenantName,
    digest: Digest,
    manifest: Manifest,
) -> Result<Manifest> {
    let deploy = app.admit_deploy(tenant).await?;
    let permit = app.admit_artifact(tenant).await?;
    let (reader, owner) = (Arc::clone(app), tenant.clone());
    let manifest = to_its_end(async move {
        let _permit = permit;
        with_kind(&reader, &owner, digest, manifest).await
    })
    .await?;
    // Compiling may take long: whoever compiles is fair between tenants, and reserves memory for
    // those who have a permit. A client that cannot wait so long finds it done when it asks again.
    let (preflight, artifact) = (
        Arc::clone(&app.preflight),
        Stored { artifacts: Arc::clone(&app.store.artifacts), tenant: tenant.clone(), digest },
    );
    to_its_end(async move {
        // The manifest is held for as long as this takes, whether or not its client waits.
        let _deploy = deploy;
        let checked = preflight.check(&artifact.tenant, digest, &artifact, &manifest).await;
        checked.map(|()| manifest).map_err(not_deployable)
    })
    .await
}

fn not_deployable(error: PreflightError) -> ApiError {
    match error {
        PreflightError::Unavailable(cause) => {
            tracing::warn!(cause, "a component could not be checked");
            ApiError::Unavailable("the component could not be checked now")
        }
        PreflightError::Manifest { key, message } => {
            manifest::ManifestError::Value { key, message }.into()
        }
        error => ApiError::Component(error.to_string()),
    }
}

/// The manifest with what the component would be run as, told by reading it.
async fn with_kind(
    app: &App,
    tenant: &TenantName,
    digest: Digest,
    mut manifest: Manifest,
) -> Result<Manifest> {
    let artifact = app.store.artifacts.tenant_artifact(tenant, digest).await?;
    let bytes = artifact.ok_or_else(|| {
        ApiError::Unprocessable(format!(
            "the artifact {digest} is not here: upload it by POST /v1/artifacts first"
        ))
    })?;
    let inspection = inspect_artifact(app, bytes).await?;
    let kind =
        inspection.kind(manifest.kind).and_then(|kind| inspection.require_imports().map(|()| kind));
    let kind = kind.and_then(|kind| inspection.require_grants(&manifest).map(|()| kind));
    let kind = kind.map_err(|error| ApiError::Component(error.to_string()))?;
    manifest.check_for(kind)?;
    manifest.kind = Some(kind);
    Ok(manifest)
}
