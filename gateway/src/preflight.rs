//! Asks a host whether a version could run, before it is deployed: hosts have an engine, and what
//! they compile for the answer they need not compile when the first event comes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;
use wasmill_broker::{QueueName, RequestStream, Streams};
use wasmill_component::{Artifact, Preflight, PreflightError};
use wasmill_domain::preflight::{PreflightAnswer, PreflightRequest};
use wasmill_domain::{Digest, Manifest, TenantName};
use wasmill_store::{Node, Nodes};

/// How many hosts are asked about one version before the gateway checks it itself.
const MOST_ASKED: usize = 3;

/// How a gateway asks hosts.
#[derive(Clone, Debug)]
pub struct HostPreflightSettings {
    /// How long the database may take to say which hosts are alive, and a host to begin. Default:
    /// 5 s.
    pub dial_timeout: Duration,
    /// How long a host may take to answer, besides the function's own `limits.timeout`, within
    /// which an instance starts. What it has compiled by then is kept, so that the next deploy
    /// finds it. Default: 8 min, which is more than a component may wait for a permit and then
    /// take.
    pub timeout: Duration,
}

impl Default for HostPreflightSettings {
    fn default() -> Self {
        Self { dial_timeout: Duration::from_secs(5), timeout: Duration::from_secs(8 * 60) }
    }
}

/// Has a version checked by a host that may run it; where none does, by this process itself.
pub struct HostPreflight {
    streams: Arc<dyn Streams>,
    nodes: Arc<dyn Nodes>,
    own: Arc<dyn Preflight>,
    settings: HostPreflightSettings,
}

/// Why a host has not checked a version.
struct NotChecked(String);

impl HostPreflight {
    /// Asks hosts that `nodes` lists, over `streams`. `own` checks what none of them does.
    pub fn new(
        streams: Arc<dyn Streams>,
        nodes: Arc<dyn Nodes>,
        own: Arc<dyn Preflight>,
        settings: HostPreflightSettings,
    ) -> Self {
        Self { streams, nodes, own, settings }
    }

    /// The hosts that may be asked, the best first.
    async fn hosts(&self, request: &PreflightRequest) -> Vec<Node> {
        let live = match timeout(self.settings.dial_timeout, self.nodes.live_nodes()).await {
            Ok(Ok(live)) => live,
            Ok(Err(error)) => {
                tracing::warn!(%error, "it is not known which hosts are alive");
                return Vec::new();
            }
            Err(_) => {
                tracing::warn!(
                    "it is not known which hosts are alive: the database does not answer"
                );
                return Vec::new();
            }
        };
        let mut hosts: Vec<Node> = live.into_iter().map(|live| live.node).collect();
        hosts.retain(|node| may_be_asked(node, &request.manifest));
        // The same one for the same artifact, as long as it is alive: it may have it compiled, or
        // remember that it takes too much. Others take what it does not.
        hosts.sort_by_cached_key(|node| {
            let of_both = [node.name.as_bytes(), request.digest.as_bytes()].concat();
            (Digest::of(&of_both), node.id)
        });
        hosts
    }

    /// Asks one host.
    async fn ask(
        &self,
        host: &Node,
        request: &PreflightRequest,
    ) -> Result<Result<(), PreflightError>, NotChecked> {
        let late = |_| NotChecked("it does not begin in time".into());
        let question = request.encode_for(host.reads);
        let question = question.ok_or_else(|| NotChecked("it is of an older release".into()))?;
        let service = QueueName::of_preflights(host.id);
        let opening = self.streams.open_stream(&service, question);
        let opened = timeout(self.settings.dial_timeout, opening).await.map_err(late)?;
        // The host sends nothing before its answer, so its end of the stream tells that it lives.
        let RequestStream { sender: _sender, mut receiver } =
            opened.map_err(|error| NotChecked(error.to_string()))?;
        let accepted = timeout(self.settings.dial_timeout, receiver.accepted());
        if !accepted.await.map_err(late)? {
            return Err(NotChecked("it does not take the question".into()));
        }
        let wait_timeout = self.settings.timeout.saturating_add(request.manifest.limits.timeout.0);
        let Ok(answer) = timeout(wait_timeout, receiver.receive()).await else {
            return Ok(Err(PreflightError::Unavailable(format!(
                "the host '{}' has not answered within {wait_timeout:?}",
                host.name
            ))));
        };
        let answer = answer.ok_or_else(|| NotChecked("it is gone".into()))?;
        match PreflightAnswer::decode(&answer) {
            Ok(PreflightAnswer::Passed) => Ok(Ok(())),
            Ok(PreflightAnswer::Refused(why)) => Ok(Err(PreflightError::Refused(why))),
            Ok(PreflightAnswer::Manifest { key, message }) => {
                Ok(Err(PreflightError::Manifest { key, message }))
            }
            Ok(PreflightAnswer::Unavailable(why)) => Ok(Err(PreflightError::Unavailable(why))),
            Ok(PreflightAnswer::Unread(why)) => Err(NotChecked(why)),
            Err(error) => Err(NotChecked(error.to_string())),
        }
    }
}

/// Whether a process is a host that may run this version, and knows how to be asked.
fn may_be_asked(node: &Node, manifest: &Manifest) -> bool {
    let has = |label: &str| node.labels.iter().any(|of_node| of_node == label);
    node.role == "host"
        && node.reads.preflight > 0
        && manifest.runs_on.iter().all(|label| has(label.as_str()))
}

#[async_trait]
impl Preflight for HostPreflight {
    async fn check(
        &self,
        tenant: &TenantName,
        digest: Digest,
        artifact: &dyn Artifact,
        manifest: &Manifest,
    ) -> Result<(), PreflightError> {
        let request =
            PreflightRequest { tenant: tenant.clone(), digest, manifest: manifest.clone() };
        let function = &manifest.name;
        for host in self.hosts(&request).await.iter().take(MOST_ASKED) {
            match self.ask(host, &request).await {
                Ok(checked) => return checked,
                Err(NotChecked(why)) => {
                    tracing::warn!(%tenant, %function, host = host.name, why, "a host did not check a version");
                }
            }
        }
        drop(request);
        tracing::info!(%tenant, %function, "no host checks the version, so this gateway does");
        self.own.check(tenant, digest, artifact, manifest).await
    }
}
