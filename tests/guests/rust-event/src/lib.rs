//! What the tests ask of Rust.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::hint::black_box;
use std::io::Read as _;
use std::thread;
use std::time::{Duration, Instant};

use wasmill_guest::serde_json::{self, Value};
use wasmill_guest::{Bytes, Event, Failure, Output, json};

thread_local!(static CALLS: Cell<u32> = const { Cell::new(0) });

#[wasmill_guest::handler]
fn handle(event: Event<Bytes>) -> Result<Output, Failure> {
    let shelves = HashMap::from([(1, 2)]);
    match event.data.0.as_slice() {
        // What std has of a generator.
        b"random" => Output::json(&format!("{} {}", RandomState::new().hash_one(1), RandomState::new().hash_one(2))),
        b"print" => {
            CALLS.set(CALLS.get() + 1);
            print!("call {}", CALLS.get());
            Output::json(&())
        }
        b"fail" => panic!("the reason of a failure"),
        b"check" => Output::json(&(black_box(u8::MAX) + shelves.len() as u8)),
        b"facts" => Output::json(&facts()),
        b"recurse" => Output::json(&recurse(&[0; 64])),
        _ => Output::json(&()),
    }
}

fn facts() -> Value {
    let numbers: Value = serde_json::from_str("[18446744073709551615,123456789012345678901234567890]").unwrap();
    let before = Instant::now();
    thread::sleep(Duration::from_millis(20));
    let mut input = String::new();
    let read = std::io::stdin().read_to_string(&mut input);
    json!({
        "numbers": numbers.to_string(), "nan": f64::NAN, "slept": before.elapsed() >= Duration::from_millis(15),
        "stdin": read.ok(),
        "file": std::fs::exists("/etc/passwd").unwrap_or(false), "args": std::env::args().count(),
    })
}

#[inline(never)]
fn recurse(above: &[u64; 64]) -> u64 {
    let own = black_box([above[0] + 1; 64]);
    black_box(recurse(&own)) + own[63]
}
