//! A project in every language, of every kind, made by `wasmill new` and built by the language's
//! own compiler.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use serde_json::Value;

use super::{root, wasmill};

/// Where the projects are, and what they are built with. Caches stay there from one run to the
/// next.
pub(crate) struct Workshop {
    folder: PathBuf,
    projects: PathBuf,
    /// Where crates are compiled to.
    cargo: PathBuf,
    toolchains: PathBuf,
    rustc: String,
}

/// A project.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// The language, as `wasmill new` calls it.
    pub(crate) lang: String,
    /// The kind.
    pub(crate) kind: String,
    /// Its folder.
    pub(crate) folder: PathBuf,
}

/// The cells that are built where not all are: every language with its compiler, every kind.
const SOME: [&str; 12] = [
    "assemblyscript-event",
    "c-command",
    "cpp-event",
    "go-event",
    "js-http",
    "lua-event",
    "nim-event",
    "python-http",
    "rust-http",
    "ts-event",
    "wat-command",
    "zig-command",
];

/// Whether `WASMILL_TEST_CELLS` says that some cells are enough.
pub(crate) fn some_are_enough() -> bool {
    match std::env::var("WASMILL_TEST_CELLS").as_deref() {
        Ok("some") => true,
        Err(_) => false,
        Ok(other) => panic!("WASMILL_TEST_CELLS is '{other}': it may be 'some', or not be set"),
    }
}

impl Cell {
    /// Whether it is built where not all are.
    pub(crate) fn is_among_some(&self) -> bool {
        SOME.contains(&&*self.name())
    }

    /// The function's name.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.lang, self.kind)
    }
}

impl Workshop {
    /// Provides the toolchains; there is no going on without them. Projects are made in a folder of
    /// this name.
    pub(crate) fn open(name: &str) -> Self {
        let folder = root().join("target/languages");
        let projects = folder.join(name);
        let _ = std::fs::remove_dir_all(&projects);
        // Not shared with another workshop: crates of the same name are built to the same file.
        let cargo = folder.join(format!("cargo-{name}"));
        for made in [&projects, &cargo] {
            std::fs::create_dir_all(made).expect("a folder below target/");
        }
        Self {
            folder,
            projects,
            cargo,
            toolchains: provided("toolchains").into(),
            rustc: provided("guest-toolchain"),
        }
    }

    /// Every cell that `wasmill new` knows.
    pub(crate) fn cells(&self) -> Vec<Cell> {
        let listed = succeeded(wasmill().args(["--json", "new", "--list"]));
        let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let cell = |template: &Value| {
            let (lang, kind) = (text(&template["lang"]), text(&template["kind"]));
            Cell { folder: self.projects.join(format!("{lang}-{kind}")), lang, kind }
        };
        listed["templates"].as_array().expect("a list").iter().map(cell).collect()
    }

    /// Does something with every cell, on two threads. Those that share a cache follow each other
    /// on one; what takes longest begins first.
    pub(crate) fn with_each(&self, work: impl Fn(&Cell) + Sync) {
        const GROUPS: [&[&str]; 6] = [
            &["rust"],
            &["js", "ts"],
            &["cpp", "c", "zig", "nim"],
            &["python"],
            &["go"],
            &["assemblyscript", "wat", "lua"],
        ];
        let cells = self.cells();
        assert!(
            cells.iter().all(|cell| GROUPS.iter().any(|group| group.contains(&&*cell.lang))),
            "{cells:?}"
        );
        let waiting = Mutex::new(VecDeque::from(GROUPS));
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    while let Some(group) =
                        { waiting.lock().expect("a thread that failed ends the test").pop_front() }
                    {
                        cells.iter().filter(|cell| group.contains(&&*cell.lang)).for_each(&work);
                    }
                });
            }
        });
    }

    /// Writes a cell's project.
    pub(crate) fn make(&self, cell: &Cell) {
        let folder = cell.folder.to_str().expect("a UTF-8 path");
        succeeded(wasmill().args([
            "new",
            &cell.name(),
            "--lang",
            &cell.lang,
            "--kind",
            &cell.kind,
            "--dir",
            folder,
        ]));
        let link = |to: PathBuf, name: &str| {
            std::os::unix::fs::symlink(to, cell.folder.join(name)).expect("a link");
        };
        match &*cell.lang {
            // Compiled crates are shared, and are of pinned versions.
            "rust" => {
                link(self.cargo.clone(), "target");
                std::fs::copy(root().join("functions/Cargo.lock"), cell.folder.join("Cargo.lock"))
                    .expect("a copy");
            }
            // What `npm install` would make.
            "js" | "ts" | "assemblyscript" => {
                link(self.toolchains.join("node_modules"), "node_modules");
            }
            _ => {}
        }
    }

    /// A command of the binary under test that finds the compilers.
    pub(crate) fn wasmill(&self) -> Command {
        let mut command = wasmill();
        self.equip(&mut command);
        command
    }

    /// A cell's own unit tests, where its language has a usual way.
    pub(crate) fn unit_tests(&self, cell: &Cell) -> Option<Command> {
        let words: &[&str] = match (&*cell.lang, &*cell.kind) {
            ("rust", _) => &["cargo", "test"],
            ("js" | "ts", _) => &["npm", "test"],
            ("python", _) => &["python3", "-m", "unittest"],
            ("go", _) => &["go", "test", "./..."],
            ("zig", "event") => &["zig", "test", "src/handler.zig"],
            ("zig", _) => &["zig", "test", "src/main.zig"],
            ("nim", "event") => &["nim", "r", "tests/test_handler.nim"],
            ("nim", _) => &["nim", "r", "tests/test_main.nim"],
            _ => return None,
        };
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&cell.folder);
        self.equip(&mut command);
        Some(command)
    }

    fn equip(&self, command: &mut Command) {
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{path}", self.toolchains.join("bin").display()))
            .env("RUSTC", &self.rustc)
            .env("GOCACHE", self.folder.join("go"))
            .env("GOFLAGS", "-mod=mod")
            // The unit tests are compiled once, and looked into by nobody.
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("ZIG_GLOBAL_CACHE_DIR", self.folder.join("zig"));
        // The settings of the build that these tests are part of.
        for name in [
            "CARGO_TARGET_DIR",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "CARGO_INCREMENTAL",
        ] {
            command.env_remove(name);
        }
    }
}

/// What a script that provides something prints.
pub(crate) fn provided(script: &str) -> String {
    let output = succeeded(&mut Command::new(root().join("scripts").join(script)));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

/// Runs a command that must succeed.
pub(crate) fn succeeded(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let printed = || {
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, printed());
    output
}

/// The names of a project's events, each with what is expected of it.
pub(crate) fn expectations(folder: &Path) -> Vec<(String, Value)> {
    let events = std::fs::read_dir(folder.join("events")).expect("a folder of events");
    let names = events.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names = names.filter_map(|name| Some(name.strip_suffix(".expected.json")?.to_owned()));
    let read = |name: String| {
        let text = std::fs::read(folder.join("events").join(format!("{name}.expected.json")))
            .expect("an expectation");
        (name, serde_json::from_slice(&text).expect("JSON"))
    };
    names.map(read).collect()
}
