//! Event files, and what is expected of them: `events/NAME.json` and `events/NAME.expected.json`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use wasmill_domain::Event;

use crate::exit::Result;
use crate::json::{Document, pretty, without_mark};

/// What stands in an outcome's place where a schema does not let the event through to the function.
pub(super) const REFUSED: &str = "refused";

/// The end of an expectation's file name.
const EXPECTED: &str = ".expected.json";

/// An event, and what should come of it.
pub(super) struct Case {
    /// The file's name without `.json`.
    pub(super) name: String,
    pub(super) event: Event,
    pub(super) expected: Option<Expected>,
    expected_file: PathBuf,
}

/// What should come of an event. What is absent is not looked at, but for the outcome.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    /// How the attempt ends, or `refused` where a schema does not let the event through.
    #[serde(default = "success", skip_serializing_if = "is_success")]
    pub(super) outcome: String,
    /// A part of what the function says against the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    /// The result's media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<String>,
    /// The result: a JSON value, or a text where it is no JSON.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<Document>,
    /// The result as base64, where it is neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) output_base64: Option<String>,
    /// The emitted events in CloudEvents' JSON format, in their order, with what the function set
    /// and no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) emitted: Option<Vec<Document>>,
}

fn success() -> String {
    "success".into()
}

fn is_success(outcome: &String) -> bool {
    outcome == "success"
}

/// `null` is a value that can be expected, other than none.
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Document>, D::Error> {
    Document::deserialize(deserializer).map(Some)
}

impl Case {
    /// The names of a folder's cases, in their order.
    pub(super) fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
        let entries = std::fs::read_dir(folder).with_context(|| {
            format!("a function's events are in '{}', which cannot be read", folder.display())
        })?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.with_context(|| format!("folder '{}'", folder.display()))?.file_name();
            let name = name.to_string_lossy();
            if let Some(name) = name.strip_suffix(".json").filter(|_| !name.ends_with(EXPECTED)) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Reads the case of this name.
    pub(super) fn read(folder: &Path, name: String) -> anyhow::Result<Self> {
        let file = folder.join(format!("{name}.json"));
        let text = std::fs::read(&file).with_context(|| format!("'{}'", file.display()))?;
        let event = without_mark(&text).with_context(|| format!("'{}'", file.display()))?;
        let event = Event::from_json(event).map_err(|invalid| {
            anyhow::anyhow!("{}: {}{}", file.display(), at(&invalid.pointer), invalid.message)
        })?;
        let expected_file = folder.join(format!("{name}{EXPECTED}"));
        let expected = match std::fs::read(&expected_file) {
            Ok(text) => {
                Some(Expected::read(&text).with_context(|| expected_file.display().to_string())?)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(error).with_context(|| format!("'{}'", expected_file.display()));
            }
        };
        Ok(Self { name, event, expected, expected_file })
    }

    /// Writes down what is expected from now on.
    pub(super) fn write_expectation(&self, expected: &Expected) -> Result {
        let mut text = pretty(&expected.to_text());
        text.push('\n');
        Ok(std::fs::write(&self.expected_file, text)
            .with_context(|| format!("'{}'", self.expected_file.display()))?)
    }
}

impl Expected {
    /// The same as JSON.
    pub(super) fn to_text(&self) -> String {
        // Every key is a text.
        serde_json::to_string(self).unwrap_or_default()
    }

    fn read(text: &[u8]) -> anyhow::Result<Self> {
        let expected: Self = serde_json::from_slice(without_mark(text)?)?;
        let known = wasmill_domain::Outcome::ALL.map(wasmill_domain::Outcome::as_str);
        anyhow::ensure!(
            expected.outcome == REFUSED || known.contains(&expected.outcome.as_str()),
            "outcome: '{}' is none; there are {} and {}",
            expected.outcome,
            known.join(", "),
            REFUSED
        );
        anyhow::ensure!(
            expected.output.is_none() || expected.output_base64.is_none(),
            "'output' and 'output_base64' exclude each other"
        );
        Ok(expected)
    }
}

fn at(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!("{pointer}: ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_strict() {
        let error = |text: &str| format!("{:#}", Expected::read(text.as_bytes()).unwrap_err());
        assert!(error(r#"{"outptu": 1}"#).contains("outptu"));
        assert!(
            error(r#"{"outcome": "sucess"}"#)
                .contains("'sucess' is none; there are success, rejected")
        );
        assert!(error(r#"{"output": 1, "output_base64": ""}"#).contains("exclude each other"));
        let null = Expected::read(br#"{"output": null}"#).unwrap();
        assert!(
            null.outcome == "success" && null.output.is_some_and(|output| output.json().is_null())
        );
        assert!(Expected::read(b"\xef\xbb\xbf{}").unwrap().output.is_none());
    }

    #[test]
    fn what_is_written_down_is_what_came() {
        let text = r#"{"output":{"z":1.0,"a":[1e400,"\ud800",12345678901234567890123]},"emitted":[{"data":1e999}]}"#;
        assert_eq!(Expected::read(text.as_bytes()).unwrap().to_text(), text);
    }
}
