//! What a function for wasmill is written with:
//!
//! ```
//! use wasmill_guest::{Event, Failure, Output};
//!
//! #[derive(serde::Deserialize)]
//! struct Order {
//!     cents: u64,
//! }
//!
//! #[wasmill_guest::handler]
//! fn handle(event: Event<Order>) -> Result<Output, Failure> {
//!     if event.data.cents == 0 {
//!         return Err(Failure::reject("the order is empty"));
//!     }
//!     Output::json(&event.data.cents)
//! }
//! ```

extern crate self as wasmill_guest;

#[doc(hidden)]
#[rustfmt::skip]
pub mod bindings;
mod context;
mod event;
mod log;
mod output;

pub use context::{Execution, execution};
pub use event::{Bytes, Event, FromData};
pub use log::{Level, log};
pub use output::{Emitted, Failure, Output};
pub use serde_json::{self, json};
pub use wasmill_guest_macros::handler;
#[doc(hidden)]
pub use wit_bindgen::rt;

use bindings::exports::wasmill::function::handler as contract;

/// Calls a handler. Data that it cannot take is rejected.
#[doc(hidden)]
pub fn call<T: FromData>(
    event: contract::Event,
    handler: impl FnOnce(Event<T>) -> Result<Output, Failure>,
) -> Result<contract::Output, contract::Failure> {
    let result = Event::from_contract(event).and_then(handler);
    // What was printed belongs to this execution; the instance may serve another one.
    let _ = std::io::Write::flush(&mut std::io::stdout());
    result.map(Output::into_contract).map_err(Failure::into_contract)
}
