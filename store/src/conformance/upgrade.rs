//! What an older database becomes when it is brought up to date. The statements make it as the
//! first release's schema has it.

use std::sync::Arc;

use serde_json::json;
use wasmill_domain::{ApiKey, EventParts, ExecutionId, Manifest};

use super::sample::{name, now, tenant};
use crate::conformance::Store;
use crate::convert::{self, ManifestRows};
use crate::port::{Change, StoreError};

/// An older database's content.
pub(crate) struct Old {
    /// Statements that fill it.
    pub(crate) statements: Vec<String>,
    key: String,
    execution: ExecutionId,
}

/// Two functions with one route, which an earlier release let happen, and an execution whose event
/// has an API key. `digest` and `id` are how the database writes 32 zero bytes and a UUID.
pub(crate) fn old(digest: &str, id: impl Fn(ExecutionId) -> String) -> Old {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut statements = vec![format!(
        "INSERT INTO artifacts (digest, put_at, bytes) VALUES ({digest}, 0, {digest})"
    )];
    for (function, triggers) in [
        ("a", json!([{"http": "/x/{id}", "methods": ["GET"]}, {"http": "/own"}])),
        ("b", json!([{"http": "/x/{name}"}, {"http": "/y"}])),
        // It has a route twice, which manifests could.
        ("twice", json!([{"http": "/t"}, {"http": "/t", "methods": ["GET"]}])),
    ] {
        let manifest: Manifest =
            serde_json::from_value(json!({"name": function, "trigger": triggers})).unwrap();
        let mut rows = ManifestRows::of(&manifest).unwrap();
        let mut stored: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&rows.manifest).unwrap();
        stored.retain(|key, _| !["format", "min_reader", "stored_by"].contains(&key.as_str()));
        rows.manifest = serde_json::Value::from(stored).to_string();
        statements.push(format!("INSERT INTO functions VALUES ('default', '{function}', 1)"));
        let version =
            format!("'default', '{function}', 1, {digest}, {}, 0", quoted(&rows.manifest));
        statements.push(format!("INSERT INTO versions VALUES ({version})"));
        for (index, trigger) in rows.triggers.iter().enumerate() {
            let http = quoted(trigger.http.as_deref().unwrap());
            statements
                .push(format!("INSERT INTO triggers VALUES ('default', '{function}', 1, {index}, NULL, {http}, NULL)"));
        }
    }
    let (execution, key) = (ExecutionId::new(), ApiKey::generate().unwrap().reveal().to_owned());
    let request =
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\r\n");
    let mut parts = EventParts::new("1", "/", "wasmill.http.request".parse().unwrap());
    parts.data = Some(request.into());
    parts.datacontenttype = Some("application/http".into());
    let texts = [&convert::from_event(&parts.check().unwrap()).unwrap(), &format!("it got {key}")]
        .map(|text| quoted(text));
    let [event, message] = texts;
    let columns = "id, accepted_at, queued_at, finished_at, attempt, max_attempts, tenant, function, state, message, \
                   event_type, event_id, event_source, traceparent, event";
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    statements.push(format!(
        "INSERT INTO executions ({columns}) VALUES ({}, 0, 0, 0, 1, 1, 'default', 'a', 'failed', {message}, \
         'wasmill.http.request', '1', '/', '{trace}', {event})",
        id(execution)
    ));
    statements.push(format!(
        "INSERT INTO attempts (execution_id, attempt, started_at, finished_at, queue_wait_ns, run_time_ns, fuel_used, \
         peak_memory, log_lines_dropped, host, outcome, message, span) \
         VALUES ({}, 1, 0, 0, 0, 0, 0, 0, 0, 'h', 'trap', {message}, '{trace}')",
        id(execution)
    ));
    Old { statements, key, execution }
}

impl Old {
    /// Makes sure that routes have owners and that no key is left.
    pub(crate) async fn is_brought_up_to_date(&self, store: Arc<dyn Store>) {
        let deploy = async |function: &str, path: &str| {
            let manifest =
                Manifest::from_json(json!({"name": function, "trigger": [{"http": path}]}))
                    .unwrap();
            let digest = wasmill_domain::Digest::of(b"wasm");
            store.put_artifact(&tenant(), digest, "wasm".into()).await.unwrap();
            let change = Change::Deploy {
                tenant: tenant(),
                digest,
                manifest,
                hostnames: Arc::default(),
                at: now(),
            };
            store.define(&change).await
        };
        for path in ["/x/{any}", "/own", "/y"] {
            assert!(matches!(deploy("c", path).await, Err(StoreError::Conflict(_))), "{path}");
        }
        // Of two that had it, the one that answered keeps it.
        store
            .define(&Change::DeleteFunction { tenant: tenant(), function: name("a") })
            .await
            .unwrap();
        deploy("c", "/own").await.unwrap();
        deploy("d", "/x/{any}").await.unwrap();
        // Going back to what has a route twice works, and claims it.
        deploy("twice", "/other").await.unwrap();
        let (function, hostnames) = (name("twice"), Arc::default());
        store
            .define(&Change::Rollback { tenant: tenant(), function, to: None, hostnames })
            .await
            .unwrap();
        assert!(matches!(deploy("c", "/t").await, Err(StoreError::Conflict(_))));
        let detail = store.execution(&tenant(), self.execution).await.unwrap().unwrap();
        assert!(!format!("{detail:?}").contains(&self.key), "{detail:?}");
        let data = detail.event.unwrap().data.clone().unwrap();
        assert!(String::from_utf8_lossy(&data).contains("authorization: Bearer wm_***"));
        assert!(detail.summary.message.unwrap().contains("it got wm_***"));
    }
}
