//! Which function answers an HTTP request.

use std::collections::HashMap;
use std::sync::Arc;

use matchit::Router;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::definition::FunctionDefinition;
use crate::manifest::http::{HttpTrigger, Method, PathPattern};
use crate::manifest::{Manifest, Trigger};
use crate::names::FunctionName;
use crate::registry::{Check, Refusal, check_all, try_check_all};
use crate::schema::LazySchema;

/// The HTTP triggers of one tenant's functions, indexed by host name and path.
#[derive(Debug, Default)]
pub struct Routes {
    /// Of triggers that name no host.
    any_host: Paths,
    hosts: HashMap<String, Paths>,
}

#[derive(Debug, Default)]
struct Paths {
    router: Router<usize>,
    /// The routes of each path, by its place in the router; those of one path differ in their methods.
    routes: Vec<Vec<Route>>,
    places: HashMap<String, usize>,
}

/// A function and the trigger by which it is reached.
#[derive(Clone, Debug)]
pub struct Route {
    /// The function.
    pub function: Arc<FunctionDefinition>,
    /// The trigger's place in the manifest.
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

    /// The same for threads that serve requests: `None` where the schema is not compiled yet, or the steps do not last.
    pub fn try_check(&self, data: &Value, steps: &mut u64) -> Option<Result<(), Refusal>> {
        try_check_all(self.check.as_slice(), data, steps)
    }

    /// The function and the schema.
    fn schema(&self) -> Option<(&str, &Arc<LazySchema>)> {
        Some((&self.function.name, &self.check.as_ref()?.schema))
    }

    fn answers(&self, method: &str) -> bool {
        self.trigger().is_some_and(|trigger| has_method(&trigger.methods, method))
    }
}

/// Whether a trigger with these methods answers `method`. `HEAD` is answered where `GET` is.
fn has_method(methods: &[Method], method: &str) -> bool {
    let has = |wanted: &str| methods.iter().any(|method| method.as_str() == wanted);
    methods.is_empty() || has(method) || (method == "HEAD" && has("GET"))
}

impl Routes {
    /// Adds a function's HTTP triggers. A route that another function has already stays that function's.
    pub(crate) fn add(
        &mut self,
        function: &Arc<FunctionDefinition>,
        mut schema_of: impl FnMut(&Value) -> Arc<LazySchema>,
    ) {
        for (place, trigger) in function.manifest.triggers.iter().enumerate() {
            let Some(trigger) = trigger.as_http() else { continue };
            let paths = match &trigger.host {
                None => &mut self.any_host,
                Some(host) => self.hosts.entry(host.as_str().to_owned()).or_default(),
            };
            let owner = || format!("function {}", function.name);
            let check = trigger.schema.as_ref().map(|schema| Check { owner: owner(), schema: schema_of(schema) });
            paths.add(&trigger.http, Route { function: Arc::clone(function), trigger: place, check });
        }
    }

    /// The schemas of all triggers, and the functions that have them.
    pub(crate) fn schemas(&self) -> impl Iterator<Item = (&str, &Arc<LazySchema>)> {
        let routes = std::iter::once(&self.any_host).chain(self.hosts.values()).flat_map(|paths| &paths.routes);
        routes.flatten().filter_map(Route::schema)
    }

    /// Whether any trigger names this host.
    pub fn has_host(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// The host names that triggers name.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().map(String::as_str)
    }

    /// What answers a request for `path`, which is percent-encoded and has no query. Triggers that name the host go
    /// before those that name none.
    pub fn find<'a>(&'a self, host: Option<&str>, method: &str, path: &str) -> Found<'a> {
        let of_host = host.and_then(|host| self.hosts.get(host)).map(|paths| paths.find(method, path));
        match of_host {
            None | Some(Found::Nothing) => self.any_host.find(method, path),
            Some(found) => found,
        }
    }

    /// The function that already has a route of `manifest`'s, if that is another one, and that route.
    pub fn taken<'a>(&'a self, manifest: &'a Manifest) -> Option<(&'a FunctionName, &'a HttpTrigger)> {
        manifest.triggers.iter().filter_map(Trigger::as_http).find_map(|trigger| {
            let paths = match &trigger.host {
                None => &self.any_host,
                Some(host) => self.hosts.get(host.as_str())?,
            };
            let other = paths.at(&trigger.http).iter().find(|route| {
                route.function.name != manifest.name && route.trigger().is_some_and(|other| overlap(other, trigger))
            });
            other.map(|route| (&route.function.name, trigger))
        })
    }
}

/// Whether two triggers of one path answer a method in common.
fn overlap(one: &HttpTrigger, other: &HttpTrigger) -> bool {
    one.methods.is_empty()
        || other.methods.is_empty()
        || one.methods.iter().any(|method| other.methods.contains(method))
}

/// A pattern whose parameters have no names of their own, so that patterns that match the same paths are the same.
fn nameless(pattern: &PathPattern) -> String {
    let segment = |(place, segment): (usize, &str)| match segment.strip_prefix('{') {
        Some(rest) if rest.starts_with('*') => format!("{{*p{place}}}"),
        Some(_) => format!("{{p{place}}}"),
        None => segment.to_owned(),
    };
    pattern.as_str().split('/').enumerate().map(segment).collect::<Vec<_>>().join("/")
}

impl Paths {
    fn add(&mut self, pattern: &PathPattern, route: Route) {
        let nameless = nameless(pattern);
        let place = match self.places.get(&nameless) {
            Some(place) => *place,
            None => {
                let place = self.routes.len();
                // A pattern is checked to be one that the router takes; another could only be left out.
                if self.router.insert(nameless.clone(), place).is_err() {
                    return;
                }
                self.routes.push(Vec::new());
                self.places.insert(nameless, place);
                place
            }
        };
        self.routes[place].push(route);
    }

    fn at(&self, pattern: &PathPattern) -> &[Route] {
        self.places.get(&nameless(pattern)).map_or(&[], |place| &self.routes[*place])
    }

    fn find<'a>(&'a self, method: &str, path: &str) -> Found<'a> {
        let Ok(matched) = self.router.at(path) else { return Found::Nothing };
        let routes = &self.routes[*matched.value];
        if let Some(route) = routes.iter().find(|route| route.answers(method)) {
            let names = route.trigger().into_iter().flat_map(|trigger| trigger.http.parameters());
            let values =
                matched.params.iter().map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned());
            return Found::Route(route, names.zip(values).collect());
        }
        Found::OtherMethods(routes.iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
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
            routes.add(&function, |schema| {
                Arc::new(LazySchema::new(Arc::new(schema.clone()), Digest::of(b""), Arc::default()))
            });
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
                let methods = routes.iter().filter_map(|route| route.trigger()).flat_map(|trigger| &trigger.methods);
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
    fn a_host_goes_before_none() {
        let routes = routes(&[
            ("public", json!([{"http": "/a", "host": "api.example.com"}])),
            ("any", json!([{"http": "/a"}, {"http": "/b"}])),
        ]);
        assert_eq!(found(&routes, Some("api.example.com"), "GET", "/a"), "public");
        assert_eq!(found(&routes, Some("other.example.com"), "GET", "/a"), "any");
        assert_eq!(found(&routes, Some("api.example.com"), "GET", "/b"), "any");
        assert!(routes.has_host("api.example.com") && !routes.has_host("other.example.com"));
    }

    #[test]
    fn a_route_is_one_functions() {
        let routes = routes(&[("first", json!([{"http": "/orders/{id}", "methods": ["GET"]}]))]);
        let taken = |name: &str, trigger: Value| {
            let manifest = manifest(name, &json!([trigger]));
            routes.taken(&manifest).map(|(function, _)| function.to_string())
        };
        assert_eq!(taken("second", json!({"http": "/orders/{number}"})).as_deref(), Some("first"));
        assert_eq!(
            taken("second", json!({"http": "/orders/{id}", "methods": ["PUT", "GET"]})).as_deref(),
            Some("first")
        );
        assert_eq!(taken("second", json!({"http": "/orders/{id}", "methods": ["PUT"]})), None);
        assert_eq!(taken("second", json!({"http": "/orders/{id}", "host": "a.b"})), None);
        assert_eq!(taken("first", json!({"http": "/orders/{id}"})), None);
    }
}
