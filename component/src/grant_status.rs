//! Whether a manifest grants each import of a component: for people who look before they deploy.

use wasmill_domain::Manifest;

use crate::grants::grant_of;
use crate::imports::why_missing;
use crate::inspect::Inspection;

/// Whether a function may have one of its imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantStatus {
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
    /// Every import, in the component's order, and its grant status under `manifest`.
    pub fn grant_statuses(&self, manifest: &Manifest) -> Vec<(&str, GrantStatus)> {
        self.imports.iter().map(|name| (name.as_str(), grant_status(name, manifest))).collect()
    }
}

fn grant_status(name: &str, manifest: &Manifest) -> GrantStatus {
    if let Some(hint) = why_missing(name) {
        return GrantStatus::Missing { hint };
    }
    match grant_of(name) {
        None => GrantStatus::Free,
        Some(grant) if grant.is_granted(manifest) => GrantStatus::Granted,
        Some(grant) => GrantStatus::NotGranted { line: grant.line() },
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
        assert_eq!(grant_status("wasi:cli/exit@0.2.0", &bare), GrantStatus::Free);
        assert!(
            matches!(grant_status(outgoing, &bare), GrantStatus::NotGranted { line } if line.contains("allowed_hosts"))
        );
        assert_eq!(grant_status(outgoing, &granting), GrantStatus::Granted);
        assert!(
            matches!(grant_status("foo:bar/baz", &granting), GrantStatus::Missing { hint } if hint.contains("unknown"))
        );
    }
}
