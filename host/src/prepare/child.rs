//! The compiler's process: the side that is alone with somebody's component.

use std::any::Any;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use serde::{Deserialize, Serialize};
use wasmill_component::InspectError;

use crate::engine::config;
use crate::error::sentence;
use crate::settings::EngineSettings;

/// Processor time after the limit until the system ends the process in the way that cannot be
/// caught, in seconds.
const LAST_SECONDS: u64 = 2;

/// What a compiler's process is told by its last argument, as JSON: the limits to set before it
/// reads anything, and how the engine compiles.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// Address space, in bytes.
    memory: u64,
    /// Processor time of all threads together, in seconds.
    processor_seconds: u64,
    niceness: i32,
    wasm_stack: usize,
    wasi_0_3: bool,
    /// Whether the code is for instances that come from a pool.
    pooled: bool,
}

impl Job {
    pub(super) fn new(settings: &EngineSettings, pooled: bool) -> Self {
        let compile = &settings.compile;
        let threads = compile.threads.max(1) as u64;
        Self {
            memory: compile.memory,
            processor_seconds: (compile.timeout.as_secs() + 1).saturating_mul(threads),
            niceness: compile.niceness,
            wasm_stack: settings.wasm_stack,
            wasi_0_3: settings.wasi_0_3,
            pooled,
        }
    }

    /// Takes the limits upon this process. They cannot be lifted again.
    fn limit(&self) -> io::Result<()> {
        let set = |resource, current: u64, maximum: u64| {
            // One that this process has already may be tighter, and cannot be lifted.
            let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
            setrlimit(
                resource,
                Rlimit { current: Some(current.min(most)), maximum: Some(maximum.min(most)) },
            )
        };
        set(Resource::As, self.memory, self.memory)?;
        let seconds = self.processor_seconds;
        set(Resource::Cpu, seconds, seconds.saturating_add(LAST_SECONDS))?;
        // It writes no files: neither what it was asked for nor an image of its memory.
        set(Resource::Fsize, 0, 0)?;
        set(Resource::Core, 0, 0)?;
        // Where memory is short, this process should go and not the one that serves. Neither is
        // worth a failure.
        let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
        let _ = setpriority_process(None, self.niceness);
        Ok(())
    }
}

/// What a compiler's process answers, on a line before the compiled component.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Compiled; the component follows.
    Compiled,
    /// Not compiled.
    Refused(Refusal),
}

/// Why it was not compiled.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// It is no component, and nothing that one can be made of.
    Component(InspectError),
    /// The compiler refuses it.
    Compile(String),
    /// There is not enough memory.
    Memory,
    /// The process could not be made ready: nothing is known of the component.
    Unprepared(String),
}

/// Compiles one component: the work of a process of its own, which
/// [`Compiler::Process`](crate::Compiler::Process) starts with `job` as its last argument. Reads an
/// artifact from standard input and writes the compiled component to standard output. Ends the
/// process where the one that started it is gone.
pub fn compile(job: &str) -> ExitCode {
    let result = serde_json::from_str(job)
        .map_err(|e| Refusal::Unprepared(format!("what is to be done: {e}")));
    let result = result.and_then(|job: Job| {
        // Before anything is read.
        job.limit().map_err(|e| Refusal::Unprepared(format!("its limits: {e}")))?;
        let artifact = receive().map_err(|e| match e.kind() {
            // As the system says it of memory for a thread.
            io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock => Refusal::Memory,
            _ => Refusal::Unprepared(format!("the artifact: {e}")),
        })?;
        let work = || {
            let engine = config::compiling(job.wasm_stack, job.wasi_0_3, job.pooled);
            let engine =
                wasmtime::Engine::new(&engine).map_err(|e| Refusal::Unprepared(sentence(&e)))?;
            compile_with(&engine, &artifact)
        };
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)))
    });
    match answer(result) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Refusal {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref().copied());
    match message {
        // Its threads have no room for their stacks.
        Some(message) if message.contains("ThreadPoolBuildError") => Refusal::Memory,
        _ => Refusal::Compile(format!(
            "the compiler panicked: {}",
            message.unwrap_or("it does not say why")
        )),
    }
}

/// Makes a component of the artifact if it is none, and compiles it.
pub(super) fn compile_with(
    wasmtime: &wasmtime::Engine,
    artifact: &[u8],
) -> Result<Vec<u8>, Refusal> {
    let component = wasmill_component::component_of(artifact).map_err(Refusal::Component)?;
    wasmtime.precompile_component(&component).map_err(|error| match is_out_of_memory(&error) {
        true => Refusal::Memory,
        false => Refusal::Compile(sentence(&error)),
    })
}

/// Whether there was no memory, as the compiler says it or as the system does.
fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    let system = error.root_cause().downcast_ref::<io::Error>();
    error.is::<wasmtime::error::OutOfMemory>()
        || system.is_some_and(|error| error.kind() == io::ErrorKind::OutOfMemory)
        || error.root_cause().downcast_ref() == Some(&rustix::io::Errno::NOMEM)
}

/// The artifact, after its length in 8 bytes. Then nothing more comes: the end of the input is the
/// end of the one who wrote it.
fn receive() -> io::Result<Vec<u8>> {
    let mut input = io::stdin();
    let mut length = [0; 8];
    input.read_exact(&mut length)?;
    let length = usize::try_from(u64::from_le_bytes(length)).map_err(io::Error::other)?;
    let mut artifact = vec![0; length];
    input.read_exact(&mut artifact)?;
    std::thread::Builder::new().name("wasmill-parent".into()).stack_size(64 << 10).spawn(
        move || {
            let _ = input.read(&mut [0]);
            std::process::exit(1);
        },
    )?;
    Ok(artifact)
}

fn answer(result: Result<Vec<u8>, Refusal>) -> io::Result<()> {
    let (answer, compiled) = match result {
        Ok(compiled) => (Answer::Compiled, compiled),
        Err(refusal) => (Answer::Refused(refusal), Vec::new()),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    let mut output = io::stdout().lock();
    output.write_all(&line)?;
    output.write_all(&compiled)?;
    output.flush()
}
