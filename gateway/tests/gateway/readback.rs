//! What was accepted can be read back, whatever it looks like; what cannot be read back is waited
//! for by nobody.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wasmill_broker::{Consuming as _, QueueName};
use wasmill_domain::event::arbitrary::any_event;
use wasmill_domain::event::json::JsonFormat;
use wasmill_domain::{Event, TenantName, Timestamp};
use wasmill_store::{Agenda as _, Ledger as _};

use crate::harness::{Answer, Gateway, id, retry_later, send};

const STRUCTURED: &str = "application/cloudevents+json";

/// As SOAP's clients send it: 291 bytes.
fn multipart() -> String {
    let parameters = format!("boundary=\"{}\"; start=\"<root@example.com>\"", "x".repeat(150));
    let text = format!(
        "multipart/related; type=\"application/xop+xml\"; start-info=\"text/xml\"; {parameters}"
    );
    format!("{text}{}", " ".repeat(291 - text.len()))
}

/// The attempt fails, and the next is promoted: it has the event that the first had. Gives what the
/// API shows of it.
async fn retried(gateway: &Gateway, function: &str) -> Answer {
    let dispatch = gateway.take(function, 1).await.remove(0);
    gateway.store.record(&[retry_later(dispatch.clone())]).await.unwrap();
    let promoted = gateway
        .store
        .promote_due(Timestamp::now().plus(Duration::from_secs(7200)), 10)
        .await
        .unwrap();
    assert_eq!(promoted.len(), 1, "{dispatch:?}");
    assert_eq!(promoted[0].event, dispatch.event);
    let answer = gateway.get(&format!("/v1/executions/{}", dispatch.execution)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

#[tokio::test]
async fn any_request_is_served_and_read_back() {
    let gateway = Gateway::start().await;
    gateway.deploy("hook", json!([{"http": "/hook/{id}/{*rest}", "mode": "async"}])).await;
    let long = "a".repeat(3_000);
    for (content_type, path, said, cut) in [
        (multipart().into_bytes(), "/hook/1/x".to_owned(), None, ""),
        (b"a/b, a/b".to_vec(), "/hook/1/x".into(), Some("a/b, a/b"), "datacontenttype"),
        (b"text/csv; a=b;".to_vec(), "/hook/1/x".into(), Some("text/csv; a=b;"), "datacontenttype"),
        (
            b"text/plain; x=\xff".to_vec(),
            "/hook/1/x".into(),
            Some("text/plain; x=\u{fffd}"),
            "datacontenttype",
        ),
        (
            format!("text/{long}").into_bytes(),
            "/hook/1/x".into(),
            Some(&*format!("text/{long}")),
            "datacontenttype",
        ),
        (b"text/plain".to_vec(), format!("/hook/1/{long}"), None, "source"),
        (b"text/plain".to_vec(), "/hook/%01%ef%bf%bf/x".into(), None, "paramid"),
        (b"text/plain".to_vec(), format!("/hook/1/x?q={}", "q".repeat(9_000)), None, "httpquery"),
        (b"text/plain".to_vec(), "/hook/a%20b/%zz{}|?%".into(), None, ""),
    ] {
        let request = gateway.request(Method::POST, &format!("/http/default{path}")).body("data");
        let header = HeaderValue::from_bytes(&content_type).unwrap();
        let answer = send(request.header("content-type", header)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{path}: {answer:?}");
        let event = &retried(&gateway, "hook").await.json()["event"];
        assert_eq!(event["attributescut"].as_str().unwrap_or_default(), cut, "{path}");
        assert_eq!(event["httpcontenttype"].as_str(), said, "{path}");
        let kind = match said {
            Some(said) if said.starts_with("text/csv") => "text/csv; a=b",
            Some(_) => "application/octet-stream",
            None => std::str::from_utf8(&content_type).unwrap(),
        };
        assert_eq!(event["datacontenttype"], kind.trim(), "{path}");
    }
    // Nobody says what it is.
    let answer = send(gateway.request(Method::POST, "/http/default/hook/1/x").body("data")).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let event = &retried(&gateway, "hook").await.json()["event"];
    assert_eq!(event["datacontenttype"], "application/octet-stream");
    assert_eq!((&event["httpcontenttype"], &event["attributescut"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn events_of_every_door_are_read_back() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "a.*"}])).await;
    let envelope = |rest: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"é \udbff\udffd","source":"?x#y","type":"a.b",{rest}}}"#
        )
    };
    for rest in [
        r#""data":{"n":1e999,"s":"\ud800","n":99999999999999999999}"#,
        r#""data_base64":"eyJhIjoxfQ==""#,
        r#""datacontenttype":"text/plain ; x=\"\\\"\"","data":"a\u0000b""#,
        r#""datacontenttype":"application/json","data_base64":"IHt9Cg==""#,
        r#""subject":" ","ext":"","number":-2147483648"#,
    ] {
        assert_eq!(
            gateway.post_as("/v1/events", STRUCTURED, envelope(rest)).await.status,
            202,
            "{rest}"
        );
        retried(&gateway, "total").await;
        let batch = format!("[{}]", envelope(rest));
        assert_eq!(
            gateway.post_as("/v1/events", "application/cloudevents-batch+json", batch).await.status,
            202
        );
        retried(&gateway, "total").await;
    }
    let binary = || {
        let request = gateway.request(Method::POST, "/v1/events").body(vec![0xff, 0]);
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", "%C3%A9 %22"),
            ("ce-source", "%3Fx"),
            ("ce-type", "a.b"),
        ];
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    };
    assert_eq!(send(binary()).await.status, 202);
    let event = &retried(&gateway, "total").await.json()["event"];
    assert_eq!((&event["data_base64"], &event["datacontenttype"]), (&json!("/wA="), &Value::Null));
    assert_eq!(send(binary().header("content-type", multipart())).await.status, 202);
    assert_eq!(
        retried(&gateway, "total").await.json()["event"]["datacontenttype"],
        multipart().trim()
    );
    let answer = gateway.post_as("/v1/events/a.b", "application/json", " [1]\n").await;
    assert_eq!(answer.status, 202);
    assert_eq!(retried(&gateway, "total").await.json()["event"]["data"], json!([1]));
}

/// In by the JSON format, out by every way that the API has: shown, by itself in either mode, and to
/// whoever runs it.
#[tokio::test]
async fn whatever_is_accepted_is_shown() {
    const EVENTS: usize = 60;
    let mut accepted = 0;
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "*"}])).await;
    let mut runner = TestRunner::deterministic();
    while accepted < EVENTS {
        let event = any_event().new_tree(&mut runner).unwrap().current();
        let document = String::from_utf8(event.to_json()).unwrap();
        let answer = gateway.post_as("/v1/events", STRUCTURED, document.clone()).await;
        if answer.status == StatusCode::BAD_REQUEST {
            // What is no JSON, though its type says so.
            let problem = answer.problem(400, "invalid-event");
            assert!(event.has_json_data(), "{document}: {problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("cannot be read as JSON"), "{document}: {problem}");
            continue;
        }
        assert_eq!(answer.status, 202, "{document}: {answer:?}");
        accepted += 1;
        let dispatch = gateway.take("total", 1).await.remove(0);
        // White space around JSON of no named type does not come through the format.
        let sent = Event::from_json(document.as_bytes()).unwrap();
        assert_eq!(*dispatch.event, sent);
        let path = format!("/v1/executions/{}", dispatch.execution);
        let shown = gateway.get(&path).await;
        assert_eq!(shown.status, 200, "{document}: {shown:?}");
        let shown: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&shown.bytes).unwrap();
        let expected = serde_json::to_string(&JsonFormat(&sent)).unwrap();
        assert_eq!(shown["event"].get(), expected);
        let request = gateway.request(Method::GET, &format!("{path}/event"));
        let answer = send(request.header("accept", STRUCTURED)).await;
        assert_eq!(Event::from_json(&answer.bytes).unwrap(), sent, "{document}");
    }
}

#[tokio::test]
async fn no_door_takes_what_breaks_the_rules() {
    let gateway = Gateway::start().await;
    gateway.deploy("total", json!([{"event": "a.*"}])).await;
    for (name, bad) in [
        ("id", "a\u{fffe}"),
        ("source", "/a b"),
        ("source", "/ü"),
        ("dataschema", "/relative"),
        ("subject", "\u{fdd0}"),
        ("ext", "\u{85}"),
        ("datacontenttype", "a/b, a/b"),
        ("datacontenttype", "text/plain;"),
    ] {
        let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "a.b"});
        event[name] = json!(bad);
        let pointer = |answer: &Answer| {
            answer.problem(400, "invalid-event")["errors"][0]["pointer"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let answer = gateway.post_as("/v1/events", STRUCTURED, event.to_string()).await;
        assert_eq!(pointer(&answer), format!("/{name}"));
        let answer = gateway
            .post_as("/v1/events", "application/cloudevents-batch+json", json!([event]).to_string())
            .await;
        assert_eq!(pointer(&answer), format!("/0/{name}"));
        if name == "datacontenttype" {
            continue;
        }
        let header = |request: reqwest::RequestBuilder, name: &str, value: &str| {
            let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            request.header(HeaderName::try_from(format!("ce-{name}")).unwrap(), value)
        };
        let request = gateway
            .request(Method::POST, "/v1/events")
            .header("content-type", "text/plain")
            .body("x");
        let request =
            event.as_object().unwrap().iter().fold(request, |request, (name, value)| {
                header(request, name, value.as_str().unwrap())
            });
        assert_eq!(pointer(&send(request).await), format!("/{name}"));
        let request = gateway
            .request(Method::POST, "/v1/events/a.b")
            .header("content-type", "text/plain")
            .body("x");
        assert_eq!(pointer(&send(header(request, name, bad)).await), format!("/{name}"));
    }
    let semicolon = |path: &str| {
        gateway.request(Method::POST, path).header("content-type", "text/plain;").body("x")
    };
    send(semicolon("/v1/events/a.b")).await.problem(415, "unsupported-media-type");
    let headers =
        [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "a.b")];
    let binary = headers
        .iter()
        .fold(semicolon("/v1/events"), |request, (name, value)| request.header(*name, *value));
    let problem = send(binary).await.problem(400, "invalid-event");
    assert_eq!(problem["errors"][0]["pointer"], "/datacontenttype");
}

#[tokio::test]
async fn what_cannot_be_read_is_shown_and_not_waited_for() {
    const SPOILED: &str = r#"{"specversion":"0.3"}"#;
    let gateway = Gateway::start().await;
    gateway.deploy("odd", json!([{"http": "/odd"}])).await;
    for path in ["/http/default/odd", "/v1/functions/odd/invoke?wait=10m"] {
        let host = async {
            let queue = QueueName::of_function(&TenantName::default(), &"odd".parse().unwrap());
            let mut consumption = gateway.broker.consume(&queue, NonZeroU16::MIN).await.unwrap();
            let delivery = consumption.deliveries.next().await.unwrap();
            let frame = wasmill_domain::Batch::decode(&delivery.message.body).unwrap();
            let dispatch = frame.into_dispatches().remove(0);
            gateway.store.record(&[retry_later(dispatch.clone())]).await.unwrap();
            gateway.store.spoil_event(dispatch.execution, SPOILED).await.unwrap();
            consumption.settle.ack(&[delivery.tag]).await.unwrap();
            gateway.broker.reply(&delivery.message.reply_to.unwrap(), Bytes::new()).await.unwrap();
            dispatch.execution
        };
        let body = json!({});
        let (answer, execution) = tokio::join!(gateway.post(path, &body), host);
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.headers["location"], format!("/v1/executions/{execution}"));
        let shown = gateway.get(&format!("/v1/executions/{execution}")).await;
        assert_eq!(shown.status, 200, "{shown:?}");
        let shown = shown.json();
        assert_eq!(
            (&shown["event"], &shown["unreadable_event"]["text"]),
            (&Value::Null, &json!(SPOILED))
        );
        let why = shown["unreadable_event"]["why"].as_str().unwrap();
        let event = gateway
            .get(&format!("/v1/executions/{execution}/event"))
            .await
            .problem(422, "unprocessable");
        assert!(event["detail"].as_str().unwrap().contains(why), "{why}: {event}");
        assert!(
            gateway
                .store
                .promote_due(Timestamp::now().plus(Duration::from_secs(7200)), 10)
                .await
                .unwrap()
                .is_empty()
        );
        let shown =
            gateway.get(&format!("/v1/executions/{}", id(&execution.to_string()))).await.json();
        assert_eq!(
            (&shown["state"], &shown["unreadable_event"]["text"]),
            (&json!("failed"), &json!(SPOILED))
        );
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_listed_as_what_it_is() {
    let gateway = Gateway::start().await;
    gateway.deploy("odd", json!([{"event": "a.*"}])).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let accepted = gateway.post("/v1/events/a.b", &json!({})).await.json();
        ids.push(accepted["executions"][0]["id"].as_str().unwrap().to_owned());
    }
    // Once it is listed, the row is there.
    assert_eq!(
        gateway.get("/v1/executions").await.json()["executions"].as_array().unwrap().len(),
        3
    );
    gateway.store.spoil_type(id(&ids[1])).await.unwrap();
    let page = gateway.get("/v1/executions").await;
    assert_eq!(page.status, 200, "{page:?}");
    let page = page.json();
    let listed: Vec<&str> =
        page["executions"].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap()).collect();
    assert_eq!(listed, [&ids[2], &ids[1], &ids[0]]);
    let odd = page["executions"][1].as_object().unwrap();
    assert_eq!(odd.len(), 2, "{odd:?}");
    assert!(odd["unreadable"].as_str().unwrap().contains("'event_type' cannot be read"), "{odd:?}");
    // Pages go on from it.
    let first = gateway.get("/v1/executions?limit=2").await.json();
    assert_eq!(first["next"], ids[1]);
    let second = gateway.get(&format!("/v1/executions?limit=2&cursor={}", ids[1])).await.json();
    assert_eq!(second["executions"][0]["id"], ids[0]);
    let shown =
        gateway.get(&format!("/v1/executions/{}", ids[1])).await.problem(422, "unprocessable");
    assert!(shown["detail"].as_str().unwrap().contains("'event_type' cannot be read"), "{shown}");
}

#[tokio::test]
async fn bytes_without_a_type_are_not_taken_for_json() {
    let gateway = Gateway::start().await;
    let schema =
        json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}});
    gateway.deploy("total", json!([{"event": "a.*", "schema": schema}])).await;
    gateway.deploy("any", json!([{"event": "b.*"}])).await;
    let event = |event_type: &str, rest: &str| {
        format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"{event_type}",{rest}}}"#)
    };
    let post = async |body: String| gateway.post_as("/v1/events", STRUCTURED, body).await;
    // "not JSON" in base64: nobody said that it is.
    assert_eq!(post(event("b.c", r#""data_base64":"bm90IEpTT04=""#)).await.status, 202);
    assert!(gateway.take("any", 1).await[0].event.opaque);
    for (rest, pointer) in [
        (r#""data_base64":"eyJhIjoxfQ==""#, "/data_base64"),
        (r#""datacontenttype":"text/plain","data_base64":"eyJhIjoxfQ==""#, "/datacontenttype"),
        (r#""datacontenttype":"application/json","data_base64":"bm90IEpTT04=""#, "/data_base64"),
    ] {
        let problem = post(event("a.b", rest)).await.problem(400, "invalid-event");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    let said = r#""datacontenttype":"application/json","data_base64":"e30=""#;
    let problem = post(event("a.b", said)).await.problem(400, "schema-violation");
    assert_eq!(problem["errors"][0]["pointer"], "/data_base64");
    let inner = r#""datacontenttype":"application/json","data_base64":"eyJhIjoiIn0=""#;
    let problem = post(event("a.b", inner)).await.problem(400, "schema-violation");
    assert_eq!(problem["errors"][0]["pointer"], "/data_base64");
    assert!(
        problem["errors"][0]["detail"].as_str().unwrap().contains("'/a' of what is encoded"),
        "{problem}"
    );
    let headers =
        [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "a.b")];
    let request = gateway.request(Method::POST, "/v1/events").body(r#"{"a":1}"#);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    send(request).await.problem(415, "unsupported-media-type");
}

#[tokio::test]
async fn what_a_schema_checks_is_not_ambiguous() {
    let gateway = Gateway::start().await;
    let schema = json!({"properties": {"n": {"maximum": 7}}});
    gateway
        .deploy(
            "total",
            json!([{"event": "a.b", "schema": schema}, {"http": "/n", "schema": schema}]),
        )
        .await;
    gateway.deploy("any", json!([{"event": "a.free"}])).await;
    for (data, words) in [
        (r#"{"n": 8, "n": 7}"#, "'n' stands there twice"),
        (r#"{"m": 18446744073709551616}"#, "beyond 64 bits"),
        (r#"{"m": -9223372036854775809}"#, "beyond 64 bits"),
        (r#"{"m": 1e400}"#, "out of range"),
    ] {
        for (path, kind) in
            [("/v1/events/a.b", "invalid-event"), ("/http/default/n", "bad-request")]
        {
            let problem = gateway.post_as(path, "application/json", data).await.problem(400, kind);
            assert!(problem["errors"][0]["detail"].as_str().unwrap().contains(words), "{problem}");
            assert_eq!(problem["errors"][0]["line"], 1, "{problem}");
        }
        let event =
            format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"a.b","data":{data}}}"#);
        let batch = format!("[{event}]");
        let invoke = "/v1/functions/total/invoke?wait=0s";
        for (path, media_type, body) in [
            ("/v1/events", STRUCTURED, event.clone()),
            ("/v1/events", "application/cloudevents-batch+json", batch),
            (invoke, STRUCTURED, event),
            (invoke, "application/json", data.to_owned()),
        ] {
            let answer = gateway.post_as(path, media_type, body).await;
            let problem = answer.problem(400, "invalid-event");
            let detail = problem["errors"][0]["detail"].as_str().unwrap();
            assert!(detail.contains(words), "{path} {media_type}: {problem}");
        }
        // What nobody compares is passed on as it is.
        assert_eq!(
            gateway.post_as("/v1/events/a.free", "application/json", data).await.status,
            202
        );
        assert_eq!(gateway.take("any", 1).await[0].event.data.as_deref(), Some(data.as_bytes()));
        let put = gateway
            .request(Method::PUT, "/v1/schemas/a.c")
            .header("content-type", "application/json");
        let problem = send(put.body(data)).await.problem(400, "bad-request");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
}
