use std::sync::Mutex;

use async_trait::async_trait;
use wasmill_domain::{Digest, ExecutionId, Timestamp, TraceContext};
use wasmill_secrets::SecretError;

use super::*;

/// Has one secret, `api-token`, with the first of these values, and counts who asks.
#[derive(Default)]
struct Source {
    value: Mutex<Option<&'static str>>,
    asked: Mutex<usize>,
}

#[async_trait]
impl SecretSource for Source {
    async fn reveal(
        &self,
        _: &TenantName,
        name: &SecretName,
    ) -> Result<Option<Secret>, SecretError> {
        *self.asked.lock().unwrap() += 1;
        let value = self.value.lock().unwrap().filter(|_| name.as_str() == "api-token");
        Ok(value.map(|value| Secret::from(value.as_bytes().to_vec())))
    }
}

fn execution(attempt: u32) -> CurrentExecution {
    CurrentExecution {
        id: ExecutionId::new(),
        tenant: TenantName::default(),
        function: "test".parse().unwrap(),
        version: Digest::of(b""),
        attempt,
        max_attempts: 1,
        deadline: Timestamp::now(),
        span: TraceContext::new_root(),
    }
}

fn granted(source: &Arc<Source>) -> GrantedValues {
    let manifest =
        "name = 'test'\n[config]\nregion = 'eu'\n[secrets]\nTOKEN = 'api-token'\nGONE = 'gone'";
    GrantedValues::new(&Manifest::from_toml(manifest).unwrap(), Arc::clone(source) as _)
}

async fn token(granted: &mut GrantedValues) -> String {
    String::from_utf8(granted.secret("TOKEN").await.unwrap().expose().to_vec()).unwrap()
}

#[tokio::test]
async fn no_secret_is_told_before_there_is_an_execution() {
    let source = Arc::new(Source::default());
    let mut granted = granted(&source);
    assert!(matches!(granted.secret("TOKEN").await, Err(NotGranted::NoExecution)));
    granted.begin(&execution(0));
    assert!(matches!(granted.secret("TOKEN").await, Err(NotGranted::NoExecution)));
    assert!(
        matches!(granted.secret("api-token").await, Err(NotGranted::Unknown)),
        "the name in the manifest counts"
    );
    assert_eq!((*source.asked.lock().unwrap(), granted.config()["region"].as_str()), (0, "eu"));
}

#[tokio::test]
async fn an_attempt_sees_one_value() {
    let source = Arc::new(Source::default());
    *source.value.lock().unwrap() = Some("first-value");
    let mut granted = granted(&source);
    granted.begin(&execution(1));
    assert_eq!(token(&mut granted).await, "first-value");
    *source.value.lock().unwrap() = Some("other-value");
    assert_eq!(token(&mut granted).await, "first-value");
    assert_eq!((*source.asked.lock().unwrap(), granted.is_stale()), (1, false));
    // The next attempt of a warm instance sees the other, and both are hidden: it may remember the
    // first.
    granted.begin(&execution(1));
    assert_eq!((token(&mut granted).await.as_str(), granted.is_stale()), ("other-value", true));
    assert_eq!(granted.mask().text("first-value other-value".into()), "*** ***");
}

#[tokio::test]
async fn what_is_gone_is_named() {
    let mut granted = granted(&Arc::new(Source::default()));
    granted.begin(&execution(1));
    let Err(NotGranted::Failed(error)) = granted.secret("GONE").await else {
        panic!("it is there")
    };
    let said =
        "secret 'gone' (GONE in [secrets]) does not exist: `wasmill secrets set gone` sets it";
    assert_eq!(error.to_string(), said);
}
