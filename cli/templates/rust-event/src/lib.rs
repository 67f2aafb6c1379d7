//! Greets whoever the event names.

use serde::{Deserialize, Serialize};
use wasmill_guest::{Event, Failure, Level, Output, json, log};

#[derive(Default, Deserialize)]
struct Request {
    name: String,
}

#[derive(Serialize)]
struct Greeting {
    greeting: String,
}

#[wasmill_guest::handler]
fn handle(event: Event<Request>) -> Result<Output, Failure> {
    let name = event.data.name.trim();
    log(Level::Info, "greeted", [("name", json!(name))]);
    Output::json(&Greeting { greeting: greet(name) })
}

fn greet(name: &str) -> String {
    if name.is_empty() { "Hello!".into() } else { format!("Hello, {name}!") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed() {
        let event = Event { data: Request { name: " Ada ".into() }, ..Event::default() };
        assert_eq!(handle(event).unwrap().data, br#"{"greeting":"Hello, Ada!"}"#);
    }
}
