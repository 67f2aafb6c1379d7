//! The client verbs against a running system: what they print, and their exit codes.

use serde_json::{Value, json};

use super::support::{Dev, sample, wasmill};

#[tokio::test]
async fn from_deploy_to_logs() {
    let dev = Dev::start();
    let said = dev.cli_ok(&["deploy", sample("hello").to_str().unwrap()]);
    assert!(said.contains("hello version 1 is live"), "{said}");
    assert!(dev.cli_ok(&["deploy", sample("hello").to_str().unwrap()]).contains("unchanged"));

    let id = dev.api().accepted("greeting.requested", &json!({"name": "Ada"})).await.remove(0);
    dev.api().ended(&id).await;
    assert!(dev.cli_ok(&["executions", "list", "--function", "hello", "--state", "succeeded"]).contains(&id));
    assert!(!dev.cli_ok(&["executions", "list", "--function", "hello", "--state", "failed"]).contains(&id));
    let shown = dev.cli_ok(&["executions", "show", &id]);
    assert!(shown.contains("Ada") && shown.contains("fuel") && shown.contains("succeeded"), "{shown}");
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
    assert_eq!(dev.cli_json(&["schemas", "show", "greeting.requested"])["schema"], json!({"required": ["extra"]}));
    dev.cli_ok(&["schemas", "delete", "greeting.requested"]);
    dev.cli_fails(3, &["schemas", "show", "greeting.requested"]);
    std::fs::write(&schema, r#"{"$ref": "https://example.com/s.json"}"#).unwrap();
    let said = dev.cli_fails(1, &["schemas", "put", "greeting.requested", schema.to_str().unwrap()]);
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
    assert!(deploy("name = 'x'\ncomponent = 'x.wasm'\n[limits]\nfule = 1", &hello).contains("did you mean 'fuel'"));
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
    for part in ["kind      command", "wasi:cli/run@0.2", "of 16MiB when it starts", "it can be deployed"] {
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
    // The manifest beside it counts once it names the file, and then what is wrong with its types is seen.
    std::fs::write(dir.path().join("wasmill.toml"), "name = 'x'\ncomponent = 'x.wasm'\nallowed_hosts = []").unwrap();
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
    for verb in [["functions", "list"], ["schemas", "list"], ["executions", "list"], ["keys", "list"]] {
        assert!(dev.cli_json(&verb).is_object(), "{verb:?}");
    }
    let function: Value = dev.cli_json(&["functions", "show", "hello"]);
    assert_eq!(function["name"], "hello");
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let dev = Dev::start();
    let output = wasmill().args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(dev.data()).output().unwrap();
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

/// What the binary starts itself with is nobody else's business, and does nothing without a description of what is to be done.
#[test]
fn the_verb_that_compiles_is_hidden() {
    let help = wasmill().arg("--help").output().unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("compile-component"));
    let said = wasmill().args(["compile-component", "nonsense"]).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("Refused") && said.contains("what is to be done"), "{said}");
}
