//! Names of interfaces, and which kind of component an exported one makes.

use wasmill_domain::manifest::Kind;

use crate::outline::Outline;

/// The name of an interface, taken apart: `wasi:cli/run@0.2.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interface<'a> {
    /// `wasi:cli`.
    pub(crate) package: &'a str,
    /// `run`.
    pub(crate) name: &'a str,
    /// `0.2.0`.
    version: Option<&'a str>,
}

/// The exports that make a component's kind, the first one deciding where a manifest does not:
/// package, interface, version track, kind.
const WORLDS: [(&str, &str, u64, u64, Kind); 5] = [
    ("wasmill:function", "handler", 0, 1, Kind::Event),
    ("wasi:http", "incoming-handler", 0, 2, Kind::Http),
    ("wasi:http", "handler", 0, 3, Kind::Http),
    ("wasi:cli", "run", 0, 2, Kind::Command),
    ("wasi:cli", "run", 0, 3, Kind::Command),
];

impl<'a> Interface<'a> {
    /// `None` for a name of another form: a function's, a module's.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (path, version) = match text.split_once('@') {
            Some((path, version)) => (path, Some(version)),
            None => (text, None),
        };
        let (package, name) = path.rsplit_once('/')?;
        package.contains(':').then_some(Self { package, name, version })
    }

    /// Whether the version is this one and no other, as wasmtime compares versions that are not
    /// released.
    pub(crate) fn is_exactly(&self, version: &str) -> bool {
        self.version == Some(version)
    }

    /// Whether the version is a release `major.minor.*`, as wasmtime compares versions below 1.0.
    pub(crate) fn is_on_track(&self, major: u64, minor: u64) -> bool {
        let Some(version) = self.version else { return false };
        let release = version.split('+').next().unwrap_or_default();
        let mut parts = release.split('.').map(str::parse::<u64>);
        let mut next = || parts.next().and_then(Result::ok);
        next() == Some(major) && next() == Some(minor) && next().is_some() && parts.next().is_none()
    }
}

/// The kinds that these exports make, the one that decides first.
pub(crate) fn kinds_of(exports: &[String]) -> Vec<Kind> {
    let made = WORLDS.iter().filter(|(package, name, major, minor, _)| {
        let is_it = |i: Interface<'_>| {
            i.package == *package && i.name == *name && i.is_on_track(*major, *minor)
        };
        exports.iter().filter_map(|export| Interface::parse(export)).any(is_it)
    });
    let mut kinds: Vec<Kind> = made.map(|(.., kind)| *kind).collect();
    // One component may be the same for two versions of WASI.
    kinds.dedup();
    kinds
}

/// What a component of this kind exports.
pub(crate) fn export_of(kind: Kind) -> String {
    let of_kind = WORLDS.iter().filter(|(.., of)| *of == kind);
    let names =
        of_kind.map(|(package, name, major, minor, _)| format!("{package}/{name}@{major}.{minor}"));
    names.collect::<Vec<_>>().join(" or ")
}

/// Whether a name is one of WASI 0.3: of its release or of a draft.
pub(crate) fn is_wasi3(name: &str) -> bool {
    Interface::parse(name).is_some_and(|i| {
        i.package.starts_with("wasi:") && i.version.is_some_and(|v| v.starts_with("0.3."))
    })
}

/// The first name of WASI 0.3 that a component has to do with, if there is one.
pub(crate) fn wasi3(outline: &Outline) -> Option<String> {
    outline
        .exports
        .iter()
        .chain(&outline.imports)
        .find(|name| is_wasi3(name))
        .map(|name| shown(name))
}

/// What a component has of a draft of WASI 0.3, in words: the first export of one, or else the
/// first import.
pub(crate) fn draft_wasi(exports: &[String], imports: &[String]) -> Option<String> {
    let is_draft = |name: &&String| {
        is_wasi3(name)
            && Interface::parse(name).is_some_and(|interface| !interface.is_on_track(0, 3))
    };
    let export = exports.iter().find(is_draft).map(|name| format!("it exports '{}'", shown(name)));
    export.or_else(|| {
        imports.iter().find(is_draft).map(|name| format!("it imports '{}'", shown(name)))
    })
}

/// What is to be said of exports that make no kind: a wrong version of a known one, or the list of
/// what there is.
pub(crate) fn describe_unknown(exports: &[String]) -> String {
    let other_version =
        exports.iter().filter_map(|export| Interface::parse(export)).find_map(|export| {
            let known = WORLDS
                .iter()
                .filter(|(package, name, ..)| export.package == *package && export.name == *name);
            let known: Vec<String> =
                known.map(|(_, _, major, minor, _)| format!("{major}.{minor}")).collect();
            let Interface { package, name, version } = export;
            let version = shown(version.unwrap_or("no version"));
            let known = Some(known.join(" or ")).filter(|known| !known.is_empty())?;
            Some(format!(
                "it exports {package}/{name} in {version}, and {known} is what is known here"
            ))
        });
    if let Some(said) = other_version {
        return said;
    }
    if exports.is_empty() {
        return "it exports nothing".into();
    }
    const SHOWN: usize = 8;
    let names: Vec<String> =
        exports.iter().take(SHOWN).map(|name| format!("'{}'", shown(name))).collect();
    match exports.len().saturating_sub(SHOWN) {
        0 => format!("it exports {}", names.join(", ")),
        more => format!("it exports {} and {more} more", names.join(", ")),
    }
}

/// A name out of a component, at most as long as a reader needs.
pub(crate) fn shown(name: &str) -> String {
    const LONGEST: usize = 120;
    match name.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", &name[..cut]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(exports: &[&str]) -> Vec<Kind> {
        kinds_of(&exports.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn kinds_by_export() {
        assert_eq!(kinds(&["wasmill:function/handler@0.1.0"]), [Kind::Event]);
        assert_eq!(kinds(&["memory", "wasmill:function/handler@0.1.9"]), [Kind::Event]);
        assert_eq!(kinds(&["wasi:http/incoming-handler@0.2.3"]), [Kind::Http]);
        assert_eq!(
            kinds(&["wasi:cli/run@0.2.0", "wasmill:function/handler@0.1.0"]),
            [Kind::Event, Kind::Command]
        );
        assert_eq!(kinds(&["wasi:cli/run@0.2.6"]), [Kind::Command]);
        assert_eq!(kinds(&["wasi:http/handler@0.3.0"]), [Kind::Http]);
        assert_eq!(kinds(&["wasi:cli/run@0.2.0", "wasi:cli/run@0.3.1"]), [Kind::Command]);
        for unknown in [
            "wasmill:function/handler@0.2.0",
            "wasmill:function/handler",
            "wasi:cli/run@0.2",
            "wasi:cli/run@0.3.0-rc-2025-09-16",
            "run",
            "",
        ] {
            assert_eq!(kinds(&[unknown]), [], "{unknown}");
        }
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let name = "ü".repeat(500);
        assert_eq!(shown(&name).chars().count(), 121);
        assert_eq!(shown("short"), "short");
    }
}
