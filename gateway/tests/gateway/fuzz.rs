//! Whatever comes over HTTP gets an answer that the description knows: never a 5xx, never a bare
//! error.

use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::harness::{Gateway, send, success};
use crate::openapi::operations;

/// A request, as far as a client can send it.
#[derive(Clone, Debug)]
struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("order.created".to_owned()),
        Just("total".to_owned()),
        Just("019ab000-0000-7000-8000-000000000000".to_owned()),
        Just(format!("sha256:{}", "0".repeat(64))),
        "[a-z.%0-9/-]{0,12}",
        "(%[0-9a-fA-F]{2}){1,6}",
    ]
}

fn path() -> impl Strategy<Value = String> {
    let query = prop_oneof![
        Just(String::new()),
        "\\?(limit|cursor|state|type|wait|since|function|x)=[a-zA-Z0-9.%:+-]{0,12}",
        "\\?[a-z&=%0-9+]{0,20}",
    ];
    // Calls that wait are told not to: there is nobody who ends them.
    let known = prop_oneof![
        Just("/v1/events".to_owned()),
        segment().prop_map(|s| format!("/v1/events/{s}")),
        segment().prop_map(|s| format!("/v1/functions/{s}")),
        segment().prop_map(|s| format!("/v1/functions/{s}/versions")),
        segment().prop_map(|s| format!("/v1/functions/{s}/rollback")),
        segment().prop_map(|s| format!("/v1/schemas/{s}")),
        segment().prop_map(|s| format!("/v1/executions/{s}")),
        segment().prop_map(|s| format!("/v1/executions/{s}/logs")),
        segment().prop_map(|s| format!("/v1/artifacts/{s}")),
        Just("/v1/artifacts".to_owned()),
        Just("/v1/files".to_owned()),
        Just("/v1/files/missing".to_owned()),
        Just("/v1/executions".to_owned()),
        Just("/v1/functions".to_owned()),
        "(/[a-z0-9.%]{0,8}){1,4}",
    ];
    let invoke = "\\?wait=0s(&type=[a-z.%0-9]{0,10})?"
        .prop_map(|query| format!("/v1/functions/total/invoke{query}"));
    prop_oneof![8 => (known, query).prop_map(|(path, query)| path + &query), 2 => invoke]
}

fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let content_type = prop_oneof![
        Just("application/json"),
        Just("application/cloudevents+json"),
        Just("application/cloudevents-batch+json"),
        Just("application/cloudevents+avro"),
        Just("application/x-www-form-urlencoded"),
        Just("text/csv"),
        Just("application/wasm"),
        Just("nonsense"),
        Just(""),
        Just("application/json; charset=utf-16"),
    ];
    let content_type =
        content_type.prop_map(|text| ("content-type".to_owned(), text.as_bytes().to_vec()));
    let binary = Just(vec![
        ("ce-specversion".to_owned(), b"1.0".to_vec()),
        ("ce-id".to_owned(), b"1".to_vec()),
        ("ce-source".to_owned(), b"/s".to_vec()),
        ("ce-type".to_owned(), b"order.created".to_vec()),
    ]);
    let binary = prop_oneof![Just(Vec::new()), binary];
    // What a header's value may hold on the wire: visible characters, spaces, tabs and any byte
    // from 0x80 on.
    let value = proptest::collection::vec(
        prop_oneof![0x20u8..0x7f, 0x80u8..=0xff, Just(b'\t'), Just(b'"'), Just(b'%')],
        0..20,
    );
    let name = prop_oneof![
        "ce-[a-z0-9_-]{1,10}",
        Just("traceparent".to_owned()),
        Just("wasmill-tenant".to_owned()),
        Just("authorization".to_owned()),
        Just("content-encoding".to_owned()),
        Just("accept".to_owned())
    ];
    let others = proptest::collection::vec((name, value), 0..3);
    (proptest::option::of(content_type), binary, others).prop_map(
        |(content_type, binary, others)| {
            content_type.into_iter().chain(binary).chain(others).collect()
        },
    )
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let event = |data: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"order.created","data":{data}}}"#
        )
    };
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{}\",:0-9a-z ]{0,60}".prop_map(String::into_bytes),
        "\\PC{0,60}".prop_map(|text| json!({"total": text}).to_string().into_bytes()),
        Just(event("{\"total\":1}").into_bytes()),
        Just(format!("[{},{}]", event("1"), event("null")).into_bytes()),
        Just(format!("{}1{}", "[".repeat(300), "]".repeat(300)).into_bytes()),
        Just(
            json!({"manifest": {"name": "total"}, "digest": format!("sha256:{}", "0".repeat(64))})
                .to_string()
                .into_bytes()
        ),
        // A valid body with one byte changed.
        (0usize..80, any::<u8>()).prop_map(move |(at, byte)| {
            let mut bytes = event("{\"total\":1}").into_bytes();
            bytes[at] = byte;
            bytes
        }),
    ]
}

fn requests() -> impl Strategy<Value = Request> {
    let method = prop_oneof![4 => Just("POST"), 1 => Just("GET"), 1 => Just("PUT"), 1 => Just("DELETE"), 1 => Just("HEAD"),
        1 => Just("PATCH"), 1 => Just("OPTIONS"), 1 => Just("BREW")];
    (method, path(), headers(), body()).prop_map(|(method, path, headers, body)| Request {
        method,
        path,
        headers,
        body,
    })
}

/// The statuses that the description has for a request; `None` where it has no such operation.
fn described(
    operations: &[(String, String, Value)],
    method: &str,
    path: &str,
) -> Option<Vec<String>> {
    // As the client sends it: without dot segments.
    let url = reqwest::Url::parse(&format!("http://localhost{path}")).unwrap();
    let segments: Vec<&str> = url.path().split('/').collect();
    let method = if method == "HEAD" { "GET" } else { method };
    let matches = |template: &str| {
        let wanted: Vec<&str> = template.split('/').collect();
        // The last segment may not be empty.
        wanted.len() == segments.len()
            && segments.last() != Some(&"")
            && wanted
                .iter()
                .zip(&segments)
                .all(|(wanted, segment)| wanted.starts_with('{') || wanted == segment)
    };
    let (_, _, operation) =
        operations.iter().find(|(template, m, _)| m == method && matches(template))?;
    Some(operation["responses"].as_object().unwrap().keys().cloned().collect())
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap())
}

#[test]
fn whatever_comes_in_is_answered() {
    let gateway = runtime().block_on(async {
        let gateway = Gateway::start().await;
        gateway
            .deploy("total", json!([{"event": "order.created"}, {"event": "x.*", "schema": {"required": ["total"]}}]))
            .await;
        gateway.work("total", success).await;
        gateway
    });
    let operations = operations(&wasmill_gateway::openapi());
    let seen = std::cell::RefCell::new(std::collections::BTreeMap::<u16, usize>::new());
    // PROPTEST_CASES asks for more.
    let defaults = Config::default();
    let cases = defaults.cases.max(2_000);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..defaults });
    let outcome = runner.run(&requests(), |request| {
        let sent = gateway
            .request(Method::from_bytes(request.method.as_bytes()).unwrap(), &request.path)
            .body(request.body.clone());
        let sent = request
            .headers
            .iter()
            .fold(sent, |sent, (name, value)| sent.header(name, value.as_slice()));
        // `send` makes sure of the problem document.
        let answer = runtime().block_on(send(sent));
        let status = answer.status.as_u16();
        *seen.borrow_mut().entry(status).or_default() += 1;
        prop_assert!(status < 500, "{:?}: {:?}", request, answer);
        match described(&operations, request.method, &request.path) {
            Some(statuses) => {
                prop_assert!(statuses.contains(&status.to_string()), "{:?}: {:?}", request, answer);
            }
            None => prop_assert!(matches!(status, 404 | 405), "{:?}: {:?}", request, answer),
        }
        Ok(())
    });
    outcome.unwrap_or_else(|e| panic!("{e}"));
    // The requests are not so wild that they all end at the same door.
    for status in [200, 202, 400, 404, 405, 415] {
        assert!(seen.borrow().contains_key(&status), "{:?}", seen.borrow());
    }
}
