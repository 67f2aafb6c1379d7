//! Tries to hurt its host in every way that a function can. The event's type names the way:
//! `hostile.spin`, `hostile.memory-bomb` and so on. The host should end each attempt with the right
//! outcome and feel nothing.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use wasip2::clocks::monotonic_clock;

use crate::exports::wasmill::function::handler::{Event, Failure, Guest, Output};
use crate::wasmill::function::context;
use crate::wasmill::function::log::{Level, log};
use crate::wasmill::function::types::EmittedEvent;

mod surroundings;

wit_bindgen::generate!({ world: "function", path: "../../wit" });

struct Hostile;

impl Guest for Hostile {
    fn handle(event: Event) -> Result<Output, Failure> {
        // The data may say how bad it should be: {"lines": 100}. The defaults are bad enough.
        let data: BTreeMap<String, u32> =
            serde_json::from_slice(&event.data.unwrap_or_default()).unwrap_or_default();
        let number = |name: &str, default: u32| data.get(name).copied().unwrap_or(default);
        let output = match event.type_.strip_prefix("hostile.").unwrap_or_default() {
            "spin" => spin(),
            "memory-bomb" => memory_bomb(),
            "recursion" => report(&dive(0)),
            "panic" => report(&take_order(number("shelf", 7))),
            "log-flood" => log_flood(number("lines", 5_000)),
            "huge-output" => huge_output(number("bytes", 8 << 20)),
            "call-storm" => call_storm(),
            "slow" => slow(number("ms", 3_600_000)),
            "emit-flood" => emit_flood(number("events", 10_000)),
            "exit" => std::process::exit(3),
            "resource-bomb" => resource_bomb(),
            "env" => report(&surroundings::look()),
            other => return Err(Failure::Reject(format!("there is no behaviour {other}"))),
        };
        Ok(output)
    }
}

/// A result, for those that live to have one.
fn report(data: &impl Serialize) -> Output {
    Output {
        content_type: None,
        data: serde_json::to_vec(data).unwrap_or_default(),
        emit: Vec::new(),
    }
}

/// Computes for ever, without a single call to the host.
fn spin() -> ! {
    let mut state = 1_u64;
    loop {
        state = black_box(state).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    }
}

/// Takes memory and writes to it until there is no more, where Rust aborts.
fn memory_bomb() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(vec![1_u8; 1 << 20]);
        black_box(&hoard);
    }
}

/// Calls itself until the stack is used up.
#[inline(never)]
fn dive(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX {
        return depth;
    }
    black_box(dive(depth + 1))
}

/// Panics three functions down, which should be seen in the backtrace.
#[inline(never)]
fn take_order(shelf: u32) -> usize {
    black_box(reserve_stock(shelf)) + 1
}

#[inline(never)]
fn reserve_stock(shelf: u32) -> usize {
    black_box(pick_from_shelf(&[12, 0, 3], shelf)) - 1
}

#[inline(never)]
fn pick_from_shelf(shelves: &[usize], shelf: u32) -> usize {
    shelves[shelf as usize]
}

/// Writes much more than anybody wants to read, in each of the ways there are, and succeeds.
fn log_flood(lines: u32) -> Output {
    let padding = "flood ".repeat(40);
    for line in 0..lines {
        log(Level::Info, &padding, &[("line".into(), line.to_string())]);
        println!("{line} {padding}");
    }
    report(&lines)
}

/// Succeeds with a result of so many bytes.
fn huge_output(bytes: u32) -> Output {
    Output {
        content_type: Some("application/octet-stream".into()),
        data: vec![b'x'; bytes as usize],
        emit: Vec::new(),
    }
}

/// Calls the host for ever.
fn call_storm() -> ! {
    loop {
        black_box(context::current());
    }
}

/// Waits in the host, where neither fuel nor epochs can interrupt it.
fn slow(ms: u32) -> Output {
    thread::sleep(Duration::from_millis(ms.into()));
    report(&ms)
}

/// Succeeds and asks for many events.
fn emit_flood(events: u32) -> Output {
    let event = EmittedEvent {
        type_: "hostile.flooded".into(),
        source: None,
        subject: None,
        extensions: Vec::new(),
        datacontenttype: None,
        data: None,
    };
    Output { emit: vec![event; events as usize], ..report(&events) }
}

/// Makes the host hold timers, and never gives one back.
fn resource_bomb() -> ! {
    let mut timers = Vec::new();
    loop {
        timers.push(monotonic_clock::subscribe_duration(u64::MAX));
    }
}

export!(Hostile);
