//! The one place that chooses backends and puts the parts of a process together: [`embedded`] for
//! `wasmill dev`, [`pool`] for the roles that share PostgreSQL and RabbitMQ.

pub(crate) mod consistency;
mod data;
pub(crate) mod doctor;
pub(crate) mod embedded;
mod engine;
pub(crate) mod files;
mod hostnames;
mod nodes;
pub(crate) mod offline;
pub(crate) mod pool;
mod readiness;
pub(crate) mod secrets;
mod server;
mod tls;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use wasmill_domain::units::{ByteSize, Span};
use wasmill_domain::{ApiKey, KeyDefinition, KeyRole, Revision, TenantName, Timestamp};
use wasmill_host::{
    Capabilities, CompileSettings, Compiler, CompilerProgram, EngineSettings, KeyvalueStore,
};
use wasmill_secrets::Keyring;
use wasmill_store::{BucketQuota, Buckets, Catalog, Change, RegistryWatch, Secrets};

use crate::args::{COMPILE, LogFormat};
use crate::config::Compilation;
use crate::exit::Result;

/// How often a process asks whether definitions have changed.
pub(crate) const REGISTRY_INTERVAL: Duration = Duration::from_millis(200);

/// How a verb is run.
pub(crate) struct Run {
    /// Which logs are written, on standard error.
    pub(crate) filter: String,
    /// How.
    pub(crate) format: LogFormat,
}

impl Run {
    /// Runs `verb` on a new runtime.
    pub(crate) fn with(self, verb: impl Future<Output = Result>) -> Result {
        let filter =
            EnvFilter::try_new(&self.filter).with_context(|| format!("--log '{}'", self.filter))?;
        let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let logs = logs.with_ansi(std::io::stderr().is_terminal());
        match self.format {
            LogFormat::Text => logs.init(),
            LogFormat::Json => logs.json().init(),
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("the runtime cannot start")?;
        runtime.block_on(verb)
    }
}

/// The defaults of every engine that this program has: what is deployed is compiled by a process of
/// its own, which is this program with another verb.
pub(crate) fn engine_settings(compilation: Compilation) -> EngineSettings {
    let compiler = Compiler::Process(CompilerProgram::this([COMPILE]));
    let Compilation { timeout: Span(timeout), memory: ByteSize(memory) } = compilation;
    let compile = CompileSettings { compiler, timeout, memory, ..CompileSettings::default() };
    EngineSettings { compile, ..EngineSettings::default() }
}

/// What functions may use of this installation, where their manifests grant it: the same in every
/// process that has an engine. To be called within the process's runtime.
fn capabilities<S: Buckets + Secrets>(
    store: &Arc<S>,
    registry: &RegistryWatch,
    keyring: Option<&Arc<Keyring>>,
    quota: BucketQuota,
) -> Capabilities {
    let keyvalue = KeyvalueStore::new(Arc::clone(store) as _, quota);
    Capabilities {
        secrets: secrets::source(Arc::clone(store) as _, registry, keyring),
        keyvalue: Some(keyvalue),
    }
}

/// Makes an operator's key, unless somebody made one in the meantime; its text is seen this once.
async fn make_first_key(catalog: &dyn Catalog) -> Result<Option<(ApiKey, Revision)>> {
    let (key, definition) = operator_key("the first key")?;
    let changed =
        catalog.define(&Change::PutFirstKey(definition)).await.context("the first API key")?;
    Ok(changed.changed.then_some((key, changed.revision)))
}

/// A new operator's key, which nobody knows yet.
fn operator_key(label: &str) -> Result<(ApiKey, KeyDefinition)> {
    let key = ApiKey::generate().context("no random bytes for an API key")?;
    let definition = KeyDefinition {
        id: uuid::Uuid::now_v7(),
        tenant: TenantName::default(),
        role: KeyRole::Operator,
        label: label.into(),
        hash: ApiKey::hash_of(key.reveal()),
        created_at: Timestamp::now(),
    };
    Ok((key, definition))
}

/// A token that the first SIGINT or SIGTERM cancels; the second one ends the process.
pub(crate) fn shutdown_on_signal() -> Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("signals")?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            let signal = tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
            };
            if !first {
                // As shells count.
                std::process::exit(128 + signal.as_raw_value());
            }
            stop.cancel();
        }
    });
    Ok(token)
}
