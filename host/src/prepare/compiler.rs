//! Has components compiled where the settings say.

use std::time::Duration;

use bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;
use wasmill_background::Background;
use wasmill_component::PreflightError;
use wasmill_domain::units::ByteSize;

use super::child::{Job, Refusal};
use super::process;
use crate::fair_semaphore::FairPermit;
use crate::settings::{CompileSettings, Compiler, EngineSettings};

/// A compiler as an engine uses it.
pub(super) struct Compiling {
    compiler: Compiler,
    settings: CompileSettings,
    job: Job,
    wasmtime: wasmtime::Engine,
}

impl Compiling {
    /// For code that `wasmtime` loads, which was made with these settings, with a pool or without
    /// one.
    pub(super) fn new(wasmtime: wasmtime::Engine, pooled: bool, settings: &EngineSettings) -> Self {
        let job = Job::new(settings, pooled);
        Self {
            compiler: settings.compile.compiler.clone(),
            settings: settings.compile.clone(),
            job,
            wasmtime,
        }
    }

    /// Compiles an artifact to what `Component::deserialize` takes, and gives the permit back, for
    /// that to be loaded. Where there is no such thing, the permit is released when nothing of the
    /// work goes on any more, even where this is dropped before.
    ///
    /// # Errors
    /// What is wrong with the artifact, or that it takes too much.
    pub(super) async fn compile(
        &self,
        background: &Background,
        artifact: Bytes,
        permit: FairPermit,
    ) -> Result<(Vec<u8>, FairPermit), PreflightError> {
        match &self.compiler {
            Compiler::InProcess => {
                let wasmtime = self.wasmtime.clone();
                let work = background.run(move || {
                    super::child::compile_with(&wasmtime, &artifact)
                        .map(|compiled| (compiled, permit))
                });
                let compiled = work.await;
                let compiled = compiled.map_err(|e| {
                    PreflightError::Compile(format!("the compiler broke down: {e}"))
                })?;
                compiled.map_err(|refusal| self.refused(refusal))
            }
            Compiler::Process(program) => {
                let (program, job, settings) =
                    (program.clone(), self.job.clone(), self.settings.clone());
                // Of a process that is started from there, not even the first millisecond is taken
                // from others.
                let process = background.spawn(async move {
                    process::run(&program, &job, &settings, artifact, permit).await
                });
                let end = AbortOnDropHandle::new(process).await;
                let end = end.unwrap_or_else(|e| Err(process::Failure::Failed(e.to_string())));
                end.map_err(|failure| self.failed(failure))
            }
        }
    }

    fn refused(&self, refusal: Refusal) -> PreflightError {
        match refusal {
            Refusal::Component(error) => PreflightError::Component(error),
            Refusal::Compile(message) => PreflightError::Compile(message),
            Refusal::Memory => self.failed(process::Failure::Memory),
            Refusal::Unprepared(message) => {
                PreflightError::Unavailable(format!("the compiler's process: {message}"))
            }
        }
    }

    /// A failure in words for the one who deploys, with the key of the bound.
    fn failed(&self, failure: process::Failure) -> PreflightError {
        use process::Failure;

        let CompileSettings { timeout, memory, output, .. } = self.settings;
        PreflightError::TooCostly(match failure {
            Failure::Refused(refusal) => return self.refused(refusal),
            Failure::Start(error) => {
                return PreflightError::Unavailable(format!(
                    "no process for the compiler can be started: {error}"
                ));
            }
            Failure::Time => {
                format!("compiling took longer than {} (engine.compile_timeout)", shown(timeout))
            }
            Failure::Processor => format!(
                "compiling took more processor time than {} on each of {} threads (engine.compile_timeout)",
                shown(timeout),
                self.settings.threads.max(1)
            ),
            Failure::Memory => {
                format!(
                    "compiling needs more than {} of memory (engine.compile_memory)",
                    ByteSize(memory)
                )
            }
            Failure::Output => format!("its machine code is larger than {}", ByteSize(output)),
            Failure::File => "its compilation wrote a file, which none may".to_owned(),
            Failure::Killed => {
                "the system killed its compilation, as it does where memory is short".to_owned()
            }
            Failure::Failed(how) => format!("the compiler broke down over it ({how})"),
        })
    }
}

fn shown(time: Duration) -> String {
    wasmill_domain::units::Span(time).to_string()
}
