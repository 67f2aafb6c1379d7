//! HTTP triggers: which requests start a function, and how they are answered.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::manifest::webhook::Webhook;
use crate::text::as_text;

/// Starts the function on HTTP requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HttpTrigger {
    /// The path, with parameters.
    pub http: PathPattern,
    /// The methods that are answered; none means every method.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<Method>,
    /// The host name that the request must be for; none means the path below `/http/TENANT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// Whether the caller waits.
    #[serde(skip_serializing_if = "Mode::is_sync")]
    pub mode: Mode,
    /// Which pages of other origins may read the answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// How requests must be signed; none lets everybody call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Box<Webhook>>,
    /// What a JSON body must satisfy: a file's name in a manifest file, the JSON Schema itself in
    /// the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
}

/// Whether the caller of an HTTP trigger waits for the function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The function's response is the answer, streamed as it is made.
    #[default]
    Sync,
    /// The answer is 202 with the execution's id; the function runs from the queue.
    Async,
}

impl Mode {
    fn is_sync(&self) -> bool {
        *self == Self::Sync
    }
}

/// Cross-origin resource sharing, as <https://fetch.spec.whatwg.org/#http-cors-protocol> has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins such as `https://app.example.com`, or `*`.
    pub origins: Vec<String>,
    /// Request headers that a page may send besides the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// Response headers that a page may read besides the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<String>,
    /// Whether a page may send cookies. Not with the origin `*`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub credentials: bool,
    /// For how long a browser may remember the answer to a preflight, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u32>,
}

/// A path in which `{name}` stands for one segment and `{*name}`, at the end, for all that follows:
/// `/orders/{id}`, `/files/{*path}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathPattern(String);

/// An HTTP method, in capitals.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Method(String);

/// A host name in lower case, without a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

/// A text that is not a path pattern, a method or a host name. It says what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {what}")]
pub struct HttpError {
    text: String,
    what: &'static str,
}

macro_rules! checked_text {
    ($name:ident, $what:literal, $valid:path) => {
        impl $name {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = HttpError;

            fn from_str(text: &str) -> Result<Self, HttpError> {
                if $valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(HttpError { text: text.chars().take(80).collect(), what: $what })
                }
            }
        }

        as_text!($name);
    };
}

checked_text!(
    PathPattern,
    "a path: it begins with '/', and a parameter is a whole segment, '{name}', or '{*name}' at the end",
    is_path_pattern
);
checked_text!(Method, "an HTTP method in capitals, such as GET", is_method);
checked_text!(
    HostName,
    "a host name: lower-case letters, digits, '-' and '.', without a port",
    is_host_name
);

impl PathPattern {
    /// The names of its parameters, in order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter_map(parameter)
    }
}

/// The name in `{name}` and in `{*name}`.
fn parameter(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    Some(name.strip_prefix('*').unwrap_or(name))
}

fn is_path_pattern(text: &str) -> bool {
    let Some(path) = text.strip_prefix('/') else { return false };
    let segments: Vec<&str> = path.split('/').collect();
    let last = segments.len() - 1;
    let mut names: Vec<&str> = text.split('/').filter_map(parameter).collect();
    let fits = |(at, segment): (usize, &&str)| match parameter(segment) {
        Some(name) => is_parameter_name(name) && (at == last || !segment.starts_with("{*")),
        None => {
            segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@%".contains(&b))
        }
    };
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    text.len() <= 1024 && segments.iter().enumerate().all(fits) && names.len() == count
}

/// A parameter's name is an attribute's name of a CloudEvent as well, so it looks like one.
fn is_parameter_name(name: &str) -> bool {
    (1..=20).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn is_method(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
        && text != "CONNECT"
}

fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for good in ["/", "/orders", "/orders/{id}", "/a/{b}/c/{*rest}", "/a-b_c.d/%20", "/orders/"]
        {
            assert!(good.parse::<PathPattern>().is_ok(), "{good}");
        }
        for bad in
            ["", "orders", "/a{b}", "/{}", "/{*rest}/a", "/{a}/{a}", "/a?b", "/a b", "/{A}", "/{a"]
        {
            assert!(bad.parse::<PathPattern>().is_err(), "{bad}");
        }
        let pattern: PathPattern = "/a/{b}/{*rest}".parse().unwrap();
        assert_eq!(pattern.parameters().collect::<Vec<_>>(), ["b", "rest"]);
    }

    #[test]
    fn methods_and_hosts() {
        assert!("GET".parse::<Method>().is_ok() && "M-SEARCH".parse::<Method>().is_ok());
        assert!("get".parse::<Method>().is_err() && "CONNECT".parse::<Method>().is_err());
        assert!("api.example.com".parse::<HostName>().is_ok());
        for bad in ["", "a..b", "-a", "A.b", "a:80", "a_b"] {
            assert!(bad.parse::<HostName>().is_err(), "{bad}");
        }
    }
}
