//! The document of the configuration has the keys that are accepted, and no others.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::Config;
use super::names::SECTIONS;

const DOCUMENT: &str = include_str!("../../../docs/configuration.md");

/// Names of the releases before, which are read still.
const FORMER: [&str; 1] = ["queue_messages"];

fn documented() -> &'static str {
    DOCUMENT.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap()
}

/// The names that the error about one lists that is not known.
fn accepted(section: &str) -> BTreeSet<String> {
    let file = format!("[{section}]\nno_such_key = 1\n");
    let error = toml::from_str::<Config>(&file).unwrap_err().to_string();
    let expected = error.split("expected ").nth(1).unwrap_or_else(|| panic!("{error}"));
    let names = expected.split('`').skip(1).step_by(2).map(str::to_owned);
    names.filter(|name| !FORMER.contains(&name.as_str())).collect()
}

#[test]
fn every_key_is_documented_and_every_documented_key_accepted() {
    let table: Table = toml::from_str(documented()).unwrap();
    for section in SECTIONS {
        let found = section.split('.').try_fold(&table, |table, part| match table.get(part) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        });
        let found = found.unwrap_or_else(|| panic!("there is no [{section}]"));
        assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), accepted(section), "{section}");
    }
    let top: BTreeSet<_> = table.keys().map(String::as_str).collect();
    let sections = SECTIONS.into_iter().filter(|section| !section.contains('.'));
    assert_eq!(top, sections.collect::<BTreeSet<_>>());
}

#[test]
fn what_is_documented_is_a_configuration() {
    toml::from_str::<Config>(documented()).unwrap().check().unwrap();
}
