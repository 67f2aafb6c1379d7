//! Why a request was not served: one enum, turned into a problem document in one place.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use uuid::Uuid;
use wasmill_domain::event::Invalid;
use wasmill_domain::{ExecutionId, manifest};

use crate::problem::{self, Fault, Kind, Problem};

/// How many seconds a client is asked to wait when something is full or away.
const RETRY_AFTER_SECONDS: &str = "1";

/// How many event types an answer lists.
pub(crate) const MAX_LISTED_TYPES: usize = 100;

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// Path, query, headers or body cannot be read.
    #[error("{0}")]
    BadRequest(String),
    /// A document cannot be read; the fault says where.
    #[error("{}", .0.detail)]
    BadDocument(Fault),
    /// Not an event.
    #[error("{}", .0.detail)]
    InvalidEvent(Fault),
    /// The data does not satisfy a schema.
    #[error("{0}")]
    SchemaViolation(String, Vec<Fault>),
    /// To find out whether the data satisfies a schema takes too much.
    #[error("{}", .0.detail)]
    CheckTooLong(Fault),
    /// No key, or one that does not exist.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// A webhook's request that is not signed as it must be. Says no more than that: the caller may
    /// be anybody.
    #[error("the request must be signed, and its signature is missing, wrong or too old")]
    NotSigned,
    /// The key may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// Perhaps a web page's request, while no key protects the server.
    #[error("{0}")]
    CrossSite(String),
    /// It does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Nobody listens to the event's type.
    #[error("no function listens to events of type '{event_type}'{}", listeners(known, *total))]
    UnknownType {
        /// The type.
        event_type: String,
        /// Where the type stands in the body, where it does.
        pointer: Option<String>,
        /// What functions listen to, the first [`MAX_LISTED_TYPES`] of it.
        known: Vec<String>,
        /// How much there is of it.
        total: usize,
    },
    /// The path does not have the method.
    #[error("this path does not have the method {0}; the header Allow lists those that it has")]
    MethodNotAllowed(http::Method),
    /// The body came too slowly.
    #[error("the body did not arrive within {0:?}")]
    Timeout(std::time::Duration),
    /// The change does not fit what is there.
    #[error("{0}")]
    Conflict(String),
    /// The tenant has as much of something as it may: which quota, and why.
    #[error("{1}")]
    QuotaExceeded(&'static str, String),
    /// Too much.
    #[error("{0}")]
    TooLarge(String),
    /// Not one of the media types that are taken.
    #[error("{0}")]
    MediaType(String, &'static [&'static str]),
    /// The manifest has a fault.
    #[error("{}", .0.detail)]
    Manifest(Fault),
    /// The schema has a fault.
    #[error("{}", .0.detail)]
    Schema(Fault),
    /// The component cannot be used.
    #[error("{0}")]
    Component(String),
    /// Well formed, and cannot be done.
    #[error("{0}")]
    Unprocessable(String),
    /// The function did not answer as it should have.
    #[error("the function did not answer as it should have; execution {1} has why")]
    Function(StatusCode, ExecutionId),
    /// The tenant has moved too many executions of which nothing is known.
    #[error("{0}")]
    TooManyEarly(String),
    /// An execution whose end is awaited is suspended.
    #[error("execution {0} is suspended: it goes on when it is resumed")]
    Suspended(ExecutionId),
    /// The queue is full.
    #[error("the queue of function {0} is full; nothing was accepted")]
    QueueFull(String),
    /// The gateway is full.
    #[error("{0}; nothing was accepted")]
    Overloaded(&'static str),
    /// Something that is needed is away.
    #[error("{0}")]
    Unavailable(&'static str),
    /// A fault of wasmill's. The text is for the log only.
    #[error("an internal error; the server's log has its cause")]
    Internal(String),
}

/// The result of serving a request.
pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    fn kind(&self) -> &'static Kind {
        match self {
            Self::BadRequest(_) | Self::BadDocument(_) => &problem::BAD_REQUEST,
            Self::InvalidEvent(_) => &problem::INVALID_EVENT,
            Self::SchemaViolation(..) => &problem::SCHEMA_VIOLATION,
            Self::CheckTooLong(_) => &problem::CHECK_TOO_LONG,
            Self::Unauthenticated(_) => &problem::UNAUTHENTICATED,
            Self::NotSigned => &problem::NOT_SIGNED,
            Self::Forbidden(_) => &problem::FORBIDDEN,
            Self::CrossSite(_) => &problem::CROSS_SITE,
            Self::NotFound(_) => &problem::NOT_FOUND,
            Self::UnknownType { .. } => &problem::UNKNOWN_TYPE,
            Self::MethodNotAllowed(_) => &problem::METHOD_NOT_ALLOWED,
            Self::Timeout(_) => &problem::TIMEOUT,
            Self::Conflict(_) => &problem::CONFLICT,
            Self::QuotaExceeded(..) => &problem::QUOTA_EXCEEDED,
            Self::TooLarge(_) => &problem::TOO_LARGE,
            Self::MediaType(..) => &problem::UNSUPPORTED_MEDIA_TYPE,
            Self::Manifest(_) => &problem::INVALID_MANIFEST,
            Self::Schema(_) => &problem::INVALID_SCHEMA,
            Self::Component(_) => &problem::INVALID_COMPONENT,
            Self::Unprocessable(_) => &problem::UNPROCESSABLE,
            Self::Function(StatusCode::GATEWAY_TIMEOUT, _) => &problem::FUNCTION_TIMED_OUT,
            Self::Function(StatusCode::SERVICE_UNAVAILABLE, _) => &problem::FUNCTION_CANCELLED,
            Self::Function(..) => &problem::FUNCTION_FAILED,
            Self::TooManyEarly(_) => &problem::TOO_MANY_UNKNOWN,
            Self::Suspended(_) => &problem::EXECUTION_SUSPENDED,
            Self::QueueFull(_) => &problem::QUEUE_FULL,
            Self::Overloaded(_) => &problem::OVERLOADED,
            Self::Unavailable(_) => &problem::UNAVAILABLE,
            Self::Internal(_) => &problem::INTERNAL,
        }
    }

    /// The HTTP status of the answer.
    pub(crate) fn status_code(&self) -> StatusCode {
        self.kind().status
    }

    fn into_problem(self) -> Problem {
        let kind = self.kind();
        let mut problem = Problem {
            kind: kind.uri(),
            title: kind.title,
            status: kind.status.as_u16(),
            detail: self.to_string(),
            instance: None,
            errors: Vec::new(),
            event_types: None,
            quota: None,
            accepted: &[],
        };
        match self {
            Self::BadDocument(fault)
            | Self::InvalidEvent(fault)
            | Self::CheckTooLong(fault)
            | Self::Manifest(fault)
            | Self::Schema(fault) => problem.errors = vec![fault],
            Self::SchemaViolation(_, faults) => problem.errors = faults,
            Self::QuotaExceeded(quota, _) => problem.quota = Some(quota),
            Self::UnknownType { pointer, known, .. } => {
                let detail = "no function listens to this type";
                problem.errors =
                    pointer.map(|pointer| Fault::at(pointer, detail)).into_iter().collect();
                problem.event_types = Some(known);
            }
            Self::MediaType(_, accepted) => problem.accepted = accepted,
            Self::Internal(cause) => {
                let incident = Uuid::now_v7();
                tracing::error!(%incident, cause, "internal error");
                problem.instance = Some(format!("urn:uuid:{incident}"));
            }
            _ => {}
        }
        problem
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status_code();
        let challenge =
            if matches!(self, Self::NotSigned) { "Signature" } else { "Bearer realm=\"wasmill\"" };
        let mut response = self.into_problem().into_response();
        let headers = response.headers_mut();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

fn listeners(known: &[String], total: usize) -> String {
    const SHOWN: usize = 10;
    if known.is_empty() {
        return "; no function listens to anything: deploy one".into();
    }
    let shown = known.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = total.saturating_sub(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("; functions listen to {shown}{rest}")
}

/// A store's error, where it is not in the way of ingest.
impl From<wasmill_store::StoreError> for ApiError {
    fn from(error: wasmill_store::StoreError) -> Self {
        match error {
            wasmill_store::StoreError::Unavailable(cause) => {
                tracing::warn!(cause, "the store is not available");
                Self::Unavailable("the database is not available now")
            }
            wasmill_store::StoreError::Schema(why) => Self::Internal(why),
            wasmill_store::StoreError::NotFound(what) => {
                Self::NotFound(format!("{what} not found"))
            }
            wasmill_store::StoreError::Conflict(why) => Self::Conflict(why),
            wasmill_store::StoreError::QuotaExceeded { quota, why } => {
                Self::QuotaExceeded(quota, why)
            }
            wasmill_store::StoreError::Rejected(why) => Self::Unprocessable(why),
        }
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self::InvalidEvent(Fault::at(invalid.pointer, invalid.message))
    }
}

impl From<manifest::ManifestError> for ApiError {
    fn from(error: manifest::ManifestError) -> Self {
        Self::Manifest(match error {
            manifest::ManifestError::Syntax(message) => Fault::at("/manifest", message),
            manifest::ManifestError::Value { key, message } => {
                Fault::at(manifest_pointer(&key), format!("{key}: {message}"))
            }
        })
    }
}

/// The JSON pointer of a dotted key, in the document of a deploy.
fn manifest_pointer(key: &str) -> String {
    // The keys that users choose may hold anything, dots included.
    let chosen = ["env", "config", "secrets"].into_iter().find_map(|section| {
        key.strip_prefix(section)
            .and_then(|rest| rest.strip_prefix('.'))
            .map(|name| (section, name))
    });
    let path = match chosen {
        Some((section, name)) => {
            format!("{section}/{}", name.replace('~', "~0").replace('/', "~1"))
        }
        None => key.replace(['.', '['], "/").replace(']', ""),
    };
    format!("/manifest/{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_pointers() {
        assert_eq!(manifest_pointer("limits.timeout"), "/manifest/limits/timeout");
        assert_eq!(manifest_pointer("trigger[0].schema"), "/manifest/trigger/0/schema");
        assert_eq!(manifest_pointer("env.A.B/C"), "/manifest/env/A.B~1C");
        assert_eq!(manifest_pointer("secrets.a[0]"), "/manifest/secrets/a[0]");
        assert_eq!(manifest_pointer("secrets"), "/manifest/secrets");
    }

    #[test]
    fn internals_stay_inside() {
        let problem = ApiError::Internal("password=hunter2".into()).into_problem();
        assert!(!serde_json::to_string(&problem).unwrap().contains("hunter2"));
        assert!(problem.instance.unwrap().starts_with("urn:uuid:"));
    }

    #[test]
    fn few_types_are_spelled_out() {
        let known = (0..MAX_LISTED_TYPES).map(|i| format!("type.{i}")).collect();
        let problem =
            ApiError::UnknownType { event_type: "x".into(), pointer: None, known, total: 1000 }
                .into_problem();
        assert!(problem.detail.ends_with("type.9 and 990 more"), "{}", problem.detail);
    }
}
