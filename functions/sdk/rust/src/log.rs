//! The log of the execution.

use serde_json::Value;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Step by step, for whoever debugs the function.
    Trace,
    /// What a developer wants to know.
    Debug,
    /// What an operator wants to know.
    Info,
    /// Something odd that did no harm.
    Warn,
    /// Something that did harm.
    Error,
}

/// Adds a line to the log: `log(Level::Info, "greeted", [("name", json!(name))])`. In native tests
/// it goes to standard error.
pub fn log<'a>(level: Level, message: &str, fields: impl IntoIterator<Item = (&'a str, Value)>) {
    let fields: Vec<(String, String)> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_string())).collect();
    write(level, message, &fields);
}

#[cfg(target_arch = "wasm32")]
fn write(level: Level, message: &str, fields: &[(String, String)]) {
    use crate::bindings::wasmill::function::log as host;

    let level = match level {
        Level::Trace => host::Level::Trace,
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    };
    host::log(level, message, fields);
}

#[cfg(not(target_arch = "wasm32"))]
fn write(level: Level, message: &str, fields: &[(String, String)]) {
    eprintln!("{level:?} {message} {fields:?}");
}
