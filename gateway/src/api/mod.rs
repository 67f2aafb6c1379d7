//! The API: a module for each of its nouns, put together here. What its documents look like stands
//! in [`crate::documents`].

mod artifacts;
mod candidates;
mod dead_letters;
mod executions;
mod files;
mod functions;
mod health;
pub(crate) mod hostnames;
mod invocations;
mod keys;
mod keyvalue;
mod nodes;
mod openapi;
mod operate;
mod problems;
mod schemas;
mod secrets;

use std::sync::Arc;

use axum::{Extension, Router};
use http::{Method, Uri};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::SharedApp;
use crate::error::ApiError;
use crate::ingest;
use crate::settings::GatewaySettings;

/// The service of the API.
pub(crate) fn router(app: SharedApp) -> Router {
    let (router, description) = described();
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(Extension(Arc::new(description)))
        .with_state(app)
}

/// The description of the API with these settings: [`openapi::rendered`].
pub(crate) fn description(settings: &GatewaySettings, needs_key: bool) -> serde_json::Value {
    openapi::rendered(&described().1, settings, needs_key)
}

/// The routes and their description, each of the other's making.
fn described() -> (Router<SharedApp>, OpenApi) {
    let (router, mut description) = OpenApiRouter::with_openapi(openapi::Base::openapi())
        .routes(routes!(ingest::post_events))
        .routes(routes!(ingest::post_typed_event))
        .routes(routes!(executions::list))
        .routes(routes!(executions::show))
        .routes(routes!(executions::event))
        .routes(routes!(executions::result))
        .routes(routes!(executions::logs))
        .routes(routes!(operate::cancel))
        .routes(routes!(operate::suspend))
        .routes(routes!(operate::resume))
        .routes(routes!(functions::list))
        .routes(routes!(functions::show, functions::deploy, functions::delete))
        .routes(routes!(functions::versions))
        .routes(routes!(functions::rollback))
        .routes(routes!(invocations::invoke))
        .routes(routes!(artifacts::upload))
        .routes(routes!(artifacts::show))
        .routes(routes!(files::upload))
        .routes(routes!(files::missing))
        .routes(routes!(schemas::list))
        .routes(routes!(schemas::show, schemas::put, schemas::delete))
        .routes(routes!(secrets::list))
        .routes(routes!(secrets::put, secrets::delete))
        .routes(routes!(keyvalue::list))
        .routes(routes!(keyvalue::keys))
        .routes(routes!(keyvalue::get, keyvalue::set, keyvalue::delete))
        .routes(routes!(hostnames::list))
        .routes(routes!(hostnames::grant, hostnames::revoke))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::export, dead_letters::delete))
        .routes(routes!(dead_letters::redrive))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::delete))
        .routes(routes!(nodes::list))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(problems::explain))
        .routes(routes!(openapi::describe))
        .split_for_parts();
    openapi::complete(&mut description);
    (router, description)
}

async fn nothing_here(uri: Uri) -> ApiError {
    // The path may be anything that came over the wire: show no more of it than a reader needs.
    let path: String = uri.path().chars().take(100).collect();
    ApiError::NotFound(format!("there is nothing at '{path}'; /openapi.json has what there is"))
}

async fn method_not_allowed(method: Method) -> ApiError {
    ApiError::MethodNotAllowed(method)
}
