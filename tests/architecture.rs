//! The walls between the crates, as ARCHITECTURE.md draws them.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Which of our crates each crate may import. What is not listed may import none.
const MAY_IMPORT: [(&str, &[&str]); 12] = [
    ("domain", &[]),
    ("background", &[]),
    ("schema", &["domain"]),
    ("component", &["domain"]),
    ("secrets", &["domain"]),
    ("store", &["domain", "background"]),
    ("broker", &["domain"]),
    ("host", &["domain", "background", "component", "secrets", "store", "broker"]),
    ("gateway", &["domain", "background", "component", "secrets", "store", "broker"]),
    ("scheduler", &["domain", "store", "broker"]),
    ("cli", &["domain", "schema", "component", "secrets", "store", "broker", "host", "gateway", "scheduler"]),
    ("bench", &["domain", "schema", "component", "store", "broker", "host", "gateway"]),
];

/// Libraries that are spoken to from one crate only.
const LIVES_IN: [(&str, &str); 8] = [
    ("sqlx", "store"),
    ("lapin", "broker"),
    ("wasmtime", "host"),
    ("wasmtime-wasi", "host"),
    ("axum", "gateway"),
    ("jsonschema", "schema"),
    ("clap", "cli"),
    ("chacha20poly1305", "secrets"),
];

/// The folder of one of our crates.
fn room(package: &Package) -> String {
    let folder = package.manifest_path.parent().and_then(|folder| folder.file_name());
    folder.expect("a package lies in a folder").to_owned()
}

#[test]
fn imports_run_one_way() {
    let manifest = super::support::root().join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata");
    let rooms: BTreeMap<String, String> = metadata.packages.iter().map(|p| (p.name.to_string(), room(p))).collect();
    let mut breaches = Vec::new();
    for package in &metadata.packages {
        let here = room(package);
        let may = MAY_IMPORT.iter().find(|(name, _)| *name == here).map_or(&[] as &[&str], |(_, may)| *may);
        for dependency in &package.dependencies {
            let allowed = match (rooms.get(&dependency.name), dependency.kind) {
                (Some(room), DependencyKind::Normal) => may.contains(&room.as_str()),
                // Tests and benches may look over the walls, but not below the domain.
                (Some(_), _) => here != "domain",
                (None, DependencyKind::Normal) => {
                    LIVES_IN.iter().all(|(library, room)| *library != dependency.name || *room == here)
                }
                (None, _) => true,
            };
            if !allowed {
                breaches.push(format!("{here} imports {}", dependency.name));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
    for runtime in ["tokio", "async-trait"] {
        let domain = metadata.packages.iter().find(|p| room(p) == "domain").expect("the domain crate");
        assert!(!domain.dependencies.iter().any(|d| d.name == runtime), "the domain is pure");
    }
}
