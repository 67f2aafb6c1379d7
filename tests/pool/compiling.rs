//! Components that take too long to compile, by a limit that none keeps.

use serde_json::{Value, json};

use crate::support::backends::SharedBackends;
use crate::support::pool::Process;
use crate::support::{sample, wasmill};

const NO_TIME: (&str, &str) = ("ENGINE_COMPILE_TIMEOUT", "1ms");
const SAID: &str = "compiling took longer than 1ms (engine.compile_timeout)";

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_is_refused_and_the_gateway_goes_on() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let (hasty, long_timeout) =
        (Process::start("gateway", backends, &[NO_TIME]), Process::start("gateway", backends, &[]));
    hasty.ready().await;
    long_timeout.ready().await;
    let deploy = |url: &str| {
        wasmill().args(["--url", url, "deploy"]).arg(sample("hello")).output().expect("it runs")
    };
    let refused = deploy(&hasty.url);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(SAID), "{said}");
    let again = deploy(&hasty.url);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("the same component is not tried again for"), "{said}");
    assert_eq!(hasty.readiness().await, Some(200));
    long_timeout.deploy(&["hello"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_says_why_the_function_fails_and_goes_on() {
    let shared = SharedBackends::new().await;
    let backends = shared.backends();
    let gateway = Process::start("gateway", backends, &[]);
    gateway.ready().await;
    gateway.deploy(&["hello"]).await;
    let host = Process::start("host", backends, &[NO_TIME]);
    host.ready().await;
    let api = gateway.api();
    let ids = api.accepted("greeting.requested", &json!({"name": "Ada"})).await;
    let execution: Value = api.ended(&ids[0]).await;
    assert_eq!(execution["state"], "failed", "{execution}");
    assert!(execution.to_string().contains(SAID), "{execution}");
    assert_eq!(host.readiness().await, Some(200));
}
