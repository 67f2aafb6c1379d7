//! What the gateway asks before a deploy.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use wasmill_component::{Artifact, Inspection, Preflight, PreflightError, inspect};
use wasmill_domain::manifest::Kind;
use wasmill_domain::units::ByteSize;
use wasmill_domain::{
    Digest, ExecutionId, Manifest, TenantName, Timestamp, TraceContext, manifest,
};
use wasmtime::WasmBacktrace;

use crate::engine::Engine;
use crate::error::sentence;
use crate::execution::CurrentExecution;
use crate::files::Files;
use crate::instance::allowance_for;
use crate::outcome::Reason;
use crate::prepare::prepared::Prepared;

#[async_trait]
impl Preflight for Engine {
    async fn check(
        &self,
        tenant: &TenantName,
        digest: Digest,
        artifact: &dyn Artifact,
        manifest: &Manifest,
    ) -> Result<(), PreflightError> {
        let inspection = self.inspect(tenant, artifact).await?;
        if inspection.digest != digest {
            let message = format!("the bytes are {}, not {digest}", inspection.digest);
            return Err(PreflightError::Mismatch(message));
        }
        let kind = inspection.kind(manifest.kind)?;
        check_for(manifest, kind)?;
        inspection.require_wasi(self.runs_wasi_0_3())?;
        inspection.require_imports()?;
        inspection.require_grants(manifest)?;
        // What is compiled now need not be when the first event comes.
        let prepared = self.prepare_for(tenant, digest, artifact.bytes()).await?;
        let (needed, limit) = (prepared.smallest_memory(), manifest.limits.memory);
        if needed > limit.0 {
            return Err(PreflightError::Manifest {
                key: "limits.memory".into(),
                message: format!("is {limit}, and the component begins with {}", ByteSize(needed)),
            });
        }
        if limit.0 > self.memory() {
            return Err(PreflightError::Manifest {
                key: "limits.memory".into(),
                message: format!(
                    "is {limit}, and a host has {} for all of its functions",
                    ByteSize(self.memory())
                ),
            });
        }
        let more = ByteSize(allowance_for(manifest, self.guest_settings()));
        if limit.0.saturating_add(more.0) > self.memory() {
            let all = ByteSize(self.memory());
            return Err(PreflightError::Manifest {
                key: "limits.memory".into(),
                message: format!(
                    "is {limit}, and the host may hold {more} more for its result and its log (limits.output_bytes, \
                     limits.log_bytes); a host has {all} for all of its functions"
                ),
            });
        }
        if prepared.slots() as usize > self.slots() {
            return Err(PreflightError::Mismatch(
                "it has more memories or tables than the host has room for".into(),
            ));
        }
        let files = self.files(manifest, artifact).await?;
        self.try_start(tenant, &prepared, manifest, files.as_ref()).await
    }
}

impl Engine {
    /// Reads and validates an artifact, when it has a permit: a large one takes memory and a while.
    async fn inspect(
        &self,
        tenant: &TenantName,
        artifact: &dyn Artifact,
    ) -> Result<Inspection, PreflightError> {
        let permit = self.inspections().acquire(tenant).await;
        let permit = permit.map_err(|e| PreflightError::Unavailable(e.to_string()))?;
        let bytes = artifact.bytes().await?;
        let inspection = self.background().run(move || {
            let inspection = inspect(&bytes);
            drop((bytes, permit));
            inspection
        });
        let broken = |e| PreflightError::Unavailable(format!("the inspection broke down: {e}"));
        Ok(inspection.await.map_err(broken)??)
    }

    /// Makes an instance under the manifest's limits, and calls nothing: only then are the types of
    /// `handle` compared with the contract's, and a guest that traps at its start would trap at
    /// every event.
    async fn try_start(
        &self,
        tenant: &TenantName,
        prepared: &Arc<Prepared>,
        manifest: &Manifest,
        files: Option<&Arc<Files>>,
    ) -> Result<(), PreflightError> {
        let wait_timeout = self.preflight_wait_timeout();
        let instance = self.instance(tenant, prepared, manifest, files);
        let mut instance = tokio::time::timeout(wait_timeout, instance).await.map_err(|_| {
            PreflightError::Unavailable(format!(
                "the host had no room for an instance within {wait_timeout:?}: its instances or \
                 their memory (limits.memory) are in use; try again later"
            ))
        })?;
        let deadline = Instant::now() + manifest.limits.timeout.0;
        instance
            .begin(manifest, deadline, nobody(prepared, manifest), None)
            .map_err(|e| PreflightError::Mismatch(sentence(&e)))?;
        let ticking = self.ticker().running();
        let (fairness, limits, kind) =
            (self.fairness().clone(), manifest.limits.clone(), prepared.digest());
        let trial = self.spawn(async move {
            // The clock and the instance's permits are the trial's: it goes on where nobody waits
            // for it, and without the clock nothing would interrupt it.
            let _ticking = ticking;
            let started = {
                let starting = std::pin::pin!(instance.instantiate());
                tokio::time::timeout_at(deadline.into(), fairness.apply(kind, starting)).await
            };
            let started = started.map_err(|_| Reason::timed_out(limits.timeout.0).message)?;
            started.map_err(|error| match error.is::<WasmBacktrace>() {
                true => Reason::of(&error, instance.guest(), &limits).message,
                false => format!("{}: {}", misfit(instance.kind()), sentence(&error)),
            })
        });
        match trial.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => {
                Err(PreflightError::Mismatch(format!("no instance of it can be made: {why}")))
            }
            Err(error) => {
                Err(PreflightError::Unavailable(format!("the trial broke down: {error}")))
            }
        }
    }
}

/// Makes sure that the manifest has no key that the component's kind has no use for.
fn check_for(manifest: &Manifest, kind: Kind) -> Result<(), PreflightError> {
    manifest.check_for(kind).map_err(|error| match error {
        manifest::ManifestError::Value { key, message } => {
            PreflightError::Manifest { key, message }
        }
        manifest::ManifestError::Syntax(message) => PreflightError::Mismatch(message),
    })
}

/// What is wrong where what is called has other types than it should.
fn misfit(kind: Kind) -> &'static str {
    match kind {
        Kind::Event => "its handle does not have the contract's types",
        Kind::Http => "its handle is not that of wasi:http",
        Kind::Command => "its run is not that of wasi:cli",
    }
}

/// The execution that a guest sees which asks before there is one.
fn nobody(prepared: &Prepared, manifest: &Manifest) -> CurrentExecution {
    CurrentExecution {
        id: ExecutionId(uuid::Uuid::nil()),
        tenant: TenantName::default(),
        function: manifest.name.clone(),
        version: prepared.digest(),
        attempt: 0,
        max_attempts: 0,
        deadline: Timestamp::now().plus(manifest.limits.timeout.0),
        span: TraceContext::new_root(),
    }
}
