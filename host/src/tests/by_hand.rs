//! What Rust's standard library does in a function that is written without the guest crate, as
//! docs/languages/rust.md says.

use std::sync::Arc;

use wasmill_domain::{LogSource, Outcome};

use super::kinds::message;
use super::{dispatch, engine, event, invoke, manifest, prepare};
use crate::{Attempt, Engine, Prepared};

const BY_HAND: &[u8] = include_bytes!("../../../functions/hostile/by-hand/by-hand.wasm");

struct BindingsFixture {
    engine: Arc<Engine>,
    prepared: Arc<Prepared>,
}

impl BindingsFixture {
    async fn new() -> Self {
        let engine = engine();
        let prepared = prepare(&engine, BY_HAND).await;
        Self { engine, prepared }
    }

    async fn run(&self, asked: &str, sections: &str) -> Attempt {
        let event = event("by-hand", asked);
        let manifest = manifest(&format!("kind = 'event'\n{sections}"));
        invoke(&self.engine, &self.prepared, &manifest, dispatch(event)).await
    }
}

fn printed(attempt: &Attempt) -> Vec<&str> {
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report);
    let lines = attempt.logs.iter().filter(|line| line.source == LogSource::Stdout);
    lines.map(|line| line.message.as_str()).collect()
}

#[tokio::test]
async fn what_a_function_does_not_have_is_named() {
    let fixture = BindingsFixture::new().await;
    for (asked, words) in [
        // Who takes a thread for granted panics.
        ("thread", &["panicked at", "failed to spawn thread"][..]),
        ("recurse", &["recursion too deep"]),
    ] {
        let attempt = fixture.run(asked, "").await;
        assert_eq!(attempt.report.outcome, Outcome::Trap, "{asked}: {:?}", attempt.report);
        let said = message(&attempt);
        assert!(words.iter().all(|word| said.contains(word)), "{asked}: {said}");
    }
    let careful = fixture.run("careful thread", "").await;
    assert_eq!(careful.report.outcome, Outcome::Success, "{:?}", careful.report);
    let said = careful.report.output.unwrap().data;
    assert!(said.starts_with(b"no thread: "), "{said:?}");
}

/// The library keeps what has no line end until the next one. It is the program's own: nobody else
/// can take it out.
#[tokio::test]
async fn what_is_printed_without_a_line_end_waits_for_it() {
    let fixture = BindingsFixture::new().await;
    // Whole lines are there at once, and in a fresh instance nothing of an earlier one.
    assert_eq!(printed(&fixture.run("print whole\nhalf", "").await), ["whole"]);
    assert!(printed(&fixture.run("print a", "").await).is_empty());
    // In an instance that is used again it comes with the next line, whoever writes that.
    let reuse = "[instances]\nreuse = 2";
    assert!(printed(&fixture.run("print mine, ", reuse).await).is_empty());
    assert_eq!(printed(&fixture.run("print yours\n", reuse).await), ["mine, yours"]);
}
