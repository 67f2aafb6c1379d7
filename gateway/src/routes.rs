//! Puts the routes together.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use http::{Method, Uri};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Shared;
use crate::error::Error;
use crate::{
    artifacts, dead_letters, executions, files, functions, health, hostnames, ingest, invoke, keys,
    keyvalue, nodes, openapi, operate, problem, schemas, secrets, triggers,
};

/// The service of a gateway.
pub(crate) fn router(app: Shared) -> Router {
    described()
        .0
        .fallback(nothing_here)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&app), triggers::answer_or_pass))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(app)
}

/// The routes and their description, each of the other's making.
pub(crate) fn described() -> (Router<Shared>, OpenApi) {
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
        .routes(routes!(invoke::invoke))
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
        .routes(routes!(problem::explain))
        .routes(routes!(openapi::describe))
        .split_for_parts();
    openapi::complete(&mut description);
    (router, description)
}

async fn nothing_here(uri: Uri) -> Error {
    // The path may be anything that came over the wire: show no more of it than a reader needs.
    let path: String = uri.path().chars().take(100).collect();
    Error::NotFound(format!("there is nothing at '{path}'; /openapi.json has what there is"))
}

async fn method_not_allowed(method: Method) -> Error {
    Error::MethodNotAllowed(method)
}

#[expect(clippy::needless_pass_by_value, reason = "what the layer asks for")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    Error::Internal(format!("a handler panicked: {}", text.unwrap_or("no message"))).into_response()
}
