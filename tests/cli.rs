//! The client verbs against a running system: what they print, and their exit codes.

use std::process::Stdio;

use serde_json::{Value, json};
use wasmill_store::sqlite::{SqliteSettings, SqliteStore};

use super::support::{Dev, eventually, sample, wasmill};

#[tokio::test]
async fn from_deploy_to_logs() {
    let dev = Dev::start();
    let said = dev.cli_ok(&["deploy", sample("hello").to_str().unwrap()]);
    assert!(said.contains("hello version 1 is live"), "{said}");
    assert!(dev.cli_ok(&["deploy", sample("hello").to_str().unwrap()]).contains("unchanged"));

    let id = dev.api().accepted("greeting.requested", &json!({"name": "Ada"})).await.remove(0);
    dev.api().ended(&id).await;
    assert!(
        dev.cli_ok(&["executions", "list", "--function", "hello", "--state", "succeeded"])
            .contains(&id)
    );
    assert!(
        !dev.cli_ok(&["executions", "list", "--function", "hello", "--state", "failed"])
            .contains(&id)
    );
    let shown = dev.cli_ok(&["executions", "show", &id]);
    assert!(
        shown.contains("Ada") && shown.contains("fuel") && shown.contains("succeeded"),
        "{shown}"
    );
    let logs = dev.cli_json(&["logs", &id]);
    assert_eq!(logs["logs"][0]["level"], "info", "{logs}");
    assert!(dev.cli_ok(&["logs", &id]).contains(" info "));
}

#[test]
fn invoke_waits_for_the_result() {
    let dev = Dev::with_samples(&["hello", "flaky"]);
    let execution = dev.cli_json(&["invoke", "hello", "--data", r#"{"name": "Grace"}"#]);
    assert_eq!(execution["state"], "succeeded", "{execution}");
    assert!(execution["result"]["data"]["greeting"].as_str().unwrap().contains("Grace"));

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("event.json");
    let event = json!({"specversion": "1.0", "id": "e-1", "source": "/tests", "type": "greeting.requested", "data": {"name": "Edsger"}});
    std::fs::write(&file, event.to_string()).unwrap();
    let execution = dev.cli_json(&["invoke", "hello", "--data", &format!("@{}", file.display())]);
    assert_eq!(execution["event"]["id"], "e-1", "{execution}");

    let said = dev.cli_fails(5, &["invoke", "flaky", "--data", r#"{"reject": true}"#]);
    assert!(said.contains("failed"), "{said}");
    dev.cli_fails(1, &["invoke", "hello", "--data", r#"{"name": 7}"#]);
}

#[test]
fn functions_and_schemas() {
    let dev = Dev::with_samples(&["hello"]);
    assert!(dev.cli_ok(&["functions", "list"]).contains("greeting.requested"));
    let dir = tempfile::tempdir().unwrap();
    copy_function("hello", dir.path());
    let manifest = std::fs::read_to_string(dir.path().join("wasmill.toml")).unwrap();
    std::fs::write(
        dir.path().join("wasmill.toml"),
        manifest.replacen("description = \"", "description = \"Changed: ", 1),
    )
    .unwrap();
    assert!(dev.cli_ok(&["deploy", dir.path().to_str().unwrap()]).contains("version 2"));
    assert!(dev.cli_ok(&["functions", "show", "hello"]).contains("Changed: "));
    assert!(dev.cli_ok(&["functions", "rollback", "hello"]).contains("version 1"));
    assert!(!dev.cli_ok(&["functions", "show", "hello"]).contains("Changed: "));
    dev.cli_fails(3, &["functions", "rollback", "hello", "--to", "9"]);

    let schema = dir.path().join("schema.json");
    std::fs::write(&schema, r#"{"required": ["extra"]}"#).unwrap();
    dev.cli_ok(&["schemas", "put", "greeting.requested", schema.to_str().unwrap()]);
    assert!(dev.cli_ok(&["schemas", "list"]).contains("greeting.requested"));
    assert_eq!(
        dev.cli_json(&["schemas", "show", "greeting.requested"])["schema"],
        json!({"required": ["extra"]})
    );
    dev.cli_ok(&["schemas", "delete", "greeting.requested"]);
    dev.cli_fails(3, &["schemas", "show", "greeting.requested"]);
    std::fs::write(&schema, r#"{"$ref": "https://example.com/s.json"}"#).unwrap();
    let said =
        dev.cli_fails(1, &["schemas", "put", "greeting.requested", schema.to_str().unwrap()]);
    assert!(said.contains("example.com"), "{said}");

    dev.cli_ok(&["functions", "delete", "hello"]);
    dev.cli_fails(3, &["functions", "show", "hello"]);
}

#[test]
fn a_bad_function_is_refused_with_what_to_do() {
    let dev = Dev::start();
    let wrong = sample("hostile/wrong-types");
    let said = dev.cli_fails(1, &["deploy", wrong.to_str().unwrap()]);
    assert!(said.contains("handle"), "{said}");
    let dir = tempfile::tempdir().unwrap();
    let deploy = |manifest: &str, component: &[u8]| {
        std::fs::write(dir.path().join("wasmill.toml"), manifest).unwrap();
        std::fs::write(dir.path().join("x.wasm"), component).unwrap();
        dev.cli_fails(1, &["deploy", dir.path().to_str().unwrap()])
    };
    let manifest = "name = 'x'\ncomponent = 'x.wasm'";
    let hello = std::fs::read(sample("hello").join("hello.wasm")).unwrap();
    assert!(deploy(manifest, b"\0asm\x01\0\0\0").contains("core module"));
    assert!(deploy(manifest, &hello[..hello.len() / 2]).contains("cut off"));
    assert!(deploy(manifest, b"(module)").contains("text"));
    assert!(
        deploy("name = 'x'\ncomponent = 'x.wasm'\n[limits]\nfule = 1", &hello)
            .contains("did you mean 'fuel'")
    );
}

/// What `wasmill check` says, and its exit code.
fn check(path: &std::path::Path) -> (Option<i32>, String) {
    let output = wasmill().arg("check").arg(path).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn check_says_what_a_component_is_and_what_is_wrong_with_it() {
    let (code, said) = check(&sample("word-count"));
    assert_eq!(code, Some(0), "{said}");
    for part in
        ["kind      command", "wasi:cli/run@0.2", "of 16MiB when it starts", "it can be deployed"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.wasm");
    let checked = |text: &str| {
        std::fs::write(&file, wat::parse_str(text).unwrap()).unwrap();
        check(&file)
    };
    let reaching_out = r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)) (instance $i)
        (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#;
    let (code, said) = checked(reaching_out);
    assert!(code == Some(1) && said.contains("not granted (add allowed_hosts = "), "{said}");
    // The manifest beside it counts once it names the file, and then what is wrong with its types
    // is seen.
    std::fs::write(
        dir.path().join("wasmill.toml"),
        "name = 'x'\ncomponent = 'x.wasm'\nallowed_hosts = []",
    )
    .unwrap();
    let (code, said) = checked(reaching_out);
    assert!(
        code == Some(1)
            && said.contains("outgoing-handler@0.2.0: granted")
            && said.contains("does not have export `handle`"),
        "{said}"
    );
    let (code, said) = checked(
        r#"(component (import "foo:bar/baz" (instance)) (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#,
    );
    assert!(code == Some(1) && said.contains("foo:bar/baz: missing (unknown"), "{said}");
    let (code, said) = checked("(module)");
    assert!(code == Some(1) && said.contains("core module"), "{said}");
    let json = wasmill().args(["--json", "check"]).arg(sample("hello")).output().unwrap();
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["kind"], &json["problems"]), (&json!("event"), &json!([])), "{json}");
    assert!(json["memory_at_start"].as_u64() > Some(0), "{json}");
}

#[test]
fn exit_codes_mean_something() {
    let code = |arguments: &[&str]| wasmill().args(arguments).output().unwrap().status.code();
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["no-such-verb"]), Some(2));
    assert_eq!(code(&["executions", "show", "not-an-id"]), Some(2));
    assert_eq!(code(&["--url", "http://127.0.0.1:1", "functions", "list"]), Some(4));
    let dev = Dev::start();
    dev.cli_fails(3, &["functions", "show", "nothing"]);
    dev.cli_fails(3, &["executions", "show", "01980000-0000-7000-8000-000000000000"]);
}

#[test]
fn every_client_verb_answers_json() {
    let dev = Dev::with_samples(&["hello"]);
    for verb in
        [["functions", "list"], ["schemas", "list"], ["executions", "list"], ["keys", "list"]]
    {
        assert!(dev.cli_json(&verb).is_object(), "{verb:?}");
    }
    let nodes = dev.cli_json(&["nodes"]);
    assert_eq!(
        (nodes["nodes"].as_array().unwrap().len(), &nodes["nodes"][0]["role"]),
        (1, &Value::from("dev"))
    );
    let function: Value = dev.cli_json(&["functions", "show", "hello"]);
    assert_eq!(function["name"], "hello");
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let dev = Dev::start();
    let output = wasmill()
        .args(["dev", "--listen", "127.0.0.1:0", "--data"])
        .arg(dev.data())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("in use") || said.contains("another"), "{said}");
}

#[test]
fn a_sigterm_ends_it_well() {
    let mut dev = Dev::with_samples(&["hello"]);
    assert!(dev.terminate());
}

/// Copies a sample function's files into `to`.
pub(crate) fn copy_function(name: &str, to: &std::path::Path) {
    for entry in std::fs::read_dir(sample(name)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// What the binary starts itself with is nobody else's business, and does nothing without a
/// description of what is to be done.
#[test]
fn the_verb_that_compiles_is_hidden() {
    let help = wasmill().arg("--help").output().unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("compile-component"));
    let said = wasmill().args(["compile-component", "nonsense"]).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("Refused") && said.contains("what is to be done"), "{said}");
}

/// What guests and senders may write and parsers do not keep is shown, and printed for programs as
/// it came.
#[test]
fn json_passes_through_as_it_came() {
    let dev = Dev::with_samples(&["word-count"]);
    let deep = format!("{}{}", "[".repeat(130), "]".repeat(130));
    let data = format!(
        r#"{{"z":1.0,"a":12345678901234567890123,"big":1e400,"lone":"\ud800","deep":{deep}}}"#
    );
    let invoked = dev.cli_ok(&["--json", "invoke", "word-count", "--data", &data]);
    let id =
        dev.cli_json(&["executions", "list"])["executions"][0]["id"].as_str().unwrap().to_owned();
    let shown = dev.cli_ok(&["--json", "executions", "show", &id]);
    for text in [invoked, shown] {
        let squeezed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        assert!(squeezed.contains(&data), "{text}");
    }
    let shown = dev.cli_ok(&["executions", "show", &id]);
    assert!(shown.contains("word-count succeeded"), "{shown}");
    assert!(dev.cli_ok(&["invoke", "word-count", "--data", &data]).contains("succeeded"));
}

/// A terminal obeys nothing of what senders and guests wrote, wherever it is shown; programs get it
/// as it is.
#[test]
fn text_of_others_is_escaped() {
    let dev = Dev::with_samples(&["hello"]);
    let name = "\u{1b}[2J\u{9b}31m\u{202e}\u{7}Ada";
    let execution =
        dev.cli_json(&["invoke", "hello", "--data", &json!({"name": name}).to_string()]);
    let id = execution["id"].as_str().unwrap();
    let logs = dev.cli_ok(&["logs", id]);
    assert!(logs.contains(r"name=\u001b[2J\u009b31m\u202e\u0007Ada"), "{logs:?}");
    assert_eq!(dev.cli_json(&["logs", id])["logs"][0]["fields"]["name"], name);
    let bucket = ["keyvalue", "set", "default", name, name];
    dev.cli_ok(&bucket);
    let failed = dev.cli_fails(
        1,
        &["invoke", "hello", "--type", "greeting.requested", "--data", "{\"\u{9b}\": 1}"],
    );
    let shown = [
        dev.cli_ok(&["executions", "show", id]),
        dev.cli_ok(&["executions", "list"]),
        dev.cli_ok(&["keyvalue", "list", "default"]),
        failed,
    ];
    for text in [&logs].into_iter().chain(&shown) {
        let obeyed = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(obeyed, None, "{text:?}");
    }
}

/// Runs the binary with standard output that takes nothing.
fn into_full(arguments: &[&str]) -> std::process::Output {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    wasmill().args(arguments).stdout(full).output().unwrap()
}

/// Runs the binary without any standard output.
fn into_nothing(arguments: &[&str]) -> std::process::Output {
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", r#"exec "$0" "$@" >&-"#])
        .arg(wasmill().get_program())
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    for arguments in [
        &["new", "--list"][..],
        &["--json", "new", "--list"],
        &["--help"],
        &["--version"],
        &["new", "--help"],
    ] {
        for output in [into_full(arguments), into_nothing(arguments)] {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
            assert!(said.contains("standard output cannot be written"), "{arguments:?}: {said}");
        }
        // Somebody who has read enough is no failure.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = wasmill().args(arguments).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{arguments:?}");
    }
    let dev = Dev::with_samples(&["hello"]);
    assert_eq!(into_full(&["--url", &dev.url, "functions", "list"]).status.code(), Some(1));
    let folder = tempfile::tempdir().unwrap();
    copy_function("hello", folder.path());
    std::fs::create_dir(folder.path().join("events")).unwrap();
    let event = "events/ada.json";
    std::fs::copy(sample("hello").join(event), folder.path().join(event)).unwrap();
    let hello = folder.path().to_str().unwrap();
    assert!(wasmill().args(["test", "--update", hello]).status().unwrap().success());
    for arguments in [
        &["check", hello][..],
        &["--json", "check", hello],
        &["test", hello],
        &["--url", &dev.url, "deploy", hello],
        &["--url", &dev.url, "--json", "deploy", hello],
    ] {
        let output = into_full(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("standard output cannot be written"), "{arguments:?}: {said}");
    }
    // What was to be done is done all the same, and a worse failure counts.
    assert_eq!(
        into_full(&["--url", &dev.url, "functions", "delete", "hello"]).status.code(),
        Some(1)
    );
    dev.cli_fails(3, &["functions", "show", "hello"]);
    assert_eq!(
        into_full(&["--url", &dev.url, "functions", "show", "hello"]).status.code(),
        Some(3)
    );
}

#[tokio::test]
async fn dev_goes_on_without_its_output() {
    let data = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = wasmill();
    command
        .args(["dev", "--listen", &address, "--data"])
        .arg(data.path())
        .arg(sample("hello"))
        .stdout(full);
    let mut dev = KilledAtTheEnd(command.stderr(Stdio::null()).spawn().unwrap());
    let url = format!("http://{address}");
    eventually("the function is live", async || {
        assert_eq!(dev.0.try_wait().unwrap(), None, "it ended");
        wasmill()
            .args(["--url", &url, "functions", "show", "hello"])
            .output()
            .unwrap()
            .status
            .success()
            .then_some(())
    })
    .await;
}

struct KilledAtTheEnd(std::process::Child);

impl Drop for KilledAtTheEnd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What no deploy would take is told before anything is compiled.
#[test]
fn check_knows_how_large_an_artifact_may_be() {
    let checked = |arguments: &[&str]| {
        let output = wasmill()
            .args(["--json", "check"])
            .arg(sample("hello"))
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let (code, report) = checked(&["--max-artifact-bytes", "1KiB"]);
    assert_eq!((code, &report["machine_code"]), (Some(1), &Value::Null), "{report}");
    assert!(
        report["problems"][0]
            .as_str()
            .unwrap()
            .contains("at most 1KiB (gateway.max_artifact_bytes"),
        "{report}"
    );
    assert_eq!(checked(&["--max-artifact-bytes", "256MiB"]).0, Some(0));
    let output =
        wasmill().args(["check", "x.wasm", "--max-artifact-bytes", "1GiB"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let dev = Dev::start_with(&["--max-artifact-bytes", "1KiB"]);
    let said = dev.cli_fails(1, &["deploy", sample("hello").to_str().unwrap()]);
    assert!(
        said.contains("at most 1KiB here") && said.contains("gateway.max_artifact_bytes"),
        "{said}"
    );
}

#[test]
fn byte_order_marks_are_skipped() {
    let dev = Dev::with_samples(&["hello"]);
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, format!("\u{feff}{text}")).unwrap();
        file.to_str().unwrap().to_owned()
    };
    dev.cli_ok(&[
        "schemas",
        "put",
        "greeting.requested",
        &write("schema.json", r#"{"type": "object"}"#),
    ]);
    let event = json!({"specversion": "1.0", "id": "e-1", "source": "/s", "type": "greeting.requested", "data": {"name": "Ada"}});
    let execution = dev.cli_json(&[
        "invoke",
        "hello",
        "--data",
        &format!("@{}", write("event.json", &event.to_string())),
    ]);
    assert_eq!(execution["event"]["id"], "e-1", "{execution}");
}

/// Whatever is checked is compiled by a process of its own, as in a gateway, where the bounds of
/// compilation hold.
#[test]
fn check_compiles_in_a_process_of_its_own() {
    let folder = sample("hello");
    let bytes = std::fs::metadata(folder.join("hello.wasm")).unwrap().len();
    let logging = ["--log", "wasmill_host=debug", "--log-format", "json"];
    let mut check = wasmill();
    let check =
        check.args(logging).arg("check").arg(&folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    let check = check.spawn().unwrap();
    let own = check.id();
    let output = check.wait_with_output().unwrap();
    let logged = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{logged}");
    let lines = logged.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let fields: Vec<Value> = lines
        .map(|line| line["fields"].clone())
        .filter(|fields| fields["message"] == "compiling")
        .collect();
    let [compiling] = &fields[..] else { panic!("it is compiled once: {logged}") };
    let process = compiling["process"].as_u64().unwrap();
    assert!(process != u64::from(own) && compiling["bytes"] == bytes, "{compiling}");
    assert!(!std::path::Path::new(&format!("/proc/{process}")).exists(), "{process} goes on");
}

/// A row that somebody spoiled is listed as what it is, and the rest of the page with it.
#[tokio::test]
async fn a_row_that_cannot_be_read_does_not_fail_its_page() {
    let mut dev = Dev::with_samples(&["hello"]);
    let mut ids = Vec::new();
    for name in ["Ada", "Grace"] {
        let id = dev.api().accepted("greeting.requested", &json!({"name": name})).await.remove(0);
        dev.api().ended(&id).await;
        ids.push(id);
    }
    assert!(dev.terminate());
    let store = SqliteStore::open(&dev.data().join("wasmill.sqlite"), SqliteSettings::default())
        .await
        .unwrap();
    store.spoil_type(ids[0].parse().unwrap()).await.unwrap();
    store.close().await;
    dev.restart();
    let table = dev.cli_ok(&["executions", "list"]);
    let row = table.lines().find(|line| line.contains(&ids[0])).unwrap();
    assert!(row.contains("what is stored in 'event_type' cannot be read"), "{table}");
    assert!(
        table.lines().any(|line| line.contains(&ids[1]) && line.contains("succeeded")),
        "{table}"
    );
    let listed = dev.cli_json(&["executions", "list"]);
    assert_eq!(listed["executions"][1]["id"], ids[0]);
    assert!(listed["executions"][1]["unreadable"].is_string(), "{listed}");
    let said = dev.cli_fails(1, &["executions", "show", &ids[0]]);
    assert!(said.contains("'event_type' cannot be read"), "{said}");
}
