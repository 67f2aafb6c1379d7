//! The projects that `wasmill new` writes: one for each language and kind, out of `cli/templates/`
//! and `functions/sdk/`.

mod language;

use wasmill_domain::manifest::Kind;

pub(crate) use self::language::Language;

/// A file of a template: its path in the project, and its text with placeholders.
type File = (&'static str, &'static str);

/// A project in a language, of a kind.
pub(crate) struct Template {
    pub(crate) language: Language,
    pub(crate) kind: Kind,
    /// Its own files, and those that it shares with others.
    parts: &'static [&'static [File]],
}

impl Template {
    /// The files of a project called `name`: path and text.
    pub(crate) fn files(&self, name: &str) -> impl Iterator<Item = (&'static str, String)> {
        let snake_name = name.replace('-', "_");
        let name = name.to_owned();
        self.parts.iter().flat_map(|part| part.iter()).map(move |(path, text)| {
            // A file of the real name would hide files of the template from git.
            let path = if *path == "gitignore" { ".gitignore" } else { path };
            (path, text.replace("{{name}}", &name).replace("{{snake_name}}", &snake_name))
        })
    }
}

/// The template for a language and a kind.
pub(crate) fn find(language: Language, kind: Kind) -> Option<&'static Template> {
    TEMPLATES.iter().find(|template| template.language == language && template.kind == kind)
}

/// The files of a folder in `cli/templates/`.
macro_rules! folder {
    ($folder:literal, $($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../templates/", $folder, "/", $path)))),+]
    };
}

/// Files of a folder of the repository under another one of the project.
macro_rules! copied {
    ($from:literal, $to:literal, $($path:literal),+ $(,)?) => {
        &[$((concat!($to, "/", $path), include_str!(concat!("../../", $from, "/", $path)))),+]
    };
}

/// What every template of its own has.
macro_rules! project {
    ($folder:literal, [$($event:literal),+], $($path:literal),+ $(,)?) => {
        &[
            $((concat!("events/", $event, ".json"), include_str!(concat!("../templates/", $folder, "/events/", $event, ".json"))),
              (concat!("events/", $event, ".expected.json"),
               include_str!(concat!("../templates/", $folder, "/events/", $event, ".expected.json"))),)+
            ("README.md", include_str!(concat!("../templates/", $folder, "/README.md"))),
            ("gitignore", include_str!(concat!("../templates/", $folder, "/gitignore"))),
            ("wasmill.toml", include_str!(concat!("../templates/", $folder, "/wasmill.toml"))),
            $(($path, include_str!(concat!("../templates/", $folder, "/", $path)))),+
        ]
    };
}

const CONTRACT: &[File] = copied!("wit", "wit", "wasmill-function.wit");
const WASI_HTTP: &[File] = folder!(
    "wit-http",
    "wit/http.wit",
    "wit/deps/http.wit",
    "wit/deps/io.wit",
    "wit/deps/clocks.wit"
);
const RUST_GUEST: &[File] = copied!(
    "functions/sdk/rust",
    "wasmill-guest",
    "Cargo.toml",
    "macros/Cargo.toml",
    "macros/src/lib.rs",
    "src/bindings.rs",
    "src/context.rs",
    "src/event.rs",
    "src/lib.rs",
    "src/log.rs",
    "src/output.rs",
);
const JS_GUEST: &[File] = copied!(
    "functions/sdk/js",
    "wasmill",
    "build.mjs",
    "event.js",
    "event.d.ts",
    "globals.d.ts",
    "host.js",
    "inspect.js",
    "promise.js",
    "runtime.js",
    "text.js",
    "url.js",
);
/// What `JS_GUEST` imports.
const JS_WORLD: &[File] = folder!("wit-js", "wit/javascript.wit", "wit/deps/random.wit");
const WASI_CLOCKS: &[File] = folder!("wit-http", "wit/deps/io.wit", "wit/deps/clocks.wit");
const PYTHON_EVENT: &[File] = copied!(
    "functions/sdk/python/wasmill",
    "wasmill",
    "__init__.py",
    "_instance.py",
    "event.py",
    "py.typed"
);
const PYTHON_HTTP: &[File] = copied!(
    "functions/sdk/python/wasmill",
    "wasmill",
    "__init__.py",
    "_instance.py",
    "http.py",
    "py.typed"
);
const C: &[File] = copied!("cli/templates/c", "src", "wasmill.h", "wasmill.c");
const CPP: &[File] = copied!("cli/templates/cpp", "src", "wasmill.hpp");
const ZIG: &[File] = copied!("cli/templates/zig", "src", "wasmill.zig");
const NIM: &[File] = copied!("cli/templates/nim", "src", "wasi.h", "wasmill.nim");
const NIM_PROGRAM: &[File] = copied!("cli/templates/nim", "src", "main.c", "wasi.h");
const LUA: &[File] = copied!("functions/sdk/lua", "src", "wasmill.lua", "wasmill/json.lua");
const GO: &[File] =
    copied!("cli/templates/go", "wasmill", "wasmill.go", "abi_wasip1.go", "abi_other.go");
const ASSEMBLYSCRIPT: &[File] =
    copied!("cli/templates/assemblyscript", "assembly", "abi.ts", "wasmill.ts");

/// Every template there is.
pub(crate) static TEMPLATES: &[Template] = &[
    Template {
        language: Language::Rust,
        kind: Kind::Event,
        parts: &[
            project!("rust-event", ["ada", "nobody"], "Cargo.toml", "src/lib.rs"),
            RUST_GUEST,
            CONTRACT,
        ],
    },
    Template {
        language: Language::Rust,
        kind: Kind::Http,
        parts: &[project!("rust-http", ["ada", "post"], "Cargo.toml", "src/lib.rs")],
    },
    Template {
        language: Language::Rust,
        kind: Kind::Command,
        parts: &[project!("rust-command", ["text", "blank"], "Cargo.toml", "src/main.rs")],
    },
    Template {
        language: Language::Js,
        kind: Kind::Event,
        parts: &[
            project!(
                "js-event",
                ["ada", "nobody"],
                "package.json",
                "src/handler.js",
                "src/greeting.js",
                "src/greeting.test.js"
            ),
            JS_GUEST,
            JS_WORLD,
            WASI_CLOCKS,
            CONTRACT,
        ],
    },
    Template {
        language: Language::Js,
        kind: Kind::Http,
        parts: &[
            project!(
                "js-http",
                ["ada", "post"],
                "package.json",
                "src/handler.js",
                "src/greeting.js",
                "src/greeting.test.js"
            ),
            WASI_HTTP,
        ],
    },
    Template {
        language: Language::Ts,
        kind: Kind::Event,
        parts: &[
            project!(
                "ts-event",
                ["ada", "nobody"],
                "package.json",
                "tsconfig.json",
                "src/handler.ts",
                "src/greeting.ts",
                "src/greeting.test.ts"
            ),
            JS_GUEST,
            JS_WORLD,
            WASI_CLOCKS,
            CONTRACT,
        ],
    },
    Template {
        language: Language::Ts,
        kind: Kind::Http,
        parts: &[
            project!(
                "ts-http",
                ["ada", "post"],
                "package.json",
                "tsconfig.json",
                "src/handler.ts",
                "src/greeting.ts",
                "src/greeting.test.ts"
            ),
            WASI_HTTP,
        ],
    },
    Template {
        language: Language::Python,
        kind: Kind::Event,
        parts: &[
            project!(
                "python-event",
                ["ada", "nobody"],
                "app.py",
                "test_app.py",
                "requirements.txt"
            ),
            PYTHON_EVENT,
            CONTRACT,
        ],
    },
    Template {
        language: Language::Python,
        kind: Kind::Http,
        parts: &[
            project!("python-http", ["ada", "post"], "app.py", "test_app.py", "requirements.txt"),
            PYTHON_HTTP,
            WASI_HTTP,
        ],
    },
    Template {
        language: Language::Go,
        kind: Kind::Event,
        parts: &[
            project!("go-event", ["ada", "nobody"], "go.mod", "handler.go", "handler_test.go"),
            GO,
            CONTRACT,
        ],
    },
    Template {
        language: Language::Go,
        kind: Kind::Command,
        parts: &[project!("go-command", ["text", "blank"], "go.mod", "main.go", "main_test.go")],
    },
    Template {
        language: Language::C,
        kind: Kind::Event,
        parts: &[project!("c-event", ["ada", "nobody"], "src/handler.c"), C, CONTRACT],
    },
    Template {
        language: Language::C,
        kind: Kind::Command,
        parts: &[project!("c-command", ["text", "blank"], "src/main.c")],
    },
    Template {
        language: Language::Cpp,
        kind: Kind::Event,
        parts: &[project!("cpp-event", ["ada", "nobody"], "src/handler.cpp"), CPP, C, CONTRACT],
    },
    Template {
        language: Language::Cpp,
        kind: Kind::Command,
        parts: &[project!("cpp-command", ["text", "blank"], "src/main.cpp")],
    },
    Template {
        language: Language::Zig,
        kind: Kind::Event,
        parts: &[project!("zig-event", ["ada", "nobody"], "src/handler.zig"), ZIG, CONTRACT],
    },
    Template {
        language: Language::Zig,
        kind: Kind::Command,
        parts: &[project!("zig-command", ["text", "blank"], "src/main.zig")],
    },
    Template {
        language: Language::Nim,
        kind: Kind::Event,
        parts: &[
            project!(
                "nim-event",
                ["ada", "nobody"],
                "config.nims",
                "src/handler.nim",
                "tests/test_handler.nim"
            ),
            NIM,
            C,
            CONTRACT,
        ],
    },
    Template {
        language: Language::Nim,
        kind: Kind::Command,
        parts: &[
            project!(
                "nim-command",
                ["text", "blank"],
                "config.nims",
                "src/main.nim",
                "tests/test_main.nim"
            ),
            NIM_PROGRAM,
        ],
    },
    Template {
        language: Language::Lua,
        kind: Kind::Event,
        parts: &[
            project!("lua-event", ["ada", "nobody"], "src/handler.lua", "src/greeting.lua"),
            LUA,
        ],
    },
    Template {
        language: Language::Lua,
        kind: Kind::Command,
        parts: &[project!("lua-command", ["text", "blank"], "src/main.lua")],
    },
    Template {
        language: Language::Assemblyscript,
        kind: Kind::Event,
        parts: &[
            project!(
                "assemblyscript-event",
                ["ada", "nobody"],
                "package.json",
                "assembly/handler.ts",
                "assembly/tsconfig.json"
            ),
            ASSEMBLYSCRIPT,
            &[("wasmill.mjs", include_str!("../templates/assemblyscript/wasmill.mjs"))],
            CONTRACT,
        ],
    },
    Template {
        language: Language::Wat,
        kind: Kind::Event,
        parts: &[project!("wat-event", ["text", "nothing"], "src/handler.wat"), CONTRACT],
    },
    Template {
        language: Language::Wat,
        kind: Kind::Command,
        parts: &[project!("wat-command", ["text"], "src/main.wat")],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use wasmill_domain::Manifest;

    use super::*;

    /// The files below a folder, relative to it.
    fn below(folder: &Path, prefix: &str, into: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                below(&entry.path(), &format!("{path}/"), into);
            } else {
                into.insert(path);
            }
        }
    }

    #[test]
    fn no_file_of_a_template_is_forgotten() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        for template in TEMPLATES {
            let name = format!("{}-{}", template.language.as_str(), template.kind);
            let mut there = BTreeSet::new();
            below(&folder.join(&name), "", &mut there);
            let listed: BTreeSet<String> =
                template.parts[0].iter().map(|(path, _)| (*path).to_owned()).collect();
            assert_eq!(listed, there, "{name}");
        }
    }

    #[test]
    fn no_module_of_the_python_helper_is_forgotten() {
        let mut there = BTreeSet::new();
        below(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions/sdk/python/wasmill"),
            "wasmill/",
            &mut there,
        );
        there.retain(|path| !path.contains("__pycache__"));
        let copied: BTreeSet<String> =
            PYTHON_EVENT.iter().chain(PYTHON_HTTP).map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(copied, there);
    }

    #[test]
    fn every_template_has_a_manifest_that_can_be_read() {
        for template in TEMPLATES {
            let files: Vec<_> = template.files("order-total").collect();
            let manifest = files.iter().find(|(path, _)| *path == "wasmill.toml").unwrap();
            let manifest = Manifest::from_toml(&manifest.1).unwrap();
            assert_eq!(manifest.name.as_str(), "order-total");
            assert!(manifest.build.is_some() && manifest.component.is_some());
            let paths: BTreeSet<_> = files.iter().map(|(path, _)| path).collect();
            assert_eq!(paths.len(), files.len(), "a path twice");
            for (path, text) in &files {
                assert!(!text.contains("{{name}}") && !text.contains("{{snake_name}}"), "{path}");
            }
        }
    }
}
