//! A function's folder: its manifest, component and schemas, read and put together for a deploy.

mod files;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use bytes::Bytes;
use wasmill_component::{Artifact, FileSource, PreflightError};
use wasmill_domain::manifest::files::{FileEntry, FilePart};
use wasmill_domain::{Digest, Manifest};

use crate::json::without_mark;

/// The manifest's file name.
pub(crate) const MANIFEST: &str = "wasmill.toml";

/// A function ready to be deployed.
#[derive(Debug)]
pub(crate) struct Project {
    /// The manifest in its API form, schemas inlined, files by their digests.
    pub(crate) manifest: Manifest,
    /// The component's bytes.
    pub(crate) component: Bytes,
    /// Their digest.
    pub(crate) digest: Digest,
    /// The contents of its files.
    pub(crate) files: BTreeMap<Digest, Bytes>,
}

#[async_trait]
impl Artifact for Project {
    async fn bytes(&self) -> Result<Bytes, PreflightError> {
        Ok(self.component.clone())
    }
}

#[async_trait]
impl FileSource for Project {
    async fn file(&self, digest: Digest) -> Result<Bytes, PreflightError> {
        let content = self.files.get(&digest).cloned();
        content.ok_or_else(|| PreflightError::Unavailable(format!("the file {digest} is not here")))
    }
}

impl Project {
    /// Reads the function at `path`: a manifest file or the folder that holds it.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let file = manifest_file(path);
        let mut manifest = read_manifest(path)?;
        let folder = folder_of(&file);
        for (i, trigger) in manifest.triggers.iter_mut().enumerate() {
            let Some(serde_json::Value::String(name)) = trigger.schema() else { continue };
            let schema_file = folder.join(name);
            let key = || format!("{}: trigger[{i}].schema", file.display());
            let named = || format!("'{}'", schema_file.display());
            let text = std::fs::read(&schema_file).with_context(named).with_context(key)?;
            let text = without_mark(&text).with_context(named).with_context(key)?;
            let schema = wasmill_domain::json::parse(text).with_context(named).with_context(key)?;
            *trigger.schema_mut() = Some(schema);
        }
        let files = take_files(&mut manifest, &file).with_context(|| file.display().to_string())?;
        let component_file = component_file(&manifest, &file)?;
        let component = std::fs::read(&component_file).with_context(|| {
            let build = manifest
                .build
                .as_deref()
                .map(|build| format!(" (build it first: {build})"))
                .unwrap_or_default();
            format!(
                "{}: component '{}' cannot be read{build}",
                file.display(),
                component_file.display()
            )
        })?;
        let digest = Digest::of(&component);
        Ok(Self { manifest, component: component.into(), digest, files })
    }

    /// Reads what `path` names: a function, or a component by itself, whose manifest is the one
    /// beside it that names it, or else one that says nothing.
    pub(crate) fn read_any(path: &Path) -> anyhow::Result<Self> {
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "toml") {
            return Self::read(path);
        }
        let component = std::fs::read(path).with_context(|| format!("'{}'", path.display()))?;
        let beside = path.with_file_name(MANIFEST);
        let is_named = |project: &Self| project.component == component;
        if beside.is_file()
            && let Some(project) = Self::read(&beside).ok().filter(is_named)
        {
            return Ok(project);
        }
        let digest = Digest::of(&component);
        let manifest = Manifest::from_toml("name = 'unnamed'")?;
        Ok(Self { manifest, component: component.into(), digest, files: BTreeMap::new() })
    }
}

/// Reads the files that a manifest has patterns for, and puts them in the patterns' place.
fn take_files(manifest: &mut Manifest, file: &Path) -> anyhow::Result<BTreeMap<Digest, Bytes>> {
    let files::Found { files: found, first_error, .. } = files::find(manifest, file);
    first_error.map_or(Ok(()), Err)?;
    files::check_size(&found)?;
    let mut contents = BTreeMap::new();
    manifest.files.clear();
    for (path, file) in found {
        let (digest, content) = files::read(&path, &file)?;
        manifest.files.push(FileEntry::Part(FilePart { path, digest, size: content.len() as u64 }));
        contents.insert(digest, content.into());
    }
    Ok(contents)
}

/// The manifest file that `path` names: itself, or the one in it.
pub(crate) fn manifest_file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(MANIFEST) } else { path.to_owned() }
}

/// The folder that a manifest file is in.
pub(crate) fn folder_of(manifest_file: &Path) -> PathBuf {
    match manifest_file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The manifest at `path`: that file, or the one in that folder. Schemas are still names of files.
pub(crate) fn read_manifest(path: &Path) -> anyhow::Result<Manifest> {
    let file = manifest_file(path);
    let text = read_text(&file).with_context(|| {
        format!(
            "a function is a folder with a {MANIFEST}, or that file: '{}' is neither",
            path.display()
        )
    })?;
    Manifest::from_toml(&text).with_context(|| file.display().to_string())
}

/// The manifest files of the functions in `dir`: its own, and those of the folders directly in it,
/// sorted.
pub(crate) fn find_manifests(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let named = || format!("folder '{}'", dir.display());
    let mut found = vec![dir.join(MANIFEST)];
    for entry in std::fs::read_dir(dir).with_context(named)? {
        found.push(entry.with_context(named)?.path().join(MANIFEST));
    }
    found.retain(|file| file.is_file());
    found.sort();
    Ok(found)
}

/// The files that the function of a manifest file is made of, as far as the manifest can be read:
/// what a change must be looked for in.
pub(crate) fn files_of(manifest_file: &Path) -> Vec<PathBuf> {
    let mut files = vec![manifest_file.to_owned()];
    let folder = manifest_file.parent().unwrap_or(Path::new("."));
    if let Some(manifest) =
        read_text(manifest_file).ok().and_then(|text| Manifest::from_toml(&text).ok())
    {
        let schemas = manifest.triggers.iter().filter_map(|trigger| trigger.schema()?.as_str());
        files.extend(
            manifest
                .component
                .iter()
                .map(String::as_str)
                .chain(schemas)
                .map(|name| folder.join(name)),
        );
        files.extend(files::find(&manifest, manifest_file).seen);
    }
    files
}

/// The component's file, as the manifest in `file` names it.
pub(crate) fn component_file(manifest: &Manifest, file: &Path) -> anyhow::Result<PathBuf> {
    let Some(component) = &manifest.component else {
        bail!("{}: the key 'component' is missing: it names the .wasm file", file.display());
    };
    Ok(file.parent().unwrap_or(Path::new(".")).join(component))
}

fn read_text(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("'{}'", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(manifest: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(MANIFEST), manifest).unwrap();
        dir
    }

    fn error(dir: &tempfile::TempDir) -> String {
        format!("{:#}", Project::read(dir.path()).unwrap_err())
    }

    #[test]
    fn schemas_are_inlined() {
        let dir = project(
            "name = 'a'\ncomponent = 'a.wasm'\n[[trigger]]\nevent = 'x'\nschema = 's.json'",
        );
        // As some editors write it.
        std::fs::write(dir.path().join("s.json"), "\u{feff}{\"type\": \"object\"}").unwrap();
        std::fs::write(dir.path().join("a.wasm"), b"\0asm").unwrap();
        let read = Project::read(dir.path()).unwrap();
        assert_eq!(
            read.manifest.triggers[0].schema(),
            Some(&serde_json::json!({"type": "object"}))
        );
        assert_eq!(files_of(&dir.path().join(MANIFEST)).len(), 3);
        assert_eq!(read.digest, Digest::of(b"\0asm"));
    }

    #[test]
    fn an_ambiguous_schema_is_refused() {
        let dir = project(
            "name = 'a'\ncomponent = 'a.wasm'\n[[trigger]]\nevent = 'x'\nschema = 's.json'",
        );
        for (schema, words) in [
            (r#"{"const": 1, "const": 2}"#, "twice"),
            (r#"{"const": 99999999999999999999}"#, "64 bits"),
        ] {
            std::fs::write(dir.path().join("s.json"), schema).unwrap();
            let said = error(&dir);
            assert!(said.contains("trigger[0].schema") && said.contains(words), "{said}");
        }
    }

    #[test]
    fn errors_name_file_and_key() {
        assert!(error(&project("name = 'a'")).contains("'component' is missing"));
        let unbuilt = error(&project("name = 'a'\ncomponent = 'a.wasm'\nbuild = 'make'"));
        assert!(
            unbuilt.contains("a.wasm") && unbuilt.contains("build it first: make"),
            "{unbuilt}"
        );
        let no_schema = error(&project(
            "name = 'a'\ncomponent = 'a.wasm'\n[[trigger]]\nevent = 'x'\nschema = 's.json'",
        ));
        assert!(
            no_schema.contains("trigger[0].schema") && no_schema.contains("s.json"),
            "{no_schema}"
        );
        assert!(error(&project("nam = 'a'")).contains(MANIFEST));
    }

    #[test]
    fn functions_are_found_in_a_folder_and_directly_below_it() {
        let dir = project("name = 'a'");
        for folder in ["b", "c/deeper"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
            std::fs::write(dir.path().join(folder).join(MANIFEST), "").unwrap();
        }
        let found = find_manifests(dir.path()).unwrap();
        assert_eq!(found, [dir.path().join("b").join(MANIFEST), dir.path().join(MANIFEST)]);
    }
}
