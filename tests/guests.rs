//! What a good guess expects of each language's runtime: random numbers, printing, panics, checks,
//! recursion, text, and what JavaScript and Python do with `async`. The programs in `tests/guests/`
//! stand in for the handlers of `wasmill new`'s projects.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::support::api::Api;
use super::support::languages::{Cell, Workshop, succeeded};
use super::support::{Dev, eventually, root};

/// The replacement character, which stands for what is no text.
const REPLACED: &str = "\u{fffd}";

/// No expectation is about time: a busy machine may take as long as it likes.
const TIMEOUT: &str = "5m";

/// What is asked of a function, and what should come of it: the outcome, and words of the message.
type Expectation = (&'static str, &'static str, &'static [&'static str]);

#[tokio::test(flavor = "multi_thread")]
async fn every_language_is_as_its_users_expect() {
    let dev = Dev::start();
    let api = dev.api();
    let workshop = tokio::task::block_in_place(|| Workshop::open("probes"));
    tokio::task::block_in_place(|| {
        workshop.with_each(|cell| {
            if sources(cell).is_some() {
                build(&workshop, cell);
            }
        });
    });
    for cell in workshop.cells().iter().filter(|cell| sources(cell).is_some()) {
        for folder in [cell.folder.clone(), fresh(cell)] {
            dev.cli_ok(&["deploy", folder.to_str().unwrap()]);
        }
        draws_are_different(&api, cell).await;
        if cell.kind == "event" {
            prints_are_its_own(&api, cell).await;
            for (way, outcome, words) in expectations(&cell.lang) {
                ends(&api, cell, way, outcome, words).await;
            }
        }
        facts_hold(&api, cell).await;
        if cell.name() == "python-http" {
            a_handler_s_exception_is_told(&api, &cell.name()).await;
        }
        if ["nim", "lua"].contains(&&*cell.lang) {
            tokio::task::block_in_place(|| emits(&workshop, cell));
        }
    }
    javascript_awaits(&api).await;
}

/// The probes for a cell; TypeScript's are JavaScript's.
fn sources(cell: &Cell) -> Option<PathBuf> {
    let lang = if cell.lang == "ts" && cell.kind == "event" { "js" } else { &cell.lang };
    Some(root().join("tests/guests").join(format!("{lang}-{}", cell.kind)))
        .filter(|folder| folder.is_dir())
}

/// A second function of the same component, whose instances serve one event each.
fn fresh(cell: &Cell) -> PathBuf {
    cell.folder.with_file_name(format!("{}-fresh", cell.name()))
}

fn build(workshop: &Workshop, cell: &Cell) {
    workshop.make(cell);
    copy(&sources(cell).unwrap(), &cell.folder, &cell.name());
    if cell.lang == "ts" {
        fs::rename(cell.folder.join("src/handler.js"), cell.folder.join("src/handler.ts")).unwrap();
    }
    let manifest = fs::read_to_string(cell.folder.join("wasmill.toml")).unwrap();
    let manifest = manifest.split("[instances]").next().unwrap();
    let head = if manifest.contains("[limits]") { "" } else { "\n[limits]" };
    let manifest = format!("{manifest}{head}\n")
        .replace("[limits]\n", &format!("[limits]\ntimeout = \"{TIMEOUT}\"\n"));
    let once = format!("{manifest}\n[retry]\nmax_attempts = 1\n");
    fs::write(cell.folder.join("wasmill.toml"), format!("{once}\n[instances]\nreuse = 100\n"))
        .unwrap();
    let built =
        succeeded(workshop.wasmill().args(["--json", "build", cell.folder.to_str().unwrap()]));
    let built: Value = serde_json::from_slice(&built.stdout).unwrap();

    let name = format!("name = \"{}-fresh\"", cell.name());
    let mut lines: Vec<String> = vec![name, format!("component = {}", built["component"])];
    let kept =
        |line: &&str| !["name", "component", "build"].iter().any(|key| line.starts_with(key));
    lines.extend(
        once.lines().filter(kept).map(|line| line.replace("http = \"/", "http = \"/fresh-")),
    );
    fs::create_dir_all(fresh(cell)).unwrap();
    fs::write(fresh(cell).join("wasmill.toml"), lines.join("\n")).unwrap();
}

/// Copies a folder over another one, with the function's name where it is asked for.
fn copy(from: &Path, to: &Path, name: &str) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target, name);
        } else {
            fs::write(target, fs::read_to_string(entry.path()).unwrap().replace("{{name}}", name))
                .unwrap();
        }
    }
}

/// An execution that has ended, of an event whose data is the name of a way.
async fn run(api: &Api, function: &str, way: &str) -> Value {
    let request = api.request("POST", &format!("/v1/functions/{function}/invoke?wait={TIMEOUT}"));
    let response =
        request.header("content-type", "text/plain").body(way.to_owned()).send().await.unwrap();
    response.json().await.unwrap()
}

async fn messages(api: &Api, execution: &Value) -> Vec<String> {
    let lines = api.logs(execution["id"].as_str().unwrap()).await;
    lines.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

/// Whatever is random is so in each of a hundred instances, and within one.
async fn draws_are_different(api: &Api, cell: &Cell) {
    const INSTANCES: usize = 100;
    let mut drawn = BTreeSet::new();
    let mut words = 0;
    for _ in 0..INSTANCES {
        let text = if cell.kind == "http" {
            let path = format!("/http/default/fresh-{}/x", cell.name());
            api.request("GET", &path).send().await.unwrap().text().await.unwrap()
        } else {
            let execution = run(api, &format!("{}-fresh", cell.name()), "random").await;
            assert_eq!(execution["outcome"], "success", "{}: {execution}", cell.name());
            execution["result"]["data"].as_str().unwrap().to_owned()
        };
        words += text.split_whitespace().count();
        drawn.extend(text.split_whitespace().map(str::to_owned));
    }
    assert!(
        words >= INSTANCES && drawn.len() == words,
        "{}: {words} draws, {drawn:?}",
        cell.name()
    );
}

/// What a handler prints is in the log of its execution and in no other one, with a line end or
/// without.
async fn prints_are_its_own(api: &Api, cell: &Cell) {
    if ["zig", "assemblyscript"].contains(&&*cell.lang) {
        return; // They have no standard output here.
    }
    for call in 1..=3 {
        let execution = run(api, &cell.name(), "print").await;
        assert_eq!(execution["outcome"], "success", "{}: {execution}", cell.name());
        let mut lines = messages(api, &execution).await;
        lines.retain(|line| line.starts_with("call"));
        assert_eq!(lines, [format!("call {call}")], "{}", cell.name());
    }
}

/// What the table of docs/languages.md and the languages' pages say of numbers, texts, clocks and
/// what is missing.
fn facts(lang: &str, kind: &str) -> Value {
    const ROUNDED: &str = "[9007199254740992,1.2345678901234568e+29]";
    match (lang, kind) {
        ("js" | "ts", "event") => json!({
            "numbers": ROUNDED, "nan": "null", "zone": 0, "missing": [], "locale": "1234.5", "codecs": ["utf-8"], "normalized": true,
        }),
        ("js", _) => json!({
            "numbers": ROUNDED, "nan": "null", "zone": 0, "missing": [], "normalize": "undefined", "waited": true, "frozen": true,
        }),
        ("python", "event") => json!({
            "numbers": "[9007199254740993, 123456789012345678901234567890]", "infinity": "inf", "slept": true, "zone": 0,
            "locale": "C.UTF-8;C;C;C;C;C", "stdin": "", "file": false, "modules": ["decimal", "zoneinfo"],
            "later": "ModuleNotFoundError", "codecs": ["utf-8", "latin-1", "utf-16", "idna"], "thread": "RuntimeError",
            "asyncio": "PermissionError", "zoneinfo": "ImportError",
        }),
        ("go", _) => json!({
            "numbers": "[9007199254740992]", "exact": 9_007_199_254_740_993_u64, "slept": true, "zone": 0, "zones": false,
            "stdin": 0, "file": false, "goroutine": "of a goroutine",
        }),
        ("rust", "event") => json!({
            "numbers": "[18446744073709551615,1.2345678901234568e+29]", "nan": null, "slept": true, "stdin": 0,
            "file": false, "args": 0,
        }),
        // The language's own generator begins at the same seed everywhere.
        ("c", _) => {
            json!({ "slept": true, "hour": 0, "stdin": -1, "file": false, "rand": 1_216_681_718 })
        }
        ("cpp", _) => json!({ "slept": true, "stdin": false, "locale": "C" }),
        ("zig", _) => json!({ "exact": u64::MAX, "huge": 1e300 }),
        ("nim", _) => json!({
            "numbers": "[9007199254740993,123456789012345678901234567890,inf]", "nan": "\"nan\"", "slept": true, "zone": 0,
            "stdin": 0, "file": false, "cut": 0,
        }),
        ("lua", _) => json!({
            "numbers": "[9007199254740993,1.2345678901234568e+29]", "nan": "an error", "slept": true, "zone": "+0000",
            "stdin": 0, "file": false, "coroutine": true, "locale": "C", "text": format!("é😀{REPLACED}"),
        }),
        ("assemblyscript", _) => json!([i32::MIN, 9_007_199_254_740_993_u64, "NaN"]),
        _ => Value::Null,
    }
}

async fn facts_hold(api: &Api, cell: &Cell) {
    let expected = facts(&cell.lang, &cell.kind);
    if expected.is_null() {
        return;
    }
    let known = if cell.kind == "http" {
        let path = format!("/http/default/{}/facts", cell.name());
        api.request("GET", &path).send().await.unwrap().json().await.unwrap()
    } else {
        let execution = run(api, &cell.name(), "facts").await;
        assert_eq!(execution["outcome"], "success", "{}: {execution}", cell.name());
        execution["result"]["data"].clone()
    };
    assert_eq!(known, expected, "{}", cell.name());
}

/// What is emitted, and what is known of the execution at hand, by `wasmill test`, which compares
/// it.
fn emits(workshop: &Workshop, cell: &Cell) {
    let event = json!({
        "specversion": "1.0", "id": "emit-1", "source": "/tests", "type": "probe", "datacontenttype": "text/plain", "data": "emit",
    });
    let mut emitted = json!({ "type": "probe.emitted", "subject": cell.name(), "data": 1 });
    if cell.lang == "lua" {
        emitted["probe"] = json!("1");
    }
    let expected = json!({ "output": [1, 1, 36], "emitted": [emitted] });
    for (name, document) in [("emit.json", event), ("emit.expected.json", expected)] {
        fs::write(cell.folder.join("events").join(name), document.to_string()).unwrap();
    }
    succeeded(workshop.wasmill().args(["test", cell.folder.to_str().unwrap(), "--event", "emit"]));
}

/// How each language ends by what goes wrong in it.
fn expectations(lang: &str) -> Vec<Expectation> {
    const DEEP: Expectation = ("recurse", "trap", &["recursion too deep"]);
    const TEXT: Expectation = ("text", "rejected", &[REPLACED, " in a reason"]);
    const FAILED: &[&str] = &["the reason of a failure"];
    match lang {
        "js" | "ts" => vec![TEXT, ("fail", "error", FAILED), DEEP],
        "python" => vec![
            TEXT,
            ("fail", "error", FAILED),
            ("recurse", "error", &["RecursionError"]),
            ("rejects", "rejected", &["rejected after an await"]),
            ("never", "error", &["can never be ready"]),
            ("nan", "error", &["ValueError", "not JSON compliant"]),
            (
                "get",
                "error",
                &["URLError", "the lookup of 'api.example.com' was refused", "allowed_hosts"],
            ),
            ("connect", "error", &["the lookup of '192.0.2.1' was refused", "allowed_hosts"]),
            ("awaits", "success", &[]),
        ],
        "go" => {
            vec![
                TEXT,
                ("fail", "trap", FAILED),
                ("check", "trap", &["index out of range [5] with length 3"]),
                ("nan", "error", &["unsupported value: NaN"]),
                // Not of the host: Go's own stand-in for a network.
                ("get", "error", &["lookup api.example.com", "Connection reset by peer"]),
                DEEP,
            ]
        }
        "nim" => {
            vec![
                TEXT,
                ("fail", "error", FAILED),
                ("check", "trap", &["index 5 not in 0 .. 2 [IndexDefect]"]),
                DEEP,
            ]
        }
        "lua" => vec![
            TEXT,
            ("fail", "error", FAILED),
            ("check", "error", &["attempt to index a number value"]),
            ("recurse", "error", &["stack overflow"]),
        ],
        "c" | "cpp" => vec![TEXT, ("check", "trap", &["Assertion failed", "check"]), DEEP],
        "zig" => vec![TEXT, ("check", "trap", &["integer overflow"]), DEEP],
        "assemblyscript" => vec![
            TEXT,
            ("fail", "trap", &["the reason of a failure: é"]),
            ("check", "trap", &["Index out of range"]),
            DEEP,
        ],
        "rust" => {
            vec![
                ("fail", "trap", FAILED),
                ("check", "trap", &["attempt to add with overflow"]),
                DEEP,
            ]
        }
        other => panic!("{other}?"),
    }
}

async fn ends(api: &Api, cell: &Cell, way: &str, outcome: &str, words: &[&str]) {
    let execution = run(api, &cell.name(), way).await;
    let message = execution["message"].as_str().unwrap_or_default();
    let shown = || format!("{} {way}: {execution:#}", cell.name());
    assert_eq!(execution["outcome"], outcome, "{}", shown());
    assert!(words.iter().all(|word| message.contains(word)), "{}", shown());
    if way == "text" {
        let lines = messages(api, &execution).await;
        assert!(lines.contains(&format!("{REPLACED} in a log")), "{lines:?} {}", shown());
        let is_told = lines.iter().any(|line| line == "without fields");
        assert!(is_told || cell.lang != "assemblyscript", "{lines:?} {}", shown());
    }
}

/// What a handler of kind http raises is in the message of its execution.
async fn a_handler_s_exception_is_told(api: &Api, function: &str) {
    let response =
        api.request("GET", &format!("/http/default/{function}/fail")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let failed = eventually("an execution that trapped is listed", async || {
        let page = api.get(&format!("/v1/executions?function={function}&outcome=trap")).await;
        page["executions"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    let failed = api.ended(&failed).await;
    let message = failed["message"].as_str().unwrap_or_default();
    assert!(message.contains("TypeError: the reason of a failure"), "{failed:#}");
}

/// `async`, timers, clocks and the globals of JavaScript.
async fn javascript_awaits(api: &Api) {
    for function in ["js-event", "ts-event"] {
        for (way, outcome, word) in [
            ("rejects", "rejected", "rejected after an await"),
            ("fails", "error", "failed after an await"),
            ("never", "error", "can never settle"),
            ("fail", "error", "the reason of a failure"),
        ] {
            let execution = run(api, function, way).await;
            assert_eq!(execution["outcome"], outcome, "{execution}");
            assert!(execution["message"].as_str().unwrap().contains(word), "{execution}");
        }
        let results = [
            (
                "awaits",
                json!({
                    "sum": 3, "all": [1, 2, 3], "settled": ["rejected", "fulfilled"], "race": "fast", "any": "some",
                    "gathered": [1, 2], "async": 7,
                }),
            ),
            ("clocks", json!({ "isPositive": true, "waited": true, "isNow": true })),
            (
                "globals",
                json!([
                    "aé😀\u{fffd}",
                    "\u{fffd}a",
                    "http://xn--mnster-3ya.de/a/b?x=1&y=%C3%A4#z",
                    "[::ffff:102:304]:8080",
                    "a=1+2&b=%C3%BC",
                    ["http://b/a", "http://x/y", "file://h/a", false],
                    true,
                ]),
            ),
            ("leaves", json!("left")),
            ("early", json!({ "limit": 5, "drawn": 36 })),
            ("begun", json!("begun before a failure")),
        ];
        for (way, result) in results {
            let execution = run(api, function, way).await;
            assert_eq!(execution["result"]["data"], result, "{function} {way}: {execution}");
            if way == "leaves" {
                let lines = messages(api, &execution).await.join("\n");
                assert!(lines.contains("nobody awaited it: Error: nobody awaits this"), "{lines}");
                assert!(
                    lines.contains("the queue was driven to its end") && lines.contains("dropped"),
                    "{lines}"
                );
            }
        }
        // What that execution left is not in the next one, which the same instance serves.
        let execution = run(api, function, "clocks").await;
        assert_eq!(messages(api, &execution).await, Vec::<String>::new());
        let execution = run(api, function, "formats").await;
        let lines = [
            "x is 5",
            "1 2.5 {a: 1} % %s",
            "NaN {} [1] %s 2",
            "100% 1",
            "%s%%",
            "assertion failed y",
            "%s",
        ];
        assert_eq!(messages(api, &execution).await, lines, "{execution}");
        let execution = run(api, &format!("{function}-fresh"), "clocks").await;
        let lines = messages(api, &execution).await.join("\n");
        assert!(
            lines.contains("Math.random() was called while the component was built"),
            "{lines}"
        );
        assert!(lines.contains("nobody awaited it: Error: rejected at the top level"), "{lines}");
        let execution = run(api, &format!("{function}-fresh"), "early").await;
        assert_eq!(execution["result"]["data"], json!({ "limit": 5, "drawn": 36 }), "{execution}");
    }
}
