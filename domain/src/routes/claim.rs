//! What a manifest claims of a tenant's routes: each is one function's at a time.

use super::paths::normal;
use crate::manifest::http::{HostName, HttpTrigger, Method, PathPattern};
use crate::manifest::trigger::Trigger;

/// A path of a host name, by one method or by all. Two claims of different functions exclude each
/// other where they have host, path and method in common; patterns that merely match the same paths
/// do not, as the most exact one answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteClaim {
    /// The host name; none is the path below `/http/TENANT`.
    pub host: Option<HostName>,
    /// The path's pattern, its parameters without their names: `/orders/{}`, `/files/{*}`.
    pub path: String,
    /// The method; none is every method.
    pub method: Option<Method>,
}

impl RouteClaim {
    /// The claims of a manifest's HTTP triggers, each once.
    pub fn of(triggers: &[Trigger]) -> Vec<Self> {
        let mut claims: Vec<_> =
            triggers.iter().filter_map(Trigger::as_http).flat_map(Self::of_trigger).collect();
        claims.sort_unstable();
        claims.dedup();
        claims
    }

    fn of_trigger(trigger: &HttpTrigger) -> Vec<Self> {
        let claim = |method| Self {
            host: trigger.host.clone(),
            path: without_names(&trigger.http),
            method,
        };
        match trigger.methods.as_slice() {
            [] => vec![claim(None)],
            methods => methods.iter().map(|method| claim(Some(method.clone()))).collect(),
        }
    }

    /// Whether two claims exclude each other.
    pub fn excludes(&self, other: &Self) -> bool {
        let methods =
            self.method.is_none() || other.method.is_none() || self.method == other.method;
        self.host == other.host && self.path == other.path && methods
    }
}

/// A pattern whose parameters have no names, so that patterns that match the same paths are the
/// same.
fn without_names(pattern: &PathPattern) -> String {
    let segment = |segment: &str| match segment.strip_prefix('{') {
        Some(rest) if rest.starts_with('*') => "{*}".to_owned(),
        Some(_) => "{}".to_owned(),
        None => normal(segment).into_owned(),
    };
    pattern.as_str().split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// The first trigger, by its place, that has a route of one before it, and that one.
pub(crate) fn repeated(triggers: &[Trigger]) -> Option<(usize, usize)> {
    let claims: Vec<_> = triggers
        .iter()
        .map(|t| t.as_http().map(RouteClaim::of_trigger).unwrap_or_default())
        .collect();
    let excludes = |a: usize, b: usize| {
        claims[a].iter().any(|one| claims[b].iter().any(|other| one.excludes(other)))
    };
    (0..claims.len())
        .find_map(|later| Some((later, (0..later).find(|earlier| excludes(later, *earlier))?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Manifest;
    use serde_json::json;

    fn claims(triggers: &serde_json::Value) -> Vec<String> {
        let manifest = Manifest::from_json(json!({"name": "f", "trigger": triggers})).unwrap();
        let text = |claim: RouteClaim| {
            let (host, method) =
                (claim.host.map(|host| host.to_string()), claim.method.map(|m| m.to_string()));
            format!("{} {}{}", method.unwrap_or("*".into()), host.unwrap_or_default(), claim.path)
        };
        RouteClaim::of(&manifest.triggers).into_iter().map(text).collect()
    }

    #[test]
    fn each_method_of_a_path_is_one() {
        assert_eq!(claims(&json!([{"event": "a"}])), [""; 0]);
        assert_eq!(
            claims(&json!([
                {"http": "/o/{id}/{*rest}", "methods": ["PUT", "GET"]},
                {"http": "/", "host": "shop.example.com"},
                {"http": "/o/{number}/{*all}", "methods": ["POST"]},
            ])),
            ["GET /o/{}/{*}", "POST /o/{}/{*}", "PUT /o/{}/{*}", "* shop.example.com/"]
        );
    }

    #[test]
    fn a_path_is_one_however_it_is_written() {
        assert_eq!(
            claims(&json!([{"http": "/%7euser/{id}", "methods": ["GET"]}])),
            ["GET /~user/{}"]
        );
        let twice = json!({"name": "f", "trigger": [{"http": "/a"}, {"http": "/%61"}]});
        assert!(Manifest::from_json(twice).is_err());
    }

    #[test]
    fn a_manifest_has_a_route_once() {
        let refused = |triggers: serde_json::Value| {
            Manifest::from_json(json!({"name": "f", "trigger": triggers})).unwrap_err().to_string()
        };
        let why = refused(
            json!([{"event": "a"}, {"http": "/a/{x}"}, {"http": "/a/{y}", "methods": ["GET"]}]),
        );
        assert!(why.contains("trigger[2].http") && why.contains("trigger[1]"), "{why}");
        assert_eq!(
            claims(&json!([{"http": "/a/{x}"}, {"http": "/a/{*x}"}, {"http": "/a/b"}])).len(),
            3
        );
    }
}
