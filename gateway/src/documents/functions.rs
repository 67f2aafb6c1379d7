//! Functions, their versions and artifacts.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use wasmill_broker::Depth;
use wasmill_component::{Adapter, Inspection};
use wasmill_domain::manifest::http::HttpTrigger;
use wasmill_domain::manifest::{Kind, Manifest, Trigger};
use wasmill_domain::units::Span;
use wasmill_domain::{
    Digest, EventType, FunctionDefinition, FunctionName, Timestamp, UnreadableDefinition,
};
use wasmill_store::FunctionVersion;

use crate::webhooks::Counted;

/// A function to be deployed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deploy {
    /// The manifest: the keys of `wasmill.toml`, with schemas in place of their files' names.
    #[schema(value_type = Object)]
    pub(crate) manifest: serde_json::Value,
    /// The artifact, which must have been uploaded: `sha256:` and 64 hex digits.
    #[schema(value_type = String)]
    pub(crate) digest: Digest,
}

/// What a deploy or a rollback came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deployed {
    /// The function.
    pub(crate) name: String,
    /// The version that runs now.
    pub(crate) version: u32,
    /// Its artifact.
    #[schema(value_type = String)]
    pub(crate) digest: Digest,
    /// Whether this changed anything.
    pub(crate) changed: bool,
    /// The revision of all definitions that has it.
    pub(crate) revision: i64,
    /// What somebody should look at, in plain words; left out where there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

/// Where to roll back to.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    /// The version; left out, the one before the current.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub(crate) to: Option<u32>,
}

/// Which functions to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListFunctions {
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    pub(crate) cursor: Option<FunctionName>,
    /// How many at most: 1 to 500. Default: 500.
    #[param(minimum = 1, maximum = 500, default = 500)]
    pub(crate) limit: Option<u32>,
}

/// Which versions to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListVersions {
    /// `next` of the page before.
    pub(crate) cursor: Option<u32>,
    /// How many at most: 1 to 500. Default: 500.
    #[param(minimum = 1, maximum = 500, default = 500)]
    pub(crate) limit: Option<u32>,
}

/// How to invoke.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct InvokeFunction {
    /// How long to wait for the end, up to `15m`. Default: `30s`.
    #[param(value_type = Option<String>, example = "30s")]
    pub(crate) wait: Option<Span>,
    /// The event's type. Default: the header ce-type, or else the first type that the function
    /// listens to by its full name, or else `wasmill.invoke`.
    #[serde(rename = "type")]
    #[param(value_type = Option<String>)]
    pub(crate) event_type: Option<EventType>,
}

/// A page of functions.
#[derive(Serialize, ToSchema)]
pub(crate) struct FunctionPage {
    /// The functions, by name.
    pub(crate) functions: Vec<FunctionSummary>,
    /// Functions that this gateway cannot read, as another release of wasmill deployed them; on the
    /// first page, where there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unreadable: Vec<UnreadableFunction>,
    /// The cursor of the next page; null on the last.
    #[schema(value_type = Option<String>, required = true)]
    pub(crate) next: Option<FunctionName>,
}

/// A function that cannot be read.
#[derive(Serialize, ToSchema)]
pub(crate) struct UnreadableFunction {
    /// Its name.
    name: String,
    /// Why it cannot be read.
    why: String,
}

/// A function as it is listed.
#[derive(Serialize, ToSchema)]
pub(crate) struct FunctionSummary {
    /// Its name.
    name: String,
    /// One line for people.
    description: String,
    /// The version that runs.
    version: u32,
    /// The version's artifact.
    #[schema(value_type = String)]
    digest: Digest,
    /// What starts it.
    triggers: Vec<TriggerDocument>,
    /// When this version was deployed.
    #[schema(value_type = String, format = DateTime)]
    deployed_at: Timestamp,
}

/// What starts a function.
#[derive(Serialize, ToSchema)]
#[schema(as = Trigger)]
pub(crate) struct TriggerDocument {
    /// The event type or pattern, of a trigger on events.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    /// The path, of a trigger on HTTP requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    /// The methods that are answered; none means every method.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    methods: Vec<String>,
    /// The host name that requests must be for.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// Whether the trigger checks the data against a schema of its own.
    checked: bool,
}

/// A function with all that is known of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Function)]
pub(crate) struct FunctionDocument {
    #[serde(flatten)]
    pub(crate) summary: FunctionSummary,
    /// The manifest of the version that runs, every default filled in.
    #[schema(value_type = Object)]
    pub(crate) manifest: std::sync::Arc<Manifest>,
    /// Its newest versions, the newest first; at most 20.
    pub(crate) versions: Vec<VersionSummary>,
    /// Its queue; null while the broker cannot be asked.
    #[schema(required = true)]
    pub(crate) queue: Option<Queue>,
    /// Its webhooks, where it has any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) webhooks: Vec<WebhookDocument>,
    /// Host names of its triggers that are not the tenant's (any more): requests for them do not
    /// reach it.
    #[serde(rename = "hostnames_not_owned", skip_serializing_if = "Vec::is_empty")]
    pub(crate) not_owned: Vec<String>,
    /// Why no host that is alive runs it: none has the labels of `runs_on`. Its executions wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_host: Option<String>,
}

/// What was counted at a webhook, by the gateway that answers and since it was started.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct WebhookDocument {
    /// The path.
    http: String,
    /// The host name that requests must be for.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// Requests that were let through.
    accepted: u64,
    /// Requests of deliveries that had been accepted before. They were answered and not run again.
    repeated: u64,
    /// Requests that were refused: not signed, not with one of the secrets, or too long ago.
    refused: u64,
    /// Requests that could not be checked, for want of a secret.
    unverifiable: u64,
}

impl WebhookDocument {
    pub(crate) fn new(trigger: &HttpTrigger, counted: Counted) -> Self {
        let Counted { accepted, repeated, refused, unverifiable } = counted;
        let host = trigger.host.as_ref().map(ToString::to_string);
        Self { http: trigger.http.to_string(), host, accepted, repeated, refused, unverifiable }
    }
}

/// What waits for a function: messages, each with up to 64 executions.
#[derive(Serialize, ToSchema)]
pub(crate) struct Queue {
    /// Messages that wait.
    ready: u64,
    /// Messages that hosts hold.
    unacked: u64,
}

/// A page of versions.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionPage {
    /// The versions, the newest first.
    pub(crate) versions: Vec<VersionDocument>,
    /// The cursor of the next page; null on the last.
    #[schema(required = true)]
    pub(crate) next: Option<u32>,
}

/// A version of a function.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionSummary {
    /// Its number, from 1.
    version: u32,
    /// Its artifact.
    #[schema(value_type = String)]
    digest: Digest,
    /// The artifact's size in bytes.
    size: u64,
    /// When it was deployed first.
    #[schema(value_type = String, format = DateTime)]
    deployed_at: Timestamp,
    /// Whether it is the one that runs.
    current: bool,
}

/// A version of a function with its manifest.
#[derive(Serialize, ToSchema)]
#[schema(as = Version)]
pub(crate) struct VersionDocument {
    #[serde(flatten)]
    summary: VersionSummary,
    /// Its manifest, every default filled in; null where it cannot be read.
    #[schema(value_type = Option<Object>, required = true)]
    manifest: Option<Manifest>,
    /// Why the manifest cannot be read: another release of wasmill deployed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

/// What a `.wasm` is.
#[derive(Serialize, ToSchema)]
#[schema(as = Artifact)]
pub(crate) struct ArtifactDocument {
    /// The SHA-256 of its bytes: `sha256:` and 64 hex digits.
    #[schema(value_type = String)]
    digest: Digest,
    /// Its size in bytes.
    size: u64,
    /// What it is for: `event`, `http`, `command`, or several of them. A manifest that names none
    /// gets the first.
    #[schema(value_type = Vec<String>)]
    kinds: Vec<Kind>,
    /// What turns it into a component, of a core module: `command`, `reactor`, `proxy`, or `none`
    /// where it needs no WASI preview 1. Imports and exports are the component's.
    #[schema(value_type = String)]
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<Adapter>,
    /// What it asks its host for.
    imports: Vec<String>,
    /// What it offers.
    exports: Vec<String>,
    /// Whether it needs WASI 0.3, which only runs where `engine.wasi_0_3` lets it.
    wasi_0_3: bool,
}

/// A file that is kept.
#[derive(Serialize, ToSchema)]
#[schema(as = File)]
pub(crate) struct FileDocument {
    /// The SHA-256 of its content: `sha256:` and 64 hex digits.
    #[schema(value_type = String)]
    pub(crate) digest: Digest,
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// Which files may be missing.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileQuestion {
    /// Their digests.
    #[schema(value_type = Vec<String>, max_items = 1024)]
    pub(crate) digests: Vec<Digest>,
}

/// Which files are.
#[derive(Serialize, ToSchema)]
pub(crate) struct MissingFiles {
    /// Their digests.
    #[schema(value_type = Vec<String>)]
    pub(crate) missing: Vec<Digest>,
}

impl From<&UnreadableDefinition> for UnreadableFunction {
    fn from(unreadable: &UnreadableDefinition) -> Self {
        Self { name: unreadable.name.clone(), why: unreadable.why.clone() }
    }
}

impl From<&FunctionDefinition> for FunctionSummary {
    fn from(function: &FunctionDefinition) -> Self {
        Self {
            name: function.name.to_string(),
            description: function.manifest.description.clone(),
            version: function.version,
            digest: function.digest,
            triggers: function.manifest.triggers.iter().map(TriggerDocument::from).collect(),
            deployed_at: function.deployed_at,
        }
    }
}

impl From<&Trigger> for TriggerDocument {
    fn from(trigger: &Trigger) -> Self {
        let http = trigger.as_http();
        Self {
            event: trigger.as_event().map(|trigger| trigger.event.to_string()),
            http: http.map(|trigger| trigger.http.to_string()),
            methods: http
                .iter()
                .flat_map(|trigger| &trigger.methods)
                .map(ToString::to_string)
                .collect(),
            host: http.and_then(|trigger| trigger.host.as_ref()).map(ToString::to_string),
            checked: trigger.schema().is_some(),
        }
    }
}

impl From<Depth> for Queue {
    fn from(depth: Depth) -> Self {
        Self { ready: depth.ready, unacked: depth.unacked }
    }
}

impl From<&FunctionVersion> for VersionSummary {
    fn from(version: &FunctionVersion) -> Self {
        Self {
            version: version.number,
            digest: version.digest,
            size: version.size,
            deployed_at: version.deployed_at,
            current: version.current,
        }
    }
}

impl From<FunctionVersion> for VersionDocument {
    fn from(version: FunctionVersion) -> Self {
        let summary = (&version).into();
        match version.manifest {
            Ok(manifest) => Self { summary, manifest: Some(manifest), unreadable: None },
            Err(why) => Self { summary, manifest: None, unreadable: Some(why) },
        }
    }
}

impl From<Inspection> for ArtifactDocument {
    fn from(inspection: Inspection) -> Self {
        let wasi_0_3 = inspection.wasi3.is_some() && !inspection.runs_without_wasi3;
        let Inspection { kinds, adapter, digest, size, imports, exports, .. } = inspection;
        Self { digest, size, kinds, adapter, imports, exports, wasi_0_3 }
    }
}
