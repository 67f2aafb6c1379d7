//! Tries out WASI 0.2 part by part, through the standard library and below it: what the host has
//! works as its interfaces say, and what it denies ends in an error code, never in a trap. The
//! result has a line for each part: what came of it.

mod denied;
mod given;

/// What came of a part: nothing to say, or what was wrong.
type Checked = Result<(), String>;

/// A part's name, and what tries it.
type Check = (&'static str, fn() -> Checked);

fn main() {
    for (name, check) in given::CHECKS.iter().chain(denied::CHECKS) {
        println!("{name}: {}", check().err().as_deref().unwrap_or("ok"));
    }
}

/// Fails with a text unless the condition holds.
fn expect(condition: bool, what: impl FnOnce() -> String) -> Checked {
    if condition { Ok(()) } else { Err(what()) }
}
