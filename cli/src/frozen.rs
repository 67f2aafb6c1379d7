//! What a project's sources show that will not be as their author expects: toolchains that keep a started runtime in the component run
//! its modules while it is built, so that what these draw or read is the same in every instance. Only what is plain to see is told.

use std::path::Path;

use wasmill_domain::Manifest;

use crate::building::Build;
use crate::project;

/// Sources that are longer are not looked at, in bytes.
const LONGEST_SOURCE: u64 = 1 << 20;

/// How many remarks are made at most.
const MOST: usize = 20;

/// A toolchain that keeps a started runtime.
#[derive(Clone, Copy)]
struct Runtime {
    /// What its project's build command, or the `package.json` beside it, has.
    tool: &'static str,
    /// The endings of its sources.
    sources: &'static [&'static str],
    /// The beginning of a line at the top level whose indented lines run later, or never.
    later: &'static [&'static str],
    /// What gives something else in each call.
    fresh: &'static [&'static str],
}

const PYTHON: Runtime = Runtime {
    tool: "componentize-py",
    sources: &["py"],
    later: &["def ", "async def ", "class ", "@"],
    fresh: &[
        "random.random(",
        "random.randint(",
        "random.randbytes(",
        "random.choice(",
        "random.Random(",
        "secrets.token_",
        "uuid.uuid1(",
        "uuid.uuid4(",
        "uuid1(",
        "uuid4(",
        "os.urandom(",
        "time.time(",
        "time.time_ns(",
        "time.monotonic(",
        "time.monotonic_ns(",
        "time.perf_counter(",
        "datetime.now(",
        "datetime.utcnow(",
        "date.today(",
    ],
};

const QUICKJS: Runtime = Runtime {
    tool: "componentize-qjs",
    sources: &["js", "mjs", "ts", "mts"],
    later: &["function ", "async ", "class ", "export function ", "export async ", "export class ", "export default "],
    fresh: &["Math.random(", "crypto.", "Date.now(", "new Date()", "performance.now("],
};

const STARLINGMONKEY: Runtime = Runtime { tool: "componentize-js", ..QUICKJS };

/// Remarks on the sources of the function at `path`, each with its place; none where they are not known.
pub(crate) fn remarks(path: &Path, manifest: &Manifest) -> Vec<String> {
    let file = project::manifest_file(path);
    let Ok(Some(build)) = Build::of(&file, manifest) else { return Vec::new() };
    let folder = project::folder_of(&file);
    let package = std::fs::read_to_string(folder.join("package.json")).unwrap_or_default();
    let command = manifest.build.as_deref().unwrap_or_default();
    let uses = |tool: &str| command.contains(tool) || (command.contains("npm") && package.contains(tool));
    let Some(runtime) = [PYTHON, QUICKJS, STARLINGMONKEY].into_iter().find(|runtime| uses(runtime.tool)) else {
        return Vec::new();
    };
    let mut remarks = Vec::new();
    for source in build.sources() {
        let shown = source.strip_prefix(&folder).unwrap_or(&source);
        let is_short = std::fs::metadata(&source).is_ok_and(|about| about.len() <= LONGEST_SOURCE);
        if is_short
            && runtime.reads(shown)
            && let Ok(text) = std::fs::read_to_string(&source)
        {
            remarks.extend(runtime.remarks(&text).map(|(line, what)| format!("{}:{line}: {what}", shown.display())));
        }
    }
    remarks.truncate(MOST);
    remarks
}

impl Runtime {
    /// Whether a file is a source of the component: not the helpers, and not a test.
    fn reads(&self, file: &Path) -> bool {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_test = name.starts_with("test_") || name.contains(".test.") || name.ends_with("_test.py");
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        self.sources.contains(&ending) && !is_test && !file.starts_with("wasmill")
    }

    /// What there is to say of a source, with the numbers of its lines.
    fn remarks(self, text: &str) -> impl Iterator<Item = (usize, String)> {
        let mut runs_later = false;
        text.lines().zip(1..).filter_map(move |(line, number)| {
            let is_indented = line.starts_with([' ', '\t']);
            if !is_indented && !line.trim().is_empty() {
                runs_later = self.later.iter().any(|start| line.starts_with(start));
            }
            let what = if is_indented { runs_later.then(|| self.late_import(line))? } else { self.frozen(line) };
            Some((number, what?))
        })
    }

    /// A call at the top level that should give something else each time.
    fn frozen(self, line: &str) -> Option<String> {
        let comment = if self.tool == PYTHON.tool { '#' } else { '/' };
        let is_later = ["lambda", "=>", "function"].iter().any(|word| line.contains(word));
        if line.starts_with(comment) || is_later || self.later.iter().any(|start| line.starts_with(start)) {
            return None;
        }
        let call = self.fresh.iter().find(|call| line.contains(**call))?;
        Some(format!(
            "'{}' at the top level runs while the component is built: every instance has the same value",
            call.trim_end_matches(['(', '.', '_'])
        ))
    }

    /// An import where Python's modules are not to be had any more.
    fn late_import(self, line: &str) -> Option<String> {
        let line = line.trim_start();
        let is_import = line.starts_with("import ") || (line.starts_with("from ") && line.contains(" import "));
        (self.tool == PYTHON.tool && is_import).then(|| {
            "an import within a function finds only modules that were imported while the component was built: \
             import it at the top of the file"
                .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(runtime: Runtime, text: &str) -> Vec<usize> {
        runtime.remarks(text).map(|(line, _)| line).collect()
    }

    #[test]
    fn python_s_module_level_is_looked_at() {
        let text = "import uuid\nSTART = time.monotonic()\nID = uuid.uuid4()\n# time.time()\nlater = lambda: time.time()\n\
                    try:\n    import tomllib\nexcept ImportError:\n    pass\n\
                    def handle(event):\n    import csv\n\n    from json import loads\n    return uuid.uuid4()\n";
        assert_eq!(lines(PYTHON, text), [2, 3, 11, 13]);
    }

    #[test]
    fn javascript_s_top_level_is_looked_at() {
        let text = "const start = Date.now();\nconst now = () => Date.now();\n// Math.random()\nfunction draw() {\n  \
                    return Math.random();\n}\nconst id = crypto.randomUUID();\nexport const f = 1;\n";
        assert_eq!(lines(QUICKJS, text), [1, 7]);
    }

    #[test]
    fn remarks_name_the_file_and_leave_tests_and_other_languages_alone() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let manifest =
            |build: &str| Manifest::from_toml(&format!("name = 'x'\ncomponent = 'x.wasm'\nbuild = '{build}'")).unwrap();
        write("app.py", "START = time.time()\n");
        write("test_app.py", "START = time.time()\n");
        write("app.js", "const start = Date.now();\n");
        write("wasmill.toml", "");
        let remarks = |build: &str| remarks(folder.path(), &manifest(build));
        let python = remarks("componentize-py componentize app");
        assert!(python.len() == 1 && python[0].starts_with("app.py:1: 'time.time' at the top level"), "{python:?}");
        assert_eq!(remarks("npm run build"), Vec::<String>::new());
        write("package.json", r#"{"devDependencies": {"componentize-qjs": "1"}}"#);
        let js = remarks("npm run build");
        assert!(js.len() == 1 && js[0].starts_with("app.js:1: 'Date.now'"), "{js:?}");
        assert_eq!(remarks("cargo build"), Vec::<String>::new());
    }
}
