//! The files of a function's folder that go with it: those that the manifest's patterns stand for.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use wasmill_domain::manifest::files::{FilePath, FilePattern, MOST_FILES};
use wasmill_domain::{Digest, Manifest};

/// How large files may be together, in bytes: no server takes more.
const MOST_BYTES: u64 = 256 << 20;

/// What there is in a folder of what patterns stand for.
#[derive(Default)]
pub(super) struct Found {
    /// By path.
    pub(super) files: Vec<(FilePath, PathBuf)>,
    /// Everything that a pattern stands for, what is in the way included: what a change must be
    /// looked for in.
    pub(super) seen: Vec<PathBuf>,
    /// What is in the way of sending them: the first thing.
    pub(super) first_error: Option<anyhow::Error>,
}

/// Looks for the files of a manifest in its folder. The manifest itself and the component are not
/// among them.
pub(super) fn find(manifest: &Manifest, manifest_file: &Path) -> Found {
    let folder = super::folder_of(manifest_file);
    let mut search = Search {
        patterns: manifest.file_patterns().collect(),
        not: [Some(manifest_file.to_owned()), super::component_file(manifest, manifest_file).ok()]
            .into_iter()
            .flatten()
            .filter_map(|file| file.canonicalize().ok())
            .collect(),
        root: folder.canonicalize().unwrap_or_else(|_| folder.clone()),
        found: Found::default(),
    };
    if search.patterns.is_empty() {
        return search.found;
    }
    search.folder(&folder, "");
    search.found.files.sort();
    for (i, pattern) in manifest.file_patterns().enumerate() {
        if !search.found.files.iter().any(|(path, _)| pattern.matches(path.as_str())) {
            let below = if folder.join(pattern.to_string()).is_dir() {
                format!(" ('{pattern}/**' is all that is in that folder)")
            } else {
                String::new()
            };
            search.note(anyhow!(
                "files[{i}]: there is no file like '{pattern}' in '{}'{below}",
                folder.display()
            ));
        }
    }
    search.found
}

/// A file's content.
pub(super) fn read(path: &FilePath, file: &Path) -> anyhow::Result<(Digest, Vec<u8>)> {
    let content = std::fs::read(file).with_context(|| format!("files: '{path}'"))?;
    Ok((Digest::of(&content), content))
}

/// Makes sure that files are not too large to be read.
pub(super) fn check_size(files: &[(FilePath, PathBuf)]) -> anyhow::Result<()> {
    let mut bytes = 0_u64;
    for (path, file) in files {
        bytes += std::fs::metadata(file).with_context(|| format!("files: '{path}'"))?.len();
        if bytes > MOST_BYTES {
            bail!("files: with '{path}' they have more than 256MiB together");
        }
    }
    Ok(())
}

struct Search<'a> {
    patterns: Vec<&'a FilePattern>,
    /// What is never among them.
    not: Vec<PathBuf>,
    root: PathBuf,
    found: Found,
}

impl Search<'_> {
    fn note(&mut self, first_error: anyhow::Error) {
        self.found.first_error.get_or_insert(first_error);
    }

    /// Looks through a folder that may have some; `path` is its own.
    fn folder(&mut self, folder: &Path, path: &str) {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.note(anyhow!("files: '{}': {error}", folder.display())),
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                let shown = entry.path();
                self.note(anyhow!(
                    "files: the name of '{}' is not UTF-8: rename it",
                    shown.display()
                ));
                continue;
            };
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            if let Err(error) = self.entry(&entry, &path) {
                self.note(error);
            }
            if self.found.files.len() > MOST_FILES {
                return self
                    .note(anyhow!("files: there are more than {MOST_FILES}, which is the most"));
            }
        }
    }

    fn entry(&mut self, entry: &std::fs::DirEntry, path: &str) -> anyhow::Result<()> {
        let file = entry.path();
        let is_wanted = self.patterns.iter().any(|pattern| pattern.matches(path));
        let reaches = self.patterns.iter().any(|pattern| pattern.reaches(path));
        if !is_wanted && !reaches {
            return Ok(());
        }
        let kind = entry.file_type().with_context(|| format!("files: '{path}'"))?;
        if kind.is_dir() {
            if reaches {
                path.parse::<FilePath>().map_err(|e| anyhow!("files: {e}"))?;
                self.folder(&file, path);
            }
            return Ok(());
        }
        self.found.seen.push(file.clone());
        let real = file.canonicalize().with_context(|| format!("files: '{path}'"))?;
        if real.is_dir() {
            bail!(
                "files: '{path}' is a link to a folder, and links to folders are not followed: name the folder itself"
            );
        }
        if !is_wanted || self.not.contains(&real) {
            return Ok(());
        }
        if !real.starts_with(&self.root) {
            bail!(
                "files: '{path}' is a link to '{}', outside of the function's folder",
                real.display()
            );
        }
        if !real.is_file() {
            bail!("files: '{path}' is neither a file nor a folder");
        }
        let path: FilePath = path.parse().map_err(|e| anyhow!("files: {e}"))?;
        self.found.files.push((path, file));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use super::super::{MANIFEST, Project, files_of};

    fn folder(files: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        write(MANIFEST, &format!("name = 'a'\ncomponent = 'a.wasm'\nfiles = {files}"));
        for path in
            ["a.wasm", "data/x", "data/deep/y", "data/.hidden", ".env", "other/x", "one.txt"]
        {
            write(path, path);
        }
        dir
    }

    fn paths(dir: &tempfile::TempDir) -> Vec<String> {
        let read = Project::read(dir.path()).unwrap();
        for part in read.manifest.file_parts() {
            assert_eq!(read.files[&part.digest].len() as u64, part.size);
        }
        read.manifest.file_parts().map(|part| part.path.to_string()).collect()
    }

    fn error(dir: &tempfile::TempDir) -> String {
        format!("{:#}", Project::read(dir.path()).unwrap_err())
    }

    #[test]
    fn patterns_are_expanded_in_order() {
        assert_eq!(
            paths(&folder("['one.txt', 'data/**', 'data/x']")),
            ["data/deep/y", "data/x", "one.txt"]
        );
        // Neither what is hidden, nor the function itself.
        assert_eq!(paths(&folder("['**']")), ["data/deep/y", "data/x", "one.txt", "other/x"]);
        assert_eq!(paths(&folder("['.env', '*/x']")), [".env", "data/x", "other/x"]);
    }

    #[test]
    fn what_is_watched_is_what_is_sent() {
        let dir = folder("['data/**']");
        let watched = files_of(&dir.path().join(MANIFEST));
        assert!(
            watched.contains(&dir.path().join("data/deep/y"))
                && !watched.contains(&dir.path().join("one.txt"))
        );
        std::fs::write(dir.path().join("data/new"), "new").unwrap();
        assert_eq!(files_of(&dir.path().join(MANIFEST)).len(), watched.len() + 1);
    }

    #[test]
    fn a_pattern_for_nothing_is_a_mistake() {
        let said = error(&folder("['data/**', 'dat/**']"));
        assert!(
            said.contains(MANIFEST) && said.contains("files[1]: there is no file like 'dat/**'"),
            "{said}"
        );
        let said = error(&folder("['data']"));
        assert!(said.contains("'data/**' is all that is in that folder"), "{said}");
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        let dir = folder("['data/**']");
        symlink(dir.path().join("one.txt"), dir.path().join("data/inside")).unwrap();
        assert_eq!(paths(&dir), ["data/deep/y", "data/inside", "data/x"]);
        symlink(outside.path().join("secret"), dir.path().join("data/link")).unwrap();
        let said = error(&dir);
        assert!(
            said.contains("'data/link' is a link to '")
                && said.contains("outside of the function's folder"),
            "{said}"
        );
        std::fs::remove_file(dir.path().join("data/link")).unwrap();
        symlink(outside.path(), dir.path().join("data/folder")).unwrap();
        assert!(error(&dir).contains("'data/folder' is a link to a folder"));
        std::fs::remove_file(dir.path().join("data/folder")).unwrap();
        symlink("nowhere", dir.path().join("data/gone")).unwrap();
        assert!(error(&dir).contains("'data/gone'"));
    }

    #[test]
    fn names_are_text() {
        let dir = folder("['data/**']");
        std::fs::write(dir.path().join("data").join(OsStr::from_bytes(b"\xff")), "").unwrap();
        assert!(error(&dir).contains("is not UTF-8"));
        let dir = folder("['data/**']");
        std::fs::write(dir.path().join("data/a\nb"), "").unwrap();
        assert!(error(&dir).contains("not the path of a file"));
    }
}
