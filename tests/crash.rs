//! kill -9 in the middle of the work: nothing that was accepted is lost, and nothing is recorded twice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::support::api::{Api, execution_ids};
use super::support::{Dev, eventually};

/// How many events are accepted.
const EVENTS: usize = 20_000;

/// How many clients post at once.
const CLIENTS: usize = 32;

/// What the clients have seen.
#[derive(Default)]
struct Seen {
    next: AtomicUsize,
    accepted: AtomicUsize,
    cut_off: AtomicUsize,
    executions: std::sync::Mutex<Vec<(String, Vec<String>)>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn three_kills_in_twenty_thousand_events() {
    let mut dev = Dev::with_samples(&["order-total", "order-audit"]);
    let api = dev.api();
    let seen = Arc::new(Seen::default());
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(post_until_enough(api.clone(), Arc::clone(&seen)))).collect();
    for kill in 1..=3 {
        let reached = EVENTS * kill / 4;
        eventually("events are accepted", async || (seen.accepted.load(Ordering::Relaxed) >= reached).then_some(()))
            .await;
        dev.kill_9();
        dev.restart();
    }
    for client in clients {
        client.await.unwrap();
    }
    assert!(seen.cut_off.load(Ordering::Relaxed) > 0, "the kills hit requests under way");

    let accepted = std::mem::take(&mut *seen.executions.lock().unwrap());
    assert!(accepted.len() >= EVENTS);
    wait_until_quiet(&api).await;
    let totals = by_id(api.executions_of("order-total").await);
    let audits = by_id(api.executions_of("order-audit").await);
    for (event, ids) in &accepted {
        assert_eq!(ids.len(), 2, "one for each function");
        for id in ids {
            let execution =
                totals.get(id).or_else(|| audits.get(id)).unwrap_or_else(|| panic!("{id} of {event} is lost"));
            assert_eq!(execution["state"], "succeeded", "{execution}");
            assert_eq!(execution["attempt"], 1, "{execution}");
            assert_eq!(execution["event_id"], **event, "{execution}");
        }
    }
    each_event_once(&totals, &accepted, seen.cut_off.load(Ordering::Relaxed));
    each_emission_once(&totals, &audits);
    assert!(dev.terminate());
}

/// Posts events until enough are accepted. A request that a kill cuts off is not repeated: the next one is a new event.
async fn post_until_enough(api: Api, seen: Arc<Seen>) {
    while seen.accepted.load(Ordering::Relaxed) < EVENTS {
        let id = format!("order-{}", seen.next.fetch_add(1, Ordering::Relaxed));
        let order =
            json!({"customer": "c-1", "currency": "EUR", "items": [{"sku": "SKU-1", "qty": 2, "price_cents": 1999}]});
        let request = api.request("POST", "/v1/events/order.created").header("ce-id", &id).json(&order);
        match request.send().await {
            Ok(response) if response.status() == StatusCode::ACCEPTED => match response.json::<Value>().await {
                Ok(document) => {
                    seen.executions.lock().unwrap().push((id, execution_ids(&document)));
                    seen.accepted.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => _ = seen.cut_off.fetch_add(1, Ordering::Relaxed),
            },
            // Back-pressure is an answer too: the event was not accepted.
            Ok(response) => {
                let status = response.status();
                assert!(matches!(status.as_u16(), 429 | 503), "{status}: {:?}", response.text().await);
                tokio::task::yield_now().await;
            }
            Err(_) => {
                seen.cut_off.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }
}

/// Waits until no execution is on its way any more.
async fn wait_until_quiet(api: &Api) {
    eventually("every execution ends", async || {
        for state in ["queued", "running", "scheduled"] {
            let page = api.get(&format!("/v1/executions?state={state}&limit=1")).await;
            if !page["executions"].as_array()?.is_empty() {
                return None;
            }
        }
        for function in ["order-total", "order-audit"] {
            let queue = api.get(&format!("/v1/functions/{function}")).await["queue"].take();
            if queue["ready"] != 0 || queue["unacked"] != 0 {
                return None;
            }
        }
        Some(())
    })
    .await;
}

fn by_id(executions: Vec<Value>) -> HashMap<String, Value> {
    let count = executions.len();
    let map: HashMap<String, Value> =
        executions.into_iter().map(|e| (e["id"].as_str().unwrap().to_owned(), e)).collect();
    assert_eq!(map.len(), count, "an id stands twice");
    map
}

/// No event has two executions of one function; what was not answered with 202 was cut off.
fn each_event_once(totals: &HashMap<String, Value>, accepted: &[(String, Vec<String>)], cut_off: usize) {
    let events: HashSet<&str> = totals.values().map(|e| e["event_id"].as_str().unwrap()).collect();
    assert_eq!(events.len(), totals.len(), "an event was taken twice");
    assert!(
        totals.len() <= accepted.len() + cut_off,
        "{} executions, {} accepted, {cut_off} cut off",
        totals.len(),
        accepted.len()
    );
}

/// Every success of order-total led to exactly one execution of order-audit.
fn each_emission_once(totals: &HashMap<String, Value>, audits: &HashMap<String, Value>) {
    let mut emitted: HashMap<&str, usize> = HashMap::new();
    for audit in audits.values() {
        if let Some(parent) = audit["parent"].as_str() {
            assert_eq!(audit["state"], "succeeded", "{audit}");
            *emitted.entry(parent).or_default() += 1;
        }
    }
    for id in totals.keys() {
        assert_eq!(emitted.get(id.as_str()), Some(&1), "the emission of {id}");
    }
    assert_eq!(emitted.len(), totals.len());
}
