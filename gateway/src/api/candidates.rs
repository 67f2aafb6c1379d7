//! Versions that are to become current: what a deploy and a rollback make sure of, alike.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wasmill_component::{Artifact, FileSource, PreflightError};
use wasmill_domain::registry::Replaced;
use wasmill_domain::{Digest, FunctionName, Manifest, Registry, TenantName, manifest};
use wasmill_store::{Artifacts, FunctionVersion};

use super::artifacts::inspect_artifact;
use super::{files, secrets};
use crate::app::{App, SharedApp, to_its_end};
use crate::error::{ApiError, Result};
use crate::problem::Fault;
use crate::tenant_semaphore::TenantPermit;

/// A version that is to become current, while it is checked. Whoever works on it owns it, and with
/// it the permit that lets it be held: both go when the work has ended.
pub(super) struct Candidate {
    pub(super) tenant: TenantName,
    pub(super) digest: Digest,
    pub(super) manifest: Manifest,
    /// One of the tenant's [`App::admit_definition`].
    pub(super) permit: TenantPermit,
}

/// Reads a manifest.
pub(super) fn read_manifest(document: serde_json::Value, name: &FunctionName) -> Result<Manifest> {
    let manifest = Manifest::from_json(document)?;
    if manifest.name != *name {
        let detail =
            format!("the manifest's name is '{}', but the path says '{name}'", manifest.name);
        return Err(ApiError::Manifest(Fault::at("/manifest/name", detail)));
    }
    Ok(manifest)
}

/// Makes sure that a manifest's schemas compile, and that the tenant has room for them.
async fn compile_schemas(app: &App, candidate: Candidate) -> Result<Candidate> {
    if candidate.manifest.triggers.iter().all(|trigger| trigger.schema().is_none()) {
        return Ok(candidate);
    }
    // The patterns of a large schema take a while to compile.
    let (registry, tenant) = (app.registry.current(), candidate.tenant.clone());
    app.compute(&tenant, move || {
        check_schemas(&registry, &candidate.tenant, &candidate.manifest).map(|()| candidate)
    })
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
pub(super) async fn check(app: &SharedApp, candidate: Candidate) -> Result<Candidate> {
    let candidate = compile_schemas(app, candidate).await?;
    files::check(app, &candidate.tenant, &candidate.manifest).await?;
    let candidate = preflight(app, candidate).await?;
    check_webhooks(app, &candidate.tenant, &candidate.manifest).await?;
    secrets::check_granted(app, &candidate.tenant, &candidate.manifest).await?;
    Ok(candidate)
}

/// The version that a rollback goes to, with its number.
pub(super) async fn target(
    app: &App,
    tenant: &TenantName,
    name: &FunctionName,
    to: Option<u32>,
    permit: TenantPermit,
) -> Result<(u32, Candidate)> {
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
    let (tenant, manifest) = (tenant.clone(), manifest.map_err(unreadable)?);
    Ok((number, Candidate { tenant, digest, manifest, permit }))
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
async fn preflight(app: &SharedApp, candidate: Candidate) -> Result<Candidate> {
    let permit = app.admit_artifact(&candidate.tenant).await?;
    let reader = Arc::clone(app);
    let candidate = to_its_end(async move { with_kind(&reader, candidate, permit).await }).await?;
    // Compiling may take long: whoever compiles is fair between tenants, and reserves memory for
    // those who have a permit. A client that cannot wait so long finds it done when it asks again.
    let (preflight, artifacts) = (Arc::clone(&app.preflight), Arc::clone(&app.store.artifacts));
    to_its_end(async move {
        // It has its permit for as long as this takes, whether or not its client waits.
        let Candidate { tenant, digest, manifest, .. } = &candidate;
        let artifact = Stored { artifacts, tenant: tenant.clone(), digest: *digest };
        let checked = preflight.check(tenant, *digest, &artifact, manifest).await;
        checked.map(|()| candidate).map_err(not_deployable)
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

/// The version with what its component would be run as, told by reading it. `permit` is the
/// artifact's.
async fn with_kind(app: &App, mut candidate: Candidate, permit: TenantPermit) -> Result<Candidate> {
    let Candidate { tenant, digest, manifest, .. } = &mut candidate;
    let artifact = app.store.artifacts.tenant_artifact(tenant, *digest).await?;
    let bytes = artifact.ok_or_else(|| {
        ApiError::Unprocessable(format!(
            "the artifact {digest} is not here: upload it by POST /v1/artifacts first"
        ))
    })?;
    let inspection = inspect_artifact(app, bytes, permit).await?;
    let kind =
        inspection.kind(manifest.kind).and_then(|kind| inspection.require_imports().map(|()| kind));
    let kind = kind.and_then(|kind| inspection.require_grants(manifest).map(|()| kind));
    let kind = kind.map_err(|error| ApiError::Component(error.to_string()))?;
    manifest.check_for(kind)?;
    manifest.kind = Some(kind);
    Ok(candidate)
}
