//! The problems that the gateway answers with, as RFC 9457 has them: one table, one document.
//!
//! A problem's `type` is a URI reference relative to the gateway, `/problems/NAME`, and what it
//! names can be fetched there: an explanation made from the table below (`crate::api::problems`).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;
use wasmill_http::PROBLEM_JSON;

/// A kind of problem.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Its name: the last segment of the `type`.
    pub(crate) name: &'static str,
    /// The status that goes with it.
    pub(crate) status: StatusCode,
    /// What it is in a few words, the same each time.
    pub(crate) title: &'static str,
    /// What it means and what to do.
    pub(crate) help: &'static str,
}

macro_rules! kinds {
    ($($constant:ident = $name:literal, $status:ident, $title:literal, $help:literal;)*) => {
        $(pub(crate) const $constant: Kind =
            Kind { name: $name, status: StatusCode::$status, title: $title, help: $help };)*

        /// Every kind of problem there is.
        pub(crate) const KINDS: &[&Kind] = &[$(&$constant),*];
    };
}

kinds! {
    BAD_REQUEST = "bad-request", BAD_REQUEST, "Bad request",
        "Something in the request's path, query, headers or body cannot be read. `detail` says what; `errors` \
         point at it.";
    INVALID_EVENT = "invalid-event", BAD_REQUEST, "Invalid event",
        "The request is not an event as CloudEvents 1.0 has it, or its data is not what its media type says. \
         `errors` point at the offending attribute or value. Nothing of the request was accepted.";
    SCHEMA_VIOLATION = "schema-violation", BAD_REQUEST, "Schema violation",
        "The event's data does not satisfy the JSON Schema of its type or of a function that it reaches. Each of \
         `errors` has the JSON pointer of the value (`pointer`), whose schema it is (`schema`) and the rule in it \
         (`schema_pointer`). Nothing of the request was accepted.";
    CHECK_TOO_LONG = "check-too-long", UNPROCESSABLE_ENTITY, "Checking takes too long",
        "To find out whether the data satisfies the JSON Schema of the event's type or of a function takes more steps than are \
         allowed (schemas.max_check_steps). `errors` says whose schema it is. Send less data at a time, or have the schema \
         simplified: alternatives within alternatives, and references that lead to each other, multiply. Nothing of the request \
         was accepted.";
    UNAUTHENTICATED = "unauthenticated", UNAUTHORIZED, "API key needed",
        "Send `Authorization: Bearer wm_…` with a key that exists.";
    NOT_SIGNED = "not-signed", UNAUTHORIZED, "Signature needed",
        "The route is a webhook's: requests must be signed with a secret that sender and function share, and not long ago. \
         Nothing was run.";
    FORBIDDEN = "forbidden", FORBIDDEN, "Not allowed",
        "The API key may not do this. Keys and other tenants are for operator keys.";
    CROSS_SITE = "cross-site", FORBIDDEN, "Refused for a browser",
        "While no API key exists, requests are taken only from this machine: with a Host that is an IP address or \
         localhost, and not from web pages of other sites. Otherwise any page open in a browser could reach this \
         server. Create an API key to lift this.";
    NOT_FOUND = "not-found", NOT_FOUND, "Not found",
        "What the path names does not exist, or not in this tenant.";
    UNKNOWN_TYPE = "unknown-type", NOT_FOUND, "Nobody listens to this event type",
        "No function of the tenant has a trigger for the event's type. `event_types` lists what functions listen \
         to. Nothing of the request was accepted.";
    METHOD_NOT_ALLOWED = "method-not-allowed", METHOD_NOT_ALLOWED, "Method not allowed",
        "The path exists, but not with this method; the header Allow lists those that it has.";
    TIMEOUT = "timeout", REQUEST_TIMEOUT, "Request timed out",
        "The request's body did not arrive in time.";
    CONFLICT = "conflict", CONFLICT, "Conflict",
        "The change does not fit what is there.";
    QUOTA_EXCEEDED = "quota-exceeded", CONFLICT, "Quota exceeded",
        "The tenant has as much of something as it may; `quota` names the quota, `detail` says how much there is and how to get \
         under it. Nothing was changed. Operators set quotas in the section [quotas] of the configuration.";
    TOO_LARGE = "too-large", PAYLOAD_TOO_LARGE, "Too large",
        "The body, the batch or the event is larger than the gateway takes.";
    URI_TOO_LONG = "uri-too-long", URI_TOO_LONG, "Target too long",
        "The first line of a request, method and target, has more bytes than its whole head may have: 65,536.";
    HEAD_TOO_LARGE = "head-too-large", REQUEST_HEADER_FIELDS_TOO_LARGE, "Head too large",
        "A request's head may have at most 256 header lines, `Host` among them, and 65,536 bytes altogether. Send fewer or shorter \
         header fields: cookies, most likely.";
    NOT_IMPLEMENTED = "not-implemented", NOT_IMPLEMENTED, "Not implemented",
        "The request's body comes in a transfer coding that is not known here. Send it with `Content-Length`, or chunked.";
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "Unsupported media type",
        "The body's media type is not one that is taken here; `accepted` lists those that are.";
    INVALID_MANIFEST = "invalid-manifest", UNPROCESSABLE_ENTITY, "Invalid manifest",
        "A key of the manifest is unknown, or a value does not fit. `errors` point at it.";
    INVALID_SCHEMA = "invalid-schema", UNPROCESSABLE_ENTITY, "Invalid JSON Schema",
        "The schema is not valid, or refers to something outside of itself, which is never fetched. `errors` point \
         at the place.";
    INVALID_COMPONENT = "invalid-component", UNPROCESSABLE_ENTITY, "Unusable component",
        "The bytes are not a WebAssembly component, or one that cannot run here.";
    UNPROCESSABLE = "unprocessable", UNPROCESSABLE_ENTITY, "Cannot be done",
        "The request is well formed, but what it asks for cannot be done.";
    FUNCTION_FAILED = "function-failed", BAD_GATEWAY, "Function failed",
        "The function that answers this route failed, or the host that ran it was lost. Its execution, which `detail` \
         names, has why.";
    FUNCTION_TIMED_OUT = "function-timed-out", GATEWAY_TIMEOUT, "Function timed out",
        "The function that answers this route took longer than its limit. Its execution, which `detail` names, has more.";
    FUNCTION_CANCELLED = "function-cancelled", SERVICE_UNAVAILABLE, "Function cancelled",
        "The function that answers this route was deleted or stopped meanwhile, or its execution was cancelled.";
    EXECUTION_SUSPENDED = "execution-suspended", SERVICE_UNAVAILABLE, "Execution suspended",
        "An operator has suspended the execution whose result the request waits for. It keeps the request, goes on when it is \
         resumed, and has its result then; `detail` names it. To send the request again makes another execution.";
    TOO_MANY_UNKNOWN = "too-many-unknown-executions", TOO_MANY_REQUESTS, "Too many unknown executions",
        "The tenant has cancelled or suspended as many executions as it may of which nothing is known: quotas.early_rows. Look at \
         the ids. What is noted goes when something is known of the execution, when it is resumed, or after \
         quotas.early_rows_kept. Nothing was noted.";
    QUEUE_FULL = "queue-full", TOO_MANY_REQUESTS, "Queue full",
        "The function's queue holds as much as it may. Nothing of the request was accepted; send it again after \
         `Retry-After` seconds.";
    OVERLOADED = "overloaded", SERVICE_UNAVAILABLE, "Overloaded",
        "The gateway has as much in progress as it may. Nothing of the request was accepted; send it again after \
         `Retry-After` seconds.";
    UNAVAILABLE = "unavailable", SERVICE_UNAVAILABLE, "Not available",
        "What is needed for this is away: the database, or for events database and broker both. Send the request \
         again after `Retry-After` seconds.";
    INTERNAL = "internal", INTERNAL_SERVER_ERROR, "Internal error",
        "Something is wrong with wasmill itself. The server's log has the cause under the id that `instance` \
         names.";
}

impl Kind {
    /// The URI reference that identifies it.
    pub(crate) fn uri(&self) -> String {
        format!("/problems/{}", self.name)
    }
}

/// An error, after RFC 9457.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What kind of problem it is: a URI reference that can be fetched for an explanation.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference", examples("/problems/schema-violation"))]
    pub(crate) kind: String,
    /// The kind in a few words.
    pub(crate) title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub(crate) status: u16,
    /// What was wrong this time, and what to do.
    pub(crate) detail: String,
    /// Names this occurrence in the server's log; with internal errors only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uri")]
    pub(crate) instance: Option<String>,
    /// The locations that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<Fault>,
    /// The event types and patterns that functions listen to; with `unknown-type` only. At most
    /// 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event_types: Option<Vec<String>>,
    /// The quota that is used up; with `quota-exceeded` only: `artifacts`, `artifact_bytes`,
    /// `functions`, `schemas` or `keys`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quota: Option<&'static str>,
    /// The media types that are taken; with `unsupported-media-type` only.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) accepted: &'static [&'static str],
}

/// One location that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// The JSON pointer of the offending value: into the event's data where the body is the data,
    /// into the body where it is a document. `/ce-id` in binary mode is `/id` as well.
    #[schema(format = "json-pointer", examples("/items/0/qty"))]
    pub(crate) pointer: String,
    /// What is wrong with it.
    pub(crate) detail: String,
    /// The JSON pointer of the rule in the schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "json-pointer", examples("/properties/items/items/properties/qty/minimum"))]
    pub(crate) schema_pointer: Option<String>,
    /// Whose schema it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(examples("event type order.created", "function order-total"))]
    pub(crate) schema: Option<String>,
    /// The line of the body, from 1, where it is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u32>,
    /// The column in that line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<u32>,
}

impl Fault {
    /// A fault at `pointer`.
    pub(crate) fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into(), ..Self::default() }
    }
}

impl Problem {
    /// The document.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Cannot fail: every key is a string and nothing does I/O.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.to_bytes()));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response
    }
}

#[cfg(test)]
mod tests {
    use wasmill_http::Refusal;

    use super::*;

    #[test]
    fn what_the_server_refuses_is_explained() {
        for refusal in Refusal::samples() {
            let kind = KINDS.iter().find(|kind| kind.name == refusal.name());
            let kind = kind.unwrap_or_else(|| panic!("{} is not explained", refusal.name()));
            assert_eq!((kind.status, kind.title), (refusal.status(), refusal.title()));
        }
    }
}
