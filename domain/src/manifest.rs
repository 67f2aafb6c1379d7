//! The function manifest, `wasmill.toml`: <../../docs/manifest.md> tells users of it.

pub mod allowed_hosts;
mod args;
mod error;
pub mod files;
pub mod http;
mod keyvalue;
mod settings;
pub(crate) mod trigger;
mod version_files;
pub mod webhook;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use self::allowed_hosts::HostPattern;
pub use self::error::ManifestError;
use self::error::out_of_bounds;
use self::files::FileEntry;
pub use self::keyvalue::BucketScope;
pub use self::trigger::{EventTrigger, Trigger};
use crate::key_hint::with_hint;
use crate::names::{BucketName, FunctionName, HostLabel};
use crate::retry::RetryPolicy;
use crate::routes::claim::repeated;
use crate::units::{ByteSize, Span};

/// What a function is called, what starts it, and within which limits it runs.
///
/// As a file it is TOML, and `schema` names a file; as part of the API it is JSON, and `schema`
/// holds the schema itself. A version keeps its manifest for ever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The function's name.
    pub name: FunctionName,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The component's file, relative to the manifest. The server does not look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// The command that builds the component, run in the manifest's folder. The server does not
    /// look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// Which kind it is, where the component is of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// What a command finds as its arguments, after its own name: at most 64, and 32 KiB of them.
    /// Other kinds have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The files that the guest finds below `/`, read-only: patterns in a manifest file, the files
    /// themselves in the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileEntry>,
    /// What starts the function.
    #[serde(default, rename = "trigger", skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<Trigger>,
    /// Labels that a host must have, all of them, to run the function; none lets every host. At
    /// most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs_on: Vec<HostLabel>,
    /// What an attempt may use.
    #[serde(default)]
    pub limits: Limits,
    /// What follows a failed attempt.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// How long instances live.
    #[serde(default)]
    pub instances: Instances,
    /// Where the function may send HTTP requests: at most 64 patterns. Without the key it cannot
    /// import what sends them; with an empty list it can, and every request is refused.
    #[serde(
        default,
        deserialize_with = "allowed_hosts::read",
        skip_serializing_if = "Option::is_none"
    )]
    pub allowed_hosts: Option<Vec<HostPattern>>,
    /// The buckets that the function may open, and whose each is: at most 16. Without the table it
    /// cannot import `wasi:keyvalue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyvalue: Option<BTreeMap<BucketName, BucketScope>>,
    /// The guest's environment variables; it sees no others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What `wasi:config/store` answers: at most 64 keys. Without it and without `secrets`, the
    /// function cannot import that; with an empty one it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<BTreeMap<String, String>>,
    /// The secrets that the function may have: at most 64, each under the name that the guest
    /// knows, with the name that it has among the tenant's secrets. Without it the function cannot
    /// import what reveals them; with an empty one it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<BTreeMap<String, String>>,
}

/// What a component is for, and so how it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Exports `wasmill:function/handler`: takes events.
    Event,
    /// Exports `wasi:http/incoming-handler`: answers HTTP requests, and takes events as requests.
    Http,
    /// Exports `wasi:cli/run`: a program that reads an event on standard input and writes its
    /// result to standard output.
    Command,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Event => "event",
            Self::Http => "http",
            Self::Command => "command",
        })
    }
}

/// What one attempt may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Units of fuel, about one a wasm instruction: 1,000 to 10^15.
    pub fuel: u64,
    /// Linear memory, all memories of the component together: 64 KiB to 4 GiB.
    pub memory: ByteSize,
    /// Time on the wall clock: 1 ms to 15 min. (RabbitMQ takes a message back after 30 min without
    /// an ack.)
    pub timeout: Span,
    /// How many executions one host runs at once: 1 to 1,024.
    pub concurrency: u32,
    /// Log text kept: up to 16 MiB.
    pub log_bytes: ByteSize,
    /// The result's size: up to 64 MiB.
    pub output_bytes: ByteSize,
    /// How many events may be emitted: up to 1,000. Their data counts towards `output_bytes`.
    pub emitted_events: u32,
    /// How many calls of host functions the guest may make: 100 to 10^9.
    pub host_calls: u64,
    /// How many HTTP requests may be sent, refused ones included: up to 100,000.
    pub http_requests: u32,
    /// The size of these requests and their responses together, heads and bodies: up to 1 GiB.
    pub http_bytes: ByteSize,
}

/// How long instances live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Instances {
    /// How many executions of the same version one instance serves, one after the other: 1 to
    /// 1,000,000. With 1, the default, each gets a fresh one. More is for guests that start slowly
    /// and keep no state that matters.
    pub reuse: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 1_000_000_000,
            memory: ByteSize(64 << 20),
            timeout: Span(std::time::Duration::from_secs(30)),
            concurrency: 16,
            log_bytes: ByteSize(64 << 10),
            output_bytes: ByteSize(1 << 20),
            emitted_events: 100,
            host_calls: 100_000,
            http_requests: 100,
            http_bytes: ByteSize(16 << 20),
        }
    }
}

impl Default for Instances {
    fn default() -> Self {
        Self { reuse: 1 }
    }
}

impl Manifest {
    /// Reads a manifest file.
    ///
    /// # Errors
    /// Where it is not TOML, a key is unknown (the nearest known one is named) or a value is out of
    /// bounds.
    pub fn from_toml(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text)
            .map_err(|e| ManifestError::Syntax(with_hint(e.to_string().trim_end())))?;
        manifest.check()?;
        manifest.check_patterns()?;
        Ok(manifest)
    }

    /// Reads a manifest in its API form. Schemas must be inlined.
    ///
    /// # Errors
    /// As [`Manifest::from_toml`], and where a schema is still the name of a file.
    pub fn from_json(value: serde_json::Value) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_value(value)
            .map_err(|e| ManifestError::Syntax(with_hint(&e.to_string())))?;
        manifest.check()?;
        manifest.check_parts()?;
        for (i, trigger) in manifest.triggers.iter().enumerate() {
            if trigger.schema().is_some_and(|schema| !schema.is_object() && !schema.is_boolean()) {
                return Err(out_of_bounds(
                    &format!("trigger[{i}].schema"),
                    "must be a JSON Schema: an object or a boolean, not the name of a file",
                ));
            }
        }
        Ok(manifest)
    }

    /// Checks every value against its bounds.
    fn check(&self) -> Result<(), ManifestError> {
        let within = |key: &str, ok: bool, message: &str| {
            if ok { Ok(()) } else { Err(out_of_bounds(key, message)) }
        };
        let limits = &self.limits;
        within("description", self.description.len() <= 1024, "must be at most 1,024 bytes long")?;
        within("runs_on", self.runs_on.len() <= 16, "a function asks for at most 16 labels")?;
        within("trigger", self.triggers.len() <= 64, "a function has at most 64 triggers")?;
        self.check_routes()?;
        within(
            "limits.fuel",
            (1_000..=1_000_000_000_000_000).contains(&limits.fuel),
            "must be 1,000 to 10^15",
        )?;
        within(
            "limits.memory",
            (64 << 10..=4 << 30).contains(&limits.memory.0),
            "must be 64KiB to 4GiB",
        )?;
        let timeout = limits.timeout.0.as_millis();
        within("limits.timeout", (1..=900_000).contains(&timeout), "must be 1ms to 15m")?;
        within(
            "limits.concurrency",
            (1..=1024).contains(&limits.concurrency),
            "must be 1 to 1,024",
        )?;
        within("limits.log_bytes", limits.log_bytes.0 <= 16 << 20, "must be at most 16MiB")?;
        within("limits.output_bytes", limits.output_bytes.0 <= 64 << 20, "must be at most 64MiB")?;
        within("limits.emitted_events", limits.emitted_events <= 1000, "must be at most 1,000")?;
        within(
            "limits.host_calls",
            (100..=1_000_000_000).contains(&limits.host_calls),
            "must be 100 to 10^9",
        )?;
        within("limits.http_requests", limits.http_requests <= 100_000, "must be at most 100,000")?;
        within("limits.http_bytes", limits.http_bytes.0 <= 1 << 30, "must be at most 1GiB")?;
        within(
            "retry.max_attempts",
            (1..=100).contains(&self.retry.max_attempts),
            "must be 1 to 100",
        )?;
        within("retry.jitter", (0.0..=1.0).contains(&self.retry.jitter), "must be 0 to 1")?;
        within(
            "retry.max_delay",
            self.retry.max_delay.0 <= crate::retry::MAX_ADVISED_DELAY,
            "must be at most 1d",
        )?;
        let never = [crate::execution::Outcome::Success, crate::execution::Outcome::Cancelled];
        within(
            "retry.on",
            !self.retry.on.iter().any(|o| never.contains(o)),
            "'success' and 'cancelled' are not retried",
        )?;
        within(
            "instances.reuse",
            (1..=1_000_000).contains(&self.instances.reuse),
            "must be 1 to 1,000,000",
        )?;
        let buckets = self.keyvalue.as_ref().map_or(0, BTreeMap::len);
        within("keyvalue", buckets <= 16, "a function names at most 16 buckets")?;
        self.check_args()?;
        self.check_settings()
    }
}

impl Manifest {
    /// Checks what HTTP triggers have in common.
    fn check_routes(&self) -> Result<(), ManifestError> {
        for (i, trigger) in self.triggers.iter().enumerate() {
            if trigger.as_http().is_some_and(|trigger| trigger.methods.len() > 32) {
                return Err(out_of_bounds(
                    &format!("trigger[{i}].methods"),
                    "a trigger names at most 32 methods",
                ));
            }
        }
        match repeated(&self.triggers) {
            Some((later, earlier)) => {
                let message = format!(
                    "trigger[{earlier}] has this route already: host, path and method are the same"
                );
                Err(out_of_bounds(&format!("trigger[{later}].http"), &message))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_smallest_manifest() {
        let manifest = Manifest::from_toml("name = 'hello'").unwrap();
        assert_eq!(manifest.limits, Limits::default());
        assert_eq!(manifest.retry.max_attempts, 3);
    }

    #[test]
    fn everything() {
        let text = r#"
            name = "order-total"
            component = "order-total.wasm"
            runs_on = ["gpu"]
            [[trigger]]
            event = "order.*"
            schema = "order.schema.json"
            [limits]
            fuel = 5_000_000
            memory = "32MiB"
            timeout = "250ms"
            [retry]
            max_attempts = 5
            backoff = "fixed"
            on = ["error", "trap"]
            [instances]
            reuse = 10
            [env]
            GREETING = "Hi"
        "#;
        let manifest = Manifest::from_toml(text).unwrap();
        assert_eq!(manifest.limits.memory, ByteSize(32 << 20));
        assert_eq!(manifest.instances.reuse, 10);
        let json = serde_json::to_value(&manifest).unwrap();
        assert!(
            Manifest::from_json(json.clone())
                .unwrap_err()
                .to_string()
                .contains("trigger[0].schema")
        );
        assert_eq!(serde_json::from_value::<Manifest>(json).unwrap(), manifest);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_neighbour() {
        let error = Manifest::from_toml("name = 'x'\n[limits]\nfule = 3").unwrap_err().to_string();
        assert!(
            error.contains("fule")
                && error.contains("did you mean 'fuel'?")
                && error.contains("line 3"),
            "{error}"
        );
        let error = Manifest::from_json(serde_json::json!({"name": "x", "trigers": []}))
            .unwrap_err()
            .to_string();
        assert!(error.contains("did you mean 'trigger'?"), "{error}");
    }

    #[test]
    fn values_out_of_bounds_are_named() {
        for (toml, key) in [
            ("[limits]\ntimeout = '16m'", "limits.timeout"),
            (&format!("runs_on = [{}]", "'a',".repeat(17)), "runs_on"),
            ("[limits]\nconcurrency = 0", "limits.concurrency"),
            ("[limits]\nhttp_requests = 100_001", "limits.http_requests"),
            ("[limits]\nhttp_bytes = '2GiB'", "limits.http_bytes"),
            ("[retry]\nmax_attempts = 0", "retry.max_attempts"),
            ("[retry]\non = ['success']", "retry.on"),
            ("[env]\n\"A=B\" = 'x'", "env.A=B"),
        ] {
            let error = Manifest::from_toml(&format!("name = 'x'\n{toml}")).unwrap_err();
            assert!(
                matches!(&error, ManifestError::Value { key: named, .. } if named == key),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_read(text in "\\PC{0,200}") {
            let _ = Manifest::from_toml(&text);
        }

        #[test]
        fn any_keys_are_refused_or_read(keys in proptest::collection::vec(("[a-z_]{1,12}", "[0-9a-z\"'\\[\\]{}]{0,12}"), 0..6)) {
            let text: String = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
            let _ = Manifest::from_toml(&format!("name = 'x'\n{text}"));
        }
    }
}
