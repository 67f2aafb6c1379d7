//! What the tests ask of Rust.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::hint::black_box;

use wasmill_guest::{Bytes, Event, Failure, Output};

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
        b"recurse" => Output::json(&recurse(&[0; 64])),
        _ => Output::json(&()),
    }
}

#[inline(never)]
fn recurse(above: &[u64; 64]) -> u64 {
    let own = black_box([above[0] + 1; 64]);
    black_box(recurse(&own)) + own[63]
}
