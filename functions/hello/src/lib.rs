//! Greets whoever the event names: the smallest useful function.

use std::env;

use serde::Deserialize;
use serde_json::json;

use crate::exports::wasmill::function::handler::{Event, Failure, Guest, Output};
use crate::wasmill::function::log::{Level, log};

wit_bindgen::generate!({ world: "function", path: "../../wit" });

/// The data of a `greeting.requested` event, as `greeting.schema.json` describes it.
#[derive(Deserialize)]
struct Request {
    name: String,
}

struct Hello;

impl Guest for Hello {
    fn handle(event: Event) -> Result<Output, Failure> {
        let data = event.data.unwrap_or_default();
        let request: Request =
            serde_json::from_slice(&data).map_err(|error| Failure::Reject(error.to_string()))?;

        // The manifest's `[env]` is the whole environment.
        let word = env::var("GREETING").unwrap_or_else(|_| "Hello".into());
        let greeting = greeting(&word, &request.name);

        // The values of log fields are JSON texts.
        let fields = [
            ("name".into(), json!(request.name).to_string()),
            ("length".into(), json!(greeting.chars().count()).to_string()),
        ];
        log(Level::Info, "greeted", &fields);

        Ok(Output {
            content_type: None,
            data: json!({ "greeting": greeting }).to_string().into_bytes(),
            emit: Vec::new(),
        })
    }
}

/// The greeting for `name`, which may be empty.
fn greeting(word: &str, name: &str) -> String {
    match name.trim() {
        "" => format!("{word}!"),
        name => format!("{word}, {name}!"),
    }
}

export!(Hello);

#[cfg(test)]
mod tests {
    use super::greeting;

    #[test]
    fn names_are_trimmed() {
        assert_eq!(greeting("Hello", " Ada "), "Hello, Ada!");
    }

    #[test]
    fn nobody_is_greeted_too() {
        assert_eq!(greeting("Salut", ""), "Salut!");
    }
}
