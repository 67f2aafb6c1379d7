//! Host names and their owners: which tenant's functions may answer requests for a name, and which
//! names the gateway answers itself.
//!
//! An operator grants a name, or all names below one, to a tenant: by configuration
//! ([`HostnameRules`]) or by the API ([`GrantedNames`], which the store keeps). The most exact
//! pattern that covers a name decides; a tenant has no name that was not granted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::manifest::http::HostName;
use crate::names::TenantName;

/// A host name, or `*.` and a host name, which covers every name below that one and not the name
/// itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostnamePattern(String);

/// A text that is not a [`HostnamePattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a host name, such as 'shop.example.com', nor '*.example.com', which is every name below it"
)]
pub struct HostnameError(String);

/// Whose the names are that are granted.
pub type HostnameGrants = BTreeMap<HostnamePattern, TenantName>;

/// What knows whose the names are that the API has granted.
pub trait GrantedNames {
    /// The tenant that a pattern, exactly as it is, was granted to.
    fn tenant_of(&self, pattern: &HostnamePattern) -> Option<&TenantName>;
}

impl GrantedNames for HostnameGrants {
    fn tenant_of(&self, pattern: &HostnamePattern) -> Option<&TenantName> {
        self.get(pattern)
    }
}

/// What the configuration says of host names. The default grants none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostnameRules {
    /// Names that the gateway answers itself, and no function.
    pub own: BTreeSet<HostnamePattern>,
    /// Whose other names are. They go before those of the API where both have the same pattern.
    pub granted: HostnameGrants,
}

/// Who answers requests for a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostnameOwner<'a> {
    /// The gateway: its API.
    Gateway,
    /// This tenant's functions.
    Tenant(&'a TenantName),
    /// No tenant was granted the name, so the gateway does.
    Nobody,
}

impl HostnamePattern {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The patterns that cover a name, the most exact one first: the name itself, then `*.` and
    /// each name above it.
    pub fn covering(name: &HostName) -> impl Iterator<Item = Self> {
        let above = name
            .as_str()
            .match_indices('.')
            .map(|(at, _)| Self(format!("*{}", &name.as_str()[at..])));
        std::iter::once(Self(name.as_str().to_owned())).chain(above)
    }

    /// Whether the pattern covers a name.
    pub fn covers(&self, name: &HostName) -> bool {
        Self::covering(name).any(|pattern| pattern == *self)
    }

    /// Whether no tenant can ever have the name, or a name below it, because it may be an address,
    /// this machine, or the name of a machine in a local network.
    ///
    /// # Errors
    /// Why that is so.
    pub fn check_claimable(&self) -> Result<(), &'static str> {
        check_claimable(self.0.strip_prefix("*.").unwrap_or(&self.0))
    }
}

impl FromStr for HostnamePattern {
    type Err = HostnameError;

    fn from_str(text: &str) -> Result<Self, HostnameError> {
        match text.strip_prefix("*.").unwrap_or(text).parse::<HostName>() {
            // Room for "*." in a name's longest length, so that every pattern covers something.
            Ok(_) if text.len() <= 253 => Ok(Self(text.to_owned())),
            _ => Err(HostnameError(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for HostnamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for HostnamePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HostnamePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether a name can be a tenant's at all.
fn check_claimable(name: &str) -> Result<(), &'static str> {
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = |label: &str| {
        let hex = label.strip_prefix("0x");
        label.bytes().all(|b| b.is_ascii_digit())
            || hex.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    if last == "localhost" {
        Err("it is this machine, and the gateway answers as that itself")
    } else if is_number(last) {
        Err("it is an address, and the gateway answers as that itself")
    } else if !name.contains('.') {
        Err("it has no dot, so it may be this machine's name in its network")
    } else {
        Ok(())
    }
}

impl HostnameRules {
    /// Who answers requests for `name`, where the API has granted `stored`.
    pub fn owner<'a>(
        &'a self,
        stored: &'a impl GrantedNames,
        name: &HostName,
    ) -> HostnameOwner<'a> {
        if self.is_gateways(name.as_str()) {
            return HostnameOwner::Gateway;
        }
        for pattern in HostnamePattern::covering(name) {
            if let Some(tenant) = self.granted.get(&pattern).or_else(|| stored.tenant_of(&pattern))
            {
                return HostnameOwner::Tenant(tenant);
            }
        }
        HostnameOwner::Nobody
    }

    /// Whether the gateway answers requests for `host` itself, whatever was granted: an address,
    /// this machine, a name without a dot, or one that the configuration says is the gateway's.
    pub fn is_gateways(&self, host: &str) -> bool {
        check_claimable(host).is_err() || host.parse().is_ok_and(|name| self.is_own(&name))
    }

    /// Whether the configuration says that `name` is the gateway's.
    fn is_own(&self, name: &HostName) -> bool {
        HostnamePattern::covering(name).any(|pattern| self.own.contains(&pattern))
    }

    /// Makes sure that the API may grant a pattern: that some name that it covers can be a
    /// tenant's, and that the configuration does not grant the same pattern to another.
    ///
    /// # Errors
    /// Why it may not, and what to do.
    pub fn check_grant(
        &self,
        pattern: &HostnamePattern,
        tenant: &TenantName,
    ) -> Result<(), String> {
        pattern
            .check_claimable()
            .map_err(|why| format!("no tenant can have the host name '{pattern}': {why}"))?;
        let (base, below) =
            pattern.0.strip_prefix("*.").map_or((pattern.as_str(), false), |base| (base, true));
        // What covers every name below is `*.` and the name, or what is above.
        let own = |name: HostName| {
            let mut covering = HostnamePattern::covering(&name).skip(usize::from(below));
            self.own.contains(pattern) || covering.any(|pattern| self.own.contains(&pattern))
        };
        let is_own = base.parse().is_ok_and(own);
        if is_own {
            return Err(format!("'{pattern}' is the gateway's own: gateway.public_names has it"));
        }
        match self.granted.get(pattern).filter(|owner| *owner != tenant) {
            Some(owner) => Err(format!(
                "the configuration grants '{pattern}' to the tenant '{owner}' (gateway.hostnames), which goes before the API"
            )),
            None => Ok(()),
        }
    }

    /// Makes sure that a tenant's functions may answer requests for `name`.
    ///
    /// # Errors
    /// Why they may not, and what to do.
    pub fn check(
        &self,
        stored: &impl GrantedNames,
        tenant: &TenantName,
        name: &HostName,
    ) -> Result<(), String> {
        check_claimable(name.as_str())
            .map_err(|why| format!("no function can have the host name '{name}': {why}"))?;
        match self.owner(stored, name) {
            HostnameOwner::Tenant(owner) if owner == tenant => Ok(()),
            HostnameOwner::Gateway => Err(format!("the host name '{name}' is the gateway's own")),
            HostnameOwner::Tenant(_) => Err(format!("the host name '{name}' is another tenant's")),
            HostnameOwner::Nobody => Err(format!(
                "the host name '{name}' is not granted to the tenant '{tenant}': an operator grants it by \
                 `wasmill --tenant {tenant} hostnames grant {name}`"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grants(grants: &[(&str, &str)]) -> HostnameGrants {
        grants
            .iter()
            .map(|(name, tenant)| (name.parse().unwrap(), tenant.parse().unwrap()))
            .collect()
    }

    fn owner(rules: &HostnameRules, stored: &HostnameGrants, name: &str) -> String {
        match rules.owner(stored, &name.parse().unwrap()) {
            HostnameOwner::Gateway => "gateway".into(),
            HostnameOwner::Tenant(tenant) => tenant.to_string(),
            HostnameOwner::Nobody => "nobody".into(),
        }
    }

    #[test]
    fn nobody_has_a_name_that_was_not_granted() {
        let rules = HostnameRules::default();
        assert_eq!(owner(&rules, &HostnameGrants::new(), "shop.example.com"), "nobody");
        let why = rules.check(
            &HostnameGrants::new(),
            &TenantName::default(),
            &"shop.example.com".parse().unwrap(),
        );
        assert!(why.unwrap_err().contains("hostnames grant shop.example.com"));
    }

    #[test]
    fn the_most_exact_pattern_decides() {
        let rules = HostnameRules {
            own: [("api.example.com".parse().unwrap())].into(),
            granted: grants(&[("*.example.com", "conf"), ("both.example.org", "conf")]),
        };
        let stored = grants(&[
            ("shop.example.com", "shop"),
            ("*.a.example.com", "deep"),
            ("both.example.org", "api"),
        ]);
        for (name, expected) in [
            ("api.example.com", "gateway"),
            ("shop.example.com", "shop"),
            ("other.example.com", "conf"),
            ("x.a.example.com", "deep"),
            ("a.example.com", "conf"),
            ("x.api.example.com", "conf"),
            ("example.com", "nobody"),
            ("both.example.org", "conf"),
        ] {
            assert_eq!(owner(&rules, &stored, name), expected, "{name}");
        }
    }

    #[test]
    fn the_gateways_own_names_stay_its_own() {
        let own = ["api.example.com", "*.public.example.com"];
        let rules = HostnameRules {
            own: own.map(|name| name.parse().unwrap()).into(),
            granted: grants(&[("a.b.org", "t")]),
        };
        let stored = grants(&[
            ("shop.public.example.com", "t"),
            ("*.x.public.example.com", "t"),
            ("*.example.com", "t"),
        ]);
        for (name, expected) in [
            ("shop.public.example.com", "gateway"),
            ("y.x.public.example.com", "gateway"),
            ("api.example.com", "gateway"),
            ("public.example.com", "t"),
            ("shop.example.com", "t"),
        ] {
            assert_eq!(owner(&rules, &stored, name), expected, "{name}");
        }
        let (tenant, other): (TenantName, TenantName) =
            ("t".parse().unwrap(), "other".parse().unwrap());
        for (pattern, ok) in [
            ("api.example.com", false),
            ("*.public.example.com", false),
            ("shop.public.example.com", false),
            ("*.x.public.example.com", false),
            ("*.api.example.com", true),
            ("public.example.com", true),
            ("*.example.com", true),
            ("localhost", false),
        ] {
            assert_eq!(
                rules.check_grant(&pattern.parse().unwrap(), &tenant).is_ok(),
                ok,
                "{pattern}"
            );
        }
        assert!(rules.check_grant(&"a.b.org".parse().unwrap(), &tenant).is_ok());
        assert!(
            rules.check_grant(&"a.b.org".parse().unwrap(), &other).unwrap_err().contains("'t'")
        );
    }

    #[test]
    fn what_may_be_this_machine_is_never_a_tenants() {
        let names =
            ["localhost", "a.localhost", "127.0.0.1", "10.1", "1.0x7f", "gateway", "2130706433"];
        for name in names {
            // Even where somebody managed to grant it.
            let stored = grants(&[(name, "t")]);
            assert_eq!(owner(&HostnameRules::default(), &stored, name), "gateway", "{name}");
            let pattern: HostnamePattern = name.parse().unwrap();
            assert!(pattern.check_claimable().is_err(), "{name}");
            let below: HostnamePattern = format!("*.{name}").parse().unwrap();
            assert!(below.check_claimable().is_err(), "{below}");
        }
        assert!("shop.example.com".parse::<HostnamePattern>().unwrap().check_claimable().is_ok());
        assert!("*.com".parse::<HostnamePattern>().unwrap().check_claimable().is_err());
    }

    #[test]
    fn patterns_are_read() {
        for bad in ["", "*", "*.", "a.*.b", "*a.b", "A.b", "a..b", "a:80", "**.a.b", "[::1]"] {
            assert!(bad.parse::<HostnamePattern>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_covered_by_itself_and_what_is_above(labels in proptest::collection::vec("[a-z]{1,5}", 1..6)) {
            let name: HostName = labels.join(".").parse().unwrap();
            let patterns: Vec<_> = HostnamePattern::covering(&name).collect();
            prop_assert_eq!(patterns.len(), labels.len());
            for pattern in patterns {
                prop_assert!(pattern.covers(&name));
                prop_assert_eq!(pattern.as_str().parse::<HostnamePattern>().unwrap(), pattern);
            }
        }
    }
}
