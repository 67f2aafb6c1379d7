//! Programs with arguments and files, as they come out of compilers.

use std::path::Path;

use serde_json::{Value, json};

use super::support::api::{Api, execution_ids};
use super::support::backends::SharedBackends;
use super::support::pool::Process;
use super::support::{Dev, eventually, sample, wasmill};

/// A core module for WASI preview 1 that shows its second argument and then the file that it names,
/// and fails if there is none.
const SHOW: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 3000) ":\n")
    (func $say (param i32 i32)
        (i32.store (i32.const 0) (local.get 0))
        (i32.store (i32.const 4) (local.get 1))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func (export "_start")
        (local $name i32) (local $length i32)
        (drop (call $args_sizes (i32.const 16) (i32.const 20)))
        (drop (call $args (i32.const 512) (i32.const 1024)))
        (local.set $name (i32.load (i32.const 516)))
        (local.set $length
            (i32.sub (i32.sub (i32.add (i32.const 1024) (i32.load (i32.const 20))) (local.get $name)) (i32.const 1)))
        (call $say (local.get $name) (local.get $length))
        (call $say (i32.const 3000) (i32.const 2))
        (if (call $open (i32.const 3) (i32.const 0) (local.get $name) (local.get $length) (i32.const 0)
                (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 24))
            (then (call $exit (i32.const 1))))
        (i32.store (i32.const 0) (i32.const 4096))
        (i32.store (i32.const 4) (i32.const 4096))
        (drop (call $read (i32.load (i32.const 24)) (i32.const 0) (i32.const 1) (i32.const 8)))
        (call $say (i32.const 4096) (i32.load (i32.const 8)))))"#;

fn manifest(folder: &Path, keys: &str) {
    let text = format!(
        "name = 'show'\ncomponent = 'show.wasm'\n{keys}\n[[trigger]]\nevent = 'show'\n[retry]\nmax_attempts = 1\n"
    );
    std::fs::write(folder.join("wasmill.toml"), text).unwrap();
}

/// The function, which shows one of its files.
fn show(folder: &Path) {
    std::fs::create_dir_all(folder.join("data")).unwrap();
    std::fs::write(folder.join("show.wasm"), wat::parse_str(SHOW).unwrap()).unwrap();
    std::fs::write(folder.join("data/a.txt"), "first").unwrap();
    manifest(folder, "args = ['data/a.txt']\nfiles = ['data/**']");
}

async fn shown(api: &Api) -> Value {
    api.run("show", &json!({})).await["result"]["data"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_has_arguments_and_files() {
    let dir = tempfile::tempdir().unwrap();
    show(dir.path());
    let path = dir.path().to_str().unwrap();
    let dev = Dev::start();
    let api = dev.api();
    assert!(
        dev.cli_ok(&["check", path]).contains("files     1, 5"),
        "{}",
        dev.cli_ok(&["check", path])
    );
    assert!(dev.cli_ok(&["deploy", path]).contains("version 1 is live"));
    assert_eq!(shown(&api).await, "data/a.txt:\nfirst");
    assert!(dev.cli_ok(&["deploy", path]).contains("version 1 is unchanged"));

    // Another content is another version, with the same code; going back brings the older files.
    std::fs::write(dir.path().join("data/a.txt"), "second").unwrap();
    assert!(dev.cli_ok(&["deploy", path]).contains("version 2 is live"));
    assert_eq!(shown(&api).await, "data/a.txt:\nsecond");
    dev.cli_ok(&["functions", "rollback", "show"]);
    assert_eq!(shown(&api).await, "data/a.txt:\nfirst");

    // `test` runs it with both as well.
    let events = dir.path().join("events");
    std::fs::create_dir(&events).unwrap();
    let event = json!({"specversion": "1.0", "id": "1", "source": "/", "type": "show", "data": {}});
    std::fs::write(events.join("one.json"), event.to_string()).unwrap();
    let expected = json!({"outcome": "success", "output": "data/a.txt:\nsecond"});
    std::fs::write(events.join("one.expected.json"), expected.to_string()).unwrap();
    let tested = wasmill().current_dir(dir.path()).args(["test", "."]).output().unwrap();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stdout));
}

/// With the error, by the API and for people.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_program_has_written_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    show(dir.path());
    manifest(dir.path(), "args = ['none']");
    let dev = Dev::start();
    dev.cli_ok(&["deploy", dir.path().to_str().unwrap()]);
    let failed = dev.api().run("show", &json!({})).await;
    assert_eq!(
        (&failed["outcome"], &failed["result"]),
        (&json!("error"), &Value::Null),
        "{failed}"
    );
    assert_eq!(failed["standard_output"]["data"], "none:\n");
    let shown = dev.cli_ok(&["executions", "show", failed["id"].as_str().unwrap()]);
    assert!(
        shown.contains("exited with status 1")
            && shown.contains("output")
            && shown.contains("none:"),
        "{shown}"
    );
}

/// A program in Lua, whose manifest begins with these keys.
fn lua(folder: &Path, program: &str, keys: &str) {
    let path = folder.to_str().unwrap();
    let made = wasmill()
        .args(["new", "lua", "--lang", "lua", "--kind", "command", "--dir", path])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::write(folder.join("src/main.lua"), program).unwrap();
    let manifest = std::fs::read_to_string(folder.join("wasmill.toml")).unwrap();
    std::fs::write(
        folder.join("wasmill.toml"),
        format!("{keys}\n{manifest}\n[retry]\nmax_attempts = 1\n"),
    )
    .unwrap();
}

/// As docs/languages/lua.md says.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_in_lua_reads_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("lua");
    lua(
        &folder,
        "print(io.open('/data/a.txt'):read 'a', (io.open('/data/none.txt')))",
        "files = ['data/**']",
    );
    std::fs::create_dir(folder.join("data")).unwrap();
    std::fs::write(folder.join("data/a.txt"), "first").unwrap();
    let dev = Dev::start();
    dev.cli_ok(&["deploy", folder.to_str().unwrap()]);
    let ended = dev.api().run("text.written", &json!({})).await;
    assert_eq!(ended["result"]["data"], "first\tnil\n", "{ended}");
}

/// Lua writes its traceback after the reason.
#[tokio::test(flavor = "multi_thread")]
async fn the_reason_before_a_traceback_is_in_the_message() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("lua");
    let program = "local function deep(n) if n == 0 then error('boom') end return 1 + deep(n - 1) end\n\
                   print(deep(tonumber(io.read 'a')))\n";
    lua(&folder, program, "");
    let dev = Dev::start();
    dev.cli_ok(&["deploy", folder.to_str().unwrap()]);
    for depth in [0, 100] {
        let failed = dev.api().run("text.written", &json!(depth)).await;
        assert_eq!(failed["outcome"], "error", "{failed}");
        let message = failed["message"].as_str().unwrap();
        assert!(message.starts_with("exited with status 1; standard error says: "), "{message}");
        assert!(message.contains("main.lua:1: boom stack traceback: "), "{message}");
        assert_eq!(message.contains(" … "), depth > 0, "{message}");
    }
}

/// Functions of the other kinds have files as well, and write none.
#[tokio::test(flavor = "multi_thread")]
async fn functions_of_every_kind_have_files() {
    let dev = Dev::with_samples(&["hostile/by-hand"]);
    let is_right = |said: &str| {
        let tries: Vec<&str> = said.lines().collect();
        tries.len() == 9 && tries[8] == "note: first" && !said.contains("done")
    };
    let ended = dev.api().run("hostile.by-hand", &json!("files")).await;
    let said = ended["result"]["data"].as_str().unwrap_or_else(|| panic!("{ended}"));
    assert!(is_right(said), "{said}");

    // The same component as a handler.
    let dir = tempfile::tempdir().unwrap();
    let by_hand = sample("hostile").join("by-hand");
    std::fs::create_dir(dir.path().join("data")).unwrap();
    std::fs::copy(by_hand.join("data/note.txt"), dir.path().join("data/note.txt")).unwrap();
    let manifest = format!(
        "name = 'files'\nkind = 'http'\ncomponent = '{}'\nfiles = ['data/**']\n[[trigger]]\nhttp = '/files'\n",
        by_hand.join("by-hand.wasm").display()
    );
    std::fs::write(dir.path().join("wasmill.toml"), manifest).unwrap();
    dev.cli_ok(&["deploy", dir.path().to_str().unwrap()]);
    let answer = dev.api().request("GET", "/http/default/files").send().await.unwrap();
    let said = answer.text().await.unwrap();
    assert!(is_right(&said), "{said}");
}

#[test]
fn what_cannot_be_deployed_is_told_before() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(sample("hello").join("hello.wasm"), dir.path().join("show.wasm")).unwrap();
    let check = |keys: &str| {
        manifest(dir.path(), keys);
        let checked = wasmill().args(["check", dir.path().to_str().unwrap()]).output().unwrap();
        assert_eq!(checked.status.code(), Some(1));
        String::from_utf8(checked.stderr).unwrap()
    };
    let said = check("args = ['-']");
    assert!(
        said.contains("args: only a command has arguments, and the function is of kind event"),
        "{said}"
    );
    assert_eq!(said.matches("only a command").count(), 1, "{said}");
    let said = check("files = ['data/**']");
    assert!(said.contains("files[0]: there is no file like 'data/**'"), "{said}");
    let said = check("files = ['../x']");
    assert!(said.contains("is not a pattern of files"), "{said}");
}

/// A file that changes, comes or goes is a change of the function.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_watched() {
    let dir = tempfile::tempdir().unwrap();
    let function = dir.path().join("show");
    show(&function);
    let mut dev = Dev::start_with(&[dir.path().to_str().unwrap()]);
    let api = dev.api();
    dev.await_line(|line| line.contains("✓ show version 1 is live"));
    std::fs::write(function.join("data/a.txt"), "changed").unwrap();
    dev.await_line(|line| line.contains("✓ show version 2 is live"));
    assert_eq!(shown(&api).await, "data/a.txt:\nchanged");
    std::fs::write(function.join("data/new.txt"), "new").unwrap();
    dev.await_line(|line| line.contains("✓ show version 3 is live"));
    std::os::unix::fs::symlink(sample("hello").join("hello.wasm"), function.join("data/link"))
        .unwrap();
    let report = dev.await_line(|line| line.starts_with('✗'));
    assert!(report.contains("'data/link' is a link to"), "{report}");
    assert_eq!(shown(&api).await, "data/a.txt:\nchanged");
    std::fs::remove_file(function.join("data/link")).unwrap();
    std::fs::remove_file(function.join("data/new.txt")).unwrap();
    dev.await_line(|line| line.contains("✓ show version 4 is live"));
}

/// Hosts get the files from the database that they share.
#[tokio::test(flavor = "multi_thread")]
async fn files_reach_every_host_of_a_pool() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let gateway = Process::start("gateway", backends, &[]);
    gateway.ready().await;
    let dir = tempfile::tempdir().unwrap();
    show(dir.path());
    gateway.deploy_folder(dir.path()).await;
    let host = Process::start("host", backends, &[]);
    host.ready().await;
    assert_eq!(shown(&gateway.api()).await, "data/a.txt:\nfirst");
    std::fs::write(dir.path().join("data/a.txt"), "second").unwrap();
    gateway.deploy_folder(dir.path()).await;
    let ids =
        execution_ids(&gateway.api().post_plain("show", &json!({})).await.json().await.unwrap());
    let ended = eventually("it runs", async || Some(gateway.api().ended(&ids[0]).await)).await;
    assert_eq!(ended["result"]["data"], "data/a.txt:\nsecond");
}
