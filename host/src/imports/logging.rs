//! `wasi:logging`: the same log as `wasmill:function/log`.

mod bindings {
    wasmtime::component::bindgen!({ path: "wit/logging", world: "imports" });
}

use serde::Serialize;
use wasmill_domain::LogLevel;
use wasmill_guest::GuestData;
use wasmtime::component::{HasSelf, Linker};

use self::bindings::wasi::logging::logging::{Host, Level};
use crate::guest::Guest;

/// Links it.
pub(super) fn add_to_linker(linker: &mut Linker<GuestData>) -> wasmtime::Result<()> {
    bindings::Imports::add_to_linker::<_, HasSelf<Guest>>(linker, Guest::of_mut)
}

/// What a line has besides its message.
#[derive(Serialize)]
struct Fields<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    context: &'a str,
    /// There is no level above error.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    critical: bool,
}

impl Host for Guest {
    fn log(&mut self, level: Level, context: String, message: String) {
        let fields = Fields { context: &context, critical: level == Level::Critical };
        let level = match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error | Level::Critical => LogLevel::Error,
        };
        if self.calls.count() {
            self.log.line(level, message, || text(&fields));
        }
    }
}

/// The fields as a JSON object's text, where there are any.
fn text(fields: &Fields<'_>) -> Option<String> {
    if fields.context.is_empty() && !fields.critical {
        return None;
    }
    // Cannot fail: it is a text and a truth value.
    serde_json::to_string(fields).ok()
}

#[cfg(test)]
mod tests {
    use super::{Fields, text};

    #[test]
    fn fields_are_what_there_is() {
        assert_eq!(text(&Fields { context: "", critical: false }), None);
        assert_eq!(
            text(&Fields { context: "a \"b\"", critical: false }).unwrap(),
            r#"{"context":"a \"b\""}"#
        );
        assert_eq!(
            text(&Fields { context: "db", critical: true }).unwrap(),
            r#"{"context":"db","critical":true}"#
        );
        assert_eq!(text(&Fields { context: "", critical: true }).unwrap(), r#"{"critical":true}"#);
    }
}
