//! `/healthz` and `/readyz` answer at once, whatever others have this gateway do. The tests' runtime
//! has one thread: what was done on it would keep every answer waiting.

use reqwest::Method;
use serde_json::json;
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_gateway::GatewaySettings;

use crate::harness::{Gateway, component, send, until};

const PROBES: [&str; 2] = ["/healthz", "/readyz"];

async fn are_answered(gateway: &Gateway) {
    for path in PROBES {
        assert_eq!(gateway.get(path).await.status, 200, "{path}");
    }
}

/// Without a key, through a trigger: eight requests whose check does not end.
#[tokio::test]
async fn probes_are_answered_beside_slow_checks_of_data() {
    let gateway = Gateway::start().await;
    gateway.compiling.open(1);
    let schema = json!({"title": "gate", "type": "object"});
    gateway.deploy("slow", json!([{"http": "/slow", "mode": "async", "schema": schema}])).await;
    let key = gateway.post("/v1/keys", &json!({"role": "operator"})).await;
    assert_eq!(key.status, 201, "from now on the API needs one, and triggers none");
    let before = gateway.compiling.reached();
    let posts: Vec<_> = (0..8)
        .map(|_| {
            let request = gateway.request(Method::POST, "/http/default/slow").json(&json!({}));
            tokio::spawn(send(request))
        })
        .collect();
    until("a check has begun", async || (gateway.compiling.reached() > before).then_some(())).await;
    for _ in 0..50 {
        are_answered(&gateway).await;
    }
    assert!(posts.iter().all(|post| !post.is_finished()), "the checks went on meanwhile");
    gateway.compiling.open(8);
    for post in posts {
        assert_eq!(post.await.unwrap().status, 202);
    }
}

/// A component of a size that takes a while to be inspected.
fn large_component() -> Vec<u8> {
    const FUNCTIONS: usize = 4_000;
    fn leb(mut number: usize, into: &mut Vec<u8>) {
        while number >= 0x80 {
            into.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
            number >>= 7;
        }
        into.push(u8::try_from(number).unwrap());
    }
    fn section(id: u8, content: &[u8], into: &mut Vec<u8>) {
        into.push(id);
        leb(content.len(), into);
        into.extend_from_slice(content);
    }
    // No locals, so many constants that are dropped, and the end.
    let body = [&[0][..], &[0x41, 1, 0x1a].repeat(300), &[0x0b]].concat();
    let (mut functions, mut code) = (Vec::new(), Vec::new());
    leb(FUNCTIONS, &mut functions);
    functions.extend(std::iter::repeat_n(0, FUNCTIONS));
    leb(FUNCTIONS, &mut code);
    for _ in 0..FUNCTIONS {
        leb(body.len(), &mut code);
        code.extend_from_slice(&body);
    }
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(1, &[1, 0x60, 0, 0], &mut module);
    section(3, &functions, &mut module);
    section(10, &code, &mut module);
    let small = component(0);
    let mut large = small[..8].to_vec();
    section(1, &module, &mut large);
    large.extend_from_slice(&small[8..]);
    large
}

/// The time that this thread has had of a processor, in nanoseconds.
fn this_threads_time() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

#[tokio::test]
async fn probes_are_answered_beside_slow_checks_of_artifacts() {
    let settings = GatewaySettings { max_checks: 8, ..GatewaySettings::default() };
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    let component = large_component();
    let before = this_threads_time();
    wasmill_component::inspect(&component).unwrap();
    let an_inspection = this_threads_time() - before;
    let upload =
        gateway.request(Method::POST, "/v1/artifacts").header("content-type", "application/wasm");
    let first = send(upload.body(component)).await;
    assert_eq!(first.status, 201, "{first:?}");
    let path = format!("/v1/artifacts/{}", first.json()["digest"].as_str().unwrap());
    let before = this_threads_time();
    // Nothing is sent, so what takes time is the inspection.
    let shown = tokio::spawn(send(gateway.request(Method::GET, &path)));
    for _ in 0..10 {
        are_answered(&gateway).await;
    }
    assert_eq!(shown.await.unwrap().status, 200);
    let spent = this_threads_time() - before;
    assert!(spent < an_inspection / 2, "the thread that answers probes spent {spent} ns on it");
}

/// Anybody may ask, and to know how the database is takes a connection to it.
#[tokio::test]
async fn many_who_ask_are_answered_by_one_look() {
    let gateway = Gateway::start().await;
    let hook = gateway.artifacts.hook();
    hook.hold(Some("ping"));
    let asking: Vec<_> =
        (0..100).map(|_| tokio::spawn(send(gateway.request(Method::GET, "/readyz")))).collect();
    for asked in asking {
        let answer = asked.await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.json()["store"]), (200, &json!("away")));
    }
    let looks = hook.gate.reached.available_permits();
    // One, unless it takes this machine seconds to send so little.
    assert!((1..10).contains(&looks), "{looks}");
    hook.hold(None);
    until("it is known again", async || {
        (gateway.get("/readyz").await.json()["store"] == "ok").then_some(())
    })
    .await;
}
