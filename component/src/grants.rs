//! Imports that a manifest must grant. Everything else that the host has is free.

use std::fmt;

use wasmill_domain::Manifest;

use crate::exports::{Interface, shown};

/// What a manifest grants with one of its keys.
struct Grant {
    package: &'static str,
    /// The interface; `None` is every one of the package.
    interface: Option<&'static str>,
    is_granted: fn(&Manifest) -> bool,
    /// What to add to a manifest that does not grant it.
    line: &'static str,
}

/// One row for each capability. What no row names is granted to every function.
const GRANTS: [Grant; 1] = [Grant {
    package: "wasi:http",
    interface: Some("outgoing-handler"),
    is_granted: |manifest| manifest.allowed_hosts.is_some(),
    line: r#"allowed_hosts = ["https://api.example.com"]"#,
}];

/// An import that the manifest does not grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotGranted {
    /// Its name, as the component writes it.
    pub name: String,
    /// The line that grants it.
    pub line: &'static str,
}

impl fmt::Display for NotGranted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not granted: add {} to wasmill.toml", shown(&self.name), self.line)
    }
}

impl Grant {
    fn is_for(&self, import: Interface<'_>) -> bool {
        import.package == self.package && self.interface.is_none_or(|interface| import.name == interface)
    }
}

/// Finds what of `imports` the manifest does not grant.
pub(crate) fn not_granted(imports: &[String], manifest: &Manifest) -> Vec<NotGranted> {
    let line = |name: &String| {
        let import = Interface::parse(name)?;
        let grant = GRANTS.iter().find(|grant| grant.is_for(import) && !(grant.is_granted)(manifest))?;
        Some(NotGranted { name: name.clone(), line: grant.line })
    };
    imports.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imports::provided_interfaces;

    fn manifest(text: &str) -> Manifest {
        Manifest::from_toml(&format!("name = 'x'\n{text}")).unwrap()
    }

    /// The interfaces that a function with this manifest may not import.
    fn refused(text: &str) -> Vec<String> {
        let imports: Vec<String> = provided_interfaces().map(|name| format!("{name}.0")).collect();
        not_granted(&imports, &manifest(text)).into_iter().map(|import| import.name).collect()
    }

    #[test]
    fn what_nobody_granted_is_refused_and_the_rest_is_free() {
        assert_eq!(refused(""), ["wasi:http/outgoing-handler@0.2.0"]);
        assert!(refused("allowed_hosts = []").is_empty());
        assert!(refused("allowed_hosts = ['https://api.example.com']").is_empty());
    }

    /// Whoever follows the advice must not meet the same refusal, or another one.
    #[test]
    fn the_line_to_add_grants_it() {
        for grant in &GRANTS {
            assert!(!(grant.is_granted)(&manifest("")), "{}", grant.line);
            assert!((grant.is_granted)(&manifest(grant.line)), "{}", grant.line);
        }
    }

    #[test]
    fn the_message_names_import_and_line() {
        let imports = ["wasi:cli/exit@0.2.0".to_owned(), "wasi:http/outgoing-handler@0.2.3".to_owned()];
        let said: Vec<String> = not_granted(&imports, &manifest("")).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                r#"'wasi:http/outgoing-handler@0.2.3' is not granted: add allowed_hosts = ["https://api.example.com"] to wasmill.toml"#
            ]
        );
    }
}
