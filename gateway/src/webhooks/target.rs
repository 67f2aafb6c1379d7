//! What a webhook belongs to.

use wasmill_domain::manifest::http::HttpTrigger;
use wasmill_domain::{FunctionName, TenantName};

/// Whose webhook a request is for.
#[derive(Clone, Copy)]
pub(crate) struct WebhookTrigger<'a> {
    pub(crate) tenant: &'a TenantName,
    pub(crate) function: &'a FunctionName,
    pub(crate) trigger: &'a HttpTrigger,
}
