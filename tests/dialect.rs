//! What `$schema` and `format` say, at each door of the program.

use std::path::Path;

use serde_json::{Value, json};

use super::cli::copy_function;
use super::support::{Dev, wasmill};

/// The sample `hello` with another schema of its trigger.
fn hello_with(schema: &Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let function = dir.path().join("hello");
    std::fs::create_dir(&function).unwrap();
    copy_function("hello", &function);
    std::fs::write(function.join("greeting.schema.json"), schema.to_string()).unwrap();
    dir
}

#[test]
fn a_meta_schema_of_ones_own_is_refused_by_name_at_every_door() {
    let schema = json!({"$schema": "https://example.com/meta", "type": "object"});
    let dir = hello_with(&schema);
    let function = dir.path().join("hello");
    let parts = ["'https://example.com/meta'", "name the draft", "leave '$schema' out"];
    let is_told = |said: &str| parts.iter().all(|part| said.contains(part));
    let checked = wasmill().arg("check").arg(&function).output().unwrap();
    let said = String::from_utf8(checked.stderr).unwrap();
    assert!(
        checked.status.code() == Some(1) && is_told(&said) && said.contains("trigger[0].schema"),
        "{said}"
    );

    let mut dev = Dev::start_with(&[dir.path().to_str().unwrap()]);
    let said = dev.await_line(|line| line.contains("example.com/meta") || line.starts_with('✓'));
    assert!(is_told(&said), "{said}");
    let said = dev.cli_fails(1, &["deploy", function.to_str().unwrap()]);
    assert!(is_told(&said), "{said}");
    let file = function.join("greeting.schema.json");
    let said = dev.cli_fails(1, &["schemas", "put", "greeting.requested", file.to_str().unwrap()]);
    assert!(is_told(&said), "{said}");
}

/// The outcome that `wasmill test` writes down for an event.
fn outcome_of(function: &Path, arguments: &[&str]) -> String {
    let mut test = wasmill();
    let test = test
        .current_dir(function)
        .args(["--json", "test", "--update", "--event", "ada"])
        .args(arguments);
    let output = test.output().unwrap();
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    report["events"][0]["observed"]["outcome"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn formats_annotate_where_they_are_told_to() {
    let dir =
        hello_with(&json!({"properties": {"name": {"type": "string", "format": "idn-email"}}}));
    let function = dir.path().join("hello");
    std::fs::create_dir(function.join("events")).unwrap();
    std::fs::write(
        function.join("events/ada.json"),
        json!({"specversion": "1.0", "id": "1", "source": "/a", "type": "greeting.requested", "data": {"name": "Ada"}})
            .to_string(),
    )
    .unwrap();
    let annotate = ["--schema-formats", "annotate"];
    assert_eq!(outcome_of(&function, &[]), "refused");
    assert_eq!(outcome_of(&function, &annotate), "success");
    for (arguments, status) in [(&[] as &[&str], 400), (&annotate, 202)] {
        let dev = Dev::start_with(arguments);
        dev.cli_ok(&["deploy", function.to_str().unwrap()]);
        let answer = dev.api().post_plain("greeting.requested", &json!({"name": "Ada"})).await;
        assert_eq!(answer.status().as_u16(), status, "{arguments:?}");
    }
    let output = wasmill().args(["dev", "--schema-formats", "never"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("must be 'assert' or 'annotate'"));
}
