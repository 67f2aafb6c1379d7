//! The HTTP API as a test speaks it.

use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::{WAIT_TIMEOUT, eventually, http};

/// A gateway.
#[derive(Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    url: String,
}

impl Api {
    pub(crate) fn new(url: &str) -> Self {
        let http = http().build().expect("a client");
        Self { http, url: url.to_owned() }
    }

    /// The same gateway, spoken to with an operator's key for some tenant.
    pub(crate) fn with_key(&self, key: &str, tenant: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            "authorization",
            format!("Bearer {key}").parse().expect("a key is a header's value"),
        );
        headers.insert("wasmill-tenant", tenant.parse().expect("a name is a header's value"));
        let http = http().default_headers(headers).build().expect("a client");
        Self { http, url: self.url.clone() }
    }

    /// A request to a path.
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = method.parse().expect("a method");
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// Posts an event in the plain form, and gives the answer whatever it is.
    pub(crate) async fn post_plain(&self, event_type: &str, data: &Value) -> Response {
        let request = self.request("POST", &format!("/v1/events/{event_type}")).json(data);
        request.send().await.expect("the gateway answers")
    }

    /// Posts an event that must be accepted, and gives the ids of its executions.
    pub(crate) async fn accepted(&self, event_type: &str, data: &Value) -> Vec<String> {
        let response = self.post_plain(event_type, data).await;
        let status = response.status();
        let document: Value = response.json().await.expect("JSON");
        assert_eq!(status, StatusCode::ACCEPTED, "{document}");
        execution_ids(&document)
    }

    /// A document that must be there.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = self.request("GET", path).send().await.expect("the gateway answers");
        let status = response.status();
        let document: Value = response.json().await.expect("JSON");
        assert!(status.is_success(), "{path}: {status} {document}");
        document
    }

    /// An execution's document once it has ended.
    pub(crate) async fn ended(&self, id: &str) -> Value {
        eventually(&format!("execution {id} ends"), async || {
            let response =
                self.request("GET", &format!("/v1/executions/{id}")).send().await.ok()?;
            // The row is written behind the 202.
            if response.status() == StatusCode::NOT_FOUND {
                return None;
            }
            let document: Value = response.json().await.ok()?;
            matches!(document["state"].as_str()?, "succeeded" | "failed" | "cancelled")
                .then_some(document)
        })
        .await
    }

    /// An execution's state; nothing before its row is written.
    pub(crate) async fn state_of(&self, id: &str) -> Option<String> {
        let response = self.request("GET", &format!("/v1/executions/{id}")).send().await.ok()?;
        let document: Value = response.json().await.ok()?;
        document["state"].as_str().map(str::to_owned)
    }

    /// Posts an event for one function and awaits its end.
    pub(crate) async fn run(&self, event_type: &str, data: &Value) -> Value {
        let ids = self.accepted(event_type, data).await;
        assert_eq!(ids.len(), 1, "{ids:?}");
        self.ended(&ids[0]).await
    }

    /// An execution's log lines.
    pub(crate) async fn logs(&self, id: &str) -> Vec<Value> {
        let document = self.get(&format!("/v1/executions/{id}/logs")).await;
        document["logs"].as_array().expect("a list").clone()
    }

    /// Waits until no execution is on its way any more and the queues of these functions hold
    /// nothing. It may take as long as something ends now and then: many executions take their time
    /// on a busy machine.
    pub(crate) async fn quiet(&self, functions: &[&str]) {
        let (mut left, mut since) = (Vec::new(), Instant::now());
        loop {
            let now = self.left(functions).await;
            if now.is_empty() {
                return;
            }
            if now != left {
                (left, since) = (now, Instant::now());
            }
            assert!(
                since.elapsed() < WAIT_TIMEOUT,
                "nothing has ended for {WAIT_TIMEOUT:?}: {left:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What is not at its end: an execution of each state, and how much is in which queue.
    async fn left(&self, functions: &[&str]) -> Vec<Value> {
        let mut left = Vec::new();
        for state in ["queued", "running", "scheduled"] {
            let page = self.get(&format!("/v1/executions?state={state}&limit=1")).await;
            match page["executions"].as_array() {
                Some(executions) => left.extend(executions.first().cloned()),
                // It cannot be told now.
                None => left.push(page),
            }
        }
        for function in functions {
            let queue = self.get(&format!("/v1/functions/{function}")).await["queue"].take();
            if queue["ready"] != 0 || queue["unacked"] != 0 {
                left.push(queue);
            }
        }
        left
    }

    /// All executions of a function, page by page.
    pub(crate) async fn executions_of(&self, function: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        let mut cursor = String::new();
        loop {
            let page =
                self.get(&format!("/v1/executions?function={function}&limit=500{cursor}")).await;
            all.extend(page["executions"].as_array().expect("a list").iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }
}

/// The execution ids of a 202's document.
pub(crate) fn execution_ids(document: &Value) -> Vec<String> {
    let executions = document["executions"].as_array().expect("a list of executions");
    executions.iter().map(|e| e["id"].as_str().expect("an id").to_owned()).collect()
}
