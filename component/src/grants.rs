//! Imports that a manifest must grant. Everything else that the host has is free.

use std::fmt;

use wasmill_domain::Manifest;

use crate::exports::{Interface, shown};

/// What a manifest grants with one of its keys.
pub(crate) struct Grant {
    package: &'static str,
    /// The interfaces; none is every one of the package.
    interfaces: &'static [&'static str],
    is_granted: fn(&Manifest) -> bool,
    /// What to add to a manifest that does not grant it.
    line: &'static str,
}

/// One row for each capability. What no row names is granted to every function.
static GRANTS: [Grant; 4] = [
    Grant {
        package: "wasi:http",
        // Of WASI 0.2, and of 0.3: what middleware passes requests on by is the network here.
        interfaces: &["outgoing-handler", "client", "handler"],
        is_granted: |manifest| manifest.allowed_hosts.is_some(),
        line: r#"allowed_hosts = ["https://api.example.com"]"#,
    },
    Grant {
        package: "wasi:config",
        interfaces: &[],
        is_granted: |manifest| manifest.config.is_some() || manifest.secrets.is_some(),
        line: r#"config = { region = "eu" }"#,
    },
    Grant {
        package: "wasmill:function",
        interfaces: &["secrets"],
        is_granted: |manifest| manifest.secrets.is_some(),
        line: r#"secrets = { API_TOKEN = "api-token" }"#,
    },
    Grant {
        package: "wasi:keyvalue",
        interfaces: &[],
        is_granted: |manifest| manifest.keyvalue.is_some(),
        line: r#"keyvalue = { default = "function" }"#,
    },
];

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
    /// Whether the manifest has what grants it.
    pub(crate) fn is_granted(&self, manifest: &Manifest) -> bool {
        (self.is_granted)(manifest)
    }

    /// What to add to a manifest that does not have it.
    pub(crate) fn line(&self) -> &'static str {
        self.line
    }

    fn is_for(&self, import: Interface<'_>) -> bool {
        import.package == self.package
            && (self.interfaces.is_empty() || self.interfaces.contains(&import.name))
    }
}

/// The grant that an import needs; `None` where it is free.
pub(crate) fn grant_of(name: &str) -> Option<&'static Grant> {
    let import = Interface::parse(name)?;
    GRANTS.iter().find(|grant| grant.is_for(import))
}

/// Finds what of `imports` the manifest does not grant.
pub(crate) fn not_granted(imports: &[String], manifest: &Manifest) -> Vec<NotGranted> {
    let line = |name: &String| {
        let grant = grant_of(name).filter(|grant| !grant.is_granted(manifest))?;
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
        let version = |name: String| if name.contains(".0-") { name } else { format!("{name}.0") };
        let imports: Vec<String> = provided_interfaces().map(version).collect();
        not_granted(&imports, &manifest(text)).into_iter().map(|import| import.name).collect()
    }

    #[test]
    fn what_nobody_granted_is_refused_and_the_rest_is_free() {
        let secrets = "wasmill:function/secrets@0.1.0";
        let config = ["rc.1", "draft", "draft-2024-09-27"]
            .map(|version| format!("wasi:config/store@0.2.0-{version}"));
        let http = "wasi:http/outgoing-handler@0.2.0";
        let [client, handler] = ["wasi:http/client@0.3.0", "wasi:http/handler@0.3.0"];
        let keyvalue: Vec<String> = ["atomics", "batch", "store"]
            .iter()
            .flat_map(|name| {
                ["draft", "draft2"].map(|version| format!("wasi:keyvalue/{name}@0.2.0-{version}"))
            })
            .collect();
        let keyvalue: Vec<&str> = keyvalue.iter().map(String::as_str).collect();
        assert_eq!(refused("").len(), 7 + keyvalue.len());
        for name in config
            .iter()
            .map(String::as_str)
            .chain([secrets, http, client, handler])
            .chain(keyvalue.iter().copied())
        {
            assert!(refused("").iter().any(|refused| refused == name), "{name}");
        }
        assert!(
            !refused("allowed_hosts = []")
                .iter()
                .any(|name| [http, client, handler].contains(&name.as_str()))
        );
        assert!(
            !refused("allowed_hosts = ['https://api.example.com']").iter().any(|name| name == http)
        );
        assert_eq!(
            refused("[config]"),
            [&[secrets, http], &keyvalue[..], &[client, handler]].concat()
        );
        // A guest that knows wasi:config only can have secrets by it.
        assert_eq!(refused("[secrets]"), [&[http], &keyvalue[..], &[client, handler]].concat());
        assert!(refused("[keyvalue]").iter().all(|name| !name.starts_with("wasi:keyvalue")));
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
        let imports =
            ["wasi:cli/exit@0.2.0".to_owned(), "wasi:http/outgoing-handler@0.2.3".to_owned()];
        let said: Vec<String> =
            not_granted(&imports, &manifest("")).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                r#"'wasi:http/outgoing-handler@0.2.3' is not granted: add allowed_hosts = ["https://api.example.com"] to wasmill.toml"#
            ]
        );
    }
}
