use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Manifest;
use crate::manifest::ManifestError;

fn pattern(text: &str) -> FilePattern {
    text.parse().unwrap()
}

fn part(path: &str) -> Value {
    json!({"path": path, "digest": Digest::of(path.as_bytes()), "size": path.len()})
}

fn deployed(files: &[Value]) -> Result<Manifest, ManifestError> {
    Manifest::from_json(json!({"name": "x", "files": files}))
}

#[test]
fn patterns_stand_for_files() {
    for (text, path, expected) in [
        ("data/**", "data/a", true),
        ("data/**", "data/a/b/c", true),
        ("data/**", "data", false),
        ("data/**", "other/a", false),
        ("data/**", "data/.hidden", false),
        ("data/**", "data/.git/config", false),
        ("data/.hidden", "data/.hidden", true),
        ("data/.*", "data/.hidden", true),
        ("**", "a/b", true),
        ("**/*.py", "a.py", true),
        ("**/*.py", "lib/x/a.py", true),
        ("**/*.py", "lib/x/a.pyc", false),
        ("lib/**/test/*", "lib/test/a", true),
        ("lib/**/test/*", "lib/a/b/test/c", true),
        ("lib/**/test/*", "lib/a/b/test/c/d", false),
        ("*", "a/b", false),
        ("*", ".env", false),
        ("a?c", "aüc", true),
        ("a?c", "ac", false),
        ("*a*b*", "xxayybzz", true),
        ("*a*b*", "xxbyyazz", false),
        ("a*", "a", true),
    ] {
        assert_eq!(pattern(text).matches(path), expected, "{text} {path}");
        if expected && let Some((folder, _)) = path.rsplit_once('/') {
            assert!(pattern(text).reaches(folder), "{text} {folder}");
        }
    }
    for (text, folder, expected) in [
        ("data/**", "node_modules", false),
        ("data/**", "data", true),
        ("data/*.txt", "data", true),
        ("data/*.txt", "data/below", false),
        ("data.txt", "data.txt", false),
        ("**", ".git", false),
        ("**/a", "x/y", true),
    ] {
        assert_eq!(pattern(text).reaches(folder), expected, "{text} {folder}");
    }
}

#[test]
fn what_is_no_path_is_no_pattern_either() {
    let long = "a/".repeat(32) + "a";
    for bad in [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "./a",
        "a//b",
        "a/",
        "a\nb",
        "a\0",
        &"a".repeat(256),
        &long,
    ] {
        assert!(bad.parse::<FilePath>().is_err(), "{bad:?}");
        assert!(bad.parse::<FilePattern>().is_err(), "{bad:?}");
    }
    for bad in ["a**", "**/**", "a[bc]", "{a,b}", "a\\b", "**/a/**/b/**/c/**/d/**"] {
        assert!(bad.parse::<FilePattern>().is_err(), "{bad:?}");
    }
    for good in ["a", "a/b.c", "ü x/[1]", ".hidden", "..."] {
        assert!(good.parse::<FilePath>().is_ok(), "{good:?}");
    }
}

#[test]
fn a_manifest_file_has_patterns_and_a_deploy_has_files() {
    let manifest = Manifest::from_toml("name = 'x'\nfiles = ['data/**', 'a.txt']").unwrap();
    assert_eq!((manifest.file_patterns().count(), manifest.file_parts().count()), (2, 0));
    assert_eq!(manifest.files_digest(), None);
    let said =
        Manifest::from_json(serde_json::to_value(&manifest).unwrap()).unwrap_err().to_string();
    assert!(said.starts_with("files[0]: must be a file's path, digest and size"), "{said}");

    let manifest = deployed(&[part("b/c"), part("a")]).unwrap();
    let again = Manifest::from_json(serde_json::to_value(&manifest).unwrap()).unwrap();
    assert_eq!(again, manifest);
    let digest = Digest::of(b"a");
    let toml = format!("name = 'x'\nfiles = [{{ path = 'a', digest = '{digest}', size = 1 }}]");
    assert!(
        Manifest::from_toml(&toml).unwrap_err().to_string().contains("files[0]: must be a pattern")
    );
    // A manifest without files is what it was before there were any.
    let plain = Manifest::from_toml("name = 'x'").unwrap();
    assert!(serde_json::to_value(plain).unwrap().get("files").is_none());
}

#[test]
fn what_is_out_of_bounds_is_named() {
    let toml = |files: &str| {
        Manifest::from_toml(&format!("name = 'x'\nfiles = {files}")).unwrap_err().to_string()
    };
    assert!(toml("['../x']").contains("'../x' is not a pattern of files such as 'data/**'"));
    assert!(toml(&format!("[{}]", "'a',".repeat(65))).contains("at most 64 patterns"));
    assert!(toml("[1]").contains("a pattern of files, or a file's path, digest and size"));
    let said = |files: &[Value]| deployed(files).unwrap_err().to_string();
    assert_eq!(said(&[part("a"), part("b"), part("a")]), "files: 'a' is there twice");
    assert_eq!(
        said(&[part("a/b"), part("a"), part("a.b")]),
        "files: 'a' cannot be a file and the folder of 'a/b'"
    );
    assert!(said(&[part("../a")]).contains("'../a' is not the path of a file"));
    assert!(said(&[json!({"path": "a", "digest": "x", "size": 1})]).contains("is not a digest"));
    assert!(said(&[json!({"path": "a", "size": 1})]).contains("missing field `digest`"));
    let many: Vec<Value> = (0..1025).map(|i| part(&format!("f{i}"))).collect();
    assert!(said(&many).contains("at most 1,024 files"));
    deployed(&many[..1024]).unwrap();
}

#[test]
fn the_digest_stands_for_paths_and_contents() {
    let digest = |files: &[Value]| deployed(files).unwrap().files_digest().unwrap();
    assert_eq!(digest(&[part("a"), part("b")]), digest(&[part("b"), part("a")]));
    let mut other = part("a");
    other["digest"] = json!(Digest::of(b"other"));
    assert_ne!(digest(&[part("a")]), digest(&[other]));
    assert_ne!(digest(&[part("a")]), digest(&[part("b")]));
}

proptest! {
    #[test]
    fn any_text_is_a_pattern_or_not(text in "\\PC{0,40}", path in "[a.*/]{0,20}") {
        if let Ok(pattern) = text.parse::<FilePattern>() {
            let _ = (pattern.matches(&path), pattern.reaches(&path));
        }
    }

    #[test]
    fn a_name_is_like_itself(name in "[a-z.]{1,20}") {
        prop_assert!(is_like(&name, &name));
        prop_assert!(name.starts_with('.') || is_like("*", &name));
    }
}
