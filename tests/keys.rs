//! API keys: none needed on loopback until one exists; from then on, always, and each for its
//! tenant.

use serde_json::json;

use super::support::{Dev, sample};

#[tokio::test]
async fn from_the_first_key_on_every_request_needs_one() {
    let dev = Dev::with_samples(&["hello"]);
    let operator = dev.cli_json(&["keys", "create", "mine", "--role", "operator"])["key"]
        .as_str()
        .unwrap()
        .to_owned();
    dev.cli_fails(6, &["functions", "list"]);
    dev.cli_fails(6, &["--key", "wm_wrong", "functions", "list"]);
    assert!(dev.cli_ok(&["--key", &operator, "functions", "list"]).contains("hello"));
    assert_eq!(
        dev.api().post_plain("greeting.requested", &json!({"name": "x"})).await.status(),
        401
    );
    assert!(
        !dev.cli_ok(&["--key", &operator, "keys", "list"]).contains(&operator),
        "a key is shown once"
    );
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let dev = Dev::with_samples(&["hello"]);
    let operator = dev.cli_json(&["keys", "create", "mine", "--role", "operator"])["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let create = ["--key", &operator, "--tenant", "acme", "keys", "create", "theirs"];
    let acme = dev.cli_json(&create)["key"].as_str().unwrap().to_owned();
    assert!(!dev.cli_ok(&["--key", &acme, "functions", "list"]).contains("hello"));
    dev.cli_fails(3, &["--key", &acme, "functions", "show", "hello"]);
    dev.cli_fails(6, &["--key", &acme, "keys", "create", "more"]);
    dev.cli_fails(6, &["--key", &acme, "nodes"]);
    dev.cli_ok(&["--key", &acme, "deploy", sample("hello").to_str().unwrap()]);
    let theirs =
        dev.cli_json(&["--key", &acme, "invoke", "hello", "--data", r#"{"name": "Acme"}"#]);
    let id = theirs["id"].as_str().unwrap();
    dev.cli_ok(&["--key", &acme, "executions", "show", id]);
    dev.cli_fails(3, &["--key", &operator, "executions", "show", id]);
    dev.cli_ok(&["--key", &operator, "--tenant", "acme", "executions", "show", id]);
    let document = dev.api().with_key(&operator, "acme").get(&format!("/v1/executions/{id}")).await;
    assert_eq!(document["tenant"], "acme");
}

#[test]
fn beyond_loopback_the_first_start_makes_a_key() {
    let mut dev = Dev::start_with(&["--listen", "0.0.0.0:0"]);
    let line = dev.await_line(|line| line.contains("API key"));
    let key = line.split_whitespace().find(|word| word.starts_with("wm_")).unwrap().to_owned();
    dev.cli_fails(6, &["functions", "list"]);
    dev.cli_ok(&["--key", &key, "functions", "list"]);
}
