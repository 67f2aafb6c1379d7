//! The rules of which crate and which file may import which, and how large a port may be, as
//! ARCHITECTURE.md has them.

mod bounds;
mod documents;
mod imports;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Which of our crates each crate may import. What is not listed may import none.
const MAY_IMPORT: [(&str, &[&str]); 14] = [
    ("domain", &[]),
    ("background", &[]),
    ("schema", &["domain"]),
    ("component", &["domain"]),
    ("secrets", &["domain"]),
    ("store", &["domain", "background"]),
    ("broker", &["domain"]),
    ("guest", &[]),
    ("http", &[]),
    ("host", &["domain", "background", "component", "secrets", "store", "broker", "guest"]),
    ("gateway", &["domain", "background", "component", "secrets", "store", "broker", "http"]),
    ("scheduler", &["domain", "store", "broker"]),
    (
        "cli",
        &[
            "domain",
            "background",
            "schema",
            "component",
            "secrets",
            "store",
            "broker",
            "http",
            "host",
            "gateway",
            "scheduler",
        ],
    ),
    (
        "bench",
        &["domain", "schema", "component", "store", "broker", "host", "gateway", "scheduler"],
    ),
];

/// Libraries, and the crates that speak to them.
const LIVES_IN: [(&str, &[&str]); 11] = [
    ("sqlx", &["store"]),
    ("lapin", &["broker"]),
    ("wasmtime", &["host", "guest"]),
    ("wasmtime-wasi", &["host", "guest"]),
    ("wasmtime-wasi-http", &["host", "guest"]),
    ("axum", &["gateway", "http"]),
    ("hyper-util", &["http", "host"]),
    ("tokio-rustls", &["http", "host"]),
    ("jsonschema", &["schema"]),
    ("clap", &["cli"]),
    ("chacha20poly1305", &["secrets"]),
];

mod words;

/// The folder of one of our crates.
fn crate_folder(package: &Package) -> String {
    let folder = package.manifest_path.parent().and_then(|folder| folder.file_name());
    folder.expect("a package lies in a folder").to_owned()
}

#[test]
fn imports_run_one_way() {
    let manifest = super::support::root().join("Cargo.toml");
    let metadata =
        MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata");
    let folders: BTreeMap<String, String> =
        metadata.packages.iter().map(|p| (p.name.to_string(), crate_folder(p))).collect();
    let mut breaches = Vec::new();
    for package in &metadata.packages {
        let here = crate_folder(package);
        let may = MAY_IMPORT
            .iter()
            .find(|(name, _)| *name == here)
            .map_or(&[] as &[&str], |(_, may)| *may);
        for dependency in &package.dependencies {
            let allowed = match (folders.get(&dependency.name), dependency.kind) {
                (Some(crate_folder), DependencyKind::Normal) => {
                    may.contains(&crate_folder.as_str())
                }
                // Tests and benches may import other crates, but the domain's may not.
                (Some(_), _) => here != "domain",
                (None, DependencyKind::Normal) => LIVES_IN.iter().all(|(library, folders)| {
                    *library != dependency.name || folders.contains(&here.as_str())
                }),
                (None, _) => true,
            };
            if !allowed {
                breaches.push(format!("{here} imports {}", dependency.name));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
    for runtime in ["tokio", "async-trait"] {
        let domain = metadata
            .packages
            .iter()
            .find(|p| crate_folder(p) == "domain")
            .expect("the domain crate");
        assert!(!domain.dependencies.iter().any(|d| d.name == runtime), "the domain is pure");
    }
}

/// The lines of a folder's sources that begin an example in the documentation, which a doctest
/// would run.
fn examples(folder: &Path, found: &mut Vec<String>) {
    const NO_CODE: [&str; 4] = ["text", "json", "toml", "sh"];
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            examples(&path, found);
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source");
        let docs = text.lines().map(str::trim_start).filter_map(|line| {
            let comment = line.strip_prefix("//!").or_else(|| line.strip_prefix("///"))?;
            comment.trim_start().strip_prefix("```")
        });
        // The second of each two ends what the first one began.
        let begun = docs.step_by(2).filter(|kind| !NO_CODE.contains(&kind.trim()));
        found.extend(begun.map(|kind| format!("{}: ```{kind}", path.display())));
    }
}

/// `doctest = false` in the crates' manifests saves a test run the time to look for examples; it
/// must not hide one.
#[test]
fn documentation_has_no_examples_that_nobody_runs() {
    let mut found = Vec::new();
    for (crate_folder, _) in
        MAY_IMPORT.iter().filter(|(crate_folder, _)| !["cli", "bench"].contains(crate_folder))
    {
        examples(&super::support::root().join(crate_folder).join("src"), &mut found);
    }
    assert!(found.is_empty(), "take `doctest = false` out of the crate's Cargo.toml: {found:#?}");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut found = Vec::new();
    for (crate_, _) in MAY_IMPORT.iter().filter(|(crate_, _)| *crate_ != "bench") {
        let sources = imports::Sources::read(&super::support::root().join(crate_).join("src"));
        let circles = sources.circles();
        found.extend(circles.iter().map(|circle| format!("{crate_}: {}", circle.join(", "))));
    }
    assert!(found.is_empty(), "move what both need into a file of its own: {found:#?}");
}

/// The most verbs that a port has.
const MOST_VERBS: usize = 10;

/// What a port's trait may ask of whoever implements it: nothing of another port.
const BOUNDS: &str = "Send + Sync + 'static";

#[test]
fn no_port_is_past_ten_verbs_or_made_of_others() {
    let root = super::support::root();
    let mut files = vec![root.join("broker/src/port.rs")];
    let of_store = fs::read_dir(root.join("store/src/port")).expect("the store's ports");
    files.extend(of_store.map(|entry| entry.expect("an entry").path()));
    let (mut ports, mut wrong) = (0, Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        for port in text.split("\npub trait ").skip(1) {
            let (head, body) = port.split_once('{').expect("a trait has a body");
            let (name, bounds) = head.split_once(':').unwrap_or((head, BOUNDS));
            // Halves of what a verb gives are no ports: they are used by one at a time.
            if bounds.trim() == "Send" || bounds.trim() == "Send + Sync" {
                continue;
            }
            ports += 1;
            let body = body.split("\n}").next().unwrap_or_default();
            let verbs = body.lines().map(str::trim_start);
            let verbs =
                verbs.filter(|line| line.starts_with("fn ") || line.starts_with("async fn "));
            let count = verbs.count();
            if count > MOST_VERBS {
                wrong.push(format!("{name} has {count} verbs"));
            }
            if bounds.trim() != BOUNDS {
                wrong.push(format!("{name} is made of {}", bounds.trim()));
            }
        }
    }
    assert!(ports >= 17, "{ports} ports were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
