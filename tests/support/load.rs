//! Clients that post orders while things go wrong, and the account of what became of each.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::api::{Api, execution_ids};
use super::eventually;

/// How long one request may take before its client goes on with the next order. Gateways answer
/// sooner, if they live.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Clients that post orders until enough are accepted.
pub(crate) struct Load {
    seen: Arc<Seen>,
    clients: Vec<JoinHandle<()>>,
}

/// What the clients have seen.
struct Seen {
    /// What the ids of this load's events begin with.
    prefix: String,
    wanted: AtomicUsize,
    next: AtomicUsize,
    accepted: AtomicUsize,
    cut_off: AtomicUsize,
    refused: AtomicUsize,
    executions: Mutex<Vec<Accepted>>,
}

/// An order that was answered with 202.
pub(crate) struct Accepted {
    /// The event's id.
    pub(crate) event: String,
    /// Its executions' ids.
    pub(crate) executions: Vec<String>,
}

/// What the clients know at their end.
pub(crate) struct Report {
    /// What the ids of these events begin with.
    prefix: String,
    /// What was accepted.
    pub(crate) accepted: Vec<Accepted>,
    /// How many requests got no answer: each may have been accepted or not.
    pub(crate) cut_off: usize,
    /// How many were refused: nothing of them may be found.
    pub(crate) refused: usize,
}

impl Load {
    /// Starts `clients` that post to these gateways in turn, as fast as they can, until `wanted`
    /// orders are accepted.
    pub(crate) fn start(gateways: &[Api], clients: usize, wanted: usize) -> Self {
        Self::paced(gateways, clients, wanted, Duration::ZERO)
    }

    /// The same with clients that rest this long after each request: where what is tried takes a
    /// while, not the number of orders.
    pub(crate) fn paced(gateways: &[Api], clients: usize, wanted: usize, rest: Duration) -> Self {
        let seen = Arc::new(Seen {
            prefix: format!("order-{}-", Uuid::now_v7()),
            wanted: AtomicUsize::new(wanted),
            next: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            cut_off: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            executions: Mutex::default(),
        });
        let client = |number: usize| {
            let mut gateways = gateways.to_vec();
            let first = number % gateways.len();
            gateways.rotate_left(first);
            tokio::spawn(post_until_enough(gateways, Arc::clone(&seen), rest))
        };
        let clients = (0..clients).map(client).collect();
        Self { seen, clients }
    }

    /// How many orders are accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.seen.accepted.load(Ordering::Relaxed)
    }

    /// How many were refused so far.
    pub(crate) fn refused(&self) -> usize {
        self.seen.refused.load(Ordering::Relaxed)
    }

    /// Waits until so many are accepted.
    pub(crate) async fn reaches(&self, count: usize) {
        eventually("orders are accepted", async || (self.accepted() >= count).then_some(())).await;
    }

    /// Lets the clients end with the request that they are at.
    pub(crate) async fn stop(self) -> Report {
        self.seen.wanted.store(0, Ordering::Relaxed);
        self.finish().await
    }

    /// Waits until all are accepted.
    pub(crate) async fn finish(self) -> Report {
        for client in self.clients {
            client.await.expect("a client does not panic");
        }
        let accepted =
            std::mem::take(&mut *self.seen.executions.lock().expect("no client panicked"));
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        Report {
            prefix: self.seen.prefix.clone(),
            accepted,
            cut_off: count(&self.seen.cut_off),
            refused: count(&self.seen.refused),
        }
    }
}

/// A request that is cut off is not repeated: the next one is a new order.
async fn post_until_enough(mut gateways: Vec<Api>, seen: Arc<Seen>, rest: Duration) {
    let count = |counter: &AtomicUsize| _ = counter.fetch_add(1, Ordering::Relaxed);
    while seen.accepted.load(Ordering::Relaxed) < seen.wanted.load(Ordering::Relaxed) {
        if !rest.is_zero() {
            tokio::time::sleep(rest).await;
        }
        let event = format!("{}{}", seen.prefix, seen.next.fetch_add(1, Ordering::Relaxed));
        let order = json!({"customer": "c-1", "currency": "EUR", "items": [{"sku": "SKU-1", "qty": 2, "price_cents": 1999}]});
        let request = gateways[0]
            .request("POST", "/v1/events/order.created")
            .header("ce-id", &event)
            .json(&order);
        match request.timeout(REQUEST_TIMEOUT).send().await {
            Ok(response) if response.status() == StatusCode::ACCEPTED => {
                match response.json::<Value>().await {
                    Ok(document) => {
                        let executions = execution_ids(&document);
                        seen.executions
                            .lock()
                            .expect("no client panicked")
                            .push(Accepted { event, executions });
                        count(&seen.accepted);
                    }
                    Err(_) => count(&seen.cut_off),
                }
            }
            // Back-pressure is an answer too: the order was not accepted.
            Ok(response) => {
                let status = response.status();
                let text = response.text().await;
                assert!(matches!(status.as_u16(), 429 | 503), "{status}: {text:?}");
                // It says itself when some of it may have been accepted.
                count(if text.is_ok_and(|text| text.contains("may have been")) {
                    &seen.cut_off
                } else {
                    &seen.refused
                });
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(_) => {
                count(&seen.cut_off);
                gateways.rotate_left(1);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

impl Report {
    /// Asserts that every accepted order's executions of order-total and order-audit have
    /// succeeded, each once, that no order was taken twice, and that each emission led to one
    /// execution.
    pub(crate) async fn check(&self, api: &Api) {
        let totals = by_id(api.executions_of("order-total").await);
        let audits = by_id(api.executions_of("order-audit").await);
        for Accepted { event, executions } in &self.accepted {
            assert_eq!(executions.len(), 2, "one for each function");
            for id in executions {
                let execution = totals.get(id).or_else(|| audits.get(id));
                let execution = execution.unwrap_or_else(|| panic!("{id} of {event} is lost"));
                assert_eq!(execution["state"], "succeeded", "{execution}");
                if execution["attempt"] != 1 {
                    only_time_ran_out(&api.get(&format!("/v1/executions/{id}")).await);
                }
                assert_eq!(execution["event_id"], **event, "{execution}");
            }
        }
        self.each_event_once(&totals);
        each_emission_once(&totals, &audits);
    }

    /// No event has two executions of one function; what was not answered with 202 was cut off.
    fn each_event_once(&self, totals: &HashMap<String, Value>) {
        let ids =
            totals.values().map(|e| text(e, "event_id")).filter(|id| id.starts_with(&self.prefix));
        let mut events = HashSet::new();
        for id in ids {
            assert!(events.insert(id), "event {id} was taken twice");
        }
        let (taken, accepted, cut_off) = (events.len(), self.accepted.len(), self.cut_off);
        assert!(
            taken <= accepted + cut_off,
            "{taken} taken, {accepted} accepted, {cut_off} cut off, {} refused",
            self.refused
        );
    }
}

/// A delivery that is made again is no new attempt. There is one only where the one before took too
/// long, as happens on a machine that is busy with other things.
fn only_time_ran_out(execution: &Value) {
    let attempts = execution["attempts"].as_array().expect("attempts");
    let (_, earlier) = attempts.split_last().expect("an attempt");
    assert!(earlier.iter().all(|attempt| attempt["outcome"] == "timed_out"), "{execution}");
}

fn text<'a>(execution: &'a Value, key: &str) -> &'a str {
    execution[key].as_str().expect("a text")
}

fn by_id(executions: Vec<Value>) -> HashMap<String, Value> {
    let count = executions.len();
    let map: HashMap<String, Value> =
        executions.into_iter().map(|e| (text(&e, "id").to_owned(), e)).collect();
    assert_eq!(map.len(), count, "an id stands twice");
    map
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
