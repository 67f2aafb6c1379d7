//! Who asks, and for which tenant.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, Uri};
use uuid::Uuid;
use wasmill_domain::lifecycle::HELD_BY_OPERATOR;
use wasmill_domain::{ApiKey, KeyRole, Registry, TenantName};

use crate::app::SharedApp;
use crate::authority;
use crate::budget::Owner;
use crate::error::{ApiError, Result};

/// The header by which an operator names the tenant to act for.
const TENANT_HEADER: &str = "wasmill-tenant";

/// Who asks. Every handler below `/v1` takes one; a test walks them all without a key.
pub(crate) struct Caller {
    /// The tenant to act for.
    pub(crate) tenant: TenantName,
    /// What the key may do; `None` where no key is needed.
    role: Option<KeyRole>,
    /// The key's id; `None` where no key is needed.
    key: Option<Uuid>,
    /// On whose account the request is.
    pub(crate) owner: Owner,
    /// What is defined, as of this request.
    pub(crate) registry: Arc<Registry>,
}

impl Caller {
    /// Who it is, for those who look at what was done.
    pub(crate) fn name(&self) -> String {
        self.key.map_or_else(|| HELD_BY_OPERATOR.to_owned(), |id| format!("key {id}"))
    }

    /// Lets operators pass, and everybody while there are no keys.
    pub(crate) fn must_be_operator(&self) -> Result<()> {
        match self.role {
            None | Some(KeyRole::Operator) => Ok(()),
            Some(KeyRole::Tenant) => {
                Err(ApiError::Forbidden("only an operator key may do this".into()))
            }
        }
    }
}

impl FromRequestParts<SharedApp> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self> {
        let registry = app.registry.current();
        let wanted = wanted_tenant(&parts.headers)?;
        if !registry.has_keys() && !app.settings.require_key {
            refuse_foreign_sites(&parts.uri, &parts.headers)?;
            return match wanted {
                Some(tenant) if tenant != TenantName::default() => {
                    Err(ApiError::Forbidden(format!(
                        "without API keys there is only the tenant 'default', not '{tenant}': create an operator key first"
                    )))
                }
                _ => {
                    let tenant = TenantName::default();
                    // Whoever is let in without a key is on the operator's own machine.
                    let owner = Owner::Tenant(tenant.clone());
                    Ok(Self { tenant, role: None, key: None, owner, registry })
                }
            };
        }
        let text = bearer(&parts.headers)?;
        let own = app.settings.own_key.as_ref().filter(|key| key.hash == ApiKey::hash_of(text));
        let key = registry.key(text).or(own);
        let key = key.ok_or(ApiError::Unauthenticated("the API key does not exist (any more)"))?;
        let tenant = match wanted {
            Some(tenant) if key.role == KeyRole::Tenant && tenant != key.tenant => {
                return Err(ApiError::Forbidden(format!(
                    "the key is for the tenant '{}', not for '{tenant}'",
                    key.tenant
                )));
            }
            wanted => wanted.unwrap_or_else(|| key.tenant.clone()),
        };
        let owner = Owner::Tenant(tenant.clone());
        Ok(Self { tenant, role: Some(key.role), key: Some(key.id), owner, registry })
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str> {
    const MISSING: ApiError =
        ApiError::Unauthenticated("send 'Authorization: Bearer wm_…' with an API key");
    let text = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or(MISSING)?;
    let (scheme, key) = text.split_once(' ').ok_or(MISSING)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(key.trim()) } else { Err(MISSING) }
}

fn wanted_tenant(headers: &HeaderMap) -> Result<Option<TenantName>> {
    let Some(value) = headers.get(TENANT_HEADER) else { return Ok(None) };
    let text = value
        .to_str()
        .map_err(|_| ApiError::BadRequest("the header Wasmill-Tenant is not ASCII".into()))?;
    text.parse()
        .map(Some)
        .map_err(|e| ApiError::BadRequest(format!("the header Wasmill-Tenant: {e}")))
}

/// Refuses what a web page of another site could send while no key protects the server.
///
/// A page may reach this server under its own name, by letting the name point to 127.0.0.1 (DNS
/// rebinding): then `Host` is that name. Or it may send a plain form: then `Origin` or
/// `Sec-Fetch-Site` says so. A client that is no browser sends neither.
fn refuse_foreign_sites(uri: &Uri, headers: &HeaderMap) -> Result<()> {
    let host = match authority::authority(uri, headers) {
        Some(authority) => authority,
        None if headers.contains_key(HOST) => {
            return Err(ApiError::BadRequest("the header Host cannot be read".into()));
        }
        // HTTP/1.0 has none, and no browser speaks it.
        None => return Ok(()),
    };
    if !is_address(host.host()) {
        return Err(ApiError::CrossSite(format!(
            "while there are no API keys, this server answers as an IP address or localhost only, not as '{}'",
            host.host()
        )));
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let uri = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
        let local = uri.as_ref().and_then(Uri::host).is_some_and(is_loopback);
        let same = uri.as_ref().and_then(Uri::authority) == Some(&host);
        return if local || same {
            Ok(())
        } else {
            Err(ApiError::CrossSite(
                "while there are no API keys, web pages of other sites are refused".into(),
            ))
        };
    }
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return Err(ApiError::CrossSite(
            "while there are no API keys, requests from other sites are refused".into(),
        ));
    }
    Ok(())
}

/// Whether a host is one that no name server has a say in.
fn is_address(host: &str) -> bool {
    is_localhost(host) || ip(host).is_some()
}

fn is_loopback(host: &str) -> bool {
    is_localhost(host) || ip(host).is_some_and(|ip| ip.is_loopback())
}

fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

fn ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn passes(uri: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        refuse_foreign_sites(&uri.parse().unwrap(), &headers.collect()).is_ok()
    }

    #[test]
    fn the_host_must_be_an_address() {
        for host in [
            "localhost",
            "localhost:7070",
            "LocalHost.",
            "a.localhost",
            "127.0.0.1:7070",
            "[::1]:7070",
            "10.1.2.3",
        ] {
            assert!(passes("/", &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:7070",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
            "a b",
            "user@",
        ] {
            assert!(!passes("/", &[("host", host)]), "{host}");
        }
        assert!(passes("/", &[]));
        assert!(passes("http://127.0.0.1:7070/", &[]));
        assert!(!passes("http://evil.example/", &[]));
        // The target counts, whatever the header says.
        assert!(!passes("http://evil.example/", &[("host", "127.0.0.1:7070")]));
        assert!(passes("http://127.0.0.1:7070/", &[("host", "evil.example")]));
    }

    #[test]
    fn other_sites_are_refused() {
        let local = ("host", "127.0.0.1:7070");
        assert!(passes(
            "/",
            &[local, ("origin", "http://localhost:3000"), ("sec-fetch-site", "cross-site")]
        ));
        assert!(passes("/", &[("host", "10.1.2.3:7070"), ("origin", "http://10.1.2.3:7070")]));
        assert!(passes("/", &[local, ("sec-fetch-site", "same-origin")]));
        assert!(!passes("/", &[local, ("origin", "https://evil.example")]));
        assert!(!passes("/", &[local, ("origin", "http://10.1.2.3:7070")]));
        assert!(!passes("/", &[local, ("origin", "null")]));
        assert!(!passes("/", &[local, ("sec-fetch-site", "cross-site")]));
    }
}
