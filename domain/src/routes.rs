//! Which function answers an HTTP request.
//!
//! A path is found first, then the method: where the most exact pattern that matches a path has no
//! trigger for the method, the answer is 405, whatever less exact patterns have.

pub(crate) mod claim;
mod paths;

use std::collections::HashMap;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::definition::FunctionDefinition;
use crate::manifest::http::HttpTrigger;
use crate::registry::check::{Check, Refusal, check_all, try_check_all};
use crate::registry::lazy::LazySchema;

pub use claim::RouteClaim;
use paths::PathTree;

/// The HTTP triggers of one tenant's functions, indexed by host name and path.
#[derive(Debug, Default)]
pub struct Routes {
    /// Of triggers that name no host.
    any_host: Paths,
    hosts: HashMap<String, Paths>,
}

/// The routes of each path; those of one path differ in their methods.
#[derive(Debug, Default)]
struct Paths(PathTree<Vec<Route>>);

/// A function and the trigger by which it is reached.
#[derive(Clone, Debug)]
pub struct Route {
    /// The function.
    pub function: Arc<FunctionDefinition>,
    /// The trigger's index in the manifest.
    trigger: usize,
    check: Option<Check>,
}

/// What answers a request.
#[derive(Debug)]
pub enum Found<'a> {
    /// This function, the path's parameters being these, decoded, in the pattern's order.
    Route(&'a Route, Vec<(&'a str, String)>),
    /// Nothing by this method; these by others.
    OtherMethods(Vec<&'a Route>),
    /// Nothing.
    Nothing,
}

impl Route {
    /// The trigger.
    pub fn trigger(&self) -> Option<&HttpTrigger> {
        self.function.manifest.triggers.get(self.trigger)?.as_http()
    }

    /// Whether the body is checked.
    pub fn is_checked(&self) -> bool {
        self.check.is_some()
    }

    /// Checks a body against the trigger's schema.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, data: &Value) -> Result<(), Refusal> {
        check_all(self.check.as_slice(), data, None)
    }

    /// The same for threads that serve requests: `None` where the schema is not compiled yet, or
    /// the steps do not last.
    pub fn try_check(&self, data: &Value, steps: &mut u64) -> Option<Result<(), Refusal>> {
        try_check_all(self.check.as_slice(), data, steps)
    }

    /// Whether the trigger names the method, or every method.
    fn answers(&self, method: &str) -> bool {
        self.trigger().is_some_and(|trigger| {
            trigger.methods.is_empty()
                || trigger.methods.iter().any(|named| named.as_str() == method)
        })
    }
}

impl Routes {
    /// Adds a function's HTTP triggers; `schema_of` has the schema of the trigger at a place. The
    /// store lets no two functions have the same route; were there two, the one that is added first
    /// would answer.
    pub(crate) fn add(
        &mut self,
        function: &Arc<FunctionDefinition>,
        schema_of: impl Fn(usize) -> Option<Arc<LazySchema>>,
    ) {
        for (index, trigger) in function.manifest.triggers.iter().enumerate() {
            let Some(trigger) = trigger.as_http() else { continue };
            let paths = match &trigger.host {
                None => &mut self.any_host,
                Some(host) => self.hosts.entry(host.as_str().to_owned()).or_default(),
            };
            let owner = || format!("function {}", function.name);
            let check = schema_of(index).map(|schema| Check { owner: owner(), schema });
            paths.0.entry(&trigger.http).push(Route {
                function: Arc::clone(function),
                trigger: index,
                check,
            });
        }
    }

    /// Whether any trigger names this host.
    pub fn has_host(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// The host names that triggers name.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().map(String::as_str)
    }

    /// What answers a request for `path`, which is percent-encoded and has no query: of the
    /// triggers that name the host, or, for a path below `/http/TENANT`, of those that name none.
    pub fn find<'a>(&'a self, host: Option<&str>, method: &str, path: &'a str) -> Found<'a> {
        let paths = match host {
            Some(host) => self.hosts.get(host),
            None => Some(&self.any_host),
        };
        paths.map_or(Found::Nothing, |paths| paths.find(method, path))
    }
}

impl Paths {
    fn find<'a>(&'a self, method: &str, path: &'a str) -> Found<'a> {
        let Some((routes, values)) = self.0.find(path) else { return Found::Nothing };
        let by = |method: &str| routes.iter().find(|route| route.answers(method));
        // HEAD is answered where GET is, unless a trigger names it.
        let route = by(method).or_else(|| by("GET").filter(|_| method == "HEAD"));
        let Some(route) = route else { return Found::OtherMethods(routes.iter().collect()) };
        let names = route.trigger().into_iter().flat_map(|trigger| trigger.http.parameters());
        let values = values
            .into_iter()
            .map(|value| percent_decode_str(value).decode_utf8_lossy().into_owned());
        Found::Route(route, names.zip(values).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::manifest::Manifest;
    use crate::manifest::http::Method;
    use crate::names::TenantName;
    use crate::timestamp::Timestamp;
    use serde_json::json;

    fn manifest(name: &str, triggers: &Value) -> Manifest {
        Manifest::from_json(json!({"name": name, "trigger": triggers})).unwrap()
    }

    fn routes(functions: &[(&str, Value)]) -> Routes {
        let mut routes = Routes::default();
        for (name, triggers) in functions {
            let manifest = manifest(name, triggers);
            let function = Arc::new(FunctionDefinition {
                tenant: TenantName::default(),
                name: manifest.name.clone(),
                version: 1,
                digest: Digest::of(name.as_bytes()),
                manifest: Arc::new(manifest),
                deployed_at: Timestamp::now(),
            });
            routes.add(&function, |_| None);
        }
        routes
    }

    fn found(routes: &Routes, host: Option<&str>, method: &str, path: &str) -> String {
        match routes.find(host, method, path) {
            Found::Route(route, parameters) => {
                let parameters = parameters.iter().map(|(name, value)| format!(" {name}={value}"));
                format!("{}{}", route.function.name, parameters.collect::<String>())
            }
            Found::OtherMethods(routes) => {
                let methods = routes
                    .iter()
                    .filter_map(|route| route.trigger())
                    .flat_map(|trigger| &trigger.methods);
                methods.map(Method::as_str).collect::<Vec<_>>().join(",")
            }
            Found::Nothing => "-".into(),
        }
    }

    #[test]
    fn paths_methods_and_parameters() {
        let routes = routes(&[
            ("list", json!([{"http": "/orders", "methods": ["GET"]}])),
            ("make", json!([{"http": "/orders", "methods": ["POST", "PUT"]}])),
            ("one", json!([{"http": "/orders/{id}"}])),
            ("lines", json!([{"http": "/orders/{order}/lines/{line}"}])),
            ("files", json!([{"http": "/files/{*path}"}, {"http": "/"}])),
        ]);
        for (method, path, expected) in [
            ("GET", "/orders", "list"),
            ("HEAD", "/orders", "list"),
            ("PUT", "/orders", "make"),
            ("DELETE", "/orders", "GET,POST,PUT"),
            ("DELETE", "/orders/a%20b", "one id=a b"),
            ("GET", "/orders/7/lines/x", "lines order=7 line=x"),
            ("GET", "/files/a/b%2Fc.txt", "files path=a/b/c.txt"),
            ("GET", "/", "files"),
            ("GET", "/orders/", "-"),
            ("GET", "/orders/7/lines", "-"),
            ("GET", "/nothing", "-"),
        ] {
            assert_eq!(found(&routes, None, method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_host_has_its_own_routes() {
        let routes = routes(&[
            ("public", json!([{"http": "/a", "host": "api.example.com"}])),
            ("any", json!([{"http": "/a"}, {"http": "/b"}])),
        ]);
        assert_eq!(found(&routes, Some("api.example.com"), "GET", "/a"), "public");
        assert_eq!(found(&routes, Some("other.example.com"), "GET", "/a"), "-");
        assert_eq!(found(&routes, Some("api.example.com"), "GET", "/b"), "-");
        assert_eq!(found(&routes, None, "GET", "/a"), "any");
        assert!(routes.has_host("api.example.com") && !routes.has_host("other.example.com"));
    }

    #[test]
    fn the_path_is_found_before_the_method() {
        let functions = [
            ("one", json!([{"http": "/u/{id}", "methods": ["GET"]}])),
            ("head", json!([{"http": "/u/{id}", "methods": ["HEAD"]}])),
            ("rest", json!([{"http": "/u/{*rest}"}])),
        ];
        for functions in [functions.to_vec(), functions.iter().rev().cloned().collect()] {
            let routes = routes(&functions);
            for (method, path, expected) in [
                ("GET", "/u/5", "one id=5"),
                ("HEAD", "/u/5", "head"),
                ("GET", "/u/5/6", "rest rest=5/6"),
                ("GET", "/u/", "rest rest="),
                ("GET", "/u", "-"),
            ] {
                assert!(
                    found(&routes, None, method, path).starts_with(expected),
                    "{method} {path}"
                );
            }
            // Not the function behind it, which may check less.
            assert!(matches!(routes.find(None, "POST", "/u/5"), Found::OtherMethods(_)));
        }
    }
}
