//! Starts the compiler's process, feeds it, and ends it at its time.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};

use bytes::Bytes;
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};

use super::child::{Answer, Job, Refusal};
use crate::fair_semaphore::FairPermit;
use crate::settings::{CompileSettings, CompilerProgram};

/// The longest first line of an answer, which may hold a message about the component.
const LONGEST_LINE: usize = 64 << 10;

/// How much is kept of what the process says on its standard error.
const LONGEST_COMPLAINT: u64 = 4 << 10;

/// What the standard library says when memory cannot be had, before it aborts.
const OUT_OF_MEMORY: &str = "memory allocation of";

/// Why there is no compiled component.
#[derive(Debug)]
pub(super) enum Failure {
    /// The process says why.
    Refused(Refusal),
    /// It cannot be started.
    Start(io::Error),
    /// It took too long.
    Time,
    /// It took too much processor time.
    Processor,
    /// It needs too much memory.
    Memory,
    /// It made too much.
    Output,
    /// It began to write a file.
    File,
    /// It was killed, and not from here.
    Killed,
    /// It ended in another way.
    Failed(String),
}

/// A process, and the permit that is held until it is gone.
struct CompilerProcess(Option<(Child, FairPermit)>);

impl Drop for CompilerProcess {
    fn drop(&mut self) {
        let Some((mut child, permit)) = self.0.take() else { return };
        // Where there is no runtime any more, `kill_on_drop` does the same without waiting.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let _ = child.start_kill();
        runtime.spawn(async move {
            let _ = child.wait().await;
            drop(permit);
        });
    }
}

/// Has a component compiled; the process is gone when this returns, and soon after this is dropped.
/// The permit comes back with what was compiled, as that is to be loaded yet.
pub(super) async fn run(
    program: &CompilerProgram,
    job: &Job,
    settings: &CompileSettings,
    artifact: Bytes,
    permit: FairPermit,
) -> Result<(Vec<u8>, FairPermit), Failure> {
    let child = start(program, job, settings).map_err(Failure::Start)?;
    tracing::debug!(process = child.id(), bytes = artifact.len(), "compiling");
    let mut running = CompilerProcess(Some((child, permit)));
    let Some((child, _)) = &mut running.0 else { unreachable!("it was just put there") };
    let talked =
        tokio::time::timeout(settings.timeout, talk(child, &artifact, settings.output)).await;
    let result = match talked {
        Ok(Ok(Talk { status, output, complaint })) => read(status, output, &complaint),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::Time),
    };
    if result.is_err() {
        // Most often it is gone already.
        let _ = child.start_kill();
        let _ = child.wait().await;
    }
    match running.0.take() {
        Some((_, permit)) => result.map(|compiled| (compiled, permit)),
        None => unreachable!("nobody else takes it"),
    }
}

fn start(program: &CompilerProgram, job: &Job, settings: &CompileSettings) -> io::Result<Child> {
    Command::new(&program.path)
        .args(&program.arguments)
        .arg(serde_json::to_string(job)?)
        // Nothing of what the environment holds, such as passwords, is the compiler's business.
        .env_clear()
        .env("RAYON_NUM_THREADS", settings.threads.max(1).to_string())
        // Address space is what is limited: it is not to be set aside in large pieces that stay
        // empty.
        .env("MALLOC_ARENA_MAX", "1")
        .env("MIMALLOC_ARENA_RESERVE", "32768")
        .current_dir("/")
        // What ends this process from a terminal is not for that one: it ends with its caller.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// What a process left behind.
struct Talk {
    status: ExitStatus,
    output: Vec<u8>,
    complaint: String,
}

async fn talk(child: &mut Child, artifact: &[u8], most: u64) -> Result<Talk, Failure> {
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(Failure::Start(io::Error::other("it has no pipes")));
    };
    let most = most.saturating_add(LONGEST_LINE as u64);
    // The input stays open until the end: the process takes its end for the end of this one.
    let (_stdin, output, complaint) = tokio::join!(
        feed(stdin, artifact),
        read_at_most(stdout, most),
        read_at_most(stderr, LONGEST_COMPLAINT)
    );
    let output = output.map_err(|e| Failure::Failed(e.to_string()))?.ok_or(Failure::Output)?;
    let complaint =
        String::from_utf8_lossy(&complaint.ok().flatten().unwrap_or_default()).into_owned();
    let status = child.wait().await.map_err(|e| Failure::Failed(e.to_string()))?;
    Ok(Talk { status, output, complaint })
}

/// Writes the artifact. A process that does not want it says why in its answer or by its end.
async fn feed(mut stdin: ChildStdin, artifact: &[u8]) -> ChildStdin {
    let length = (artifact.len() as u64).to_le_bytes();
    let _ = stdin.write_all(&length).await;
    let _ = stdin.write_all(artifact).await;
    let _ = stdin.flush().await;
    stdin
}

/// All there is to read; nothing where that is more than `most`.
async fn read_at_most(from: impl AsyncRead + Unpin, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(most.saturating_add(1)).read_to_end(&mut bytes).await?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= most))
}

fn read(status: ExitStatus, mut output: Vec<u8>, complaint: &str) -> Result<Vec<u8>, Failure> {
    let line = output.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n');
    let answer = line.and_then(|end| Some((end, serde_json::from_slice(&output[..end]).ok()?)));
    match answer {
        Some((end, Answer::Compiled)) if status.success() => {
            output.drain(..=end);
            Ok(output)
        }
        Some((_, Answer::Refused(refusal))) if status.success() => Err(Failure::Refused(refusal)),
        _ => Err(end_of(status, complaint)),
    }
}

/// What an unexpected end means.
fn end_of(status: ExitStatus, complaint: &str) -> Failure {
    match status.signal() {
        _ if complaint.contains(OUT_OF_MEMORY) => Failure::Memory,
        Some(signal) if signal == Signal::XCPU.as_raw() => Failure::Processor,
        Some(signal) if signal == Signal::XFSZ.as_raw() => Failure::File,
        Some(signal) if signal == Signal::KILL.as_raw() => Failure::Killed,
        _ => {
            tracing::warn!(%status, complaint, "the compiler's process ended without an answer");
            Failure::Failed(status.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn killed_by(signal: Signal) -> ExitStatus {
        ExitStatus::from_raw(signal.as_raw())
    }

    #[test]
    fn an_end_without_an_answer_says_what_was_too_much() {
        let said = "memory allocation of 4096 bytes failed\n";
        assert!(matches!(end_of(killed_by(Signal::ABORT), said), Failure::Memory));
        assert!(matches!(
            end_of(killed_by(Signal::ABORT), "fatal runtime error: stack overflow"),
            Failure::Failed(_)
        ));
        assert!(matches!(end_of(killed_by(Signal::XCPU), ""), Failure::Processor));
        assert!(matches!(end_of(killed_by(Signal::XFSZ), ""), Failure::File));
        assert!(matches!(end_of(killed_by(Signal::KILL), ""), Failure::Killed));
        assert!(matches!(end_of(ExitStatus::from_raw(0), ""), Failure::Failed(_)));
    }

    #[test]
    fn only_an_answer_before_a_good_end_counts() {
        let compiled = b"\"Compiled\"\nmachine code".to_vec();
        assert_eq!(read(ExitStatus::from_raw(0), compiled.clone(), "").unwrap(), b"machine code");
        assert!(matches!(read(killed_by(Signal::SEGV), compiled, ""), Err(Failure::Failed(_))));
        assert!(matches!(
            read(ExitStatus::from_raw(0), b"machine code".to_vec(), ""),
            Err(Failure::Failed(_))
        ));
        let refused = b"{\"Refused\":\"Memory\"}\n".to_vec();
        assert!(matches!(
            read(ExitStatus::from_raw(0), refused, ""),
            Err(Failure::Refused(Refusal::Memory))
        ));
    }
}
