//! What was stored by each format is read for ever: the files of `store/src/golden/`.

use serde_json::Value;
use wasmill_domain::{Event, EventParts};

use super::{ManifestRows, TriggerRow, event, from_event, from_logs, logs};

/// A column's text.
macro_rules! golden {
    ($file:literal) => {
        include_str!(concat!("../golden/", $file)).trim_end_matches('\n')
    };
}

fn trigger(golden: &str) -> TriggerRow {
    let row: Value = serde_json::from_str(golden).unwrap();
    let text = |key: &str| row[key].as_str().map(str::to_owned);
    TriggerRow { event: text("event"), http: text("http"), schema: text("schema") }
}

/// With every key that there is: one that was not read would be missing in what is written.
#[test]
fn a_manifest_of_format_1_is_read_whole() {
    let triggers =
        vec![trigger(golden!("trigger-event-1.json")), trigger(golden!("trigger-http-1.json"))];
    let stored = ManifestRows { manifest: golden!("manifest-1.json").into(), triggers };
    let manifest = stored.clone().into_manifest().unwrap();
    let written = ManifestRows::of(&manifest).unwrap();
    let (mut expected, mut found) = (values(&stored), values(&written));
    // The release changes, and the format may rise.
    for mark in ["stored_by", "format", "min_reader"] {
        assert!(expected[0].as_object_mut().unwrap().remove(mark).is_some());
        assert!(found[0].as_object_mut().unwrap().remove(mark).is_some());
    }
    assert_eq!(found, expected);
    assert_eq!(manifest.files.len() + manifest.args.len() + manifest.triggers.len(), 5);
}

#[test]
fn a_manifest_of_before_formats_is_read() {
    let manifest = golden!("manifest-before-formats.json").into();
    let manifest = ManifestRows { manifest, triggers: Vec::new() }.into_manifest().unwrap();
    assert_eq!(manifest, wasmill_domain::Manifest::from_toml("name = 'total'").unwrap());
}

/// The JSON in rows: the manifest, then each trigger's.
fn values(rows: &ManifestRows) -> Vec<Value> {
    let texts = rows.triggers.iter().flat_map(|trigger| [&trigger.http, &trigger.schema]).flatten();
    let texts = std::iter::once(&rows.manifest).chain(texts);
    texts.map(|text| serde_json::from_str(text).unwrap()).collect()
}

/// What is read is written with the same values, and read back as the same.
#[test]
fn events_are_read_and_written_as_they_were() {
    for golden in [
        golden!("event-json-1.json"),
        golden!("event-marked-1.json"),
        golden!("event-base64-1.json"),
        golden!("event-empty-1.json"),
    ] {
        let read: Event = event(golden).unwrap();
        let parts: &EventParts = &read;
        let written = from_event(parts).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&written).unwrap(),
            serde_json::from_str::<Value>(golden).unwrap()
        );
        assert_eq!(event(&written).unwrap(), read, "{golden}");
    }
    let marked = event(golden!("event-marked-1.json")).unwrap();
    assert_eq!(marked.data.as_deref(), Some(b" [1, 2] ".as_slice()));
    assert_eq!(
        event(golden!("event-base64-1.json")).unwrap().data.as_deref(),
        Some(b"\x89PNG\r\n".as_slice())
    );
    assert_eq!(event(golden!("event-empty-1.json")).unwrap().data, None);
}

#[test]
fn logs_are_read_and_written_as_they_were() {
    let golden = golden!("logs-1.json");
    let lines = logs(Some(golden)).unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!(from_logs(&lines).unwrap().as_deref(), Some(golden));
}

/// What a process of v0.1.0 says that it reads.
#[test]
fn reads_are_read() {
    let reads = crate::nodes::reads(golden!("reads-1.json"));
    assert_eq!((reads.batch, reads.http, reads.control, reads.streams), (2, 2, 1, 2));
}
