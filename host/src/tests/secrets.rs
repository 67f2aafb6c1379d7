//! A guest that tells its secret in every way: nothing of it is in what comes of its attempts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};
use wasmill_component::Preflight as _;
use wasmill_domain::{Digest, LogSource, Outcome, SecretName, TenantName};
use wasmill_secrets::{Secret, SecretError, SecretSource};

use super::{dispatch, event, invoke, manifest, prepare};
use crate::{Attempt, Capabilities, Engine, EngineSettings, Prepared};

const TELLER: &[u8] = include_bytes!("../../../functions/hostile/secret-teller/secret-teller.wasm");

const CANARY: &str = "canary-\"9f8e7d6c5b4a\"-ünd-more";

const GRANT: &str = "[config]\nregion = 'eu'\n[secrets]\nAPI_TOKEN = 'api-token'";

/// What a test puts here, for the tenant `default`.
#[derive(Default)]
struct Source(Mutex<BTreeMap<String, Result<Vec<u8>, SecretError>>>);

#[async_trait]
impl SecretSource for Source {
    async fn reveal(
        &self,
        tenant: &TenantName,
        name: &SecretName,
    ) -> Result<Option<Secret>, SecretError> {
        assert_eq!(*tenant, TenantName::default());
        let kept = self.0.lock().unwrap().get(name.as_str()).cloned();
        kept.transpose().map(|value| value.map(Secret::from))
    }
}

struct SecretsFixture {
    engine: Arc<Engine>,
    source: Arc<Source>,
    prepared: Arc<Prepared>,
}

impl SecretsFixture {
    async fn new() -> Self {
        let source = Arc::new(Source::default());
        let capabilities =
            Capabilities { secrets: Arc::clone(&source) as _, ..Capabilities::default() };
        let settings = EngineSettings { threads: 2, slots: 16, ..EngineSettings::default() };
        let engine = Engine::new(settings, capabilities).unwrap();
        let prepared = prepare(&engine, TELLER).await;
        let fixture = Self { engine, source, prepared };
        fixture.set(Ok(CANARY.into()));
        fixture
    }

    fn set(&self, value: Result<Vec<u8>, SecretError>) {
        self.source.0.lock().unwrap().insert("api-token".into(), value);
    }

    async fn run(&self, sections: &str, end: &str) -> Attempt {
        let event = event("hostile.secret-teller", &json!({"end": end}).to_string());
        invoke(&self.engine, &self.prepared, &manifest(sections), dispatch(event)).await
    }
}

/// Whether anything of an attempt has the canary in it, in a way that a reader could make something
/// of.
fn tells(attempt: &Attempt) -> bool {
    let everything = format!("{attempt:?}");
    let middle = &STANDARD_NO_PAD.encode(CANARY)[4..20];
    everything.contains("9f8e7d6c5b4a") || everything.contains(middle)
}

#[tokio::test]
async fn a_secret_is_told_by_both_ways_and_kept_out_of_the_log() {
    let fixture = SecretsFixture::new().await;
    let attempt = fixture.run(GRANT, "").await;
    assert_eq!(attempt.report.outcome, Outcome::Success, "{:?}", attempt.report.message);
    let output: Value =
        serde_json::from_slice(&attempt.report.output.as_ref().unwrap().data).unwrap();
    let expected = json!({
        "length": CANARY.len(), "alike": true, "unknown": true, "keys": ["region", "API_TOKEN"], "region": "eu",
    });
    assert_eq!(output, expected);
    assert!(!tells(&attempt), "{attempt:#?}");
    let line = |source| attempt.logs.iter().find(|line| line.source == source).unwrap();
    assert_eq!(line(LogSource::Log).message, "the token is ***");
    assert_eq!(line(LogSource::Stdout).message, "on standard output: ***");
    let fields: Value =
        serde_json::from_str(line(LogSource::Log).fields.as_deref().unwrap()).unwrap();
    assert_eq!((&fields["plain"], &fields["text"]), (&json!("***"), &json!("not JSON: ***")));
}

#[tokio::test]
async fn however_an_attempt_ends_its_secret_is_not_told() {
    let fixture = SecretsFixture::new().await;
    for (end, outcome, words) in [
        ("retry", Outcome::Error, "it is ***"),
        ("reject", Outcome::Rejected, "it is ***"),
        ("panic", Outcome::Trap, "it is ***"),
        ("content-type", Outcome::Trap, "returned the content type 'it is ***'"),
    ] {
        let attempt = fixture.run(GRANT, end).await;
        assert_eq!(attempt.report.outcome, outcome, "{attempt:?}");
        let message = attempt.report.message.as_deref().unwrap();
        assert!(message.contains(words), "{end}: {message}");
        assert!(!tells(&attempt), "{attempt:#?}");
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_ends_the_attempt_as_an_error() {
    let fixture = SecretsFixture::new().await;
    let name: SecretName = "api-token".parse().unwrap();
    for (kept, word) in [
        (
            None,
            "secret 'api-token' (API_TOKEN in [secrets]) does not exist: `wasmill secrets set api-token`",
        ),
        (Some(SecretError::NoKey), "set secrets.key_file"),
        (
            Some(SecretError::UnknownKey { name, key: "old".parse().unwrap() }),
            "sealed by the operator key 'old'",
        ),
        (Some(SecretError::Unavailable("the database is away".into())), "the database is away"),
    ] {
        match kept {
            Some(error) => fixture.set(Err(error)),
            None => fixture.source.0.lock().unwrap().clear(),
        }
        let attempt = fixture.run(GRANT, "").await;
        let message = attempt.report.message.unwrap();
        assert!(attempt.report.outcome == Outcome::Error && message.contains(word), "{message}");
    }
}

#[tokio::test]
async fn a_secret_that_is_no_text_has_one_way() {
    let fixture = SecretsFixture::new().await;
    fixture.set(Ok(vec![0xff; 40]));
    // The guest insists on text.
    let attempt = fixture.run(GRANT, "").await;
    let message = attempt.report.message.unwrap();
    assert!(message.contains("it is text") && !message.contains("255, 255"), "{message}");
}

#[tokio::test]
async fn a_deploy_without_the_grant_is_told_the_line() {
    let fixture = SecretsFixture::new().await;
    let check = async |sections: &str| {
        let bytes = bytes::Bytes::from_static(TELLER);
        fixture
            .engine
            .check(&TenantName::default(), Digest::of(TELLER), &bytes, &manifest(sections))
            .await
            .map_err(|e| e.to_string())
    };
    let said = check("").await.unwrap_err();
    assert!(said.contains(r#"add config = { region = "eu" } to wasmill.toml"#), "{said}");
    let said = check("[config]").await.unwrap_err();
    assert!(
        said.contains(r#"add secrets = { API_TOKEN = "api-token" } to wasmill.toml"#),
        "{said}"
    );
    // A trial start asks for nothing, so that a gateway without a key can check a deploy.
    fixture.set(Err(SecretError::NoKey));
    check(GRANT).await.unwrap();
}

#[tokio::test]
async fn a_warm_instance_with_an_old_value_is_not_used_again() {
    let fixture = SecretsFixture::new().await;
    let sections = format!("{GRANT}\n[instances]\nreuse = 10");
    for _ in 0..2 {
        fixture.run(&sections, "").await;
        assert_eq!(fixture.engine.warm_instances(), 1);
    }
    fixture.set(Ok("another-value-altogether".into()));
    let attempt = fixture.run(&sections, "").await;
    assert_eq!((attempt.report.outcome, fixture.engine.warm_instances()), (Outcome::Success, 0));
}
