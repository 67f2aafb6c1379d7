//! HTTPS at the gateway, spoken to by the client verbs, and a certificate that is changed while it
//! runs.

use std::path::{Path, PathBuf};
use std::process::Output;

use rcgen::{CertificateParams, KeyPair};
use reqwest::{Certificate, Client, StatusCode, Version};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::support::{Dev, eventually, http, sample, wasmill};

/// A certificate for 127.0.0.1 that vouches for itself, in files.
struct Pair(tempfile::TempDir);

impl Pair {
    fn new() -> Self {
        let pair = Self(tempfile::tempdir().unwrap());
        pair.renew();
        pair
    }

    fn renew(&self) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        std::fs::write(self.certificate(), certificate.pem()).unwrap();
        std::fs::write(self.key(), key.serialize_pem()).unwrap();
    }

    fn certificate(&self) -> PathBuf {
        self.0.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    /// A client that trusts what the file holds now.
    fn client(&self) -> Client {
        let certificate =
            Certificate::from_pem(&std::fs::read(self.certificate()).unwrap()).unwrap();
        http().tls_certs_only([certificate]).build().unwrap()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_a_certificate() {
    let pair = Pair::new();
    let (certificate, key) = (pair.certificate(), pair.key());
    let dev = Dev::start_with(&["--tls-certificate", text(&certificate), "--tls-key", text(&key)]);
    assert!(dev.url.starts_with("https://127.0.0.1:"), "{}", dev.url);

    // The verbs trust whom they are told to.
    let deploy = ["deploy", text(&sample("web-echo"))].map(str::to_owned);
    let refused = dev.cli(&["ready"]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(said(&refused).contains("--ca-file"), "{}", said(&refused));
    let trusting = wasmill()
        .args(["--url", &dev.url, "--ca-file", text(&certificate)])
        .args(&deploy)
        .output()
        .unwrap();
    assert!(trusting.status.success(), "{}", said(&trusting));
    let by_variable = wasmill()
        .env("WASMILL_CA_FILE", &certificate)
        .args(["--url", &dev.url, "ready"])
        .output()
        .unwrap();
    assert!(by_variable.status.success(), "{}", said(&by_variable));
    let unusable =
        wasmill().args(["--url", &dev.url, "--ca-file", text(&key), "ready"]).output().unwrap();
    assert!(said(&unusable).contains("there is no certificate in PEM"), "{}", said(&unusable));

    // A handler answers over HTTP/2.
    let before = pair.client();
    let url = |path: &str| format!("{}{path}", dev.url);
    let response =
        before.put(url("/http/default/web-echo/a?b=c")).body("ignored").send().await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
    let shown: Value = response.json().await.unwrap();
    assert_eq!(shown["target"], "/web-echo/a?b=c");
    let response = before.get(url("/http/default/web-echo/repeated")).send().await.unwrap();
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);

    // A new certificate is used from the signal on, and connections that are there go on.
    pair.renew();
    hang_up(&dev);
    let after = pair.client();
    eventually("the new certificate is used", async || {
        after.get(url("/healthz")).send().await.ok()
    })
    .await;
    assert_eq!(before.get(url("/healthz")).send().await.unwrap().status(), StatusCode::OK);
    // One that is of no use is not.
    std::fs::write(pair.key(), "no key").unwrap();
    hang_up(&dev);
    let http = pair.client();
    assert_eq!(http.get(url("/healthz")).send().await.unwrap().status(), StatusCode::OK);
    // Without a signal it is found out in a while.
    pair.renew();
    let last = pair.client();
    eventually("the next certificate is used", async || {
        last.get(url("/healthz")).send().await.ok()
    })
    .await;
}

fn hang_up(dev: &Dev) {
    let pid = Pid::from_raw(i32::try_from(dev.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
}

#[test]
fn files_that_are_of_no_use_are_named_at_the_start() {
    let (pair, other) = (Pair::new(), Pair::new());
    let dev = |certificate: &Path, key: &Path| {
        let data = tempfile::tempdir().unwrap();
        let mut command = wasmill();
        command.args(["dev", "--listen", "127.0.0.1:0", "--data", text(data.path())]);
        let output = command
            .arg("--tls-certificate")
            .arg(certificate)
            .arg("--tls-key")
            .arg(key)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        said(&output)
    };
    let wrong = dev(&pair.certificate(), &other.key());
    assert!(wrong.contains("--tls-key") && wrong.contains("not the key of"), "{wrong}");
    let missing = dev(&pair.certificate().with_extension("none"), &pair.key());
    assert!(missing.contains("--tls-certificate") && missing.contains("cert.none"), "{missing}");
    // A gateway of a pool names its keys.
    let output = wasmill()
        .arg("gateway")
        .env("WASMILL_GATEWAY_TLS_CERTIFICATE", pair.certificate())
        .output()
        .unwrap();
    assert!(
        said(&output).contains("gateway.tls.key: must be there with gateway.tls.certificate"),
        "{}",
        said(&output)
    );
}

/// A signed request to the real system, with a secret that was set by the command line.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_runs_a_function() {
    let dev = Dev::start();
    let folder = tempfile::tempdir().unwrap();
    let component = sample("web-echo").join("web-echo.wasm");
    let manifest = format!(
        "name = 'hook'\ncomponent = '{}'\n[[trigger]]\nhttp = '/hook/{{*path}}'\nmethods = ['POST']\n\
         [trigger.webhook]\nscheme = 'github'\nsecrets = ['github-hook']\n",
        component.display()
    );
    std::fs::write(folder.path().join("wasmill.toml"), manifest).unwrap();
    let refused = dev.cli_fails(1, &["deploy", text(folder.path())]);
    assert!(refused.contains("wasmill secrets set github-hook"), "{refused}");
    let value = folder.path().join("value");
    std::fs::write(&value, "It's a Secret to Everybody").unwrap();
    dev.cli_ok(&["secrets", "set", "github-hook", "--value-file", text(&value)]);
    dev.cli_ok(&["deploy", text(folder.path())]);
    let api = dev.api();
    let deliver = |signature: &str| {
        let request =
            api.request("POST", "/http/default/hook/echo").header("x-hub-signature-256", signature);
        request
            .header("x-github-delivery", "1")
            .header("content-type", "text/plain")
            .body("Hello, World!")
            .send()
    };
    let wrong = deliver(&format!("sha256={}", "0".repeat(64))).await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let answer = deliver(right).await.unwrap();
    assert_eq!(
        (answer.status(), answer.text().await.unwrap().as_str()),
        (StatusCode::OK, "Hello, World!")
    );
    let again: Value = deliver(right).await.unwrap().json().await.unwrap();
    assert_eq!(again, json!({"repeated": true}));
    // What ran is recorded behind the answer.
    let recorded = eventually("the execution is recorded", async || {
        Some(api.executions_of("hook").await.len()).filter(|&count| count > 0)
    });
    assert_eq!(recorded.await, 1, "two of the three ran nothing");
}
