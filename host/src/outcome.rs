//! How an attempt that did not return ended, in words for the operator.

use std::time::Duration;

use wasmill_domain::manifest::{Kind, Limits};
use wasmill_domain::units::ByteSize;
use wasmill_domain::{LogLine, LogSource, Outcome};
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::entry::{Answered, CallerGone, TooMuchOutput};
use crate::given::NoSecret;
use crate::guest::Guest;
use crate::held::Held;
use crate::instance::{DeadlinePassed, HeldTooMuch, TooManyHostCalls};
use crate::limits::Denied;

/// The longest backtrace that is kept, in bytes.
const LONGEST_BACKTRACE: usize = 8 << 10;

/// A guest broke the contract of its kind. The text says how.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Broken(pub(crate) &'static str);

/// An end and its reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) outcome: Outcome,
    pub(crate) message: String,
    pub(crate) backtrace: Option<String>,
}

impl Reason {
    /// A guest that broke the contract.
    pub(crate) fn trap(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Trap, message: message.into(), backtrace: None }
    }

    /// A guest whose time was over while it waited.
    pub(crate) fn timed_out(timeout: Duration) -> Self {
        let message = format!("not done after {timeout:?} (limits.timeout)");
        Self { outcome: Outcome::TimedOut, message, backtrace: None }
    }

    /// What an error out of wasmtime means.
    pub(crate) fn of(error: &wasmtime::Error, guest: &Guest, limits: &Limits) -> Self {
        let (outcome, message) = classify(error, guest, limits);
        Self { outcome, message, backtrace: error.downcast_ref().and_then(backtrace) }
    }

    /// Adds what the guest said before it trapped, where a panic's message is, or before it ended with a status, where a
    /// program says why.
    pub(crate) fn add_last_words(&mut self, logs: &[LogLine], kind: Kind) {
        let trapped = self.outcome == Outcome::Trap && self.backtrace.is_some();
        let exited = kind == Kind::Command && matches!(self.outcome, Outcome::Error | Outcome::Rejected);
        if (trapped || exited)
            && let Some(words) = last_words(logs)
        {
            self.message = format!("{}; standard error ends with: {words}", self.message);
        }
    }

    /// Adds what the host refused to the guest last: that may be why it failed.
    pub(crate) fn add_refusal(&mut self, refusal: Option<&str>) {
        if let Some(refusal) = refusal {
            self.message = format!("{}; {refusal}", self.message);
        }
    }
}

fn classify(error: &wasmtime::Error, guest: &Guest, limits: &Limits) -> (Outcome, String) {
    if error.is::<DeadlinePassed>() {
        return (Outcome::TimedOut, Reason::timed_out(limits.timeout.0).message);
    }
    if let Some(Broken(how)) = error.downcast_ref() {
        return (Outcome::Trap, (*how).to_owned());
    }
    if error.is::<CallerGone>() {
        return (
            Outcome::Cancelled,
            "the caller hung up, or sent no whole request, before it had the whole response".into(),
        );
    }
    if let Some(answered) = error.downcast_ref::<Answered>() {
        return (Outcome::Error, answered.to_string());
    }
    if let Some(missing) = error.downcast_ref::<NoSecret>() {
        return (Outcome::Error, missing.to_string());
    }
    if error.is::<TooMuchOutput>() {
        return (Outcome::Trap, too_much_output(None, limits));
    }
    if error.is::<TooManyHostCalls>() {
        return (Outcome::Trap, format!("called the host more than {} times (limits.host_calls)", limits.host_calls));
    }
    if let Some(I32Exit(status)) = error.downcast_ref() {
        return (Outcome::Trap, format!("exited with status {status} instead of returning"));
    }
    if error.is::<PoolConcurrencyLimitError>() {
        // The engine hands out only as many slots as there are, so this is the host's own mistake: try again.
        return (Outcome::Error, format!("the host had no room for an instance: {error:#}"));
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return (Outcome::Trap, "holds more host resources (streams, timers, …) at once than the host allows".into());
    }
    if error.downcast_ref() == Some(&Trap::OutOfFuel) {
        return (Outcome::OutOfFuel, format!("used up its {} units of fuel (limits.fuel)", limits.fuel));
    }
    if error.is::<HeldTooMuch>()
        && let Some(Denied::Held { memory, held }) = guest.limiter.denied()
    {
        return (Outcome::OutOfMemory, held_too_much(memory, held, guest));
    }
    match guest.limiter.denied() {
        Some(Denied::Memory(bytes)) => return (Outcome::OutOfMemory, out_of_memory(bytes, guest)),
        Some(Denied::TableElements(elements)) => {
            let message = format!("asked for tables of {elements} elements together, more than the host allows");
            return (Outcome::OutOfMemory, message);
        }
        Some(Denied::Held { .. }) | None => {}
    }
    (Outcome::Trap, describe_trap(error, limits))
}

fn out_of_memory(bytes: usize, guest: &Guest) -> String {
    let limit = ByteSize(guest.limiter.memory_limit() as u64);
    if bytes > guest.limiter.memory_limit() {
        let asked = ByteSize(bytes as u64);
        let held = guest.limiter.held();
        let of_host = match held.bytes {
            0 => String::new(),
            bytes => format!(", with {} that the host holds for it", ByteSize(bytes as u64)),
        };
        format!("asked for {asked} of memory{of_host} where the limit is {limit} (limits.memory), and trapped")
    } else {
        format!("asked for more memory than its module declares as its maximum (the limit is {limit}), and trapped")
    }
}

fn held_too_much(memory: usize, held: Held, guest: &Guest) -> String {
    let [memory, all, fields] = [memory, held.bytes, held.fields].map(|bytes| ByteSize(bytes as u64));
    let limit = ByteSize(guest.limiter.memory_limit() as u64);
    format!(
        "the host holds {all} for it in {} resources, {fields} of it header fields of HTTP, beside {memory} of its own memory; \
         the limit is {limit} (limits.memory)",
        held.resources
    )
}

fn describe_trap(error: &wasmtime::Error, limits: &Limits) -> String {
    let root = error.root_cause().to_string();
    // wasmtime's error for this is a private type. It has a backtrace if it went through the guest: out of a call that
    // the guest made, not out of the host's reading of the result.
    if root.contains("fuel allocated for hostcalls has been exhausted") {
        return if error.is::<WasmBacktrace>() {
            "passed too much data to the host in one call".into()
        } else {
            too_much_output(None, limits)
        };
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => "used up its call stack: recursion too deep".into(),
        Some(Trap::UnreachableCodeReached) => {
            "trapped: it reached an `unreachable` instruction (a panic or abort)".into()
        }
        Some(trap) => format!("trapped: {trap}"),
        None => format!("trapped: {root}"),
    }
}

/// What to say of a result beyond the limit, of `bytes` where that is known.
pub(crate) fn too_much_output(bytes: Option<u64>, limits: &Limits) -> String {
    let limit = limits.output_bytes;
    match bytes {
        Some(bytes) => {
            format!("returned {bytes} bytes, emitted events included; the limit is {limit} (limits.output_bytes)")
        }
        None => format!("returned more than the limit of {limit} (limits.output_bytes)"),
    }
}

/// The frames, innermost first, a line each: `0: 0x1f2a - hello.wasm!hello::pick`.
fn backtrace(backtrace: &WasmBacktrace) -> Option<String> {
    let text = backtrace.to_string();
    // The first line is a heading.
    let frames: Vec<&str> = text.lines().skip(1).map(str::trim).filter(|line| !line.starts_with("note:")).collect();
    let mut text = frames.join("\n");
    if text.len() > LONGEST_BACKTRACE {
        let end = (0..=LONGEST_BACKTRACE).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    (!text.is_empty()).then_some(text)
}

/// The last lines of standard error, as one.
fn last_words(logs: &[LogLine]) -> Option<String> {
    const LINES: usize = 3;
    const LONGEST: usize = 400;
    let said = |line: &&LogLine| {
        line.source == LogSource::Stderr && !line.message.trim().is_empty() && !line.message.starts_with("note:")
    };
    let mut lines: Vec<&str> = logs.iter().rev().filter(said).take(LINES).map(|line| line.message.trim()).collect();
    lines.reverse();
    let words = lines.join(" ");
    let shown: String = words.chars().take(LONGEST).collect();
    let dots = if shown.len() < words.len() { "…" } else { "" };
    (!words.is_empty()).then(|| format!("{shown}{dots}"))
}
