//! From a file and the environment to a [`Config`].

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use toml::{Table, Value};
use wasmill_domain::key_hint::with_hint;

use super::Config;
use super::names::{self, Variable};

/// Reads `file`, where there is one, and puts what the environment says in its place.
///
/// # Errors
/// Where the file cannot be read or is not TOML, a key is unknown or its value is no good: the text
/// names file, line and key, or the variable.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> anyhow::Result<Config> {
    let mut warnings = Vec::new();
    let config = read_all(file, environment, &mut warnings)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

fn read_all(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Config> {
    let mut table = Table::new();
    if let Some(file) = file {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("'{}'", file.display()))?;
        // Read as what it is to be, for the sake of the line in the error.
        let alone: Config = toml::from_str(&text).map_err(|e| {
            anyhow!("'{}': {}", file.display(), with_hint(e.to_string().trim_end()))
        })?;
        alone.check().map_err(|e| anyhow!("'{}': {e}", file.display()))?;
        table = toml::from_str(&text).with_context(|| format!("'{}'", file.display()))?;
        for renamed in names::renew(&mut table) {
            warnings.push(format!("'{}': {renamed}", file.display()));
        }
    }
    let set = environment.into_iter().filter(|(_, text)| !text.is_empty());
    let mut variables: Vec<(Variable, String, String)> =
        set.map(|(name, text)| (names::variable(&name), name, text)).collect();
    // What comes later replaces what came before: ours the well-known ones, new names old ones.
    variables.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
    let mut set_by = BTreeMap::new();
    for (variable, name, text) in variables {
        let (section, key) = match variable {
            Variable::Elsewhere => continue,
            Variable::Unknown(None) => {
                warnings.push(format!(
                    "environment variable {name}: it is no setting that wasmill knows, and does nothing"
                ));
                continue;
            }
            Variable::Unknown(Some(section)) => {
                let sections = names::sections();
                return Err(anyhow!(
                    "environment variable {name}: no section and key of the configuration; did you mean '{section}'? The \
                     sections are {sections}"
                ));
            }
            Variable::WellKnown(section, key) | Variable::Key(section, key) => (section, key),
            Variable::OldName(renamed) => {
                warnings.push(format!("environment variable {name}: {renamed}"));
                (renamed.section.to_owned(), renamed.new.to_owned())
            }
        };
        set_by.insert(format!("{section}.{key}"), name.clone());
        names::set(&mut table, &section, key, value_of(&text));
        read(&table).map_err(|e| anyhow!("environment variable {name}: {e}"))?;
    }
    let config = read(&table).map_err(|e| anyhow!(e))?;
    config.check().map_err(|e| match set_by.get(e.key) {
        Some(name) => anyhow!("environment variable {name}: {e}"),
        None => anyhow!(e),
    })?;
    Ok(config)
}

fn read(table: &Table) -> Result<Config, String> {
    table.clone().try_into().map_err(|e: toml::de::Error| with_hint(e.to_string().trim_end()))
}

/// A value as TOML writes it, where the quotes around a text may be left out.
fn value_of(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"));
    // A date is meant as a text, if anybody ever writes one.
    parsed
        .filter(|value| !matches!(value, Value::Datetime(_)))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}
