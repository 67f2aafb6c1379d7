//! How each import of a component stands with a manifest: for people who look before they deploy.

use wasmill_domain::Manifest;

use crate::grants::grant_of;
use crate::imports::why_missing;
use crate::inspect::Inspection;

/// Whether a function may have one of its imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Every function has it.
    Free,
    /// It needs a grant, and the manifest has it.
    Granted,
    /// It needs a grant that the manifest does not have.
    NotGranted {
        /// The line that grants it.
        line: &'static str,
    },
    /// The host does not have it.
    Missing {
        /// What the host has instead, or why it has nothing.
        hint: String,
    },
}

impl Inspection {
    /// Every import, in the component's order, and how it stands with `manifest`.
    pub fn standings(&self, manifest: &Manifest) -> Vec<(&str, Standing)> {
        self.imports.iter().map(|name| (name.as_str(), standing(name, manifest))).collect()
    }
}

fn standing(name: &str, manifest: &Manifest) -> Standing {
    if let Some(hint) = why_missing(name) {
        return Standing::Missing { hint };
    }
    match grant_of(name) {
        None => Standing::Free,
        Some(grant) if grant.is_given(manifest) => Standing::Granted,
        Some(grant) => Standing::NotGranted { line: grant.line() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_import_stands_by_itself() {
        let bare = Manifest::from_toml("name = 'x'").unwrap();
        let granting = Manifest::from_toml("name = 'x'\nallowed_hosts = []").unwrap();
        let outgoing = "wasi:http/outgoing-handler@0.2.3";
        assert_eq!(standing("wasi:cli/exit@0.2.0", &bare), Standing::Free);
        assert!(
            matches!(standing(outgoing, &bare), Standing::NotGranted { line } if line.contains("allowed_hosts"))
        );
        assert_eq!(standing(outgoing, &granting), Standing::Granted);
        assert!(
            matches!(standing("foo:bar/baz", &granting), Standing::Missing { hint } if hint.contains("unknown"))
        );
    }
}
