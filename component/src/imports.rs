//! Which imports a host has, and what to say of one that it does not have.

use std::collections::BTreeSet;
use std::fmt;

use crate::exports::{Interface, shown};

/// A package that the host links, or the part of it that is the same in these versions.
struct Package {
    name: &'static str,
    versions: Versions,
    interfaces: &'static [&'static str],
}

/// In which versions.
enum Versions {
    /// Releases on these tracks: with semantic versions, 0.2.0 to 0.2.999 are one.
    Tracks(&'static [(u64, u64)]),
    /// Versions that are not released, each of which is like itself only.
    Exactly(&'static [&'static str]),
}

/// Everything that the host links, WASI 0.3 only where it is enabled. A test of the host holds this
/// against its linker.
const PROVIDED: [Package; 18] = [
    Package {
        name: "wasmill:function",
        versions: Versions::Tracks(&[(0, 1)]),
        interfaces: &["context", "log", "secrets", "types"],
    },
    Package {
        name: "wasi:cli",
        versions: Versions::Tracks(&[(0, 2), (0, 3)]),
        interfaces: &[
            "environment",
            "exit",
            "stderr",
            "stdin",
            "stdout",
            "terminal-input",
            "terminal-output",
            "terminal-stderr",
            "terminal-stdin",
            "terminal-stdout",
        ],
    },
    Package {
        name: "wasi:clocks",
        versions: Versions::Tracks(&[(0, 2)]),
        interfaces: &["wall-clock"],
    },
    Package {
        name: "wasi:clocks",
        versions: Versions::Tracks(&[(0, 2), (0, 3)]),
        interfaces: &["monotonic-clock"],
    },
    Package {
        name: "wasi:config",
        versions: Versions::Exactly(&["0.2.0-rc.1", "0.2.0-draft", "0.2.0-draft-2024-09-27"]),
        interfaces: &["store"],
    },
    Package {
        name: "wasi:filesystem",
        versions: Versions::Tracks(&[(0, 2), (0, 3)]),
        interfaces: &["preopens", "types"],
    },
    Package {
        name: "wasi:http",
        versions: Versions::Tracks(&[(0, 2)]),
        interfaces: &["outgoing-handler"],
    },
    Package {
        name: "wasi:http",
        versions: Versions::Tracks(&[(0, 2), (0, 3)]),
        interfaces: &["types"],
    },
    Package {
        name: "wasi:io",
        versions: Versions::Tracks(&[(0, 2)]),
        interfaces: &["error", "poll", "streams"],
    },
    Package {
        name: "wasi:keyvalue",
        versions: Versions::Exactly(&["0.2.0-draft", "0.2.0-draft2"]),
        interfaces: &["atomics", "batch", "store"],
    },
    Package {
        name: "wasi:logging",
        versions: Versions::Exactly(&["0.1.0-draft"]),
        interfaces: &["logging"],
    },
    Package {
        name: "wasi:random",
        versions: Versions::Tracks(&[(0, 2), (0, 3)]),
        interfaces: &["insecure", "insecure-seed", "random"],
    },
    Package {
        name: "wasi:sockets",
        versions: Versions::Tracks(&[(0, 2)]),
        interfaces: &[
            "instance-network",
            "network",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
    },
    Package {
        name: "wasi:sockets",
        versions: Versions::Tracks(&[(0, 2), (0, 3)]),
        interfaces: &["ip-name-lookup"],
    },
    // What only WASI 0.3 has.
    Package { name: "wasi:cli", versions: Versions::Tracks(&[(0, 3)]), interfaces: &["types"] },
    Package {
        name: "wasi:clocks",
        versions: Versions::Tracks(&[(0, 3)]),
        interfaces: &["system-clock", "types"],
    },
    Package {
        name: "wasi:http",
        versions: Versions::Tracks(&[(0, 3)]),
        interfaces: &["client", "handler"],
    },
    Package { name: "wasi:sockets", versions: Versions::Tracks(&[(0, 3)]), interfaces: &["types"] },
];

/// Packages that exist and that the host does not link. Their absence is a decision, not a riddle.
const NOT_PROVIDED: [(&str, &str); 1] =
    [("wasi:tls", "functions have no sockets; wasi:http/outgoing-handler sends requests with TLS")];

/// An import that the host does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingImport {
    /// Its name, as the component writes it.
    pub name: String,
    /// What the host has instead, or why it has nothing.
    pub hint: String,
}

impl fmt::Display for MissingImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' ({})", shown(&self.name), self.hint)
    }
}

/// Every interface that the host links: with the version track, `wasi:cli/exit@0.2`, or with a
/// version that is not released, `wasi:config/store@0.2.0-rc.1`.
pub fn provided_interfaces() -> impl Iterator<Item = String> {
    PROVIDED.iter().flat_map(|package| {
        let versions = package.versions.shown();
        let interface = move |name| {
            versions.clone().into_iter().map(move |v| format!("{}/{name}@{v}", package.name))
        };
        package.interfaces.iter().flat_map(interface)
    })
}

/// Finds what of `imports` the host does not have.
pub(crate) fn missing(imports: &[String]) -> Vec<MissingImport> {
    let missing = imports.iter().filter_map(|name| why_missing(name).map(|hint| (name, hint)));
    missing.map(|(name, hint)| MissingImport { name: name.clone(), hint }).collect()
}

/// `None` for an import that the host has.
pub(crate) fn why_missing(name: &str) -> Option<String> {
    let Some(wanted) = Interface::parse(name) else {
        return Some(
            "only interfaces such as 'wasi:cli/exit@0.2.0' can be imported, no bare functions, modules or components"
                .into(),
        );
    };
    let packages = || PROVIDED.iter().filter(|package| package.name == wanted.package);
    if packages().next().is_none() {
        return Some(why_package_missing(&wanted));
    }
    let having: Vec<&Package> =
        packages().filter(|package| package.interfaces.contains(&wanted.name)).collect();
    if having.is_empty() {
        let interfaces = || packages().flat_map(|package| package.interfaces.iter().copied());
        return Some(match nearest(wanted.name, interfaces()) {
            Some(near) => format!("unknown; did you mean '{}/{near}'?", wanted.package),
            None => {
                let has: Vec<&str> = interfaces().collect::<BTreeSet<_>>().into_iter().collect();
                format!("unknown; the host's {} has {}", wanted.package, has.join(", "))
            }
        });
    }
    (!having.iter().any(|package| package.versions.have(&wanted))).then(|| {
        let versions: Vec<String> =
            having.iter().flat_map(|package| package.versions.shown()).collect();
        format!(
            "the host has {}/{} on version {}",
            wanted.package,
            wanted.name,
            versions.join(", ")
        )
    })
}

fn why_package_missing(wanted: &Interface<'_>) -> String {
    if let Some((_, why)) = NOT_PROVIDED.iter().find(|(name, _)| *name == wanted.package) {
        return (*why).into();
    }
    let all: Vec<String> = provided_interfaces().collect();
    let full = format!("{}/{}", wanted.package, wanted.name);
    let without_version = all.iter().filter_map(|name| name.split('@').next());
    match nearest(&full, without_version) {
        Some(near) => format!("unknown; did you mean '{near}'?"),
        None => "unknown; a function can import wasmill:function and WASI 0.2".into(),
    }
}

/// The candidate that a slip of the keyboard may have meant.
fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The distance costs the product of both lengths, and a name may be as long as its component.
    if wanted.len() > 100 {
        return None;
    }
    let bound = (wanted.len() / 4).max(2);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(wanted, candidate), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min()
        .map(|(_, candidate)| candidate)
}

impl Versions {
    /// Whether `wanted` is in one of them.
    fn have(&self, wanted: &Interface<'_>) -> bool {
        match self {
            Self::Tracks(tracks) => {
                tracks.iter().any(|&(major, minor)| wanted.is_on_track(major, minor))
            }
            Self::Exactly(versions) => versions.iter().any(|version| wanted.is_exactly(version)),
        }
    }

    fn shown(&self) -> Vec<String> {
        match self {
            Self::Tracks(tracks) => {
                tracks.iter().map(|(major, minor)| format!("{major}.{minor}")).collect()
            }
            Self::Exactly(versions) => versions.iter().map(|&version| version.to_owned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_has() {
        for name in [
            "wasi:cli/exit@0.2.0",
            "wasi:io/streams@0.2.12",
            "wasi:clocks/wall-clock@0.2.99",
            "wasmill:function/log@0.1.0",
            "wasmill:function/types@0.1.7",
            "wasmill:function/secrets@0.1.0",
            "wasi:config/store@0.2.0-rc.1",
            "wasi:config/store@0.2.0-draft",
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:keyvalue/atomics@0.2.0-draft2",
            "wasi:logging/logging@0.1.0-draft",
            "wasi:clocks/monotonic-clock@0.3.0",
            "wasi:http/client@0.3.2",
            "wasi:http/handler@0.3.0",
        ] {
            assert_eq!(why_missing(name), None, "{name}");
        }
    }

    #[test]
    fn near_misses_are_named() {
        for (name, word) in [
            ("wasi:clocks/monotonic-clock@0.4.0", "on version 0.2, 0.3"),
            ("wasi:clocks/monotonic-clock@0.2.0-rc-2023-11-10", "on version 0.2"),
            ("wasi:clocks/wall-clock@0.3.0", "on version 0.2"),
            ("wasi:clocks/system-clock@0.2.0", "on version 0.3"),
            ("wasi:clocks/monotonic-clock", "on version 0.2"),
            ("wasi:clocks/monotonic-clok@0.2.0", "did you mean 'wasi:clocks/monotonic-clock'?"),
            (
                "wasi:clocks/timezone@0.2.0",
                "wasi:clocks has monotonic-clock, system-clock, types, wall-clock",
            ),
            ("wasi:http/outgoing-handler@0.3.0", "on version 0.2"),
            ("wasi:config/store@0.2.0", "on version 0.2.0-rc.1, 0.2.0-draft"),
            ("wasi:config/store@0.2.0-rc.2", "on version 0.2.0-rc.1, 0.2.0-draft"),
            ("wasi:config/runtime@0.2.0-draft", "wasi:config has store"),
            ("wasi:keyvalue/store@0.2.0", "on version 0.2.0-draft, 0.2.0-draft2"),
            ("wasi:keyvalue/store@0.2.0-draft3", "on version 0.2.0-draft, 0.2.0-draft2"),
            ("wasi:keyvalue/watcher@0.2.0-draft2", "wasi:keyvalue has atomics, batch, store"),
            ("wasi:logging/logging", "on version 0.1.0-draft"),
            ("wasmil:function/log@0.1.0", "did you mean 'wasmill:function/log'?"),
            ("wasmill:function/log@0.2.0", "on version 0.1"),
            ("foo:bar/baz", "unknown; a function can import"),
            ("print", "no bare functions"),
            (&"x".repeat(10_000), "no bare functions"),
        ] {
            let why = why_missing(name).unwrap_or_default();
            assert!(why.contains(word), "{name}: {why}");
        }
    }
}
