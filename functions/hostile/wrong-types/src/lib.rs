//! Exports a handler of the contract's name whose types are not the contract's. It can only be
//! refused.

use crate::exports::wasmill::function::handler::Guest;

wit_bindgen::generate!({ world: "function", path: "wit" });

struct WrongTypes;

impl Guest for WrongTypes {
    fn handle(event: String) -> String {
        event
    }
}

export!(WrongTypes);
