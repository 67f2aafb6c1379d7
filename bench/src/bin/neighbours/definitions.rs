//! What another tenant defines and how its clients behave: schemas whose check multiplies,
//! components that are slow to compile, clients that do not finish what they say; each alone, then
//! all at once.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::promise::Row;
use crate::server::Server;

/// Functions with a schema, and compiles at once.
const HOSTILE: usize = 8;

/// Clients that send half a head.
const SLOW_CLIENTS: usize = 300;

/// How often the work of a check is doubled.
const DOUBLINGS: usize = 16;

/// Functions of a component that is slow to compile.
const FUNCTIONS: usize = 3_000;

/// What is measured last, and what `--check` is of.
const ALL_AT_ONCE: &str = "all at once";

/// Starts the system with keys and two tenants, and measures one beside the other. Gives the row of
/// all at once, where that was measured.
pub(crate) async fn run(
    root: &Path,
    binary: &Path,
    http: &reqwest::Client,
    only: Option<&str>,
) -> Result<Option<Row>> {
    let server = Server::start(binary)?;
    let operator = key(http, &server, "", &json!({"role": "operator"})).await?;
    let quiet =
        key(http, &server, &operator, &json!({"role": "tenant", "tenant": "quiet"})).await?;
    let hostile =
        key(http, &server, &operator, &json!({"role": "tenant", "tenant": "hostile"})).await?;
    server.deploy(binary, &root.join("functions/hello"), &quiet)?;
    let other = Other { http: http.clone(), url: server.url.clone(), key: hostile };
    other.define_schemas(&root.join("functions/hello/hello.wasm")).await?;
    let component: Arc<[u8]> = large_component()?.into();
    // Clients are on other machines, as a rule; here they take no more of the cores than what works
    // in the background.
    let clients_of_other = clients()?;
    server.measure(http, &quiet, 2).await?;
    let mut all_at_once = None;
    for (what, schemas, compiles, clients) in [
        ("schemas", true, false, false),
        ("compiles", false, true, false),
        ("slow clients", false, false, true),
        (ALL_AT_ONCE, true, true, true),
    ] {
        if only.is_some_and(|only| only != what) {
            continue;
        }
        let mut round = 0;
        let begin = || {
            let mut tasks = Vec::new();
            for i in 0..HOSTILE {
                tasks.extend(
                    schemas.then(|| clients_of_other.spawn(other.clone().keep_checking(i))),
                );
                let named = format!("{what} {round}");
                tasks.extend(compiles.then(|| {
                    clients_of_other.spawn(other.clone().keep_compiling(
                        i,
                        named,
                        Arc::clone(&component),
                    ))
                }));
            }
            let address = server.url.trim_start_matches("http://").to_owned();
            let slow = if clients { SLOW_CLIENTS } else { 0 };
            tasks.extend(
                (0..slow).map(|_| clients_of_other.spawn(keep_half_a_head(address.clone()))),
            );
            round += 1;
            tasks
        };
        let row = server.compare(what, http, &quiet, begin).await?;
        all_at_once = (what == ALL_AT_ONCE).then_some(row).or(all_at_once);
    }
    clients_of_other.shutdown_background();
    Ok(all_at_once)
}

/// Threads for the other tenant's clients, which give way to those that measure.
fn clients() -> Result<Runtime> {
    let give_way = || {
        // Where it is not allowed, what is measured is a little worse.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 10);
    };
    Ok(Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(give_way)
        .build()?)
}

async fn key(http: &reqwest::Client, server: &Server, by: &str, what: &Value) -> Result<String> {
    let request = http.post(format!("{}/v1/keys", server.url)).bearer_auth(by).json(what);
    let made: Value = request.send().await?.error_for_status()?.json().await?;
    Ok(made["key"].as_str().context("the key's text")?.to_owned())
}

/// The other tenant.
#[derive(Clone)]
struct Other {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl Other {
    async fn upload(&self, component: Vec<u8>) -> Result<Value> {
        let upload = self.http.post(format!("{}/v1/artifacts", self.url)).bearer_auth(&self.key);
        let upload = upload.header("content-type", "application/wasm").body(component);
        let answer: Value = upload.send().await?.json().await?;
        Ok(answer["digest"].clone())
    }

    async fn deploy(
        &self,
        name: &str,
        digest: &Value,
        triggers: Value,
    ) -> Result<reqwest::Response> {
        let deploy = json!({"digest": digest, "manifest": {"name": name, "trigger": triggers}});
        let request =
            self.http.put(format!("{}/v1/functions/{name}", self.url)).bearer_auth(&self.key);
        Ok(request.json(&deploy).send().await?)
    }

    /// Functions with a schema in which each definition asks for the next one twice.
    async fn define_schemas(&self, component: &Path) -> Result<()> {
        let digest = self.upload(std::fs::read(component)?).await?;
        let next = |level: usize| json!({"$ref": format!("#/$defs/{}", level + 1)});
        let mut definitions: serde_json::Map<String, Value> = (0..DOUBLINGS)
            .map(|level| (level.to_string(), json!({"allOf": [next(level), next(level)]})))
            .collect();
        definitions.insert(DOUBLINGS.to_string(), json!({"type": "integer"}));
        let schema =
            json!({"$defs": definitions, "allOf": [{"$ref": "#/$defs/0"}, {"maximum": 0}]});
        for i in 0..HOSTILE {
            let triggers = json!([{"http": format!("/{i}"), "schema": schema, "mode": "async"}]);
            self.deploy(&format!("checked-{i}"), &digest, triggers).await?.error_for_status()?;
        }
        Ok(())
    }

    /// Sends what fails that check at its very end to one of them, without a key.
    async fn keep_checking(self, i: usize) {
        loop {
            let request = self.http.post(format!("{}/http/hostile/{i}", self.url)).json(&7);
            // A refusal at the door must not become a busy loop.
            match request.send().await {
                Ok(response) if response.status() == 400 => drop(response.bytes().await),
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Uploads and deploys components that nobody has compiled before.
    async fn keep_compiling(self, i: usize, round: String, component: Arc<[u8]>) {
        for variant in 0_usize.. {
            let deployed = async {
                let digest =
                    self.upload(different(&component, &format!("{round} {i} {variant}"))).await?;
                self.deploy(&format!("large-{i}"), &digest, json!([])).await
            };
            if !deployed.await.is_ok_and(|response| response.status().is_success()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// A component with much to compile and nothing odd in it: one that works, and a module beside it
/// that nobody uses.
fn large_component() -> Result<Vec<u8>> {
    let mut module = String::from("(core module ");
    for i in 0..FUNCTIONS {
        module.push_str("(func (param i32 i32) (result i32) (local i32 i32) ");
        for step in 0..40 {
            let [to, a, b] = [step % 4, (step + 1) % 4, (step + 2) % 4];
            // Writing to a string cannot fail.
            let _ = write!(
                module,
                "(local.set {to} (i32.add (i32.mul (local.get {a}) (i32.const {i})) (i32.rotl (local.get {b}) (i32.const {step}))))",
            );
        }
        module.push_str("(local.get 0))");
    }
    let echo = include_str!("../../../benches/invoke/echo.wat").trim_end();
    let open = echo.strip_suffix(')').context("a component ends with ')'")?;
    Ok(wat::parse_str(format!("{open} {module}))"))?)
}

/// The same component with other bytes: a custom section of this name, which is shorter than 120
/// bytes.
fn different(component: &[u8], name: &str) -> Vec<u8> {
    // So each length is one byte.
    let length = name.len() as u8;
    [component, &[0, length + 1, length], name.as_bytes()].concat()
}

/// Connects and says half of what it has to say, again and again.
async fn keep_half_a_head(address: String) {
    loop {
        let Ok(mut stream) = TcpStream::connect(&address).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let half = b"POST /v1/events/a HTTP/1.1\r\nhost: localhost\r\nx-long: ";
        while stream.write_all(half).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
