//! JSON Schema on the way of an event: parse, route, validate, compile, and the gateway's whole
//! answer without a socket.
//!
//! The event is an order of 1 KB, the schema is in draft 2020-12 with patterns, bounds and `$ref`s.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::Request;
use http_body_util::Full;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use wasmill_broker::embedded::{EmbeddedBroker, EmbeddedSettings};
use wasmill_broker::{BatchPublisher, PublisherSettings, Publishing as _, QueueName, Queues as _};
use wasmill_component::{Artifact, Preflight, PreflightError};
use wasmill_domain::{
    Definitions, Digest, FunctionDefinition, Manifest, Registry, Revision, TenantName, Timestamp,
};
use wasmill_gateway::{GatewayBroker, GatewayParts, GatewaySettings, GatewayStore, Service};
use wasmill_schema::{Compiler, Schema};
use wasmill_store::sqlite::{SqliteSettings, SqliteStore};
use wasmill_store::{Artifacts as _, Catalog as _, Change, RegistryWatch};

const TASKS: u64 = 64;
const EVENT_TYPE: &str = "order.created";

fn event_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["id", "type", "source", "ts", "customer", "items", "total_cents", "currency"],
        "additionalProperties": false,
        "properties": {
            "id": {"type": "string", "pattern": "^evt_[0-9]{12}$"},
            "type": {"type": "string", "enum": ["order.created", "order.updated", "order.deleted"]},
            "source": {"type": "string", "minLength": 1, "maxLength": 64},
            "ts": {"type": "integer", "minimum": 0},
            "customer": {"$ref": "#/$defs/customer"},
            "items": {"type": "array", "minItems": 1, "maxItems": 100, "items": {"$ref": "#/$defs/item"}},
            "total_cents": {"type": "integer", "minimum": 0},
            "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
            "note": {"type": "string", "maxLength": 2000}
        },
        "$defs": {
            "customer": {"type": "object", "required": ["id", "email"], "properties": {
                "id": {"type": "integer"}, "email": {"type": "string", "minLength": 3},
                "country": {"type": "string", "minLength": 2, "maxLength": 2}, "vip": {"type": "boolean"}}},
            "item": {"type": "object", "required": ["sku", "qty", "price_cents"], "properties": {
                "sku": {"type": "string", "pattern": "^SKU-"}, "qty": {"type": "integer", "minimum": 1},
                "price_cents": {"type": "integer", "minimum": 0}, "tags": {"type": "array", "items": {"type": "string"}}}}
        }
    })
}

/// An order of 1 KB; `qty` of 0 breaks the schema.
fn order(qty: u32) -> String {
    let item = |k: u32| json!({"sku": format!("SKU-{k:05}"), "qty": qty, "price_cents": 1999 + k, "tags": ["a", "bb"]});
    let mut order = json!({
        "id": "evt_000000000001", "type": EVENT_TYPE, "source": "shop/eu-west-1", "ts": 1_763_770_000_124_u64,
        "customer": {"id": 4711, "email": "jane.doe@example.org", "country": "DE", "vip": true},
        "items": (0..6).map(item).collect::<Vec<_>>(), "total_cents": 12345, "currency": "EUR", "note": ""
    });
    let missing = 1024_usize.saturating_sub(order.to_string().len());
    order["note"] = json!("n".repeat(missing));
    order.to_string()
}

fn manifest() -> Manifest {
    Manifest::from_json(
        json!({"name": "bench", "trigger": [{"event": EVENT_TYPE, "schema": event_schema()}]}),
    )
    .unwrap()
}

fn parts_of_the_way(c: &mut Criterion) {
    let (good, bad) = (order(1), order(0));
    let (good_value, bad_value): (Value, Value) =
        (serde_json::from_str(&good).unwrap(), serde_json::from_str(&bad).unwrap());
    let source = Arc::new(event_schema());
    let schema = Schema::compile(Arc::clone(&source)).unwrap();
    let mut group = c.benchmark_group("schema");
    group.bench_function("parse", |b| {
        b.iter(|| serde_json::from_slice::<Value>(black_box(good.as_bytes())).unwrap());
    });
    group.bench_function("parse_syntax_only", |b| {
        b.iter(|| serde_json::from_slice::<&RawValue>(black_box(good.as_bytes())).unwrap());
    });
    group.bench_function("validate", |b| {
        b.iter(|| schema.validate(black_box(&good_value)).unwrap());
    });
    group.bench_function("validate_six_violations", |b| {
        b.iter(|| schema.validate(black_box(&bad_value)).unwrap_err());
    });
    group.bench_function("compile", |b| {
        b.iter(|| Schema::compile(black_box(Arc::clone(&source))).unwrap());
    });

    let tenant = TenantName::default();
    let function = FunctionDefinition {
        tenant: tenant.clone(),
        name: "bench".parse().unwrap(),
        version: 1,
        digest: Digest::of(b""),
        manifest: Arc::new(manifest()),
        deployed_at: Timestamp::now(),
    };
    let definitions =
        Definitions { revision: Revision(1), functions: vec![function], ..Definitions::default() };
    let registry = Registry::build(definitions, &Registry::new(Arc::new(Compiler::default())));
    group.bench_function("parse_route_validate", |b| {
        b.iter(|| {
            let route = registry.route(&tenant, &black_box(EVENT_TYPE).parse().unwrap());
            let value: Value = serde_json::from_slice(black_box(good.as_bytes())).unwrap();
            route.check(&value).unwrap();
            route.functions.len()
        });
    });
    group.finish();
}

/// There is nothing to run here, so there is nothing to check.
struct AnythingGoes;

#[async_trait]
impl Preflight for AnythingGoes {
    async fn check(
        &self,
        _: &TenantName,
        _: Digest,
        _: &dyn Artifact,
        _: &Manifest,
    ) -> Result<(), PreflightError> {
        Ok(())
    }
}

fn request(body: &Bytes) -> Request<Full<Bytes>> {
    let request = Request::post(format!("/v1/events/{EVENT_TYPE}"))
        .header("content-type", "application/json");
    request.body(Full::new(body.clone())).unwrap()
}

/// A store that has the function.
async fn deployed(file: &Path) -> Arc<SqliteStore> {
    let store = SqliteStore::open(file, SqliteSettings::default()).await.unwrap();
    let (tenant, digest) = (TenantName::default(), Digest::of(b""));
    store.put_artifact(&tenant, digest, Bytes::new()).await.unwrap();
    let manifest = manifest();
    let (hostnames, at) = (Arc::default(), Timestamp::now());
    let deploy = Change::Deploy { tenant, digest, manifest, hostnames, at };
    store.define(&deploy).await.unwrap();
    Arc::new(store)
}

/// The whole of the gateway but the socket, on the embedded backends: one request after the other
/// that a schema refuses, and from 64 tasks at a time what is on the disk when it is answered.
fn answers(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (router, broker) = runtime.block_on(async {
        let store = deployed(&dir.path().join("db")).await;
        let settings = EmbeddedSettings {
            queue_bytes: 1 << 30,
            total_bytes: 1 << 30,
            ..EmbeddedSettings::default()
        };
        let broker = Arc::new(EmbeddedBroker::open(&dir.path().join("queue"), settings).unwrap());
        let first = Registry::new(Arc::new(Compiler::default()));
        let parts = GatewayParts {
            registry: RegistryWatch::start_from(
                first,
                Arc::clone(&store) as _,
                Duration::from_secs(1),
            )
            .await
            .unwrap(),
            store: GatewayStore::of(&store),
            nodes: store,
            broker: GatewayBroker::of(&broker),
            publisher: BatchPublisher::new(Arc::clone(&broker) as _, PublisherSettings::default()),
            preflight: Arc::new(AnythingGoes),
            secrets: wasmill_host::Capabilities::default().secrets,
            keyring: None,
            notes: Vec::new(),
            settings: GatewaySettings::default(),
        };
        (Service::new(parts, CancellationToken::new()).router(), broker)
    });
    let (good, bad) = (Bytes::from(order(1)), Bytes::from(order(0)));
    let mut group = c.benchmark_group("gateway");
    group.bench_function("refuse", |b| {
        b.to_async(&runtime).iter(|| async {
            let response = router.clone().oneshot(request(&bad)).await.unwrap();
            assert_eq!(response.status(), 400);
        });
    });
    let queue = QueueName::of_function(&TenantName::default(), &manifest().name);
    group.throughput(Throughput::Elements(1));
    group.bench_function("accept_64_tasks", |b| {
        b.to_async(&runtime).iter_custom(|count| {
            let (router, broker, queue, good) =
                (router.clone(), Arc::clone(&broker), queue.clone(), good.clone());
            async move {
                broker.delete(&queue).await.unwrap();
                broker.declare(&queue).await.unwrap();
                let begun = Instant::now();
                let tasks: Vec<_> = (0..TASKS)
                    .map(|task| {
                        let (router, good) = (router.clone(), good.clone());
                        tokio::spawn(async move {
                            for _ in 0..count / TASKS + u64::from(task < count % TASKS) {
                                let response =
                                    router.clone().oneshot(request(&good)).await.unwrap();
                                assert_eq!(response.status(), 202);
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
                begun.elapsed()
            }
        });
    });
    group.finish();
}

criterion_group!(benches, parts_of_the_way, answers);
criterion_main!(benches);
