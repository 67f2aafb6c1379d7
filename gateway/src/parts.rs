//! What whoever starts a gateway gives it.

use std::sync::Arc;

use wasmill_broker::BatchPublisher;
use wasmill_component::Preflight;
use wasmill_secrets::{Keyring, SecretSource};
use wasmill_store::{Nodes, RegistryWatch};

use crate::ports::{GatewayBroker, GatewayStore};
use crate::settings::GatewaySettings;

/// What a gateway is made of.
pub struct GatewayParts {
    /// Where definitions and history are kept.
    pub store: GatewayStore,
    /// Which processes are alive.
    pub nodes: Arc<dyn Nodes>,
    /// What is defined, kept up to date.
    pub registry: RegistryWatch,
    /// What carries requests, and has the queues.
    pub broker: GatewayBroker,
    /// Where events go.
    pub publisher: BatchPublisher,
    /// The last word before a deploy.
    pub preflight: Arc<dyn Preflight>,
    /// Opens the secrets that webhooks are signed with.
    pub secrets: Arc<dyn SecretSource>,
    /// Seals secrets; without one, none can be set.
    pub keyring: Option<Arc<Keyring>>,
    /// What operators should look at that keeps nothing from working: `/readyz` lists it to
    /// anybody, so it names nobody.
    pub notes: Vec<String>,
    /// Bounds.
    pub settings: GatewaySettings,
}
