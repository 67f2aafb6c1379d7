//! What a version claims when it becomes current: host names, which must be its tenant's, and
//! routes, each of which is one function's. The same for every database, which asks and writes
//! within the transaction that moves the pointer.

use std::collections::BTreeSet;

use wasmill_domain::manifest::Trigger;
use wasmill_domain::manifest::http::HostName;
use wasmill_domain::routes::RouteClaim;
use wasmill_domain::{HostnameGrants, HostnamePattern, HostnameRules, Manifest, TenantName};

use crate::port::{Result, StoreError};

/// The method of a row that stands for every method.
pub(crate) const EVERY_METHOD: &str = "*";

/// A claim as a row holds it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RouteRow {
    /// Empty for a route below `/http/TENANT`.
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) method: String,
}

impl RouteRow {
    /// The rows of a manifest's HTTP triggers.
    pub(crate) fn of(manifest: &Manifest) -> Vec<Self> {
        let row = |RouteClaim { host, path, method }| Self {
            host: host.map(|host| host.to_string()).unwrap_or_default(),
            path,
            method: method.map_or_else(|| EVERY_METHOD.to_owned(), |method| method.to_string()),
        };
        RouteClaim::of(&manifest.triggers).into_iter().map(row).collect()
    }

    /// The route is `function`'s.
    pub(crate) fn taken_by(&self, function: &str) -> StoreError {
        let Self { host, path, method } = self;
        let method = if method == EVERY_METHOD { "" } else { method };
        let space = if method.is_empty() { "" } else { " " };
        StoreError::Conflict(format!(
            "the function '{function}' already answers '{method}{space}{host}{path}'"
        ))
    }
}

/// The host names of a manifest's triggers.
fn hosts(manifest: &Manifest) -> impl Iterator<Item = (usize, &HostName)> {
    let triggers = manifest.triggers.iter().map(Trigger::as_http).enumerate();
    triggers.filter_map(|(i, trigger)| Some((i, trigger?.host.as_ref()?)))
}

/// The patterns whose grants decide about a manifest's host names.
pub(crate) fn patterns(manifest: &Manifest) -> Vec<String> {
    let patterns: BTreeSet<_> =
        hosts(manifest).flat_map(|(_, host)| HostnamePattern::covering(host)).collect();
    patterns.into_iter().map(|pattern| pattern.to_string()).collect()
}

/// Makes sure that every host name of a manifest is its tenant's, by the rules and by what was
/// granted.
pub(crate) fn check_hosts(
    rules: &HostnameRules,
    granted: &HostnameGrants,
    tenant: &TenantName,
    manifest: &Manifest,
) -> Result<()> {
    for (i, host) in hosts(manifest) {
        rules
            .check(granted, tenant, host)
            .map_err(|why| StoreError::Conflict(format!("trigger[{i}].host: {why}")))?;
    }
    Ok(())
}

/// The pattern was granted before.
pub(crate) fn granted_to(pattern: &HostnamePattern, tenant: &str) -> StoreError {
    StoreError::Conflict(format!(
        "'{pattern}' is granted to the tenant '{tenant}': revoke that first, by `wasmill hostnames revoke {pattern}`"
    ))
}
