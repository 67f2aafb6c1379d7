//! What the documents for developers say of the sources is there.

use std::fs;
use std::path::Path;

use super::super::support::root;

/// The paths in backticks that begin with a folder of the project, each as what it stands for:
/// `store/src/{sqlite,postgres}` are two.
fn paths(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_path = |word: &&str| {
        word.contains('/')
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "_./{},-".contains(c))
            && word.split('/').next().is_some_and(|first| {
                first.starts_with(|c: char| c.is_ascii_lowercase()) && root().join(first).is_dir()
            })
    };
    quoted.filter(is_path).flat_map(alternatives).collect()
}

fn alternatives(path: &str) -> Vec<String> {
    let parts = path.split_once('{').and_then(|(before, rest)| {
        let (names, after) = rest.split_once('}')?;
        Some(names.split(',').map(|name| format!("{before}{}{after}", name.trim())).collect())
    });
    parts.unwrap_or_else(|| vec![path.to_owned()])
}

#[test]
fn paths_in_documents_exist() {
    let mut documents = vec![root().join("ARCHITECTURE.md"), root().join("migrations/README.md")];
    let decisions = fs::read_dir(root().join("docs/adr")).unwrap();
    documents.extend(decisions.map(|entry| entry.unwrap().path()));
    let mut seen = 0;
    for document in documents {
        for path in paths(&fs::read_to_string(&document).unwrap()) {
            // The names of leases have the form of a path.
            if path.starts_with("scheduler/") && !path.contains('.') {
                continue;
            }
            let place = root().join(Path::new(&path));
            assert!(place.exists(), "{}: '{path}' does not exist", document.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "the documents' paths are not found: {seen}");
}
