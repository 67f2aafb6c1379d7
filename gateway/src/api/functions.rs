//! Functions: deploy, show, roll back, delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use http::StatusCode;
use wasmill_broker::QueueName;
use wasmill_domain::manifest::Trigger;
use wasmill_domain::{FunctionDefinition, FunctionName, Manifest, Registry, TenantName, Timestamp};
use wasmill_store::{Change, FunctionVersion};

use super::candidates::{self, Candidate};
use super::hostnames;
use crate::app::{App, SharedApp};
use crate::auth::Caller;
use crate::body;
use crate::documents::functions::{
    Deploy, Deployed, FunctionDocument, FunctionPage, FunctionSummary, ListFunctions, ListVersions,
    Rollback, UnreadableFunction, VersionDocument, VersionPage, VersionSummary, WebhookDocument,
};
use crate::error::{ApiError, Result};
use crate::extract::{Params, Segment};
use crate::page::{self, MAX_PAGE};
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
        no_host: app.no_host_for(&function.manifest).await,
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
    let tenant = caller.tenant;
    let permit = app.admit_definition(&tenant).await?;
    let (parts, body) = request.into_parts();
    let Deploy { manifest, digest } =
        body::document(&app, &caller.owner, &parts.headers, body, app.settings.max_document_bytes)
            .await?;
    let manifest = candidates::read_manifest(manifest, &name)?;
    let candidate = Candidate { tenant: tenant.clone(), digest, manifest, permit };
    let Candidate { manifest, permit, .. } = candidates::check(&app, candidate).await?;
    // Before anybody can route events to it. A broker that is away is no obstacle: whoever
    // publishes or consumes declares too.
    if let Err(error) = app.broker.publishing.declare(&QueueName::of_function(&tenant, &name)).await
    {
        tracing::warn!(%tenant, function = %name, %error, "the function's queue is not declared yet");
    }
    let warnings = warnings(&app, &manifest).await;
    let hostnames = Arc::clone(&app.settings.hostnames);
    let change = Change::Deploy {
        tenant: tenant.clone(),
        digest,
        manifest,
        hostnames,
        at: Timestamp::now(),
    };
    let changed = app.store.catalog.define(&change).await?;
    drop((change, permit));
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
            warnings,
        }),
    ))
}

/// What keeps a version that is live from running.
async fn warnings(app: &App, manifest: &Manifest) -> Vec<String> {
    let no_host = app.no_host_for(manifest).await;
    no_host.map(|why| format!("{why}: executions wait until one does")).into_iter().collect()
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
    let tenant = caller.tenant;
    let permit = app.admit_definition(&tenant).await?;
    let (parts, body) = request.into_parts();
    let nothing = axum::body::HttpBody::size_hint(&body).exact() == Some(0);
    let Rollback { to } = if nothing {
        Rollback::default()
    } else {
        body::document(&app, &caller.owner, &parts.headers, body, app.settings.max_document_bytes)
            .await?
    };
    let (to, target) = candidates::target(&app, &tenant, &name, to, permit).await?;
    let Candidate { permit, .. } = candidates::check(&app, target).await?;
    let to = Some(to);
    let hostnames = Arc::clone(&app.settings.hostnames);
    let change = Change::Rollback { tenant: tenant.clone(), function: name.clone(), to, hostnames };
    let changed = app.store.catalog.define(&change).await?;
    drop(permit);
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
        warnings: match &live.manifest {
            Ok(manifest) => warnings(&app, manifest).await,
            Err(_) => Vec::new(),
        },
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
