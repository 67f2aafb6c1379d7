//! Secrets of a pool: one process seals, another one opens, and both may be given new keys.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::backends::SharedBackends;
use crate::support::pool::Process;
use crate::support::{sample, wasmill};

async fn set(gateway: &Process, value: &'static str) -> u16 {
    let request = gateway.api().request("PUT", "/v1/secrets/api-token").body(value);
    request.send().await.unwrap().status().as_u16()
}

fn keygen(file: &Path) {
    assert!(wasmill().args(["secrets", "keygen"]).arg(file).output().unwrap().status.success());
}

async fn result(gateway: &Process, execution: &Value) -> Value {
    assert_eq!(execution["state"], "succeeded", "{execution}");
    gateway.api().get(&format!("/v1/executions/{}/result", execution["id"].as_str().unwrap())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_changed_one_process_after_the_other() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let folder = tempfile::tempdir().unwrap();
    let files = ["gateway", "host", "new"].map(|name| folder.path().join(name));
    let [for_gateway, for_host, new] = &files;
    keygen(for_gateway);
    fs::copy(for_gateway, for_host).unwrap();
    let key_file = |file: &'static str| folder.path().join(file).to_str().unwrap().to_owned();
    let mut gateway =
        Process::start("gateway", backends, &[("SECRETS_KEY_FILE", &key_file("gateway"))]);
    let mut host = Process::start("host", backends, &[("SECRETS_KEY_FILE", &key_file("host"))]);
    let keyless = Process::start("gateway", backends, &[]);
    for process in [&gateway, &host, &keyless] {
        process.ready().await;
    }
    assert_eq!(set(&keyless, "no key").await, 409);
    assert_eq!(set(&gateway, "first value").await, 201);
    let project = folder.path().join("function");
    fs::create_dir(&project).unwrap();
    let component = sample("hostile/secret-teller/secret-teller.wasm");
    let manifest = format!(
        "name = 'hello'\ncomponent = '{}'\n[[trigger]]\nevent = 'tell'\n[secrets]\nAPI_TOKEN = 'api-token'\n[retry]\nmax_attempts = 1",
        component.display()
    );
    fs::write(project.join("wasmill.toml"), manifest).unwrap();
    gateway.deploy_folder(&project).await;
    let execution = gateway.api().run("tell", &json!({})).await;
    assert_eq!(result(&gateway, &execution).await["length"], "first value".len());

    // A new key for the gateway alone: too early, and the host says which key it needs.
    keygen(new);
    let both = [fs::read(new).unwrap(), fs::read(for_host).unwrap()].concat();
    fs::write(for_gateway, &both).unwrap();
    gateway.kill_9();
    gateway.restart();
    gateway.ready().await;
    assert_eq!(set(&gateway, "the second value").await, 200);
    let listed = gateway.api().get("/v1/secrets").await;
    let key = listed["secrets"][0]["sealing_key"].as_str().unwrap().to_owned();
    let execution = gateway.api().run("tell", &json!({})).await;
    let message = execution["attempts"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("sealed by the operator key '{key}'")), "{message}");

    fs::write(for_host, &both).unwrap();
    host.kill_9();
    host.restart();
    host.ready().await;
    let execution = gateway.api().run("tell", &json!({})).await;
    assert_eq!(result(&gateway, &execution).await["length"], "the second value".len());
}
