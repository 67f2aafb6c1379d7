//! `wasmill:function/log`.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use wasmill_domain::LogLevel;

use crate::bindings::wasmill::function::log::{Host, Level};
use crate::guest::Guest;

impl Host for Guest {
    fn log(&mut self, level: Level, message: String, fields: Vec<(String, String)>) {
        let level = match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        if self.calls.count() {
            self.log.line(level, message, || object(&fields));
        }
    }
}

/// The fields as a JSON object's text; of fields with the same name the last one counts.
fn object(fields: &[(String, String)]) -> Option<String> {
    if fields.is_empty() {
        return None;
    }
    let object: BTreeMap<&str, Value<'_>> =
        fields.iter().map(|(name, value)| (name.as_str(), Value::of(value))).collect();
    // Cannot fail: the keys are strings and the values serialize.
    serde_json::to_string(&object).ok()
}

/// A value as the guest meant it.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

impl<'a> Value<'a> {
    fn of(text: &'a str) -> Self {
        serde_json::from_str(text).map_or(Self::Text(text), Self::Json)
    }
}

#[cfg(test)]
mod tests {
    use super::object;

    #[test]
    fn values_are_json_or_else_text() {
        let fields = [
            ("n", "7"),
            ("o", "{\"a\": [1]}"),
            ("t", "plain \"text\""),
            ("s", "\"json\""),
            ("n", "8"),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            object(&fields).unwrap(),
            r#"{"n":8,"o":{"a": [1]},"s":"json","t":"plain \"text\""}"#
        );
        assert_eq!(object(&[]), None);
    }
}
