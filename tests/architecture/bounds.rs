//! Every bound is documented: each field of each crate's settings is a key of the configuration or
//! stands in the table of those that have none.

use std::fs;

use super::words::files;

/// Fields that bound nothing and set no time: who or what it is for, and settings inside of others.
const NO_BOUNDS: [&str; 18] = [
    "bucket_quota",
    "compile",
    "compiler",
    "emissions",
    "guest",
    "holder",
    "hostnames",
    "name",
    "outgoing",
    "own_key",
    "queue_kind",
    "quotas",
    "recorder",
    "require_key",
    "schema",
    "server",
    "synchronous",
    "writes",
];

/// The structs of settings of a source, each with its fields.
fn settings(source: &str) -> Vec<(&str, Vec<&str>)> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut is_inside = false;
    for line in source.lines() {
        if let Some(name) = line.strip_prefix("pub struct ").and_then(|l| l.strip_suffix(" {")) {
            is_inside = name.ends_with("Settings");
            if is_inside {
                all.push((name, Vec::new()));
            }
        } else if line == "}" {
            is_inside = false;
        } else if is_inside
            && let Some((field, _)) =
                line.strip_prefix("    pub ").and_then(|field| field.split_once(':'))
            && let Some((_, fields)) = all.last_mut()
        {
            fields.push(field);
        }
    }
    all
}

#[test]
fn every_bound_is_documented() {
    let root = super::super::support::root();
    let document = fs::read_to_string(root.join("docs/configuration.md")).expect("the document");
    let keys = document.split("```").nth(1).expect("the configuration");
    let has_key = |field: &str| keys.lines().any(|line| line.starts_with(&format!("{field} = ")));
    let (mut structs, mut undocumented) = (0, Vec::new());
    for (crate_name, _) in super::MAY_IMPORT.iter().filter(|(name, _)| *name != "bench") {
        for file in files(&root.join(crate_name).join("src"), ".rs") {
            let source = fs::read_to_string(&file).expect("a source");
            for (name, fields) in settings(&source) {
                structs += 1;
                let row = format!("| `{name}` |");
                let row = document.lines().find(|line| line.starts_with(&row)).unwrap_or_default();
                let is_documented = |field: &&&str| {
                    NO_BOUNDS.contains(*field)
                        || has_key(field)
                        || row.contains(&format!("`{field}`"))
                };
                let missing = fields.iter().filter(|field| !is_documented(field));
                undocumented.extend(missing.map(|field| format!("{name}.{field}")));
            }
        }
    }
    assert!(structs > 12, "{structs}");
    assert!(undocumented.is_empty(), "docs/configuration.md has nothing of {undocumented:#?}");
}
