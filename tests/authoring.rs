//! `wasmill new`, `build` and `test`: what they print, what they refuse and how, with functions
//! that need no compiler.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use super::support::{Dev, root, sample, wasmill};

/// A function whose build command copies the component of the sample `hello`.
struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let project = Self { dir };
        for file in ["greeting.schema.json", "events/ada.json", "events/invalid.json"] {
            std::fs::create_dir_all(project.path("events")).unwrap();
            std::fs::copy(sample("hello").join(file), project.path(file)).unwrap();
        }
        project.write(
            "events/ada.expected.json",
            r#"{"output": {"greeting": "Hello, Ada Lovelace!"}}"#,
        );
        project
            .write("events/invalid.expected.json", r#"{"outcome": "refused", "message": "nmae"}"#);
        let original = sample("hello").join("hello.wasm");
        project.manifest(&format!("echo copying; cp '{}' made.wasm", original.display()));
        project
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).unwrap();
    }

    /// Gives it another build command.
    fn manifest(&self, build: &str) {
        let manifest = json!(build);
        self.write(
            "wasmill.toml",
            &format!(
                "name = 'copied'\ncomponent = 'made.wasm'\nbuild = {manifest}\n[env]\nGREETING = 'Hello'\n\
                 [[trigger]]\nevent = 'greeting.requested'\nschema = 'greeting.schema.json'\n"
            ),
        );
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run_in(self.dir.path(), arguments)
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        printed(&output)
    }

    /// Runs what must fail with `code`; everything that it said.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        printed(&output) + &said(&output)
    }
}

fn run_in(folder: &Path, arguments: &[&str]) -> Output {
    wasmill().args(arguments).current_dir(folder).output().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn new_writes_a_project_and_says_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let output = run_in(dir.path(), &["new", "order-total", "--lang", "ts"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = printed(&output);
    for step in ["cd order-total", "npm install", "wasmill build", "wasmill test"] {
        assert!(text.contains(step), "{text}");
    }
    let package = std::fs::read_to_string(dir.path().join("order-total/package.json")).unwrap();
    assert!(package.contains(r#""name": "order-total""#), "{package}");
    for file in [
        ".gitignore",
        "wasmill.toml",
        "wasmill/event.d.ts",
        "wit/wasmill-function.wit",
        "events/ada.json",
    ] {
        assert!(dir.path().join("order-total").join(file).is_file(), "{file}");
    }

    let again = run_in(dir.path(), &["new", "order-total", "--lang", "ts"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("'order-total' is not empty"), "{}", said(&again));
}

#[test]
fn new_lists_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let refused = run_in(dir.path(), &["new", "x", "--lang", "wat", "--kind", "http"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(
        said(&refused).contains("no project of kind http in wat; there is: event, command"),
        "{}",
        said(&refused)
    );
    let unknown = run_in(dir.path(), &["new", "x", "--lang", "cobol"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        said(&unknown).contains("cobol") && said(&unknown).contains("assemblyscript"),
        "{}",
        said(&unknown)
    );
    assert_eq!(run_in(dir.path(), &["new", "Not A Name", "--lang", "c"]).status.code(), Some(2));
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        0,
        "a refusal leaves nothing behind"
    );
    let listed = printed(&run_in(dir.path(), &["new", "--list"]));
    assert!(
        listed
            .lines()
            .any(|line| line.starts_with("rust") && line.ends_with("event, http, command")),
        "{listed}"
    );
}

#[test]
fn a_build_shows_what_the_command_prints_and_what_it_made() {
    let project = Project::new();
    let output = project.run(&["build"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("copying"), "{}", said(&output));
    assert!(
        printed(&output).contains("built copied: ./made.wasm")
            && printed(&output).contains("kind event")
    );
    let document: Value = serde_json::from_str(&project.ok(&["--json", "build"])).unwrap();
    assert_eq!(
        (&document["kind"], &document["adapter"]),
        (&json!("event"), &Value::Null),
        "{document}"
    );
}

#[test]
fn a_build_that_fails_says_why() {
    let project = Project::new();
    project.manifest("echo one; echo two >&2; exit 7");
    let text = project.fails(1, &["build"]);
    assert!(text.contains("the build failed: exit status: 7"), "{text}");
    assert!(
        text.contains("command: echo one") && text.contains("| one") && text.contains("| two"),
        "{text}"
    );
    project.manifest("A=1 wasm-tools-that-is-not-there parse x.wat");
    let text = project.fails(1, &["build"]);
    assert!(
        text.contains("'wasm-tools-that-is-not-there' is missing, which the build needs"),
        "{text}"
    );
    project.manifest("PATH=/nowhere; componentize-py app");
    let text = project.fails(1, &["build"]);
    assert!(
        text.contains("'componentize-py' is missing")
            && text.contains("pip install componentize-py"),
        "{text}"
    );
    project.manifest("true");
    let text = project.fails(1, &["build"]);
    assert!(text.contains("the build succeeded, and './made.wasm' is not there"), "{text}");
    project.manifest("echo text > made.wasm");
    let text = project.fails(1, &["build"]);
    assert!(text.contains("not a WebAssembly file"), "{text}");
    project.write("wasmill.toml", "name = 'copied'\ncomponent = 'made.wasm'");
    assert!(project.fails(1, &["build"]).contains("the key 'build' is missing"));
}

#[test]
fn a_test_passes_or_says_what_differs() {
    let project = Project::new();
    // It is built because its component is missing.
    let text = project.ok(&["test"]);
    assert!(
        text.contains("✓ ada: success (")
            && text.contains(" fuel, ")
            && text.contains("✓ invalid: refused"),
        "{text}"
    );
    assert!(text.contains("2 passed, 0 failed"), "{text}");

    project.write(
        "events/ada.expected.json",
        r#"{"output": {"greeting": "Bonjour"}, "content_type": "text/plain"}"#,
    );
    let text = project.fails(5, &["test"]);
    assert!(
        text.contains(r#"output/greeting: expected "Bonjour", was "Hello, Ada Lovelace!""#),
        "{text}"
    );
    assert!(text.contains("content_type: expected text/plain, was application/json"), "{text}");
    assert!(text.contains("log: info greeted") && text.contains("1 passed, 1 failed"), "{text}");
    project.ok(&["test", "--event", "invalid"]);
    // Another event's file counts only where that event is asked for, too.
    project.write("events/broken.json", "{");
    project.ok(&["test", "--event", "invalid"]);
    assert!(project.fails(1, &["test"]).contains("broken.json"));
    std::fs::remove_file(project.path("events/broken.json")).unwrap();
    assert!(project.fails(3, &["test", "--event", "none"]).contains("none.json"));

    let output = project.run(&["--json", "test"]);
    assert_eq!(output.status.code(), Some(5));
    let document: Value = serde_json::from_str(&printed(&output)).unwrap();
    assert_eq!((&document["passed"], &document["failed"]), (&json!(1), &json!(1)), "{document}");
    assert_eq!(document["events"][0]["name"], "ada");
    assert!(
        document["events"][0]["fuel"].as_u64().unwrap() > 0
            && document["events"][1]["fuel"].is_null(),
        "{document}"
    );

    project.write("events/ada.expected.json", r#"{"outptu": 1}"#);
    let text = project.fails(1, &["test"]);
    assert!(text.contains("ada.expected.json") && text.contains("outptu"), "{text}");
}

#[test]
fn expectations_are_written_down() {
    let project = Project::new();
    for name in ["ada", "invalid"] {
        std::fs::remove_file(project.path(&format!("events/{name}.expected.json"))).unwrap();
    }
    let text = project.fails(1, &["test"]);
    assert!(
        text.contains("– ada: nothing is expected of it") && text.contains("--update"),
        "{text}"
    );
    project.ok(&["test", "--update", "--event", "ada"]);
    let written: Value =
        serde_json::from_slice(&std::fs::read(project.path("events/ada.expected.json")).unwrap())
            .unwrap();
    assert_eq!(
        written,
        json!({"content_type": "application/json", "output": {"greeting": "Hello, Ada Lovelace!"}})
    );
    assert!(project.ok(&["test"]).contains("1 passed, 0 failed"));
}

#[test]
fn what_cannot_be_deployed_cannot_be_tested() {
    let project = Project::new();
    project.manifest(&format!(
        "cp '{}' made.wasm",
        sample("hostile/wrong-types/wrong-types.wasm").display()
    ));
    let text = project.fails(1, &["test"]);
    assert!(text.contains("its handle does not have the contract's types"), "{text}");
}

#[test]
fn a_deploy_builds_where_it_must() {
    let project = Project::new();
    let dev = Dev::start();
    let deploy = |arguments: &[&str]| {
        let path = project.dir.path().to_str().unwrap();
        dev.cli(&[&["deploy", path], arguments].concat())
    };
    let first = deploy(&[]);
    assert!(
        printed(&first).contains("copied version 1 is live") && said(&first).contains("copying"),
        "{}",
        said(&first)
    );
    let second = deploy(&[]);
    assert!(
        printed(&second).contains("unchanged") && !said(&second).contains("copying"),
        "{}",
        said(&second)
    );
    assert!(said(&deploy(&["--build"])).contains("copying"));
    // A source that is newer than the component.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    project.write("source.c", "new");
    std::fs::File::options()
        .append(true)
        .open(project.path("source.c"))
        .unwrap()
        .set_modified(later)
        .unwrap();
    assert!(said(&deploy(&[])).contains("copying"));
    project.manifest("exit 9");
    let failed = deploy(&["--build"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(said(&failed).contains("exit status: 9"), "{}", said(&failed));
}

/// A project gets the compilers that the tests build it with.
#[test]
fn templates_ask_for_the_versions_that_are_tested() {
    let pins = root().join("tests/toolchains");
    let python = std::fs::read_to_string(pins.join("requirements.txt")).unwrap();
    let node: Value =
        serde_json::from_slice(&std::fs::read(pins.join("package.json")).unwrap()).unwrap();
    let mut asked = 0;
    for template in std::fs::read_dir(root().join("cli/templates")).unwrap() {
        let template = template.unwrap().path();
        if let Ok(package) = std::fs::read(template.join("package.json")) {
            let package: Value = serde_json::from_slice(&package).unwrap();
            for (name, version) in package["devDependencies"].as_object().unwrap() {
                assert_eq!(
                    &node["dependencies"][name],
                    version,
                    "{name} in {}",
                    template.display()
                );
                asked += 1;
            }
        }
        for line in
            std::fs::read_to_string(template.join("requirements.txt")).unwrap_or_default().lines()
        {
            assert!(python.lines().any(|pin| pin == line), "{line} in {}", template.display());
            asked += 1;
        }
    }
    assert!(asked > 5, "no template asks for anything: {asked}");
}
