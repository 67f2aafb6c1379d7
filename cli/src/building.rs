//! Builds components by their manifests' commands, and tells when that is necessary.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context as _, anyhow};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use wasmill_domain::Manifest;

use crate::exit::Result;
use crate::project;

/// How many of a failed command's last lines its error repeats.
const LAST_LINES: usize = 15;

/// Folders of a project in which nothing is that its author writes.
const NOT_SOURCES: [&str; 7] =
    ["target", "node_modules", "dist", "zig-out", "__pycache__", "venv", "events"];

/// Where programs that build components come from.
const SOURCES_OF_PROGRAMS: [(&str, &str); 14] = [
    ("cargo", "install Rust: https://rustup.rs, then `rustup target add wasm32-wasip2`"),
    ("node", "install Node.js: https://nodejs.org"),
    ("npm", "install Node.js: https://nodejs.org"),
    ("npx", "install Node.js: https://nodejs.org"),
    ("go", "install Go: https://go.dev/dl"),
    ("zig", "install Zig: https://ziglang.org/download, or `pip install ziglang`"),
    ("nim", "install Nim: https://nim-lang.org/install.html"),
    (
        "wasm-tools",
        "`cargo install wasm-tools`, or https://github.com/bytecodealliance/wasm-tools/releases",
    ),
    ("componentize-py", "`pip install componentize-py`"),
    ("componentize-qjs", "run `npm install` in the project"),
    ("componentize-js", "run `npm install` in the project"),
    ("esbuild", "run `npm install` in the project"),
    ("tsc", "run `npm install` in the project"),
    ("asc", "run `npm install` in the project"),
];

/// A manifest as far as its build is concerned.
pub(crate) struct Build {
    folder: PathBuf,
    command: String,
    component: PathBuf,
}

impl Build {
    /// What the manifest in `file` says; `None` where it names no command.
    pub(crate) fn of(file: &Path, manifest: &Manifest) -> anyhow::Result<Option<Self>> {
        let Some(command) = manifest.build.clone() else { return Ok(None) };
        let component = project::component_file(manifest, file)?;
        Ok(Some(Self { folder: project::folder_of(file), command, component }))
    }

    /// The file that it makes.
    pub(crate) fn component(&self) -> &Path {
        &self.component
    }

    /// Whether the component is missing, or older than a source.
    pub(crate) fn is_stale(&self) -> bool {
        let Some(built) = changed_at(&self.component) else { return true };
        self.sources()
            .iter()
            .any(|source| changed_at(source).is_some_and(|changed| changed > built))
    }

    /// The files of the folder that the component may be made of: all but the component, what is
    /// hidden, and what tools keep.
    pub(crate) fn sources(&self) -> Vec<PathBuf> {
        let mut sources = Vec::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name());
                // Links are not followed: they may lead in circles.
                let Ok(kind) = entry.file_type() else { continue };
                let name = name.to_string_lossy();
                if name.starts_with('.') || NOT_SOURCES.contains(&&*name) || path == self.component
                {
                    continue;
                }
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    sources.push(path);
                }
            }
        }
        sources.sort();
        sources
    }

    /// Runs the command in the manifest's folder. Each line that it prints goes to `show`.
    ///
    /// # Errors
    /// Where it fails, with its last lines; where a program is missing, with where to get it; where
    /// no component is there afterwards.
    pub(crate) async fn run(&self, show: impl Fn(&str) + Clone + Send + 'static) -> Result {
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", &self.command])
            .current_dir(&self.folder)
            .env("PATH", path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!("the build command cannot be started in '{}'", self.folder.display())
            })?;
        let last = Arc::new(Mutex::new(VecDeque::new()));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let reading = tokio::join!(
            follow(out, Arc::clone(&last), show.clone()),
            follow(err, Arc::clone(&last), show)
        );
        reading.0.and(reading.1).context("what the build command prints cannot be read")?;
        let status = child.wait().await.context("the build command")?;
        if !status.success() {
            let last = last.lock().unwrap_or_else(PoisonError::into_inner);
            return Err(self.failed(status, &last.iter().cloned().collect::<Vec<_>>()).into());
        }
        if !self.component.is_file() {
            return Err(anyhow!(
                "the build succeeded, and '{}' is not there: the manifest's key 'component' must name the file that '{}' makes",
                self.component.display(),
                self.command
            )
            .into());
        }
        Ok(())
    }

    fn failed(&self, status: ExitStatus, last: &[String]) -> anyhow::Error {
        let folder = self.folder.display();
        if let Some(program) =
            (status.code() == Some(127)).then(|| missing_program(last, &self.command))
        {
            let source = SOURCES_OF_PROGRAMS.iter().find(|(name, _)| *name == program);
            let how = source.map_or("is it installed, and in PATH?", |(_, how)| how);
            return anyhow!(
                "'{program}' is missing, which the build needs: {how}\n  command: {}\n  in:      {folder}",
                self.command
            );
        }
        let lines: String = last.iter().map(|line| format!("\n  | {line}")).collect();
        anyhow!(
            "the build failed: {status}\n  command: {}\n  in:      {folder}{lines}",
            self.command
        )
    }
}

/// Where programs are looked for: after all others where this one is, as a build may need
/// `wasmill embed`.
fn path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = std::env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
    let joined = std::env::join_paths(std::env::split_paths(&path).chain(own));
    // A folder whose name PATH cannot hold.
    joined.unwrap_or(path)
}

/// Reads a stream to its end, line by line.
async fn follow(
    stream: Option<impl AsyncRead + Unpin>,
    last: Arc<Mutex<VecDeque<String>>>,
    show: impl Fn(&str),
) -> std::io::Result<()> {
    let Some(stream) = stream else { return Ok(()) };
    let mut stream = BufReader::new(stream);
    let mut bytes = Vec::new();
    while stream.read_until(b'\n', &mut bytes).await? > 0 {
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        bytes.clear();
        show(&line);
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        last.push_back(line);
        if last.len() > LAST_LINES {
            last.pop_front();
        }
    }
    Ok(())
}

/// The program that a shell says it has not found: `sh: 1: zig: not found`.
fn missing_program(last: &[String], command: &str) -> String {
    let reported = last.iter().rev().find_map(|line| {
        let rest = line
            .strip_suffix("not found")?
            .trim_end_matches("command ")
            .trim_end()
            .strip_suffix(':')?;
        rest.rsplit(": ").next().map(str::to_owned)
    });
    // Assignments of variables stand before the program.
    reported
        .or_else(|| command.split_whitespace().find(|word| !word.contains('=')).map(str::to_owned))
        .unwrap_or_default()
}

fn changed_at(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).ok()?.modified().ok()
}

/// Builds the function at `path` if it must be built: `force`, or its component is missing or older
/// than its sources.
///
/// # Errors
/// As [`Build::run`], and where the manifest cannot be read or names no command though it has to.
pub(crate) async fn build_if_stale(
    path: &Path,
    force: bool,
    show: impl Fn(&str) + Clone + Send + 'static,
) -> Result {
    let file = project::manifest_file(path);
    let manifest = project::read_manifest(path)?;
    match Build::of(&file, &manifest)? {
        Some(build) if force || build.is_stale() => build.run(show).await,
        None if force => Err(no_command(&file).into()),
        _ => Ok(()),
    }
}

/// What is wrong with a manifest that was to be built by.
pub(crate) fn no_command(file: &Path) -> anyhow::Error {
    anyhow!(
        "{}: the key 'build' is missing: it is the command that makes the component",
        file.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_name_the_missing_program() {
        let reported = |line: &str| {
            missing_program(&[line.to_owned(), "npm error".to_owned()], "A=1 go build")
        };
        assert_eq!(reported("sh: 1: zig: not found"), "zig");
        assert_eq!(reported("sh: line 1: zig: command not found"), "zig");
        assert_eq!(reported("something else"), "go");
    }

    #[test]
    fn a_component_is_stale_when_a_source_is_newer() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(project::MANIFEST);
        let text = "name = 'a'\ncomponent = 'out/a.wasm'\nbuild = 'true'";
        std::fs::write(&file, text).unwrap();
        let build = Build::of(&file, &Manifest::from_toml(text).unwrap()).unwrap().unwrap();
        assert!(build.is_stale(), "it is missing");
        for folder in ["out", "src/deep", "node_modules/x", ".git"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let write = |name: &str, seconds: u64| {
            let path = dir.path().join(name);
            std::fs::write(&path, name).unwrap();
            let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            std::fs::File::options().append(true).open(&path).unwrap().set_modified(at).unwrap();
        };
        write(project::MANIFEST, 10);
        write("src/deep/a.c", 10);
        write("node_modules/x/index.js", 99);
        write(".git/HEAD", 99);
        write("out/a.wasm", 20);
        assert!(!build.is_stale());
        assert_eq!(build.sources(), [dir.path().join("src/deep/a.c"), file.clone()]);
        write("src/deep/a.c", 30);
        assert!(build.is_stale());
    }
}
