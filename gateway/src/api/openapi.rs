//! The OpenAPI description, generated from the handlers, and served at `/openapi.json`.

mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, HeaderBuilder, OpenApi as Description, Ref, RefOr};
use utoipa::{OpenApi, ToSchema as _};
use wasmill_http::PROBLEM_JSON;

use self::rules::KEY;
use crate::app::SharedApp;
use crate::problem::Problem;
use crate::settings::GatewaySettings;

/// What no handler says of itself.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "wasmill",
        description = "Runs WebAssembly functions on events.\n\nErrors are RFC 9457 problem documents; their `type` is \
            a URI reference that can be fetched from here for an explanation. Lists come in pages: give a page's `next` \
            as `cursor` for the one after it.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "events", description = "The way in"),
        (name = "executions", description = "What became of events"),
        (name = "functions", description = "What runs"),
        (name = "artifacts", description = "What functions are made of"),
        (name = "schemas", description = "What events must look like"),
        (name = "secrets", description = "What functions may know and nobody may see"),
        (name = "keyvalue", description = "What functions keep"),
        (name = "hostnames", description = "Whose functions answer under which host names"),
        (name = "dead-letters", description = "Messages that no process could read"),
        (name = "keys", description = "Who may do what"),
        (name = "service", description = "About the server itself")
    ),
    components(schemas(Problem))
)]
pub(crate) struct Base;

/// The header by which an operator names a tenant.
const TENANT: &str = "Wasmill-Tenant";

/// What every operation below `/v1` may answer as well.
const COMMON: [(&str, &str); 5] = [
    ("400", "Something in the path, the query or the headers cannot be read"),
    ("401", "An API key is needed, or the one given does not exist"),
    (
        "403",
        "The key may not do this, or, while there are no keys, the request may come from another site",
    ),
    ("500", "A fault of wasmill's own; `instance` names it in the server's log"),
    ("503", "Overloaded, or what is needed is away; nothing was done"),
];

/// What an operation with a body may answer as well.
const WITH_BODY: (&str, &str) = ("408", "The body did not arrive in time");

/// Adds to a description what all operations have in common: keys, the tenant's header and problem
/// documents.
pub(crate) fn complete(description: &mut Description) {
    let components = description.components.get_or_insert_default();
    let scheme = SecurityScheme::Http(
        Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("wm_…").build(),
    );
    components.add_security_scheme(KEY, scheme);
    for (path, item) in &mut description.paths.paths {
        for operation in operations(item) {
            complete_operation(operation, path.starts_with("/v1/"));
        }
    }
}

fn complete_operation(operation: &mut Operation, needs_key: bool) {
    let responses = &mut operation.responses.responses;
    let mut common: BTreeMap<&str, &str> = COMMON.into();
    if operation.request_body.is_some() {
        common.insert(WITH_BODY.0, WITH_BODY.1);
    }
    if needs_key {
        let parameter = utoipa::openapi::path::ParameterBuilder::new()
            .name(TENANT)
            .parameter_in(utoipa::openapi::path::ParameterIn::Header)
            .required(utoipa::openapi::Required::False)
            .description(Some(
                "The tenant to act for, with an operator key. Default: the key's own",
            ))
            .schema(Some(
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String),
            ))
            .build();
        operation.parameters.get_or_insert_default().push(parameter.into());
    } else {
        common.remove("401");
        common.remove("403");
    }
    for (status, description) in common {
        let response = || RefOr::T(ResponseBuilder::new().description(description).build());
        responses.entry(status.to_owned()).or_insert_with(response);
    }
    for (status, response) in responses.iter_mut() {
        let RefOr::T(response) = response else { continue };
        if status.starts_with(['4', '5']) {
            let schema = Ref::from_schema_name(Problem::name());
            response.content.insert(PROBLEM_JSON.to_owned(), RefOr::T(Content::new(Some(schema))));
        }
        if matches!(status.as_str(), "429" | "503") {
            let header = HeaderBuilder::new()
                .description(Some("Seconds to wait before the request is sent again"));
            response.headers.insert("Retry-After".to_owned(), RefOr::T(header.build()));
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
}

/// What the routes say of themselves and have in common, with what these settings let through.
/// `needs_key` tells whether a request without an API key can be answered.
pub(crate) fn rendered(
    routes: &Description,
    settings: &GatewaySettings,
    needs_key: bool,
) -> serde_json::Value {
    // Cannot fail: every key is a string and nothing does I/O.
    let mut description = serde_json::to_value(routes).unwrap_or_default();
    rules::apply(&mut description, settings, needs_key);
    description
}

/// The description of the API
///
/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "service", operation_id = "openapi",
    responses((status = 200, description = "An OpenAPI 3.1 document", body = serde_json::Value)))]
pub(crate) async fn describe(
    State(app): State<SharedApp>,
    Extension(routes): Extension<Arc<Description>>,
) -> Response {
    let needs_key = app.settings.require_key || app.registry.current().has_keys();
    let text = app.descriptions[usize::from(needs_key)].get_or_init(|| {
        let text = rendered(&routes, &app.settings, needs_key).to_string();
        Bytes::from(text)
    });
    ([(CONTENT_TYPE, "application/json")], text.clone()).into_response()
}
