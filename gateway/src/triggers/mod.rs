//! HTTP triggers: requests below `/http/TENANT`, and those for a host name that a trigger of its
//! owner names.
//!
//! [`crate::routing`] sends them here, and no others. API keys are taken out of the request
//! ([`keys`]). The route is found ([`wasmill_domain::routes`]), cross-origin rules are applied
//! ([`cors`]), a webhook's signature is checked ([`webhooks`]), and the request becomes an
//! execution: a handler's response is streamed to the waiting caller ([`exchange`]), every other
//! request is an event on the function's queue ([`event`]).

mod cors;
mod event;
mod exchange;
mod keys;
mod request;
mod routed;

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{ALLOW, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use wasmill_domain::manifest::Kind;
use wasmill_domain::manifest::http::{Method as HttpMethod, Mode};
use wasmill_domain::routes::Found;
use wasmill_domain::{Registry, TenantName, TraceContext};

use self::routed::Routed;
use crate::app::App;
use crate::error::{ApiError, Result};
use crate::webhooks::{self, WebhookTrigger};

/// Where the HTTP triggers of every tenant begin.
pub(crate) const PREFIX: &str = "/http/";

/// By what a request is the triggers'.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EntryPoint {
    /// By a host name of this tenant's that one of its triggers names.
    Host {
        /// The tenant.
        tenant: TenantName,
        /// The name, in lower case.
        host: String,
    },
    /// By its path, which begins with [`PREFIX`] and a tenant's name.
    Prefix,
}

/// Where a request is to be answered.
struct RequestLocation {
    tenant: TenantName,
    /// The tenant's host name that it came by; none below `/http/TENANT`.
    host: Option<String>,
    /// What the function sees as the path.
    path: String,
}

/// Answers a request that came by `entry`.
pub(crate) async fn answer(
    app: &Arc<App>,
    registry: &Arc<Registry>,
    entry: EntryPoint,
    mut request: Request,
) -> Response {
    keys::strip(&mut request);
    match location_of(entry, request.uri().path()) {
        Ok(location) => answer_at(app, registry, location, request).await,
        Err(nothing) => nothing.into_response(),
    }
}

/// Where a request for this path is to be answered.
fn location_of(entry: EntryPoint, path: &str) -> Result<RequestLocation> {
    match entry {
        EntryPoint::Host { tenant, host } => {
            Ok(RequestLocation { tenant, host: Some(host), path: path.to_owned() })
        }
        EntryPoint::Prefix => {
            let rest = path.strip_prefix(PREFIX).unwrap_or_default();
            let (tenant, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
            match tenant.parse() {
                Ok(tenant) => Ok(RequestLocation { tenant, host: None, path }),
                Err(_) => Err(nothing_at(&path)),
            }
        }
    }
}

async fn answer_at(
    app: &Arc<App>,
    registry: &Arc<Registry>,
    location: RequestLocation,
    request: Request,
) -> Response {
    let routed = match find(registry, location, &request) {
        Ok(routed) => routed,
        Err(refused) => return *refused,
    };
    let cors = routed.route.trigger().and_then(|trigger| trigger.cors.clone());
    let origin = request.headers().get(http::header::ORIGIN).cloned();
    let answered = serve(app, routed, request).await;
    let mut response = answered.unwrap_or_else(ApiError::into_response);
    if let (Some(cors), Some(origin)) = (cors, origin) {
        cors::allow(&cors, &origin, response.headers_mut());
    }
    response
}

/// Finds what answers a request, or what the gateway answers itself.
fn find(
    registry: &Arc<Registry>,
    location: RequestLocation,
    request: &Request,
) -> Result<Routed, Box<Response>> {
    let RequestLocation { tenant, host, path } = location;
    let routes = registry.routes(&tenant);
    let method = request.method();
    let found = routes
        .map_or(Found::Nothing, |routes| routes.find(host.as_deref(), method.as_str(), &path));
    match found {
        Found::Route(route, parameters) => {
            if let Some(preflight) = cors::preflight(route.trigger(), method, request.headers()) {
                return Err(Box::new(preflight));
            }
            let parameters =
                parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let (function, route) = (Arc::clone(&route.function), route.clone());
            let trace = trace_of(request.headers());
            Ok(Routed {
                tenant,
                registry: Arc::clone(registry),
                function,
                route,
                parameters,
                path,
                trace,
            })
        }
        Found::OtherMethods(triggers) => {
            let triggers: Vec<_> = triggers.iter().filter_map(|route| route.trigger()).collect();
            let wanted = request.headers().get(http::header::ACCESS_CONTROL_REQUEST_METHOD);
            let preflight = triggers.iter().find_map(|trigger| {
                let answers = wanted.is_some_and(|wanted| {
                    trigger
                        .methods
                        .iter()
                        .any(|method| method.as_str().as_bytes() == wanted.as_bytes())
                });
                answers.then(|| cors::preflight(Some(trigger), method, request.headers())).flatten()
            });
            let methods =
                triggers.iter().flat_map(|trigger| &trigger.methods).map(HttpMethod::as_str);
            Err(Box::new(preflight.unwrap_or_else(|| other_methods(method, methods.collect()))))
        }
        Found::Nothing => Err(Box::new(nothing_at(&path).into_response())),
    }
}

/// The answer to a method that no function answers at this path: the list of those that one does.
fn other_methods(method: &Method, mut methods: Vec<&str>) -> Response {
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.sort_unstable();
    methods.dedup();
    let mut response = if method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        ApiError::MethodNotAllowed(method.clone()).into_response()
    };
    if let Ok(allow) = HeaderValue::try_from(methods.join(", ")) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

async fn serve(app: &Arc<App>, routed: Routed, request: Request) -> Result<Response> {
    let (route, tenant) = (routed.route.clone(), routed.tenant.clone());
    match route.trigger().and_then(|trigger| Some((trigger, trigger.webhook.as_ref()?))) {
        Some((trigger, webhook)) => {
            let target =
                WebhookTrigger { tenant: &tenant, function: &route.function.name, trigger };
            webhooks::verified(app, target, webhook, request, |request| run(app, routed, request))
                .await
        }
        None => run(app, routed, request).await,
    }
}

async fn run(app: &Arc<App>, routed: Routed, request: Request) -> Result<Response> {
    let mode = routed.route.trigger().map(|trigger| trigger.mode).unwrap_or_default();
    match (mode, routed.function.manifest.kind) {
        (Mode::Sync, Some(Kind::Http)) => exchange::serve(app, routed, request).await,
        (Mode::Sync, _) => event::run(app, routed, request).await,
        (Mode::Async, _) => event::accept(app, routed, request).await,
    }
}

fn trace_of(headers: &HeaderMap) -> TraceContext {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let given =
        header("traceparent").and_then(|parent| TraceContext::parse(parent, header("tracestate")));
    given.unwrap_or_else(TraceContext::new_root)
}

fn nothing_at(path: &str) -> ApiError {
    let path: String = path.chars().take(100).collect();
    ApiError::NotFound(format!("no function answers HTTP requests at '{path}'"))
}
