//! Host names and whose they are.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use wasmill_domain::{HostnamePattern, TenantName, Timestamp};

/// Which host names to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListHostnames {
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    pub(crate) cursor: Option<HostnamePattern>,
    /// How many at most: 1 to 500. Default: 500.
    #[param(minimum = 1, maximum = 500, default = 500)]
    pub(crate) limit: Option<u32>,
}

/// A page of host names.
#[derive(Serialize, ToSchema)]
pub(crate) struct HostnamePage {
    /// The host names, sorted.
    pub(crate) hostnames: Vec<HostnameDocument>,
    /// The cursor of the next page; null on the last.
    #[schema(value_type = Option<String>, required = true)]
    pub(crate) next: Option<HostnamePattern>,
}

/// A host name that was granted to a tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Hostname)]
pub(crate) struct HostnameDocument {
    /// The name, or `*.` and a name: every name below that one.
    #[schema(value_type = String)]
    pub(crate) hostname: HostnamePattern,
    /// Whose it is.
    #[schema(value_type = String)]
    pub(crate) tenant: TenantName,
    /// Whether the gateway's configuration grants it, which the API cannot change.
    pub(crate) configured: bool,
    /// When the API granted it; null where the configuration does.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub(crate) granted_at: Option<Timestamp>,
}

/// What granting a host name came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct HostnameGranted {
    /// The name, or the pattern.
    #[schema(value_type = String)]
    pub(crate) hostname: HostnamePattern,
    /// Whose it is now.
    #[schema(value_type = String)]
    pub(crate) tenant: TenantName,
    /// Whether this changed anything.
    pub(crate) changed: bool,
    /// The revision of all definitions that has it.
    pub(crate) revision: i64,
}
