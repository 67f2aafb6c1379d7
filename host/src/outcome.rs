//! How an attempt that did not return ended, in words for the operator.

use std::time::Duration;

use wasmill_domain::manifest::{Kind, Limits};
use wasmill_domain::units::ByteSize;
use wasmill_domain::{LogLevel, LogLine, LogSource, Outcome};
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::entry::http::{Answered, CallerGone};
use crate::entry::returned::InvalidReturn;
use crate::granted::NoSecret;
use crate::guest::Guest;
use crate::host_memory::HostMemory;
use crate::imports::wasi::NoFiles;
use crate::instance::{DeadlinePassed, HostMemoryExceeded, TooManyHostCalls};
use crate::limits::Denied;
use crate::streams::TooMuchOutput;

/// What is said where nobody waits for the response any more.
pub(crate) const CALLER_GONE: &str =
    "the caller disconnected, or sent no whole request, before it had the whole response";

const USED_UP_STACK: &str = "used up its call stack: recursion too deep";

/// What is said where somebody tried Go's own network.
const GO_S_NETWORK: &str = "that is Go's stand-in for a network: functions have no sockets, and Go has no HTTP for this \
                            kind; let a function of another language send the request, to the hosts that its \
                            allowed_hosts in wasmill.toml names";

/// The longest backtrace that is kept, in bytes.
const LONGEST_BACKTRACE: usize = 8 << 10;

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

    /// Adds what the guest said before it trapped, where a panic's message is, or before it ended
    /// with a status, where a program says why; so does what answers with an error in place of an
    /// HTTP handler that has thrown an exception.
    pub(crate) fn add_last_words(&mut self, logs: &[LogLine], kind: Kind) {
        let trapped = self.outcome == Outcome::Trap && self.backtrace.is_some();
        let exited =
            kind == Kind::Command && matches!(self.outcome, Outcome::Error | Outcome::Rejected);
        let answered = kind == Kind::Http && self.outcome == Outcome::Error;
        if (trapped || exited || answered)
            && let Some(words) = last_words(logs)
        {
            self.message = format!("{}; {words}", self.message);
        }
    }

    /// Adds what the host refused to the guest last: that may be why it failed. A network that Go's
    /// library has in the program itself is refused by no host, and is told in its place.
    pub(crate) fn add_refusal(&mut self, refusal: Option<&str>) {
        let refusal = refusal.or_else(|| asked_go_s_network(&self.message).then_some(GO_S_NETWORK));
        if let Some(refusal) = refusal {
            self.message = format!("{}; {refusal}", self.message);
        }
    }
}

fn classify(error: &wasmtime::Error, guest: &Guest, limits: &Limits) -> (Outcome, String) {
    if error.is::<DeadlinePassed>() {
        return (Outcome::TimedOut, Reason::timed_out(limits.timeout.0).message);
    }
    if let Some(InvalidReturn(how)) = error.downcast_ref() {
        return (Outcome::Trap, (*how).to_owned());
    }
    if error.is::<CallerGone>() {
        return (Outcome::Cancelled, CALLER_GONE.into());
    }
    if let Some(answered) = error.downcast_ref::<Answered>() {
        return (Outcome::Error, answered.to_string());
    }
    if let Some(missing) = error.downcast_ref::<NoSecret>() {
        return (Outcome::Error, missing.to_string());
    }
    if let Some(missing) = error.downcast_ref::<NoFiles>() {
        return (Outcome::Error, missing.to_string());
    }
    if error.is::<TooMuchOutput>() {
        return (Outcome::Trap, too_much_output(None, limits));
    }
    if error.is::<TooManyHostCalls>() {
        return (
            Outcome::Trap,
            format!("called the host more than {} times (limits.host_calls)", limits.host_calls),
        );
    }
    if let Some(I32Exit(status)) = error.downcast_ref() {
        return (Outcome::Trap, format!("exited with status {status} instead of returning"));
    }
    if error.is::<PoolConcurrencyLimitError>() {
        // The engine hands out only as many slots as there are, so this is the host's own mistake:
        // try again.
        return (Outcome::Error, format!("the host had no room for an instance: {error:#}"));
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return (
            Outcome::Trap,
            "holds more host resources (streams, timers, …) at once than the host allows".into(),
        );
    }
    if error.downcast_ref() == Some(&Trap::OutOfFuel) {
        return (
            Outcome::OutOfFuel,
            format!("used up its {} units of fuel (limits.fuel)", limits.fuel),
        );
    }
    if error.is::<HostMemoryExceeded>()
        && let Some(Denied::HostMemory { memory, host_memory }) = guest.limiter.denied()
    {
        return (Outcome::OutOfMemory, too_much_host_memory(memory, host_memory, guest));
    }
    match guest.limiter.denied() {
        Some(Denied::Memory(bytes)) => return (Outcome::OutOfMemory, out_of_memory(bytes, guest)),
        Some(Denied::TableElements(elements)) => {
            let message = format!(
                "asked for tables of {elements} elements together, more than the host allows"
            );
            return (Outcome::OutOfMemory, message);
        }
        Some(Denied::HostMemory { .. }) | None => {}
    }
    (Outcome::Trap, describe_trap(error, limits))
}

fn out_of_memory(bytes: usize, guest: &Guest) -> String {
    let limit = ByteSize(guest.limiter.memory_limit() as u64);
    if bytes > guest.limiter.memory_limit() {
        let asked = ByteSize(bytes as u64);
        let host_memory = guest.limiter.host_memory();
        let of_host = match host_memory.bytes {
            0 => String::new(),
            bytes => format!(", with {} that the host holds for it", ByteSize(bytes as u64)),
        };
        format!(
            "asked for {asked} of memory{of_host} where the limit is {limit} (limits.memory), and trapped"
        )
    } else {
        format!(
            "asked for more memory than its module declares as its maximum (the limit is {limit}), and trapped"
        )
    }
}

fn too_much_host_memory(memory: usize, host_memory: HostMemory, guest: &Guest) -> String {
    let [memory, all, fields] =
        [memory, host_memory.bytes, host_memory.fields].map(|bytes| ByteSize(bytes as u64));
    let limit = ByteSize(guest.limiter.memory_limit() as u64);
    format!(
        "the host holds {all} for it in {} resources, {fields} of it header fields of HTTP, beside {memory} of its own memory; \
         the limit is {limit} (limits.memory)",
        host_memory.resources
    )
}

fn describe_trap(error: &wasmtime::Error, limits: &Limits) -> String {
    let root = error.root_cause().to_string();
    // wasmtime's error for this is a private type. It has a backtrace if it went through the guest:
    // out of a call that the guest made, not out of the host's reading of the result.
    if root.contains("fuel allocated for hostcalls has been exhausted") {
        return if error.is::<WasmBacktrace>() {
            "passed too much data to the host in one call".into()
        } else {
            too_much_output(None, limits)
        };
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => USED_UP_STACK.into(),
        Some(Trap::MemoryOutOfBounds) if left_its_stack(error) => USED_UP_STACK.into(),
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
            format!(
                "returned {bytes} bytes, emitted events included; the limit is {limit} (limits.output_bytes)"
            )
        }
        None => format!("returned more than the limit of {limit} (limits.output_bytes)"),
    }
}

/// The frames, innermost first, a line each: `0: 0x1f2a - hello.wasm!hello::pick`.
fn backtrace(backtrace: &WasmBacktrace) -> Option<String> {
    let text = backtrace.to_string();
    // The first line is a heading.
    let frames: Vec<&str> =
        text.lines().skip(1).map(str::trim).filter(|line| !line.starts_with("note:")).collect();
    let mut text = frames.join("\n");
    if text.len() > LONGEST_BACKTRACE {
        let end =
            (0..=LONGEST_BACKTRACE).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    (!text.is_empty()).then_some(text)
}

/// Whether a guest ran over the end of the stack that it keeps in its memory: compilers put that
/// first, so that what lies beyond it is below the address 0, and a recursion is what gets there.
fn left_its_stack(error: &wasmtime::Error) -> bool {
    /// Addresses have 32 bits, and what an instruction adds to one may carry: this is 0 again.
    const ZERO: u64 = 1 << 32;
    /// How far below 0 the frames of a function reach, and how far into a frame an instruction
    /// does.
    const DEEPEST: u64 = 16 << 20;
    /// How often a function is among the innermost frames, where it calls itself.
    const TIMES: usize = 4;
    /// The same where nothing is known of the address. (At most 20 frames are known.)
    const TIMES_ALONE: usize = 10;
    // wasmtime's type for the address is a private one.
    let text = format!("{error:#}");
    let address = text.split_once("memory fault at wasm address 0x").map(|(_, rest)| rest);
    let address = address.and_then(|rest| rest.split(|c: char| !c.is_ascii_hexdigit()).next());
    let address = address.and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return false };
    let functions: Vec<u32> =
        backtrace.frames().iter().map(wasmtime::FrameInfo::func_index).collect();
    let most = functions
        .iter()
        .map(|function| functions.iter().filter(|other| *other == function).count())
        .max();
    let most = most.unwrap_or(0);
    match address {
        Some(address) => (ZERO - DEEPEST..ZERO + DEEPEST).contains(&address) && most >= TIMES,
        // It was about to copy or to fill, which is checked before it touches anything: that is all
        // there is to go by.
        None => most >= TIMES_ALONE && most * 2 >= functions.len(),
    }
}

/// Whether a message has what Go's `net` says: for GOOS=wasip1 it has listeners and packets within
/// the program only, so whoever asks for another host is told that nobody is there.
fn asked_go_s_network(message: &str) -> bool {
    let asked = ["dial tcp", "dial udp", "lookup "];
    let told = ["Connection reset by peer", "Connection refused"];
    asked.iter().any(|word| message.contains(word))
        && told.iter().any(|word| message.contains(word))
}

/// The longest that is shown of what a guest said, in characters.
const LONGEST_WORDS: usize = 400;

/// What a guest said before its end, as one line: from where a panic begins, or else its standard
/// error, or the last error in its log, which is where guests without a standard error say it.
fn last_words(logs: &[LogLine]) -> Option<String> {
    const LINES: usize = 3;
    let said =
        |line: &&LogLine| line.source == LogSource::Stderr && !line.message.starts_with("note:");
    let lines: Vec<&str> = logs.iter().filter(said).map(|line| line.message.trim_end()).collect();
    let has_text = |line: &&&str| !line.is_empty();
    if let Some(at) = lines.iter().rposition(|line| begins_a_panic(line)) {
        // What Rust's runtime of another language panics for is before, with an empty line between
        // them.
        let before = lines[..at]
            .iter()
            .rev()
            .filter(has_text)
            .take(1)
            .filter(|_| lines[at].starts_with("thread '"));
        // Go says where its goroutines are after the reason, for pages.
        let after =
            lines[at..].iter().take_while(|line| !line.starts_with("goroutine ")).filter(has_text);
        let words: Vec<&str> = before.chain(after.take(LINES)).map(|line| line.trim()).collect();
        return Some(format!("standard error says: {}", cut(&words.join(" "), LONGEST_WORDS)));
    }
    let lines: Vec<&str> = lines.iter().filter(has_text).map(|line| line.trim()).collect();
    if !lines.is_empty() {
        return Some(format!("standard error says: {}", both_ends(&lines)));
    }
    let is_error = |line: &&LogLine| line.source == LogSource::Log && line.level == LogLevel::Error;
    let error = logs
        .iter()
        .rfind(is_error)
        .map(|line| line.message.trim())
        .filter(|error| !error.is_empty())?;
    Some(format!("the last error in its log: {}", cut(error, LONGEST_WORDS)))
}

/// Lines as one, without the middle where they are too long together. The reason may be at either
/// end: Lua writes its traceback after it, Python before it.
fn both_ends(lines: &[&str]) -> String {
    const HALF: usize = LONGEST_WORDS / 2;
    let whole = lines.join(" ");
    if lines.len() < 2 || whole.chars().count() <= LONGEST_WORDS {
        return cut(&whole, LONGEST_WORDS);
    }
    let first = fitting(lines.iter().copied(), HALF);
    let last = fitting(lines[first..].iter().rev().copied(), HALF);
    let end: Vec<String> = lines[lines.len() - last..].iter().map(|line| cut(line, HALF)).collect();
    let start: Vec<String> = lines[..first].iter().map(|line| cut(line, HALF)).collect();
    let gap = if first + last < lines.len() { " … " } else { " " };
    format!("{}{gap}{}", start.join(" "), end.join(" "))
}

/// How many lines there is room for, with spaces between, but at least one if there is any: that
/// one is cut then.
fn fitting<'a>(lines: impl Iterator<Item = &'a str>, most: usize) -> usize {
    let mut length = 0;
    let fits = |&(index, line): &(usize, &str)| {
        length += line.chars().count() + usize::from(index > 0);
        index == 0 || length <= most
    };
    lines.enumerate().take_while(fits).count()
}

/// A text of so many characters at most, and dots for the others.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether a line is the first of what Go or Rust says of a panic.
fn begins_a_panic(line: &str) -> bool {
    let of_go = ["panic: ", "fatal error: ", "runtime: goroutine stack exceeds "];
    of_go.iter().any(|start| line.starts_with(start))
        || (line.starts_with("thread '") && line.contains(" panicked at "))
}

#[cfg(test)]
mod tests;
