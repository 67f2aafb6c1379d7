//! What functions keep: shared by those that name the same bucket, and there after a restart.

use serde_json::{Value, json};

use super::support::api::Api;
use super::support::{Dev, sample};

/// The sample `page-counter` as a function of another name, on pages of its own, with the tenant's
/// bucket.
fn counter_folder(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let component = sample("page-counter").join("page-counter.wasm");
    let manifest = format!(
        "name = '{name}'\ncomponent = '{}'\n[keyvalue]\nvisits = 'tenant'\n",
        component.display()
    );
    std::fs::write(folder.path().join("wasmill.toml"), manifest).unwrap();
    folder
}

/// What a function says to an event.
async fn says(api: &Api, function: &str, event_type: &str, data: Value) -> Value {
    let event = json!({ "specversion": "1.0", "id": "1", "source": "/tests", "type": event_type, "data": data });
    let request = api.request("POST", &format!("/v1/functions/{function}/invoke?wait=60s"));
    let request =
        request.header("content-type", "application/cloudevents+json").body(event.to_string());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let document: Value = response.json().await.unwrap();
    assert_eq!(document["outcome"], "success", "{document}");
    document["result"]["data"].clone()
}

fn visit(visitor: &str) -> Value {
    json!({ "page": "/pricing", "visitor": visitor })
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_share_a_bucket_that_survives_a_restart() {
    let mut dev = Dev::with_samples(&["page-counter"]);
    for name in ["one", "two"] {
        dev.cli_ok(&["deploy", counter_folder(name).path().to_str().unwrap()]);
    }
    let api = dev.api();
    let first = says(&api, "one", "page.visited", visit("Ada")).await;
    assert_eq!(first, json!({ "page": "/pricing", "visits": 1, "previous": null }));
    let second = says(&api, "two", "page.visited", visit("Grace")).await;
    assert_eq!(second, json!({ "page": "/pricing", "visits": 2, "previous": "Ada" }));
    // The sample's own bucket has the same name, and is another one.
    assert_eq!(says(&api, "page-counter", "page.visited", visit("Alan")).await["visits"], 1);

    assert!(dev.terminate());
    dev.restart();
    let api = dev.api();
    assert_eq!(
        says(&api, "one", "page.report", json!({})).await,
        json!({ "visits": { "/pricing": 2 } })
    );
    let third = says(&api, "one", "page.visited", visit("Ada")).await;
    assert_eq!(third, json!({ "page": "/pricing", "visits": 3, "previous": "Grace" }));
    an_operator_looks_and_changes(&dev, &api).await;
}

async fn an_operator_looks_and_changes(dev: &Dev, api: &Api) {
    let buckets = dev.cli_json(&["keyvalue", "buckets"])["buckets"].clone();
    let named: Vec<_> = buckets
        .as_array()
        .unwrap()
        .iter()
        .map(|b| (&b["name"], &b["function"], &b["keys"]))
        .collect();
    let (visits, own) = (json!("visits"), json!("page-counter"));
    assert_eq!(named, [(&visits, &Value::Null, &json!(2)), (&visits, &own, &json!(2))]);
    assert!(dev.cli_ok(&["keyvalue", "buckets"]).contains("page-counter"));
    assert_eq!(dev.cli_ok(&["keyvalue", "list", "visits"]), "count /pricing\nlast /pricing\n");
    assert_eq!(dev.cli_ok(&["keyvalue", "get", "visits", "last /pricing"]), "Ada");
    assert_eq!(
        dev.cli_ok(&["keyvalue", "get", "visits", "last /pricing", "--function", "page-counter"]),
        "Alan"
    );
    dev.cli_ok(&["keyvalue", "set", "visits", "count /pricing", "41"]);
    assert_eq!(dev.cli_json(&["keyvalue", "get", "visits", "count /pricing"])["text"], "41");
    assert_eq!(says(api, "two", "page.visited", visit("Ada")).await["visits"], 42);
    dev.cli_ok(&["keyvalue", "delete", "visits", "last /pricing"]);
    assert!(
        dev.cli_fails(3, &["keyvalue", "get", "visits", "last /pricing"]).contains("has no key")
    );
    assert_eq!(says(api, "two", "page.visited", visit("Ada")).await["previous"], Value::Null);
}
