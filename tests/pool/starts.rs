//! What a role answers while it starts and its database is not there.

use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};
use wasmill_store::postgres::testing::{Mood, Proxy, address_of, url_at};

use crate::support::backends::SharedBackends;
use crate::support::eventually;
use crate::support::pool::{Backends, Process};

const ROLES: [&str; 3] = ["gateway", "host", "scheduler"];

/// Waits until the process lives and says since when it waits for its database.
async fn waits(process: &Process) {
    let api = process.api();
    let role = process.role;
    let document = eventually(&format!("the {role} tells what it waits for"), async || {
        let alive = api.request("GET", "/healthz").send().await.ok()?;
        assert_eq!(alive.status(), StatusCode::OK, "{role}");
        let answer = api.request("GET", "/readyz").send().await.ok()?;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{role}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{role}");
        let document: Value = answer.json().await.ok()?;
        (document["parts"]["database"] != json!("ok")).then_some(document)
    })
    .await;
    let database = document["parts"]["database"].as_str().unwrap();
    assert!(database.starts_with("unreachable since 20"), "{role}: {document}");
    let detail = document["detail"].as_str().unwrap();
    assert!(detail.contains("database: unreachable since"), "{role}: {document}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_answers_while_its_database_is_silent() {
    let shared = SharedBackends::new().await;
    let direct = shared.backends();
    let proxy = Proxy::before(address_of(&direct.database)).await;
    proxy.be(Mood::Stalled);
    let backends =
        Backends { database: url_at(&proxy.address(), &direct.database), ..direct.clone() };
    let settings = [("DATABASE_CONNECT_TIMEOUT", "1s")];
    let processes = ROLES.map(|role| Process::start(role, &backends, &settings));
    for process in &processes {
        waits(process).await;
    }
    let [gateway, ..] = &processes;
    let refused = gateway.api().post_plain("greeting.requested", &json!({})).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    proxy.be(Mood::Fine);
    for process in &processes {
        process.ready().await;
    }
    let unknown = gateway.api().post_plain("greeting.requested", &json!({})).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND, "the gateway itself answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_answers_and_ends_where_there_is_no_database() {
    let shared = SharedBackends::new().await;
    // Nobody listens there any more.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let direct = shared.backends();
    let database = url_at(&nowhere.to_string(), &direct.database);
    let backends = Backends { database, ..direct.clone() };
    for mut process in ROLES.map(|role| Process::start(role, &backends, &[])) {
        waits(&process).await;
        process.signal(Signal::TERM);
        assert_eq!(process.exit_code().await, Some(0), "{}", process.role);
    }
}
