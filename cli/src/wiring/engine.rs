//! The engines of a pool's processes: a host has one, and a gateway only where no host checks for it
//! what is deployed.

use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use tokio::sync::OnceCell;
use wasmill_component::{Artifact, Preflight, PreflightError};
use wasmill_domain::{Digest, Manifest, TenantName};
use wasmill_host::{Capabilities, CompileSettings, Engine, EngineSettings, OutgoingSettings};

use super::engine_settings;
use crate::config::{Compilation, Config};

/// The settings of an engine in a pool.
pub(super) fn settings_of(config: &Config) -> EngineSettings {
    let engine = &config.engine;
    let defaults = engine_settings(Compilation {
        timeout: engine.compile_timeout,
        memory: engine.compile_memory,
    });
    EngineSettings {
        threads: engine.threads.unwrap_or(defaults.threads),
        slots: defaults.slots.max(u32::try_from(config.host.in_flight).unwrap_or(u32::MAX)),
        cache_dir: engine.cache_dir.clone(),
        cache_disk_bytes: engine.cache_bytes.0,
        files_bytes: engine.files_bytes.0,
        wasi_0_3: engine.wasi_0_3,
        compile: CompileSettings {
            at_once: engine.compilations.unwrap_or(defaults.compile.at_once),
            ..defaults.compile
        },
        outgoing: OutgoingSettings {
            allowed_networks: config.host.allowed_networks.clone(),
            ca_file: config.host.ca_file.clone(),
            ..OutgoingSettings::default()
        },
        ..defaults
    }
}

/// Starts the engine of this process.
pub(super) fn start(
    settings: EngineSettings,
    capabilities: Capabilities,
) -> anyhow::Result<Arc<Engine>> {
    Engine::new(settings, capabilities).context("the WebAssembly engine cannot start")
}

/// An engine that is started when something is to be checked by it: until then it reserves no
/// address space and has no threads.
pub(super) struct Lazy {
    settings: EngineSettings,
    capabilities: Capabilities,
    engine: OnceCell<Arc<Engine>>,
}

impl Lazy {
    pub(super) fn new(settings: EngineSettings, capabilities: Capabilities) -> Self {
        Self { settings, capabilities, engine: OnceCell::new() }
    }

    async fn started(&self) -> anyhow::Result<&Arc<Engine>> {
        let starting = || async {
            let (settings, capabilities) = (self.settings.clone(), self.capabilities.clone());
            tracing::info!("this process starts a WebAssembly engine of its own");
            // It maps a lot of address space and starts threads.
            tokio::task::spawn_blocking(move || start(settings, capabilities)).await?
        };
        self.engine.get_or_try_init(starting).await
    }
}

#[async_trait]
impl Preflight for Lazy {
    async fn check(
        &self,
        tenant: &TenantName,
        digest: Digest,
        artifact: &dyn Artifact,
        manifest: &Manifest,
    ) -> Result<(), PreflightError> {
        let engine =
            self.started().await.map_err(|e| PreflightError::Unavailable(format!("{e:#}")))?;
        engine.check(tenant, digest, artifact, manifest).await
    }
}
