//! What a project's sources show that will not be as their author expects: toolchains that keep a
//! started runtime in the component run its modules while it is built, so that what these draw or
//! read is the same in every instance. Only what is plain to see is told.

mod code;

use std::path::Path;

use wasmill_domain::Manifest;

use self::code::{Language, code_of};
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
    /// What its sources are written in.
    language: Language,
    /// The endings of its sources.
    sources: &'static [&'static str],
    /// The beginning of a line at the top level whose indented lines run later, or never.
    later: &'static [&'static str],
    /// The beginnings of calls that give something else each time; here what they gave at the
    /// build.
    frozen: &'static [&'static str],
    /// Those that make the build fail at the top level.
    refused: &'static [&'static str],
}

const PYTHON: Runtime = Runtime {
    tool: "componentize-py",
    language: Language::Python,
    sources: &["py"],
    later: &["def ", "async def ", "class ", "@"],
    frozen: &[
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
    refused: &[],
};

const QUICKJS: Runtime = Runtime {
    tool: "componentize-qjs",
    language: Language::JavaScript,
    sources: &["js", "mjs", "ts", "mts"],
    later: &[
        "function ",
        "async ",
        "class ",
        "export function ",
        "export async ",
        "export class ",
        "export default ",
    ],
    frozen: &["Math.random(", "Date.now(", "new Date()", "performance.now("],
    refused: &["crypto.getRandomValues(", "crypto.randomUUID("],
};

const STARLINGMONKEY: Runtime = Runtime {
    tool: "componentize-js",
    frozen: &["Date.now(", "new Date()"],
    refused: &["Math.random(", "performance.now(", "crypto.getRandomValues(", "crypto.randomUUID("],
    ..QUICKJS
};

/// Remarks on the sources of the function at `path`, each with its location; none where they are
/// not known.
pub(crate) fn remarks(path: &Path, manifest: &Manifest) -> Vec<String> {
    let file = project::manifest_file(path);
    let Ok(Some(build)) = Build::of(&file, manifest) else { return Vec::new() };
    let folder = project::folder_of(&file);
    let package = std::fs::read_to_string(folder.join("package.json")).unwrap_or_default();
    let command = manifest.build.as_deref().unwrap_or_default();
    let uses =
        |tool: &str| command.contains(tool) || (command.contains("npm") && package.contains(tool));
    let Some(runtime) =
        [PYTHON, QUICKJS, STARLINGMONKEY].into_iter().find(|runtime| uses(runtime.tool))
    else {
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
            let found = runtime.remarks(&text).into_iter();
            remarks.extend(found.map(|(line, what)| format!("{}:{line}: {what}", shown.display())));
        }
    }
    remarks.truncate(MOST);
    remarks
}

impl Runtime {
    /// Whether a file is a source of the component: not the helpers, and not a test.
    fn reads(&self, file: &Path) -> bool {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_test =
            name.starts_with("test_") || name.contains(".test.") || name.ends_with("_test.py");
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        self.sources.contains(&ending) && !is_test && !file.starts_with("wasmill")
    }

    /// What there is to say of a source, with the numbers of its lines.
    fn remarks(self, text: &str) -> Vec<(usize, String)> {
        let mut runs_later = false;
        let code = code_of(text, self.language);
        let remark = |(line, number): (&str, usize)| {
            let is_indented = line.starts_with([' ', '\t']);
            // What closes a bracket ends no body: it may be the end of a signature.
            if !is_indented && !line.trim().is_empty() && !line.starts_with([')', ']', '}']) {
                runs_later = self.later.iter().any(|start| line.starts_with(start));
            }
            let what = if is_indented {
                runs_later.then(|| self.late_import(line))?
            } else {
                self.at_top_level(line)
            };
            Some((number, what?))
        };
        code.lines().zip(1..).filter_map(remark).collect()
    }

    /// A call at the top level that should give something else each time.
    fn at_top_level(self, line: &str) -> Option<String> {
        let is_later = ["lambda", "function", "return"].iter().any(|word| has_word(line, word))
            || line.contains("=>");
        if is_later || self.later.iter().any(|start| line.starts_with(start)) {
            return None;
        }
        let found =
            |calls: &[&'static str]| calls.iter().copied().find(|call| has_call(line, call));
        let (call, what) = match (found(self.frozen), found(self.refused)) {
            (Some(call), _) => {
                (call, "runs while the component is built: every instance has the same value")
            }
            (None, Some(call)) => {
                (call, "makes the build fail, which runs it: call it in the handler")
            }
            (None, None) => return None,
        };
        Some(format!("'{}' at the top level {what}", call.trim_end_matches(['(', '.', '_'])))
    }

    /// An import where Python's modules are not to be had any more.
    fn late_import(self, line: &str) -> Option<String> {
        let line = line.trim_start();
        let is_import =
            line.starts_with("import ") || (line.starts_with("from ") && line.contains(" import "));
        (self.language == Language::Python && is_import).then(|| {
            "an import within a function finds only modules that were imported while the component was built: \
             import it at the top of the file"
                .into()
        })
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Whether a line has a call whose name is not the end of another one.
fn has_call(line: &str, call: &str) -> bool {
    line.match_indices(call).any(|(at, _)| !line[..at].ends_with(is_of_name))
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c| !is_of_name(c)).any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(runtime: Runtime, text: &str) -> Vec<usize> {
        runtime.remarks(text).into_iter().map(|(line, _)| line).collect()
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
    fn comments_texts_and_other_names_are_not_looked_at() {
        let python = "\"\"\"What it does.\n\nNever call time.time() here.\n\"\"\"\nLIMIT = 5  # not time.time()\n\
                      HINT = 'time.time()'\nSTART = lifetime.time()\nAT = f\"{time.time()}\"\n\
                      def handle():\n    \"\"\"Once:\n    import csv\n    \"\"\"\n";
        assert_eq!(lines(PYTHON, python), [8]);
        let js = "import { hash } from \"./crypto.js\";\nimport * as crypto from './crypto.getRandomValues(';\n\
                  export { id } from \"./crypto.js\";\nconst key = crypto.load();\nconst a = 1; // Date.now()\n\
                  /*\nDate.now()\n*/\nconst text = `\nDate.now()\n`;\nconst at = `${Date.now()}`;\n\
                  const clock = { now() { return Date.now(); } };\n";
        assert_eq!(lines(QUICKJS, js), [12]);
        assert_eq!(lines(STARLINGMONKEY, js), [12]);
    }

    #[test]
    fn a_signature_over_several_lines_is_one() {
        let text = "def handle(\n    event: object,\n) -> object:\n    import csv\n\nHOSTS = [\n    1,\n]\n\
                    try:\n    import tomllib\nexcept ImportError:\n    pass\n";
        assert_eq!(lines(PYTHON, text), [4]);
        let text = "def handle():\n    sql = \"\"\"\nSELECT 1\n\"\"\"\n# why\n    import csv\n";
        assert_eq!(lines(PYTHON, text), [6]);
    }

    #[test]
    fn what_each_javascript_does_is_told() {
        let reported = |runtime: Runtime, line: &str| runtime.remarks(line).pop().unwrap().1;
        assert!(
            reported(QUICKJS, "const a = Math.random();")
                .contains("every instance has the same value")
        );
        for (runtime, line) in [
            (QUICKJS, "const id = crypto.randomUUID();"),
            (STARLINGMONKEY, "const id = crypto.randomUUID();"),
            (STARLINGMONKEY, "const a = Math.random();"),
            (STARLINGMONKEY, "const a = performance.now();"),
        ] {
            assert!(reported(runtime, line).contains("makes the build fail"), "{line}");
        }
        assert!(
            reported(STARLINGMONKEY, "const a = Date.now();")
                .contains("every instance has the same value")
        );
        let text = "const { subtle } = crypto;\nconst keys = crypto.subtle.generateKey();\n";
        assert!(lines(STARLINGMONKEY, text).is_empty());
    }

    #[test]
    fn remarks_name_the_file_and_leave_tests_and_other_languages_alone() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let manifest = |build: &str| {
            Manifest::from_toml(&format!("name = 'x'\ncomponent = 'x.wasm'\nbuild = '{build}'"))
                .unwrap()
        };
        write("app.py", "START = time.time()\n");
        write("test_app.py", "START = time.time()\n");
        write("app.js", "const start = Date.now();\n");
        write("wasmill.toml", "");
        let remarks = |build: &str| remarks(folder.path(), &manifest(build));
        let python = remarks("componentize-py componentize app");
        assert!(
            python.len() == 1 && python[0].starts_with("app.py:1: 'time.time' at the top level"),
            "{python:?}"
        );
        assert_eq!(remarks("npm run build"), Vec::<String>::new());
        write("package.json", r#"{"devDependencies": {"componentize-qjs": "1"}}"#);
        let js = remarks("npm run build");
        assert!(js.len() == 1 && js[0].starts_with("app.js:1: 'Date.now'"), "{js:?}");
        assert_eq!(remarks("cargo build"), Vec::<String>::new());
    }
}
