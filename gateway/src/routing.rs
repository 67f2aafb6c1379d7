//! Decides once, by host name and path, what a request is for: the API, or the functions that have
//! HTTP triggers. What is decided for one does not pass through the other.
//!
//! A host name of a tenant's that one of its triggers names is the triggers', whatever the path.
//! All other names are the gateway's: below [`triggers::PREFIX`] is what the triggers of each
//! tenant answer, everything else is the API, which no definition can shadow.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Uri};
use tower::ServiceExt as _;
use tower_http::catch_panic::CatchPanicLayer;
use wasmill_domain::{HostnameRules, Registry};

use crate::api;
use crate::app::SharedApp;
use crate::authority::requested;
use crate::error::ApiError;
use crate::triggers::{self, EntryPoint};

/// The service of a gateway.
pub(crate) fn router(app: SharedApp) -> Router {
    let api = api::router(Arc::clone(&app));
    Router::new()
        .fallback(route)
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(Gateway { app, api })
}

#[derive(Clone)]
struct Gateway {
    app: SharedApp,
    api: Router,
}

async fn route(State(gateway): State<Gateway>, request: Request) -> Response {
    let Gateway { app, api } = gateway;
    let registry = app.registry.current();
    let (uri, headers) = (request.uri(), request.headers());
    match destination(&app.settings.hostnames, &registry, uri, headers) {
        Destination::Api => {
            // Let go, as the API asks for itself what is defined when it needs to.
            drop(registry);
            answer_by_api(api, request).await
        }
        Destination::Triggers(entry) => triggers::answer(&app, &registry, entry, request).await,
    }
}

async fn answer_by_api(api: Router, request: Request) -> Response {
    let is_head = request.method() == Method::HEAD;
    let answered = api.oneshot(request).await;
    let mut response = answered.unwrap_or_else(|never: Infallible| match never {});
    // The API's router has taken away what HEAD is not told, and has said how long it is, if that
    // is known. Where it is not, the router around must not take the length of nothing for it.
    if is_head && !response.headers().contains_key(CONTENT_LENGTH) {
        let unknown = futures_util::stream::empty::<Result<Bytes, Infallible>>();
        *response.body_mut() = Body::from_stream(unknown);
    }
    response
}

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
enum Destination {
    Api,
    Triggers(EntryPoint),
}

fn destination(
    rules: &HostnameRules,
    registry: &Registry,
    uri: &Uri,
    headers: &HeaderMap,
) -> Destination {
    // Nothing that is defined decides over the gateway's own names.
    if let Some(host) = requested(uri, headers).filter(|host| !rules.is_gateways(host))
        && let Some((tenant, _)) = registry.routes_of_host(rules, &host)
    {
        return Destination::Triggers(EntryPoint::Host { tenant: tenant.clone(), host });
    }
    if uri.path().starts_with(triggers::PREFIX) {
        Destination::Triggers(EntryPoint::Prefix)
    } else {
        Destination::Api
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what the layer asks for")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    ApiError::Internal(format!("a handler panicked: {}", text.unwrap_or("no message")))
        .into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::HeaderValue;
    use http::header::HOST;
    use serde_json::json;
    use wasmill_domain::{
        Definitions, Digest, FunctionDefinition, Manifest, Revision, TenantName, Timestamp,
    };
    use wasmill_schema::Compiler;

    use super::*;

    /// A registry in which the tenant `shop` has a trigger for each of these names.
    fn registry(hosts: &[&str]) -> Registry {
        let triggers: Vec<_> =
            hosts.iter().map(|host| json!({"http": "/{*rest}", "host": host})).collect();
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

    #[test]
    fn a_request_is_for_the_api_or_for_a_trigger() {
        let shop: TenantName = "shop".parse().unwrap();
        let granted: BTreeMap<_, _> = [
            ("*.example.com".parse().unwrap(), shop.clone()),
            ("other.example.org".parse().unwrap(), "other".parse().unwrap()),
        ]
        .into();
        let rules = HostnameRules { own: ["api.example.com".parse().unwrap()].into(), granted };
        let registry = registry(&["shop.example.com", "api.example.com", "other.example.org"]);
        for (host, path, expected) in [
            // The gateway's own names, whatever is deployed.
            ("127.0.0.1:7070", "/v1/events", "api"),
            ("[::1]:7070", "/v1/events/order.created", "api"),
            ("localhost", "/healthz", "api"),
            ("gateway", "/v1/events", "api"),
            ("api.example.com", "/v1/events", "api"),
            ("API.example.com:443", "/", "api"),
            ("localhost", "/http/shop/cart", "prefix"),
            ("api.example.com", "/http/shop/cart", "prefix"),
            ("localhost", "/http", "api"),
            // A name that is the tenant's and has a trigger, whatever the path.
            ("shop.example.com", "/v1/events", "shop"),
            ("Shop.Example.com.:8080", "/http/default/cart", "shop"),
            ("shop.example.com", "/healthz", "shop"),
            // One that has none, one that is another tenant's, one that is nobody's.
            ("new.example.com", "/v1/events", "api"),
            ("new.example.com", "/http/shop/cart", "prefix"),
            ("other.example.org", "/v1/events", "api"),
            ("nobody.example.net", "/v1/events", "api"),
        ] {
            let headers = [(HOST, HeaderValue::from_static(host))].into_iter().collect();
            let found = destination(&rules, &registry, &path.parse().unwrap(), &headers);
            let found = match &found {
                Destination::Api => "api",
                Destination::Triggers(EntryPoint::Prefix) => "prefix",
                Destination::Triggers(EntryPoint::Host { tenant, host }) => {
                    assert_eq!(host, "shop.example.com");
                    tenant.as_str()
                }
            };
            assert_eq!(found, expected, "{host} {path}");
        }
    }
}
