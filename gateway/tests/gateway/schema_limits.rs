//! What schemas and checks may cost, and whose place it takes.

use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use serde_json::{Map, Value, json};
use wasmill_domain::schema::{CompileError, CompiledSchema, Failure, SchemaCompiler};
use wasmill_gateway::GatewaySettings;
use wasmill_schema::{Compiler, Formats, SchemaLimits};

use crate::harness::{Gateway, send};

/// A schema that tries 2^`levels` alternatives, in vain.
fn doubling(levels: usize) -> Value {
    let below = |level: usize| json!({"$ref": format!("#/$defs/s{}", level - 1)});
    let mut schemas: Map<String, Value> = (1..=levels)
        .map(|level| (format!("s{level}"), json!({"anyOf": [below(level), below(level)]})))
        .collect();
    schemas.insert("s0".into(), json!(false));
    json!({"$defs": schemas, "$ref": format!("#/$defs/s{levels}")})
}

fn steps(max_check_steps: u64) -> SchemaLimits {
    SchemaLimits { max_check_steps, ..SchemaLimits::default() }
}

#[tokio::test]
async fn a_check_ends_with_its_steps() {
    let gateway = Gateway::start_within(steps(1_000), GatewaySettings::default()).await;
    gateway
        .deploy("hard", json!([{"event": "hard", "schema": doubling(12)}, {"http": "/hard", "schema": doubling(12)}]))
        .await;
    gateway.deploy("easy", json!([{"event": "easy", "schema": {"type": "object"}}])).await;
    for _ in 0..2 {
        let problem =
            gateway.post("/v1/events/hard", &json!({})).await.problem(422, "check-too-long");
        assert_eq!(
            (&problem["errors"][0]["schema"], &problem["errors"][0]["pointer"]),
            (&json!("function hard"), &json!(""))
        );
        assert!(
            problem["detail"].as_str().unwrap().contains("schemas.max_check_steps"),
            "{problem}"
        );
    }
    let event =
        json!({"specversion": "1.0", "id": "1", "source": "/a", "type": "hard", "data": {}});
    let answer =
        gateway.post_as("/v1/events", "application/cloudevents+json", event.to_string()).await;
    assert_eq!(answer.problem(422, "check-too-long")["errors"][0]["pointer"], "/data");
    gateway.post("/http/default/hard", &json!({})).await.problem(422, "check-too-long");
    gateway.post("/v1/functions/hard/invoke", &json!({})).await.problem(422, "check-too-long");
    assert_eq!(gateway.post("/v1/events/easy", &json!({})).await.status, 202);
    let batch: Vec<Value> = (0..600)
        .map(|i| json!({"specversion": "1.0", "id": i.to_string(), "source": "/a", "type": "easy", "data": {"a": {}}}))
        .collect();
    let batch = json!(batch).to_string();
    let answer = gateway.post_as("/v1/events", "application/cloudevents-batch+json", batch).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

#[tokio::test]
async fn a_check_that_takes_longer_is_done_elsewhere() {
    let compiler = Arc::new(WatchedCompiler::default());
    let threads = Arc::clone(&compiler.threads);
    // This thread is the one that serves requests.
    let here = thread::current().id();
    let gateway = Gateway::start_compiling(compiler).await;
    // More steps than are taken where the request arrives.
    let mut schema = doubling(16);
    let reference = schema["$ref"].take();
    schema["$ref"] = json!("#/$defs/passes");
    schema["$defs"]["passes"] = json!({"not": {"$ref": reference}});
    gateway.deploy("slow", json!([{"event": "slow", "schema": schema}])).await;
    for _ in 0..2 {
        let answer = gateway.post("/v1/events/slow", &json!({})).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let long = json!({"note": "n".repeat(100_000)});
    assert_eq!(gateway.post("/v1/events/slow", &long).await.status, 202);
    let threads = threads.lock().unwrap();
    assert_eq!(threads.checked.len(), 3, "each check has an end");
    assert!(!threads.checked.contains(&here) && !threads.compiled.contains(&here));
    // Short data are tried where they arrive, by a schema that is compiled.
    assert_eq!(threads.tried, [here]);
}

/// The usual compiler, and which threads it and its schemas were used on.
#[derive(Debug, Default)]
struct WatchedCompiler {
    compiler: Compiler,
    threads: Arc<Mutex<Threads>>,
}

#[derive(Debug, Default)]
struct Threads {
    compiled: Vec<ThreadId>,
    tried: Vec<ThreadId>,
    checked: Vec<ThreadId>,
}

#[derive(Debug)]
struct WatchedSchema {
    schema: Box<dyn CompiledSchema>,
    threads: Arc<Mutex<Threads>>,
}

impl SchemaCompiler for WatchedCompiler {
    fn compile(&self, source: Arc<Value>) -> Result<Box<dyn CompiledSchema>, CompileError> {
        self.threads.lock().unwrap().compiled.push(thread::current().id());
        let schema = self.compiler.compile(source)?;
        Ok(Box::new(WatchedSchema { schema, threads: Arc::clone(&self.threads) }))
    }

    fn bytes_of(&self, source: &Value) -> Result<usize, CompileError> {
        self.compiler.bytes_of(source)
    }

    fn max_tenant_bytes(&self) -> usize {
        self.compiler.max_tenant_bytes()
    }

    fn max_check_steps(&self) -> u64 {
        self.compiler.max_check_steps()
    }
}

impl CompiledSchema for WatchedSchema {
    fn check(&self, document: &Value, steps: &mut u64) -> Result<(), Failure> {
        self.threads.lock().unwrap().checked.push(thread::current().id());
        self.schema.check(document, steps)
    }

    fn try_check(&self, document: &Value, steps: &mut u64) -> Result<(), Failure> {
        self.threads.lock().unwrap().tried.push(thread::current().id());
        self.schema.try_check(document, steps)
    }
}

#[tokio::test]
async fn a_definition_that_exceeds_a_bound_is_pointed_at() {
    let limits =
        SchemaLimits { max_patterns: 1, max_tenant_bytes: 64 << 10, ..SchemaLimits::default() };
    let gateway = Gateway::start_within(limits, GatewaySettings::default()).await;
    let patterns = json!({"properties": {"a": {"pattern": "a"}, "b": {"pattern": "b"}}});
    let problem = gateway.put("/v1/schemas/a", &patterns).await.problem(422, "invalid-schema");
    assert_eq!(problem["errors"][0]["pointer"], "/properties/b/pattern");
    assert!(problem["detail"].as_str().unwrap().contains("schemas.max_patterns"), "{problem}");
    let digest = gateway.upload(1).await;
    let deploy = |name: &str, schema: &Value| {
        let manifest = json!({"name": name, "trigger": [{"event": "a"}, {"http": format!("/{name}"), "schema": schema}]});
        let document = json!({"digest": digest, "manifest": manifest});
        let path = format!("/v1/functions/{name}");
        let gateway = &gateway;
        async move { gateway.put(&path, &document).await }
    };
    let problem = deploy("total", &patterns).await.problem(422, "invalid-schema");
    assert_eq!(problem["errors"][0]["pointer"], "/manifest/trigger/1/schema/properties/b/pattern");

    let large = |name: &str| {
        let members: Map<String, Value> =
            (0..40).map(|i| (format!("{name}{i}"), json!({"type": "string"}))).collect();
        json!({"properties": members})
    };
    assert_eq!(deploy("one", &large("one")).await.status, 201);
    let problem = deploy("two", &large("two")).await.problem(422, "invalid-schema");
    assert_eq!(problem["errors"][0]["pointer"], "/manifest/trigger");
    assert!(problem["detail"].as_str().unwrap().contains("schemas.max_tenant_bytes"), "{problem}");
    gateway.put("/v1/schemas/b", &large("three")).await.problem(422, "invalid-schema");
    // In place of what is there it fits, and so does what is there already.
    assert_eq!(deploy("one", &large("four")).await.status, 201);
    assert_eq!(deploy("two", &large("four")).await.status, 201);
}

#[tokio::test]
async fn formats_are_asserted_or_annotate_at_every_door() {
    for (formats, status) in [(Formats::Assert, 400), (Formats::Annotate, 202)] {
        let limits = SchemaLimits { formats, ..SchemaLimits::default() };
        let gateway = Gateway::start_within(limits, GatewaySettings::default()).await;
        let schema = json!({"properties": {"host": {"format": "idn-hostname"}, "more": {"format": "no-such-format"}}});
        assert_eq!(gateway.put("/v1/schemas/put", &schema).await.status, 200);
        let triggers = json!([{"event": "put"}, {"event": "triggered", "schema": schema},
            {"http": "/sent", "mode": "async", "schema": schema}]);
        gateway.deploy("named", triggers).await;
        let data = json!({"host": "\u{302e}실례", "more": "x"});
        for path in ["/v1/events/put", "/v1/events/triggered", "/http/default/sent"] {
            let answer = gateway.post(path, &data).await;
            assert_eq!(answer.status, status, "{formats} {path}: {answer:?}");
            let good = gateway.post(path, &json!({"host": "실례.테스트", "more": "x"})).await;
            assert_eq!(good.status, 202, "{formats} {path}: {good:?}");
        }
    }
}

#[tokio::test]
async fn a_meta_schema_of_ones_own_is_refused_by_name() {
    let gateway = Gateway::start_within(SchemaLimits::default(), GatewaySettings::default()).await;
    let schema = json!({"$schema": "https://example.com/meta", "type": "object"});
    let problem = gateway.put("/v1/schemas/a", &schema).await.problem(422, "invalid-schema");
    assert_eq!(problem["errors"][0]["pointer"], "/$schema");
    let is_told = |problem: &Value| {
        let detail = problem["detail"].as_str().unwrap();
        detail.contains("'https://example.com/meta'") && detail.contains("name the draft")
    };
    assert!(is_told(&problem), "{problem}");
    let digest = gateway.upload(1).await;
    let manifest = json!({"name": "a", "trigger": [{"event": "a", "schema": schema}]});
    let answer =
        gateway.put("/v1/functions/a", &json!({"digest": digest, "manifest": manifest})).await;
    let problem = answer.problem(422, "invalid-schema");
    assert_eq!(problem["errors"][0]["pointer"], "/manifest/trigger/0/schema/$schema");
    assert!(is_told(&problem), "{problem}");
}

/// Whoever waits for a compilation holds no artifact: others of the tenant are read meanwhile.
#[tokio::test]
async fn a_compilation_takes_no_place_of_artifacts() {
    let settings = GatewaySettings {
        max_checks: 1,
        max_queued_checks: 1,
        max_deploys: 2,
        ..GatewaySettings::default()
    };
    let gateway =
        Gateway::start_with(settings, wasmill_broker::embedded::EmbeddedSettings::default()).await;
    let digest = gateway.upload(1).await;
    let document = json!({"digest": digest, "manifest": {"name": "slow", "description": "gate"}});
    let deploy = gateway.request(reqwest::Method::PUT, "/v1/functions/slow").json(&document);
    let deploy = tokio::spawn(send(deploy));
    gateway.gate.reached.acquire().await.unwrap().forget();
    assert_eq!(gateway.get(&format!("/v1/artifacts/{digest}")).await.status, 200);
    gateway.gate.open.add_permits(1);
    assert_eq!(deploy.await.unwrap().status, 201);
}
