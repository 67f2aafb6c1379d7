//! Counts the words of the text on standard input, which is the event's data; standard output is
//! the result.

use std::io::Read as _;
use std::process::ExitCode;

use serde_json::{Value, json};

fn main() -> ExitCode {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text).map_err(|error| error.to_string());
    match read.and_then(|_| count(&text)) {
        Ok(counted) => {
            println!("{counted}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            // Standard error becomes log lines, and any status but 0 a failure.
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn count(text: &str) -> Result<Value, String> {
    match text.split_whitespace().count() {
        0 => Err("there are no words to count".into()),
        words => Ok(json!({ "lines": text.lines().count(), "words": words })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted() {
        assert_eq!(count("one two\nthree\n"), Ok(json!({ "lines": 2, "words": 3 })));
        assert!(count(" \n").is_err());
    }
}
