//! Secrets, from the command line to a guest that tells them wherever it can: nothing that is kept,
//! logged or answered has them.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::support::api::Api;
use super::support::{Dev, sample, wasmill};

const CANARY: &str = "canary-7Q9xKzT4mW2pLv8sYb3N";

const SECOND: &str = "successor-Hd5RjGc6UfX1tEaZ0iOq";

/// Looks for the canaries, in every way in which they might be written.
struct Search {
    needles: Vec<Vec<u8>>,
}

impl Search {
    fn new() -> Self {
        let mut needles = Vec::new();
        for canary in [CANARY, SECOND] {
            // A part of it is too much already.
            needles.extend(canary.as_bytes().windows(10).map(<[u8]>::to_vec));
            needles.push(
                canary.bytes().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes(),
            );
            needles.push(format!("{:?}", canary.as_bytes()).trim_matches(['[', ']']).into());
            for offset in 0..3 {
                let padded = [&[0; 2][..offset], canary.as_bytes()].concat();
                for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                    // Without what its neighbours have a part in.
                    needles.push(engine.encode(&padded).as_bytes()[4..32].to_vec());
                }
            }
        }
        Self { needles }
    }

    fn finds(&self, bytes: &[u8]) -> bool {
        self.needles
            .iter()
            .any(|needle| bytes.windows(needle.len()).any(|window| window == *needle))
    }

    #[track_caller]
    fn must_not_find(&self, what: &str, bytes: impl AsRef<[u8]>) {
        assert!(!self.finds(bytes.as_ref()), "{what} has a secret in it");
    }
}

#[test]
fn the_search_finds_what_there_is() {
    let search = Search::new();
    for text in [
        format!("token={CANARY}"),
        format!("Basic {}", STANDARD_NO_PAD.encode(format!("user:{SECOND}"))),
        format!("Basic {}", STANDARD_NO_PAD.encode(format!("a:{CANARY}!"))),
        format!("{:?}", CANARY.as_bytes()),
        CANARY[3..15].to_owned(),
    ] {
        assert!(search.finds(text.as_bytes()), "{text}");
    }
    assert!(!search.finds(b"the token is ***"));
}

/// Sets a secret by the command line, whose own log is written in full, and gives all that it said.
fn set(dev: &Dev, value: &str, by_file: bool) -> Vec<u8> {
    let mut command = wasmill();
    command.args(["--url", &dev.url, "--log", "trace", "secrets", "set", "api-token"]);
    let file = dev.data().join("value");
    if by_file {
        fs::write(&file, value).unwrap();
        command.arg("--value-file").arg(&file);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    if !by_file {
        stdin.write_all(format!("{value}\n").as_bytes()).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    if by_file {
        fs::remove_file(&file).unwrap();
    }
    [output.stdout, output.stderr].concat()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Everything that the API tells of an execution, as its bytes.
async fn reported_of(api: &Api, id: &str) -> Vec<u8> {
    let mut reported = Vec::new();
    for part in ["", "/logs", "/event", "/result"] {
        let response =
            api.request("GET", &format!("/v1/executions/{id}{part}")).send().await.unwrap();
        reported.extend(format!("{:?}", response.headers()).into_bytes());
        reported.extend(response.bytes().await.unwrap());
    }
    reported
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_nowhere_but_in_its_function() {
    let search = Search::new();
    let mut dev = Dev::start_traced();
    let teller = sample("hostile/secret-teller");
    let teller = teller.to_str().unwrap();
    let said = dev.cli_fails(1, &["deploy", teller]);
    assert!(said.contains("`wasmill secrets set api-token` sets it"), "{said}");
    search.must_not_find("the command line", set(&dev, CANARY, true));
    dev.cli_ok(&["deploy", teller]);
    let api = dev.api();
    let mut seen = Vec::new();
    for (end, outcome) in [
        ("", "success"),
        ("retry", "error"),
        ("reject", "rejected"),
        ("panic", "trap"),
        ("content-type", "trap"),
        ("event-type", "trap"),
    ] {
        let execution = api.run("hostile.secret-teller", &json!({"end": end})).await;
        assert_eq!(execution["attempts"][0]["outcome"], outcome, "{execution}");
        let id = execution["id"].as_str().unwrap().to_owned();
        let reported = reported_of(&api, &id).await;
        search.must_not_find(&format!("the execution that ended in '{end}'"), &reported);
        assert!(String::from_utf8_lossy(&reported).contains("the token is ***"));
        seen.push(execution);
    }
    let result =
        api.get(&format!("/v1/executions/{}/result", seen[0]["id"].as_str().unwrap())).await;
    assert_eq!(
        (&result["length"], &result["alike"]),
        (&json!(CANARY.len()), &json!(true)),
        "{result}"
    );

    search.must_not_find("the command line", set(&dev, SECOND, false));
    let execution = api.run("hostile.secret-teller", &json!({})).await;
    let result =
        api.get(&format!("/v1/executions/{}/result", execution["id"].as_str().unwrap())).await;
    assert_eq!(result["length"], SECOND.len(), "the next attempt has the next value");
    let listed = dev.cli_json(&["secrets", "list"]);
    assert_eq!(
        (&listed["secrets"][0]["name"], &listed["secrets"][0]["version"]),
        (&json!("api-token"), &json!(2))
    );
    for path in ["/v1/secrets", "/v1/functions/hostile-secret-teller", "/v1/executions"] {
        search.must_not_find(path, api.get(path).await.to_string());
    }
    for file in files(dev.data()) {
        // What the process has open is read as it is: the database, its write-ahead log, the queue.
        // Some of it may be gone already.
        search.must_not_find(&file.display().to_string(), fs::read(&file).unwrap_or_default());
    }

    dev.cli_ok(&["secrets", "delete", "api-token"]);
    let execution = api.run("hostile.secret-teller", &json!({})).await;
    let attempt = &execution["attempts"][0];
    assert_eq!(attempt["outcome"], "error");
    let message = attempt["message"].as_str().unwrap();
    assert!(
        message.contains("secret 'api-token' (API_TOKEN in [secrets]) does not exist"),
        "{message}"
    );
    dev.cli_fails(3, &["secrets", "delete", "api-token"]);

    assert!(dev.terminate());
    let log = dev.traces();
    assert!(
        log.contains("TRACE") && log.contains("secret set"),
        "the log is not what it should be"
    );
    search.must_not_find("the log", log);
    let mut found = false;
    for file in files(dev.data()) {
        let bytes = fs::read(&file).unwrap();
        found |= String::from_utf8_lossy(&bytes).contains("the token is ***");
        search.must_not_find(&file.display().to_string(), bytes);
    }
    assert!(found, "the rows are there to be searched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_is_made_once_and_read_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;

    let mut dev = Dev::start();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dev.data().join("secrets.key")), 0o600);
    set(&dev, CANARY, true);
    dev.cli_ok(&["deploy", sample("hostile/secret-teller").to_str().unwrap()]);
    dev.kill_9();
    dev.restart();
    let execution = dev.api().run("hostile.secret-teller", &json!({})).await;
    assert_eq!(execution["state"], "succeeded", "{execution}");

    let file = dev.data().join("new.key");
    let file = file.to_str().unwrap();
    let made: Value = dev.cli_json(&["secrets", "keygen", file]);
    assert!(made["sealing_key"].as_str().unwrap().starts_with("key-"), "{made}");
    assert_eq!(mode(Path::new(file)), 0o600);
    let before = fs::read(file).unwrap();
    let said = dev.cli_fails(1, &["secrets", "keygen", file]);
    assert!(said.contains("exists already"), "{said}");
    assert_eq!(fs::read(file).unwrap(), before);
}
