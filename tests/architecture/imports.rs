//! Which files of a crate import which, read from their sources.
//!
//! A module is a file. It imports another where a path in it that begins with `crate`, `self`,
//! `super` or the name of a child leads into that file, in a `use` or elsewhere. Declarations of
//! modules are no imports. What a file re-exports (`pub use`) is imported of the file that it
//! re-exports it from, so a module that only gathers others is in nobody's way. Test modules do not
//! count: tests look at whatever they need.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The path of a module within its crate; empty for the root.
type Module = Vec<String>;

/// Names that modules of tests have.
const OF_TESTS: [&str; 3] = ["tests", "testing", "conformance"];

/// The sources of a crate, by module.
pub(crate) struct Sources(BTreeMap<Module, Source>);

struct Source {
    text: String,
    /// What it re-exports: the name by which it is known, and where it leads.
    exports: BTreeMap<String, Vec<String>>,
    /// Modules all of whose names it re-exports.
    globs: Vec<Vec<String>>,
}

impl Sources {
    /// Reads the `.rs` files of a folder.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut sources = BTreeMap::new();
        collect(folder, &mut Vec::new(), &mut sources);
        let modules: BTreeSet<Module> = sources.keys().cloned().collect();
        let parsed = sources.into_iter().map(|(module, text)| {
            let (mut exports, mut globs) = (BTreeMap::new(), Vec::new());
            for (is_export, path) in uses(&text).0 {
                if let Some(target) = absolute(&modules, &module, &path).filter(|_| is_export) {
                    match target.last().map(String::as_str) {
                        Some("*") => globs.push(target[..target.len() - 1].to_vec()),
                        _ => drop(exports.insert(name_of(&path), without_alias(&target))),
                    }
                }
            }
            (module, Source { text, exports, globs })
        });
        Self(parsed.collect())
    }

    /// Groups of modules that import each other in a circle, each in order.
    pub(crate) fn circles(&self) -> Vec<Vec<String>> {
        let imports: BTreeMap<&Module, BTreeSet<&Module>> =
            self.0.keys().map(|module| (module, self.imports(module))).collect();
        let reaches = |from: &Module| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
            while let Some(module) = next.pop() {
                for to in &imports[module] {
                    if seen.insert(*to) {
                        next.push(to);
                    }
                }
            }
            seen
        };
        let reached: BTreeMap<&Module, BTreeSet<&Module>> =
            self.0.keys().map(|module| (module, reaches(module))).collect();
        let mut circles = BTreeSet::new();
        for (module, beyond) in reached.iter().filter(|(module, beyond)| beyond.contains(*module)) {
            let circle = beyond.iter().filter(|other| reached[**other].contains(*module));
            let mut circle: Vec<String> = circle.map(|module| shown(module)).collect();
            circle.sort();
            circle.dedup();
            circles.insert(circle);
            let _ = module;
        }
        circles.into_iter().collect()
    }

    fn imports(&self, module: &Module) -> BTreeSet<&Module> {
        let modules: BTreeSet<Module> = self.0.keys().cloned().collect();
        let text = &self.0[module].text;
        let (used, rest) = uses(text);
        let used = used.into_iter().filter(|(is_export, _)| !is_export).map(|(_, path)| path);
        let named = paths(&rest);
        used.chain(named)
            .filter_map(|path| absolute(&modules, module, &path))
            .filter_map(|target| self.home(&without_alias(&target), 8))
            .filter(|to| *to != module)
            .collect()
    }

    /// The file in which a path's last item is, past re-exports. `depth` bounds how many of these
    /// follow each other.
    fn home(&self, path: &[String], depth: u32) -> Option<&Module> {
        let known = (0..=path.len()).rev().find(|end| self.0.contains_key(&path[..*end]))?;
        let (module, source) = self.0.get_key_value(&path[..known])?;
        let Some(item) = path.get(known).filter(|_| depth > 0) else { return Some(module) };
        if let Some(target) = source.exports.get(item) {
            let rest = target.iter().chain(&path[known + 1..]).cloned().collect::<Vec<_>>();
            return self.home(&rest, depth - 1);
        }
        let of_glob = source
            .globs
            .iter()
            .find(|glob| self.0.get(*glob).is_some_and(|source| defines(&source.text, item)));
        match of_glob {
            Some(glob) => self.0.get_key_value(glob).map(|(module, _)| module),
            None => Some(module),
        }
    }
}

/// Whether a source defines something public of a name.
fn defines(text: &str, name: &str) -> bool {
    ["struct", "enum", "trait", "fn", "type", "const", "static", "union"].iter().any(|kind| {
        text.contains(&format!("{kind} {name}")) && !text.contains(&format!("use {name}"))
    })
}

fn shown(module: &Module) -> String {
    if module.is_empty() { "the root".into() } else { module.join("::") }
}

fn collect(folder: &Path, module: &mut Module, sources: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if OF_TESTS.contains(&name.as_str()) || name.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            module.push(name);
            collect(&path, module, sources);
            module.pop();
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let mut of_file = module.clone();
            if !matches!(name.as_str(), "lib" | "main" | "mod") {
                of_file.push(name);
            }
            let text = fs::read_to_string(&path).expect("a source");
            sources.insert(of_file, code(&text));
        }
    }
}

/// A source without comments and without its own tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = text.lines().map(|line| {
        let end = line.find("//").filter(|at| !line[..*at].ends_with(':')).unwrap_or(line.len());
        &line[..end]
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What a source's `use` declarations name, one path each, and whether it is re-exported; and the
/// rest of the source.
fn uses(text: &str) -> (Vec<(bool, String)>, String) {
    let (mut found, mut others) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rsplit('\n').next().unwrap_or_default().trim();
        let is_use =
            matches!(line, "" | "pub") || (line.starts_with("pub(") && line.ends_with(')'));
        others.push_str(&rest[..at]);
        rest = &rest[at + 4..];
        if is_use && let Some(end) = rest.find(';') {
            let tree: String = rest[..end].split_whitespace().collect::<Vec<_>>().join(" ");
            let is_export = line.starts_with("pub");
            found.extend(expand(&tree).into_iter().map(|path| (is_export, path)));
            rest = &rest[end..];
        }
    }
    others.push_str(rest);
    (found, others)
}

/// The paths of a tree such as `a::{b, c::{d, e}}`.
fn expand(tree: &str) -> Vec<String> {
    let Some((head, body)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let body = body.trim_end().strip_suffix('}').unwrap_or(body);
    let (mut parts, mut depth, mut part) = (Vec::new(), 0_usize, String::new());
    for c in body.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts
        .flat_map(|part| expand(part.trim()))
        .map(|path| format!("{}{path}", head.trim()))
        .collect()
}

/// Paths outside of `use` declarations that begin within the crate.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(start) {
            let is_start =
                !text[..at].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c));
            let end = text[at..]
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
                .map_or(text.len(), |length| at + length);
            if is_start {
                found.push(text[at..end].trim_end_matches(':').to_owned());
            }
        }
    }
    found
}

/// A path from the root of its crate; none where it leads out of it.
fn absolute(modules: &BTreeSet<Module>, here: &Module, path: &str) -> Option<Vec<String>> {
    let mut parts: Vec<&str> = path.split("::").map(str::trim).collect();
    let mut base: Vec<String> = match *parts.first()? {
        "crate" => Vec::new(),
        "self" | "super" => here.clone(),
        child => {
            let mut below = here.clone();
            below.push(child.to_owned());
            if !modules.contains(&below) {
                return None;
            }
            here.clone()
        }
    };
    if matches!(parts[0], "crate" | "self") {
        parts.remove(0);
    }
    while parts.first() == Some(&"super") {
        base.pop()?;
        parts.remove(0);
    }
    base.extend(parts.into_iter().map(str::to_owned));
    Some(base)
}

/// The name by which a re-exported path is known.
fn name_of(path: &str) -> String {
    let last = path.rsplit("::").next().unwrap_or_default();
    last.rsplit(" as ").next().unwrap_or_default().trim().to_owned()
}

/// A path whose last part is what it is called where it is from.
fn without_alias(path: &[String]) -> Vec<String> {
    let original = |part: &String| part.split(" as ").next().unwrap_or_default().trim().to_owned();
    path.iter().map(original).filter(|part| part != "self").collect()
}

#[test]
fn trees_are_expanded() {
    assert_eq!(
        expand("crate::a::{self, B, c::{D, E as F}}"),
        ["crate::a::self", "crate::a::B", "crate::a::c::D", "crate::a::c::E as F"]
    );
}

#[test]
fn a_circle_is_found_past_re_exports() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("its folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    write("lib.rs", "mod a;\nmod b;\nmod c;\npub use a::One;\n");
    write(
        "a.rs",
        "mod inner;\npub use self::inner::Deep;\nuse crate::b::Two;\npub struct One(Two);\n",
    );
    write("a/inner.rs", "pub struct Deep;\n");
    // It needs what is in `a/inner.rs`, which needs nobody: no circle.
    write("b.rs", "use crate::a::Deep;\npub struct Two(Deep);\n");
    write("c.rs", "// use crate::a::One;\nfn f() { crate::b::g() }\n");
    assert!(Sources::read(folder.path()).circles().is_empty());
    // By way of the root's re-export.
    write("b.rs", "use crate::{One};\npub struct Two(Box<One>);\n");
    assert_eq!(Sources::read(folder.path()).circles(), [["a", "b"]]);
    write("b.rs", "pub struct Two;\nfn g() { super::a::h() }\n");
    assert_eq!(Sources::read(folder.path()).circles(), [["a", "b"]]);
}
