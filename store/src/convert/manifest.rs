//! Manifests as rows hold them.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use wasmill_domain::Manifest;
use wasmill_domain::manifest::http::HttpTrigger;
use wasmill_domain::manifest::{EventTrigger, Trigger};

use super::format::{FORMAT, TooNew};
use super::{json, lenient, reason, unreadable, word};
use crate::port::{Result, StoreError};

/// The keys that a stored manifest has beside those of users' ones. No manifest may have keys of
/// these names.
const MARKS: [&str; 3] = ["format", "min_reader", "stored_by"];

/// A manifest as rows hold it: its triggers apart from the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManifestRows {
    pub(crate) manifest: String,
    pub(crate) triggers: Vec<TriggerRow>,
}

/// A trigger as a row holds it: an event pattern, or an HTTP trigger's JSON; and a schema's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TriggerRow {
    pub(crate) event: Option<String>,
    pub(crate) http: Option<String>,
    pub(crate) schema: Option<String>,
}

impl ManifestRows {
    pub(crate) fn of(manifest: &Manifest) -> Result<Self> {
        let refused = |e: serde_json::Error| {
            StoreError::Rejected(format!("a manifest that is not JSON: {e}"))
        };
        let rest = Manifest { triggers: Vec::new(), ..manifest.clone() };
        let triggers = manifest
            .triggers
            .iter()
            .map(TriggerRow::of)
            .collect::<Result<_, _>>()
            .map_err(refused)?;
        let mut stored = serde_json::to_value(&rest).map_err(refused)?;
        if let Value::Object(keys) = &mut stored {
            let marks =
                [FORMAT.into(), min_reader(manifest).into(), env!("CARGO_PKG_VERSION").into()];
            keys.extend(MARKS.map(str::to_owned).into_iter().zip::<[Value; 3]>(marks));
        }
        Ok(Self { manifest: stored.to_string(), triggers })
    }

    /// The manifest, or why it cannot be read.
    pub(crate) fn manifest_or_reason(self) -> Result<Manifest, String> {
        self.into_manifest().map_err(reason)
    }

    pub(crate) fn into_manifest(self) -> Result<Manifest> {
        self.read().map(|(manifest, _)| manifest)
    }

    /// Whether these rows are of `manifest`, and nothing in them was left out to find out.
    pub(crate) fn are_of(self, manifest: &Manifest) -> bool {
        self.read().is_ok_and(|(stored, is_whole)| is_whole && stored == *manifest)
    }

    /// The manifest, and whether all that is stored is in it.
    fn read(self) -> Result<(Manifest, bool)> {
        let mut keys: Map<String, Value> = json("manifest", &self.manifest)?;
        let is_ours = Marks::take(&mut keys)?.format <= FORMAT;
        let mut manifest: Manifest = decode("manifest", Value::Object(keys), is_ours)?;
        manifest.triggers = self
            .triggers
            .into_iter()
            .map(|row| row.into_trigger(is_ours))
            .collect::<Result<_>>()?;
        Ok((manifest, is_ours))
    }
}

/// The lowest format of a release that may read a manifest: all keys of v0.1.0 are of the first
/// one.
fn min_reader(_: &Manifest) -> u32 {
    1
}

/// What a stored manifest says of its format.
struct Marks {
    format: u32,
}

impl Marks {
    /// Takes the marks out of a stored manifest, and refuses one that is for later releases only.
    fn take(keys: &mut Map<String, Value>) -> Result<Self> {
        let [format, min_reader, stored_by] = MARKS.map(|mark| keys.remove(mark));
        let number = |mark: Option<Value>| match mark {
            None => Ok(None),
            Some(value) => match value.as_u64().filter(|number| *number >= 1) {
                Some(number) => Ok(Some(u32::try_from(number).unwrap_or(u32::MAX))),
                None => Err(unreadable(
                    "manifest",
                    "its 'format' and 'min_reader' must be whole numbers from 1",
                )),
            },
        };
        // Databases of before v0.1.0 have manifests without marks.
        let format = number(format)?.unwrap_or(1);
        let min_reader = number(min_reader)?.unwrap_or(format);
        if min_reader > FORMAT {
            let release = stored_by.as_ref().and_then(Value::as_str).map(str::to_owned);
            return Err(unreadable("manifest", TooNew { min_reader: min_reader.into(), release }));
        }
        Ok(Self { format })
    }
}

/// Reads a value whose keys are all known; of a later format, those that are.
fn decode<T: DeserializeOwned>(column: &str, value: Value, is_ours: bool) -> Result<T> {
    let read = if is_ours { serde_json::from_value(value) } else { lenient::read(value) };
    read.map_err(|e| unreadable(column, e))
}

impl TriggerRow {
    fn of(trigger: &Trigger) -> Result<Self, serde_json::Error> {
        let schema = trigger.schema().map(ToString::to_string);
        Ok(match trigger {
            Trigger::Event(trigger) => {
                Self { event: Some(trigger.event.to_string()), http: None, schema }
            }
            Trigger::Http(trigger) => {
                let rest = HttpTrigger { schema: None, ..trigger.clone() };
                Self { event: None, http: Some(serde_json::to_string(&rest)?), schema }
            }
        })
    }

    fn into_trigger(self, is_ours: bool) -> Result<Trigger> {
        let schema = self.schema.map(|text| json("schema", &text)).transpose()?;
        if let Some(event) = self.event {
            return Ok(Trigger::Event(EventTrigger { event: word("event", &event)?, schema }));
        }
        let http: Value = json("http", self.http.as_deref().unwrap_or_default())?;
        let mut trigger: Trigger = decode("http", http, is_ours)?;
        *trigger.schema_mut() = schema;
        Ok(trigger)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest() -> Manifest {
        Manifest::from_json(json!({
            "name": "total", "env": {"A": "1"},
            "trigger": [{"event": "order.*", "schema": {"type": "object"}}, {"event": "b"}, {"event": "c", "schema": true},
                        {"http": "/orders/{id}", "methods": ["PUT"], "mode": "async", "schema": {"type": "array"}}],
        }))
        .unwrap()
    }

    /// The rows of [`manifest`], with keys set.
    fn rows_with(keys: &Value) -> ManifestRows {
        let mut rows = ManifestRows::of(&manifest()).unwrap();
        let mut stored: Map<String, Value> = serde_json::from_str(&rows.manifest).unwrap();
        for (key, value) in keys.as_object().unwrap().clone() {
            match value {
                Value::Null => stored.remove(&key),
                value => stored.insert(key, value),
            };
        }
        rows.manifest = Value::from(stored).to_string();
        rows
    }

    #[test]
    fn a_manifest_is_put_together_again() {
        let rows = ManifestRows::of(&manifest()).unwrap();
        assert!(!rows.manifest.contains("order"), "{}", rows.manifest);
        assert_eq!(rows.triggers.len(), 4);
        assert!(rows.clone().are_of(&manifest()));
        assert_eq!(rows.into_manifest().unwrap(), manifest());
    }

    #[test]
    fn what_is_of_no_later_format_is_read_strictly() {
        assert_eq!(
            rows_with(&json!({"format": null, "min_reader": null, "stored_by": null}))
                .into_manifest()
                .unwrap(),
            manifest()
        );
        for marks in [json!({"later": 1}), json!({"later": 1, "format": null, "min_reader": null})]
        {
            let why = rows_with(&marks).manifest_or_reason().unwrap_err();
            assert!(why.contains("unknown field `later`"), "{why}");
        }
    }

    #[test]
    fn what_a_later_release_lets_this_one_read_is_read() {
        let later = rows_with(&json!({"format": 2, "later": {"a": 1}, "limits": {"later": 1}}));
        let mut later = ManifestRows { triggers: later.triggers, manifest: later.manifest };
        later.triggers[3].http = Some(
            r#"{"http": "/orders/{id}", "methods": ["PUT"], "mode": "async", "later": true}"#
                .into(),
        );
        assert_eq!(later.clone().into_manifest().unwrap(), manifest());
        // Something was left out: to deploy it again is another version.
        assert!(!later.are_of(&manifest()));
    }

    #[test]
    fn what_only_later_releases_read_says_so() {
        for marks in [
            json!({"format": 3, "min_reader": 2, "stored_by": "9.8.7"}),
            json!({"format": 2, "min_reader": null, "stored_by": "9.8.7"}),
        ] {
            let why = rows_with(&marks).manifest_or_reason().unwrap_err();
            assert!(why.contains("format 2") && why.contains("release 9.8.7"), "{why}");
        }
        let why = rows_with(&json!({"min_reader": 4_000_000_000_u64, "stored_by": null}))
            .manifest_or_reason()
            .unwrap_err();
        assert!(why.contains("the release that stored it"), "{why}");
        for odd in [json!({"format": "1"}), json!({"min_reader": 0}), json!({"format": -1})] {
            let why = rows_with(&odd).manifest_or_reason().unwrap_err();
            assert!(why.contains("whole numbers"), "{why}");
        }
    }
}
