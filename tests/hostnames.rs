//! What the configuration and the command line say of host names, through real processes.

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::backends::SharedBackends;
use crate::support::pool::Process;
use crate::support::{Dev, eventually, sample, wasmill};

/// The folder of a function that takes requests for a host name.
fn folder(name: &str, host: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let component = sample("hello").join("hello.wasm");
    let manifest = format!(
        "name = '{name}'\ncomponent = '{}'\n[[trigger]]\nhttp = '/{{*path}}'\nhost = '{host}'\nmode = 'async'",
        component.display()
    );
    std::fs::write(folder.path().join("wasmill.toml"), manifest).unwrap();
    folder
}

/// What answers a request for `path` under a host name: a function, or the gateway.
async fn answered_by(api: &Api, host: &str, path: &str) -> (u16, bool) {
    let answer = api.request("GET", path).header("host", host).send().await.unwrap();
    let status = answer.status().as_u16();
    let document: Value = answer.json().await.unwrap_or_default();
    (status, document["executions"].is_array())
}

const FUNCTION: (u16, bool) = (202, true);
const GATEWAY: (u16, bool) = (200, false);

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_goes_by_its_configuration() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let names = [
        ("GATEWAY_HOSTNAMES", "{'*.example.com' = 'default'}"),
        ("GATEWAY_PUBLIC_NAMES", "['api.example.com']"),
    ];
    let gateway = Process::start("gateway", backends, &names);
    gateway.ready().await;
    gateway.deploy_folder(folder("shop", "shop.example.com").path()).await;
    let refused = wasmill()
        .args(["--url", &gateway.url, "deploy"])
        .arg(folder("thief", "api.example.com").path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("the gateway's own"), "{said}");
    let api = gateway.api();
    eventually("the function answers", async || {
        (answered_by(&api, "shop.example.com", "/v1/functions").await == FUNCTION).then_some(())
    })
    .await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(answered_by(&api, "shop.example.com", path).await, FUNCTION, "{path}");
        for host in ["api.example.com", "other.example.com", "localhost", "127.0.0.1"] {
            assert_eq!(answered_by(&api, host, path).await, GATEWAY, "{host}{path}");
        }
    }
    let listed = api.get("/v1/hostnames").await;
    assert_eq!(listed["hostnames"][0]["hostname"], json!("*.example.com"), "{listed}");

    // One that others reach, and that knows no name of its own, says what can happen.
    let open = Process::start("gateway", backends, &[("GATEWAY_LISTEN", "0.0.0.0:0")]);
    eventually("it warns", async || {
        open.logged().contains("gateway.public_names is empty").then_some(())
    })
    .await;
    assert!(!gateway.logged().contains("gateway.public_names is empty"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_grants_what_it_is_told() {
    let dev = Dev::start_with(&["--hostname", "*.example.com"]);
    let granted = folder("shop", "shop.example.com");
    dev.cli_ok(&["deploy", granted.path().to_str().unwrap()]);
    let other = folder("other", "shop.example.org");
    let said = dev.cli_fails(1, &["deploy", other.path().to_str().unwrap()]);
    assert!(said.contains("hostnames grant shop.example.org"), "{said}");
    let api = dev.api();
    assert_eq!(answered_by(&api, "shop.example.com", "/v1/functions").await, FUNCTION);
    assert_eq!(answered_by(&api, "127.0.0.1", "/v1/functions").await, GATEWAY);
}
