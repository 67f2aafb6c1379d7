//! What every function has.

use std::io::Write as _;
use std::time::{Duration, Instant};

use wasip2::cli::{
    environment, stderr, stdin, stdout, terminal_stderr, terminal_stdin, terminal_stdout,
};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::io::poll::poll;
use wasip2::io::streams::StreamError;
use wasip2::random::{insecure, insecure_seed, random};

use crate::{Check, Checked, expect};

/// In this order: the ones of standard input each read some of it.
pub const CHECKS: &[Check] = &[
    ("cli: arguments", arguments),
    ("cli: environment", variables),
    ("cli: standard input, read, skipped and awaited", standard_input),
    ("cli: standard input ends", end_of_input),
    ("cli: standard output", standard_output),
    ("cli: standard error", standard_error),
    ("cli: no terminals", terminals),
    ("clocks: monotonic", monotonic),
    ("clocks: wall", wall),
    ("clocks: sleep", sleep),
    ("io: poll", polling),
    ("io: zeroes and splice", splice),
    ("random: bytes", random_bytes),
    ("random: insecure", insecure_random),
];

/// What an operation on a stream said.
fn failed(error: StreamError) -> String {
    match error {
        StreamError::Closed => "the stream is closed".into(),
        StreamError::LastOperationFailed(error) => error.to_debug_string(),
    }
}

fn arguments() -> Checked {
    let raw = environment::get_arguments();
    expect(raw.len() == 1, || "there is not just the name".into())?;
    expect(environment::initial_cwd().is_none(), || "there is a working directory".into())
}

fn variables() -> Checked {
    expect(std::env::var("GREETING").as_deref() == Ok("Hello"), || {
        "GREETING is not that of the manifest".into()
    })?;
    let is_path = |(name, _): &(String, String)| name == "PATH";
    expect(!environment::get_environment().iter().any(is_path), || "PATH is inherited".into())
}

/// The input is `0123456789`.
fn standard_input() -> Checked {
    let input = stdin::get_stdin();
    let ready = input.subscribe();
    ready.block();
    expect(ready.ready(), || "not ready after block".into())?;
    let first = input.blocking_read(2).map_err(failed)?;
    expect(first == b"01", || "read something else".into())?;
    let skipped = input.blocking_skip(3).map_err(failed)?;
    expect(skipped == 3, || "skipped another length".into())?;
    let nothing = input.read(0).map_err(failed)?;
    expect(nothing.is_empty(), || "read something at length 0".into())
}

fn end_of_input() -> Checked {
    let rest = stdin::get_stdin().blocking_read(100).map_err(failed)?;
    expect(rest == b"56789", || "the rest is another".into())?;
    let after = stdin::get_stdin().blocking_read(1);
    expect(matches!(after, Err(StreamError::Closed)), || "there is more after the end".into())
}

fn standard_output() -> Checked {
    let output = stdout::get_stdout();
    output.subscribe().block();
    let room = output.check_write().map_err(failed)?;
    expect(room > 0, || "no room".into())?;
    output.write(b"raw: ok\n").map_err(failed)?;
    output.blocking_flush().map_err(failed)
}

fn standard_error() -> Checked {
    writeln!(std::io::stderr(), "by the standard library").map_err(|e| e.to_string())?;
    let output = stderr::get_stderr();
    output.blocking_write_and_flush(b"below it\n").map_err(failed)
}

fn terminals() -> Checked {
    let none = terminal_stdin::get_terminal_stdin().is_none()
        && terminal_stdout::get_terminal_stdout().is_none()
        && terminal_stderr::get_terminal_stderr().is_none();
    expect(none, || "there is a terminal".into())
}

fn monotonic() -> Checked {
    let times = [(); 100].map(|()| monotonic_clock::now());
    expect(times.is_sorted(), || "it went backwards".into())?;
    expect(monotonic_clock::resolution() > 0, || "no resolution".into())?;
    let past = monotonic_clock::subscribe_instant(times[0]);
    past.block();
    expect(past.ready(), || "an instant that is past is not ready".into())
}

fn wall() -> Checked {
    let raw = wall_clock::now();
    // The first of January 2024.
    expect(raw.seconds > 1_704_067_200, || "it is before 2024".into())?;
    expect(raw.nanoseconds < 1_000_000_000, || "more than a second of nanoseconds".into())?;
    let resolution = wall_clock::resolution();
    expect(resolution.seconds > 0 || resolution.nanoseconds > 0, || "no resolution".into())
}

fn sleep() -> Checked {
    let (pause, start) = (Duration::from_millis(5), Instant::now());
    std::thread::sleep(pause);
    expect(start.elapsed() >= pause, || "woke too early".into())
}

/// The one that is ready is told from the one that is not.
fn polling() -> Checked {
    let (soon, late) = (
        monotonic_clock::subscribe_duration(1_000_000),
        monotonic_clock::subscribe_duration(u64::MAX / 4),
    );
    let ready = poll(&[&late, &soon, &soon]);
    expect(ready == [1, 2], || "others are ready".into())?;
    expect(!late.ready(), || "what is far off is ready".into())
}

fn splice() -> Checked {
    let output = stderr::get_stderr();
    output.blocking_write_zeroes_and_flush(1).map_err(failed)?;
    let spliced = output.splice(&stdin::get_stdin(), 1);
    expect(matches!(spliced, Err(StreamError::Closed)), || "there is more after the end".into())
}

fn random_bytes() -> Checked {
    let (one, other) = (random::get_random_bytes(32), random::get_random_bytes(32));
    expect(one.len() == 32 && other.len() == 32, || "another length was asked for".into())?;
    expect(one != other && random::get_random_u64() != random::get_random_u64(), || {
        "it repeats".into()
    })?;
    expect(random::get_random_bytes(0).is_empty(), || "none were asked for".into())
}

fn insecure_random() -> Checked {
    expect(insecure::get_insecure_random_bytes(7).len() == 7, || {
        "another length was asked for".into()
    })?;
    expect(insecure::get_insecure_random_u64() != insecure::get_insecure_random_u64(), || {
        "it repeats".into()
    })?;
    expect(insecure_seed::insecure_seed() != (0, 0), || "the seed is zero".into())
}
