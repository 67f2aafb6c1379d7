//! What a manifest tells its function: `[env]`, `[config]` and the names in `[secrets]`.

use std::collections::BTreeMap;

use super::Manifest;
use super::error::{ManifestError, out_of_bounds};
use crate::names::SecretName;

/// How many keys `[config]` may have, and how many `[secrets]`.
const MOST_KEYS: usize = 64;

/// The longest key of either, in bytes.
const LONGEST_KEY: usize = 255;

/// The size of all names and values of `[env]`, and of `[config]`, in bytes.
const MOST_BYTES: usize = 64 << 10;

impl Manifest {
    /// What `[secrets]` grants: the name that the guest knows, and the secret's.
    pub fn granted_secrets(&self) -> impl Iterator<Item = (&str, SecretName)> {
        let granted = self.secrets.iter().flatten();
        // Every manifest that was let in has names here.
        granted.filter_map(|(key, name)| Some((key.as_str(), name.parse().ok()?)))
    }

    /// Checks these sections against their bounds.
    pub(super) fn check_settings(&self) -> Result<(), ManifestError> {
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                let message = "a name must not be empty or hold '=', and nothing may hold NUL";
                return Err(out_of_bounds(&format!("env.{name}"), message));
            }
        }
        check_size("env", &self.env)?;
        let (no_config, no_secrets) = (BTreeMap::new(), BTreeMap::new());
        let config = self.config.as_ref().unwrap_or(&no_config);
        let secrets = self.secrets.as_ref().unwrap_or(&no_secrets);
        check_size("config", config)?;
        for (section, keys) in [("config", config), ("secrets", secrets)] {
            if keys.len() > MOST_KEYS {
                return Err(out_of_bounds(section, "must have at most 64 keys"));
            }
            if let Some(key) = keys.keys().find(|key| key.is_empty() || key.len() > LONGEST_KEY) {
                let shown: String = key.chars().take(80).collect();
                return Err(out_of_bounds(
                    &format!("{section}.{shown}"),
                    "a key must be 1 to 255 bytes long",
                ));
            }
        }
        for (key, name) in secrets {
            // Not shown: it may be the value itself, put here by mistake.
            if name.parse::<SecretName>().is_err() {
                let message = "must be the name of a secret (1 to 63 lower-case letters, digits and hyphens, a letter first), \
                               whose value is set with `wasmill secrets set NAME`";
                return Err(out_of_bounds(&format!("secrets.{key}"), message));
            }
            if config.contains_key(key) {
                return Err(out_of_bounds(
                    &format!("secrets.{key}"),
                    "the same key is in [config]",
                ));
            }
        }
        Ok(())
    }
}

fn check_size(section: &str, settings: &BTreeMap<String, String>) -> Result<(), ManifestError> {
    let total: usize = settings.iter().map(|(name, value)| name.len() + value.len()).sum();
    if total > MOST_BYTES {
        return Err(out_of_bounds(section, "names and values must be at most 64KiB together"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(sections: &str) -> ManifestError {
        Manifest::from_toml(&format!("name = 'x'\n{sections}")).unwrap_err()
    }

    #[test]
    fn config_and_secrets_are_read_and_written() {
        let text = "name = 'x'\n[config]\nregion = 'eu'\n[secrets]\nAPI_TOKEN = 'api-token'";
        let manifest = Manifest::from_toml(text).unwrap();
        assert_eq!(manifest.config.as_ref().unwrap()["region"], "eu");
        let granted: Vec<_> =
            manifest.granted_secrets().map(|(key, name)| (key, name.to_string())).collect();
        assert_eq!(granted, [("API_TOKEN", "api-token".to_owned())]);
        let again = Manifest::from_json(serde_json::to_value(&manifest).unwrap()).unwrap();
        assert_eq!(again, manifest);
    }

    /// An import that is there and not used can be granted without anything in it.
    #[test]
    fn no_section_and_an_empty_one_are_not_the_same() {
        let none = Manifest::from_toml("name = 'x'").unwrap();
        let empty = Manifest::from_toml("name = 'x'\n[config]\n[secrets]").unwrap();
        assert_eq!((none.config.is_none(), none.secrets.is_none()), (true, true));
        assert_eq!((empty.config, empty.secrets), (Some(BTreeMap::new()), Some(BTreeMap::new())));
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let many = |value: &str| (0..65).map(|i| format!("k{i} = '{value}'\n")).collect::<String>();
        for (sections, key) in [
            (format!("[config]\n{}", many("v")), "config"),
            (format!("[secrets]\n{}", many("v")), "secrets"),
            (format!("[config]\na = '{}'", "x".repeat(64 << 10)), "config"),
            ("[config]\n'' = 'x'".into(), "config."),
            ("[config]\nboth = 'x'\n[secrets]\nboth = 'x'".into(), "secrets.both"),
            ("[secrets]\na = 'A_B'".into(), "secrets.a"),
        ] {
            let error = error(&sections);
            assert!(
                matches!(&error, ManifestError::Value { key: named, .. } if named == key),
                "{error}"
            );
        }
    }

    #[test]
    fn a_value_in_the_place_of_a_name_is_not_shown() {
        let said = error("[secrets]\nAPI_TOKEN = 'sk_live_Canary'").to_string();
        assert!(
            said.contains("secrets.API_TOKEN") && said.contains("wasmill secrets set"),
            "{said}"
        );
        assert!(!said.contains("Canary"), "{said}");
    }
}
