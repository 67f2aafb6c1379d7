//! A program like any other: it reads standard input, writes standard output, and says by its exit
//! status how that went. The event's attributes are in its environment.

use std::io::Read as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut text = String::new();
    if let Err(error) = std::io::stdin().read_to_string(&mut text) {
        eprintln!("standard input cannot be read: {error}");
        return ExitCode::FAILURE;
    }
    if text.trim().is_empty() {
        eprintln!("there are no words to count");
        return ExitCode::FAILURE;
    }
    let subject = std::env::var("CE_SUBJECT").unwrap_or_default();
    println!(
        "{}",
        serde_json::json!({
            "subject": subject,
            "lines": text.lines().count(),
            "words": text.split_whitespace().count(),
            "characters": text.chars().count(),
        })
    );
    ExitCode::SUCCESS
}
