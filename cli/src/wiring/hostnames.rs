//! Which host names are the gateway's own, where the configuration does not say.

use std::net::SocketAddr;

use wasmill_domain::{GrantedNames as _, HostnamePattern, HostnameRules, Registry};
use wasmill_http::Tls;

/// What a gateway goes by: what is configured, and where that names no name of the gateway's, those
/// of its certificate.
pub(super) fn rules(
    configured: HostnameRules,
    tls: Option<&Tls>,
    registry: &Registry,
) -> HostnameRules {
    if !configured.own.is_empty() {
        return configured;
    }
    let certified = tls.map(Tls::names).unwrap_or_default();
    let (rules, left) = with_certified(configured, &certified, registry);
    if !left.is_empty() {
        let names: Vec<&str> = left.iter().map(HostnamePattern::as_str).collect();
        tracing::warn!(
            names = names.join(", "),
            "the gateway's certificate has names that are tenants': requests for them go to their functions. If clients \
             reach the API by one of them, set gateway.public_names"
        );
    }
    if !rules.own.is_empty() {
        let names: Vec<&str> = rules.own.iter().map(HostnamePattern::as_str).collect();
        tracing::info!(
            names = names.join(", "),
            "no function can have the names of the gateway's certificate, as gateway.public_names says none"
        );
    }
    rules
}

/// Adds names of a certificate: those that are written out, and are not a tenant's already, which
/// are given back beside. One with a wildcard may be for tenants.
fn with_certified(
    mut rules: HostnameRules,
    certified: &[String],
    registry: &Registry,
) -> (HostnameRules, Vec<HostnamePattern>) {
    let is_tenants = |name: &HostnamePattern| {
        rules.granted.contains_key(name)
            || registry.hostnames().tenant_of(name).is_some()
            || registry.routes_of_host(&rules, name.as_str()).is_some()
    };
    let claimable = certified
        .iter()
        .filter(|name| !name.starts_with('*'))
        .filter_map(|name| name.to_ascii_lowercase().parse::<HostnamePattern>().ok())
        .filter(|name| name.check_claimable().is_ok());
    let (tenants, own): (Vec<_>, Vec<_>) = claimable.partition(is_tenants);
    rules.own = own.into_iter().collect();
    (rules, tenants)
}

/// What can happen to a gateway that others reach by a name which it does not know; nothing where
/// it knows one, or where only this machine reaches it.
pub(super) fn warning(rules: &HostnameRules, address: SocketAddr) -> Option<&'static str> {
    (rules.own.is_empty() && !address.ip().is_loopback()).then_some(
        "gateway.public_names is empty, and no certificate names this gateway: whoever is granted a host name that \
         covers the one that clients reach the API by (such as '*.example.com' for 'api.example.com') can deploy a \
         function that gets their requests. Set gateway.public_names",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use wasmill_domain::{
        Definitions, Digest, FunctionDefinition, HostnameGrants, Manifest, Revision, Timestamp,
    };
    use wasmill_schema::Compiler;

    use super::*;

    /// A registry in which the tenant `shop` has a trigger for `web.example.com`.
    fn registry() -> Registry {
        let triggers = json!([{"http": "/", "host": "web.example.com"}]);
        let manifest = Manifest::from_json(json!({"name": "f", "trigger": triggers})).unwrap();
        let function = FunctionDefinition {
            tenant: "shop".parse().unwrap(),
            name: manifest.name.clone(),
            version: 1,
            digest: Digest::of(b""),
            manifest: Arc::new(manifest),
            deployed_at: Timestamp::now(),
        };
        let definitions = Definitions {
            revision: Revision(1),
            functions: vec![function],
            ..Definitions::default()
        };
        Registry::build(definitions, &Registry::new(Arc::new(Compiler::default())))
    }

    fn granted(names: &[&str]) -> HostnameGrants {
        names.iter().map(|name| (name.parse().unwrap(), "shop".parse().unwrap())).collect()
    }

    #[test]
    fn names_of_a_certificate_are_the_gateways() {
        let rules = HostnameRules {
            granted: granted(&["*.example.com", "own.example.com"]),
            ..HostnameRules::default()
        };
        let certified = [
            "API.example.com",
            "*.example.com",
            "localhost",
            "gateway",
            // Granted as it is, and by a wildcard with a trigger that answers under it.
            "own.example.com",
            "web.example.com",
        ];
        let (rules, left) = with_certified(rules, &certified.map(str::to_owned), &registry());
        let left: Vec<&str> = left.iter().map(HostnamePattern::as_str).collect();
        assert_eq!(left, ["own.example.com", "web.example.com"]);
        assert_eq!(rules.own, ["api.example.com".parse().unwrap()].into());
        for (name, own) in [("api.example.com", true), ("web.example.com", false)] {
            assert_eq!(rules.is_gateways(name), own, "{name}");
        }
    }

    #[test]
    fn what_is_configured_is_all() {
        let configured = HostnameRules {
            own: ["api.example.org".parse().unwrap()].into(),
            ..HostnameRules::default()
        };
        assert_eq!(rules(configured.clone(), None, &registry()), configured);
    }

    #[test]
    fn whoever_is_reached_by_others_is_warned() {
        let none = HostnameRules::default();
        let some = HostnameRules {
            own: ["api.example.org".parse().unwrap()].into(),
            ..HostnameRules::default()
        };
        let (all, loopback) = (([0, 0, 0, 0], 7070).into(), ([127, 0, 0, 1], 7070).into());
        assert!(warning(&none, all).unwrap().contains("gateway.public_names"));
        assert!(warning(&none, loopback).is_none() && warning(&some, all).is_none());
    }
}
