//! What operators do with executions.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use wasmill_broker::Broadcasts as _;
use wasmill_broker::embedded::EmbeddedSettings;
use wasmill_domain::wire::Broadcast;
use wasmill_domain::{ExecutionId, Operation, Order, OrderKind, TenantName, Timestamp, Transition};
use wasmill_gateway::GatewaySettings;
use wasmill_store::{Agenda as _, History as _, Ledger as _, Quotas, TenantQuota};

use crate::harness::{Answer, Gateway, send, success, until};

async fn operate(gateway: &Gateway, id: &str, what: &str) -> Answer {
    gateway.post(&format!("/v1/executions/{id}/{what}"), &json!(null)).await
}

async fn accept(gateway: &Gateway) -> String {
    gateway.post("/v1/events/order.created", &json!({"total": 3})).await.executions().remove(0)
}

/// The orders that are broadcast from now on.
async fn orders(gateway: &Gateway) -> (Arc<Mutex<Vec<Order>>>, impl Sized) {
    let received: Arc<Mutex<Vec<Order>>> = Arc::default();
    let listening = Arc::clone(&received);
    let listener = Arc::new(move |body: bytes::Bytes| {
        listening.lock().unwrap().extend(Broadcast::decode(&body).unwrap().orders);
    });
    (received, gateway.broker.subscribe(listener).await.unwrap())
}

#[tokio::test]
async fn what_waits_is_suspended_resumed_and_cancelled() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let (received, _listening) = orders(&gateway).await;
    // Its row is not written yet.
    let id = accept(&gateway).await;
    let answer = operate(&gateway, &id, "suspend?reason=to%20be%20looked%20at").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({"id": id, "state": "suspended", "epoch": 2, "attempt": 1}));
    let shown = gateway.get(&format!("/v1/executions/{id}")).await.json();
    assert_eq!(
        (&shown["state"], &shown["reason"], &shown["held_by"]),
        (&json!("suspended"), &json!("to be looked at"), &json!("operator"))
    );
    assert_eq!(shown["event"]["data"], json!({"total": 3}), "all that is known of it");
    assert!(shown["changed_at"].is_string());
    assert_eq!(operate(&gateway, &id, "resume").await.json()["state"], "queued");
    let shown = gateway.get(&format!("/v1/executions/{id}")).await.json();
    assert_eq!((&shown["reason"], &shown["held_by"]), (&Value::Null, &Value::Null));
    assert_eq!(operate(&gateway, &id, "cancel?reason=x").await.json()["epoch"], 4);
    operate(&gateway, &id, "cancel").await.problem(409, "conflict");
    operate(&gateway, &id, "resume").await.problem(409, "conflict");
    let execution: ExecutionId = id.parse().unwrap();
    let order = |epoch, kind, reason: &str| {
        let reason = Some(reason.to_owned());
        Order { tenant: Some(TenantName::default()), execution, epoch, kind, reason }
    };
    assert_eq!(
        *received.lock().unwrap(),
        [order(2, OrderKind::Suspend, "to be looked at"), order(4, OrderKind::Cancel, "x")]
    );
}

#[tokio::test]
async fn what_was_accepted_elsewhere_is_moved_before_it_is_known() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let id = ExecutionId::new().to_string();
    let answer = operate(&gateway, &id, "cancel").await;
    assert_eq!(answer.status, 202);
    let detail = "nothing is known of this execution yet: it is cancelled if it comes within 7d";
    assert_eq!(answer.json(), json!({"id": id, "operation": "cancel", "detail": detail}));
    let shown = gateway.get(&format!("/v1/executions/{id}")).await.json();
    assert_eq!((&shown["state"], &shown["event"]), (&json!("cancelled"), &Value::Null));
    assert!(shown["unreadable_event"]["why"].as_str().unwrap().contains("has not come yet"));
    let listed = gateway.get("/v1/executions?state=cancelled").await.json();
    assert_eq!(listed["executions"][0]["id"], json!(id));
}

#[tokio::test]
async fn what_cannot_be_moved_is_said() {
    let settings =
        GatewaySettings { order_window: Duration::from_secs(60), ..GatewaySettings::default() };
    let gateway = Gateway::start_with(settings, EmbeddedSettings::default()).await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    gateway.work("total", success).await;
    let id = accept(&gateway).await;
    gateway.execution_until(&id, |e| e["state"] == "succeeded").await;
    for what in ["cancel", "suspend", "resume"] {
        operate(&gateway, &id, what).await.problem(409, "conflict");
        operate(&gateway, "x", what).await.problem(400, "bad-request");
        operate(&gateway, &id, &format!("{what}?reasons=x")).await.problem(400, "bad-request");
        let long = "x".repeat(1_001);
        operate(&gateway, &id, &format!("{what}?reason={long}")).await.problem(400, "bad-request");
        // Neither was made a minute ago, nor by whoever makes ids.
        for none in ["01800000-0000-7000-8000-000000000000", "3e6f7d31-24c6-4b7c-93f5-0f5f0d6d6a37"]
        {
            operate(&gateway, none, what).await.problem(404, "not-found");
        }
    }
    let new = ExecutionId::new().to_string();
    operate(&gateway, &new, "resume").await.problem(404, "not-found");
}

/// The id of an execution that was made so much later than now.
fn made_in(later: Duration) -> String {
    let mut id = *ExecutionId::new().0.as_bytes();
    let millis = Timestamp::now().plus(later).as_micros() / 1_000;
    id[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    ExecutionId(uuid::Uuid::from_bytes(id)).to_string()
}

#[tokio::test]
async fn what_nothing_is_known_of_is_noted_and_bounded() {
    let default = TenantQuota { early_rows: 2, ..TenantQuota::default() };
    let gateway = Gateway::start_with_quotas(Quotas { default, ..Quotas::default() }).await;
    let [first, second, third] = [(); 3].map(|()| ExecutionId::new().to_string());
    // Whoever makes ids may be a little ahead, not an hour.
    for what in ["cancel", "suspend"] {
        let later = made_in(Duration::from_secs(3_600));
        operate(&gateway, &later, what).await.problem(404, "not-found");
    }
    let answer = operate(&gateway, &first, "suspend").await;
    assert_eq!(answer.status, 202);
    assert!(answer.json()["detail"].as_str().unwrap().contains("it is suspended if it comes"));
    let answer = operate(&gateway, &first, "resume").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["operation"]), (202, &json!("resume")));
    assert_eq!(gateway.get("/v1/executions").await.json()["executions"], json!([]));
    operate(&gateway, &first, "resume").await.problem(404, "not-found");
    for id in [&first, &second] {
        assert_eq!(operate(&gateway, id, "cancel").await.status, 202);
    }
    let refused = operate(&gateway, &third, "cancel").await;
    let problem = refused.problem(429, "too-many-unknown-executions");
    assert!(problem["detail"].as_str().unwrap().contains("early_rows"), "{problem}");
}

/// This gateway knows whose it is.
#[tokio::test]
async fn what_another_tenant_has_just_accepted_is_not_found() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let id = accept(&gateway).await;
    let (execution, other) = (id.parse().unwrap(), "other".parse().unwrap());
    let made = gateway.post("/v1/keys", &json!({"role": "operator"})).await.json();
    let key = made["key"].as_str().unwrap();
    for what in ["cancel", "suspend", "resume"] {
        let path = format!("/v1/executions/{id}/{what}");
        let request = gateway.request(Method::POST, &path).bearer_auth(key);
        let request = request.header("wasmill-tenant", "other");
        send(request).await.problem(404, "not-found");
        assert_eq!(gateway.store.execution(&other, execution).await.unwrap(), None);
    }
}

#[tokio::test]
async fn the_reason_may_be_in_the_body() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let id = accept(&gateway).await;
    let path = |what: &str| format!("/v1/executions/{id}/{what}");
    for body in [json!({"reasons": "x"}), json!({"reason": 1}), json!("x"), json!([])] {
        gateway.post(&path("cancel"), &body).await.problem(400, "bad-request");
    }
    gateway
        .post_as(&path("cancel"), "text/plain", "x")
        .await
        .problem(415, "unsupported-media-type");
    let both = gateway.post(&path("cancel?reason=a"), &json!({"reason": "b"})).await;
    both.problem(400, "bad-request");
    let long = json!({"reason": "x".repeat(1_001)});
    gateway.post(&path("cancel"), &long).await.problem(400, "bad-request");
    let answer = gateway.post(&path("suspend"), &json!({"reason": "one\ntwo"})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let shown = gateway.get(&format!("/v1/executions/{id}")).await.json();
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("suspended"), &json!("one\ntwo")));
    let again = operate(&gateway, &id, "suspend").await.problem(409, "conflict");
    assert_eq!(again["detail"], "the execution is suspended already");
    assert_eq!(gateway.post(&path("resume"), &json!({})).await.status, 200);
}

/// There is no scheduler here.
#[tokio::test]
async fn what_is_resumed_is_published_at_once() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let id = accept(&gateway).await;
    let first = gateway.take("total", 1).await.remove(0);
    operate(&gateway, &id, "suspend").await;
    operate(&gateway, &id, "resume").await;
    let resumed = gateway.take("total", 1).await.remove(0);
    assert_eq!(resumed.execution, first.execution);
    assert_eq!((resumed.epoch, resumed.attempt, &resumed.event), (3, 1, &first.event));
    until("it is not published again", async || {
        let later = Timestamp::now().plus(Duration::from_secs(60));
        gateway.store.outbox(later, 10).await.unwrap().is_empty().then_some(())
    })
    .await;
    assert_eq!(gateway.waiting("total").await, 0);
}

/// Nothing replies to what does not run: there is no host here.
#[tokio::test]
async fn who_waits_is_answered_when_the_execution_is_moved() {
    let gateway = Arc::new(Gateway::start().await);
    gateway.deploy("total", json!([{"event": "order.created"}, {"http": "/total"}])).await;
    let waits = async |path: &'static str, what: &str| {
        let asking = Arc::clone(&gateway);
        let answer = tokio::spawn(async move {
            let request = asking.request(Method::POST, path).json(&json!({"total": 3}));
            send(request).await
        });
        let dispatch = gateway.take("total", 1).await.remove(0);
        operate(&gateway, &dispatch.execution.to_string(), what).await;
        (dispatch.execution, answer.await.unwrap())
    };
    for (what, status) in [("suspend", 202), ("cancel", 200)] {
        let (id, answer) = waits("/v1/functions/total/invoke?wait=15m", what).await;
        assert_eq!(answer.status, status, "{answer:?}");
        let document = answer.json();
        assert_eq!(document["id"], id.to_string());
        assert_eq!(document["state"], if what == "suspend" { "suspended" } else { "cancelled" });
        assert_eq!(document["event"]["data"], json!({"total": 3}));
    }
    let (id, answer) = waits("/http/default/total", "suspend").await;
    let problem = answer.problem(503, "execution-suspended");
    assert!(problem["detail"].as_str().unwrap().contains(&id.to_string()), "{problem}");
}

/// An order as another gateway broadcasts it.
fn order(tenant: &str, execution: ExecutionId, kind: OrderKind) -> bytes::Bytes {
    let tenant = Some(tenant.parse().unwrap());
    let order = Order { tenant, execution, epoch: 2, kind, reason: None };
    Broadcast { orders: vec![order] }.encode(&Default::default()).into()
}

/// The store is away just when it is asked about a move, which nothing tells of again.
#[tokio::test]
async fn who_waits_is_answered_though_the_store_is_away_for_a_moment() {
    for verb in ["enqueue", "execution"] {
        let gateway = Arc::new(Gateway::start().await);
        gateway.deploy("total", json!([{"event": "order.created"}])).await;
        let asking = Arc::clone(&gateway);
        let answer = tokio::spawn(async move {
            asking.post("/v1/functions/total/invoke?wait=15m", &json!({"total": 3})).await
        });
        let dispatch = gateway.take("total", 1).await.remove(0);
        let cancel = Operation::new(Transition::Cancel, Timestamp::now()).before_row(true);
        let (tenant, execution) = (&dispatch.tenant, dispatch.execution);
        gateway.store.transition_execution(tenant, execution, &cancel).await.unwrap();
        gateway.artifacts.hook().fail_once(verb);
        gateway.broker.broadcast(order("default", execution, OrderKind::Cancel)).await.unwrap();
        let answer = answer.await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.json()["state"]), (200, &json!("cancelled")));
    }
}

/// Another gateway was asked.
#[tokio::test]
async fn who_waits_is_answered_by_a_broadcast() {
    let gateway = Arc::new(Gateway::start().await);
    gateway.deploy("total", json!([{"event": "order.created"}])).await;
    let asking = Arc::clone(&gateway);
    let mut answer = tokio::spawn(async move {
        asking.post("/v1/functions/total/invoke?wait=15m", &json!({"total": 3})).await
    });
    let dispatch = gateway.take("total", 1).await.remove(0);
    let id = dispatch.execution;
    let suspend = Operation::new(Transition::Suspend, Timestamp::now()).before_row(true);
    let moved = gateway.store.transition_execution(&dispatch.tenant, id, &suspend).await.unwrap();
    assert!(!moved.has_event);
    gateway.broker.broadcast(order("other", id, OrderKind::Suspend)).await.unwrap();
    let is_answered = tokio::time::timeout(Duration::from_millis(100), &mut answer).await;
    assert!(is_answered.is_err(), "the order is about another tenant's");
    gateway.broker.broadcast(order("default", id, OrderKind::Suspend)).await.unwrap();
    let answer = answer.await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.json()["state"]), (202, &json!("suspended")));
    assert_eq!(answer.json()["event"]["data"], json!({"total": 3}), "the gateway has brought it");
}
