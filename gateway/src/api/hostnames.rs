//! Host names: which tenant's functions may have triggers under which. For operators to say.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode, Uri};
use wasmill_domain::manifest::Manifest;
use wasmill_domain::manifest::http::HostName;
use wasmill_domain::{HostnamePattern, Registry, TenantName, Timestamp};
use wasmill_store::Change;

use crate::app::{App, SharedApp};
use crate::auth::Caller;
use crate::authority::requested;
use crate::documents::hostnames::{HostnameDocument, HostnameGranted, HostnamePage, ListHostnames};
use crate::error::{ApiError, Result};
use crate::extract::{Params, Segment};
use crate::page::{self, MAX_PAGE};

/// The host names of a manifest's triggers under which requests do not reach the tenant's
/// functions, because they are not the tenant's (any more).
pub(crate) fn not_owned(
    app: &App,
    registry: &Registry,
    tenant: &TenantName,
    manifest: &Manifest,
) -> Vec<String> {
    let hosts = manifest.triggers.iter().filter_map(|trigger| trigger.as_http()?.host.as_ref());
    let not_owned = |host: &&HostName| {
        app.settings.hostnames.check(registry.hostnames(), tenant, host).is_err()
    };
    hosts.filter(not_owned).map(ToString::to_string).collect()
}

/// Tells the operator of functions that do not answer under a host name of theirs.
pub(crate) fn warn_of_not_owned(app: &App) {
    let registry = app.registry.current();
    for function in registry.functions() {
        for host in not_owned(app, &registry, &function.tenant, &function.manifest) {
            let (tenant, function) = (&function.tenant, &function.name);
            tracing::warn!(%tenant, %function, host, "the host name is not the tenant's: the function does not answer under it");
        }
    }
}

/// List host names
///
/// Those of the tenant; for operator keys, of every tenant.
#[utoipa::path(get, path = "/v1/hostnames", tag = "hostnames", params(ListHostnames), operation_id = "list_hostnames",
    responses((status = 200, description = "A page of host names", body = HostnamePage)))]
pub(crate) async fn list(
    State(app): State<SharedApp>,
    caller: Caller,
    Params(query): Params<ListHostnames>,
) -> Result<Json<HostnamePage>> {
    let limit = page::limit(query.limit, MAX_PAGE, MAX_PAGE)?;
    let stored = caller.registry.hostnames().iter().map(|granted| HostnameDocument {
        hostname: granted.pattern.clone(),
        tenant: granted.tenant.clone(),
        configured: false,
        granted_at: Some(granted.granted_at),
    });
    let configured =
        app.settings.hostnames.granted.iter().map(|(pattern, tenant)| HostnameDocument {
            hostname: pattern.clone(),
            tenant: tenant.clone(),
            configured: true,
            granted_at: None,
        });
    // The configuration goes before the API, here as where it decides.
    let all: BTreeMap<_, _> =
        stored.chain(configured).map(|document| (document.hostname.clone(), document)).collect();
    let sees_all = caller.must_be_operator().is_ok();
    let visible = all.into_values().filter(|document| sees_all || document.tenant == caller.tenant);
    let after = visible
        .filter(|document| query.cursor.as_ref().is_none_or(|cursor| document.hostname > *cursor));
    let (hostnames, next) =
        page::cut(after, limit, |document: &HostnameDocument| document.hostname.clone());
    Ok(Json(HostnamePage { hostnames, next }))
}

/// Grant a host name
///
/// To the tenant that is acted for, whose functions may have HTTP triggers with this `host` from
/// then on. For operator keys.
#[utoipa::path(put, path = "/v1/hostnames/{hostname}", tag = "hostnames", operation_id = "grant_hostname",
    params(("hostname" = String, Path, description = "A host name, or `*.` and a host name: every name below it")),
    responses(
        (status = 200, description = "It is the tenant's", body = HostnameGranted),
        (status = 409, description = "It is another tenant's, or one that no tenant can have")))]
pub(crate) async fn grant(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(hostname): Segment<HostnamePattern>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<HostnameGranted>> {
    caller.must_be_operator()?;
    app.settings.hostnames.check_grant(&hostname, &caller.tenant).map_err(ApiError::Conflict)?;
    check_not_this_api(&hostname, requested(&uri, &headers))?;
    let tenant = caller.tenant;
    let change = Change::GrantHostname {
        pattern: hostname.clone(),
        tenant: tenant.clone(),
        at: Timestamp::now(),
    };
    let changed = app.store.catalog.define(&change).await?;
    app.reach(changed.revision).await;
    tracing::info!(%tenant, %hostname, changed = changed.changed, "host name granted");
    Ok(Json(HostnameGranted {
        hostname,
        tenant,
        changed: changed.changed,
        revision: changed.revision.0,
    }))
}

/// Refuses to give away the name that the request itself came by: the API would be there no more.
fn check_not_this_api(hostname: &HostnamePattern, requested: Option<String>) -> Result<()> {
    let requested = requested.and_then(|name| name.parse::<HostName>().ok());
    match requested.filter(|name| hostname.covers(name)) {
        Some(name) => Err(ApiError::Conflict(format!(
            "'{hostname}' covers '{name}', which this API is asked by: name it in gateway.public_names, or ask by another name"
        ))),
        None => Ok(()),
    }
}

/// Take a host name back
///
/// Triggers under it answer no more, unless a wider grant covers it. For operator keys.
#[utoipa::path(delete, path = "/v1/hostnames/{hostname}", tag = "hostnames", operation_id = "revoke_hostname",
    params(("hostname" = String, Path, description = "As it was granted")),
    responses((status = 204, description = "It is nobody's"), (status = 404, description = "The API has not granted it")))]
pub(crate) async fn revoke(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(hostname): Segment<HostnamePattern>,
) -> Result<StatusCode> {
    caller.must_be_operator()?;
    let changed =
        app.store.catalog.define(&Change::RevokeHostname { pattern: hostname.clone() }).await?;
    app.reach(changed.revision).await;
    tracing::info!(%hostname, "host name revoked");
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_this_api_is_not_given_away() {
        for (granted, asked, ok) in [
            ("*.example.com", Some("api.example.com"), false),
            ("api.example.com", Some("api.example.com"), false),
            ("shop.example.com", Some("api.example.com"), true),
            ("*.example.com", Some("127.0.0.1"), true),
            ("*.example.com", None, true),
        ] {
            let checked = check_not_this_api(&granted.parse().unwrap(), asked.map(str::to_owned));
            assert_eq!(checked.is_ok(), ok, "{granted} {asked:?}");
        }
    }
}
