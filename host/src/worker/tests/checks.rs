//! Checks of what attempts emit: away from the threads of guests, by turns of the tenants, and not
//! prepared before they are needed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use wasmill_domain::schema::{CompileError, CompiledSchema, Failure, SchemaCompiler};
use wasmill_domain::{
    Digest, Dispatch, Event, ExecutionId, Manifest, Registry, State, TenantName, Timestamp,
    TraceContext,
};
use wasmill_store::{Artifacts as _, Change, History as _, RegistryWatch};

use super::emissions::emitter;
use super::{HELLO, System, WAIT_TIMEOUT};
use crate::{Capabilities, Engine, EngineSettings, HostSettings};

/// Checks that wait until they are told to go on, where the schema's `title` is "slow".
#[derive(Debug, Default)]
struct GatedCompiler {
    compiled: AtomicUsize,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    /// How many checks have begun, and how many may go on.
    state: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        let number = state.0;
        drop(self.changed.wait_timeout_while(state, WAIT_TIMEOUT, |(_, open)| *open < number));
    }

    fn begun(&self) -> usize {
        self.state.lock().unwrap().0
    }

    /// Lets the first `count` checks go on.
    fn open(&self, count: usize) {
        self.state.lock().unwrap().1 = count;
        self.changed.notify_all();
    }
}

#[derive(Debug)]
struct GatedSchema(Option<Arc<Gate>>);

impl SchemaCompiler for GatedCompiler {
    fn compile(&self, source: Arc<Value>) -> Result<Box<dyn CompiledSchema>, CompileError> {
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let gate = (source["title"] == "slow").then(|| Arc::clone(&self.gate));
        Ok(Box::new(GatedSchema(gate)))
    }

    fn bytes_of(&self, _: &Value) -> Result<usize, CompileError> {
        Ok(0)
    }

    fn max_tenant_bytes(&self) -> usize {
        1 << 20
    }

    fn max_check_steps(&self) -> u64 {
        1
    }
}

impl CompiledSchema for GatedSchema {
    fn check(&self, _: &Value, _: &mut u64) -> Result<(), Failure> {
        self.0.iter().for_each(|gate| gate.pass());
        Ok(())
    }

    fn try_check(&self, document: &Value, steps: &mut u64) -> Result<(), Failure> {
        self.check(document, steps)
    }
}

async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let waiting = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Two tenants, each with a function that emits an event whose schema has this title.
async fn deploy(system: &System, tenant: &TenantName, title: &str) {
    let component = emitter("checked.said", 1);
    let digest = Digest::of(&component);
    system.store.inner().put_artifact(tenant, digest, component.into()).await.unwrap();
    let (event_type, at) = ("checked.said".parse().unwrap(), Timestamp::now());
    let schema = json!({"title": title});
    system.define(Change::PutSchema { tenant: tenant.clone(), event_type, schema, at }).await;
    system
        .define(Change::Deploy {
            tenant: tenant.clone(),
            digest,
            manifest: Manifest::from_toml("name = 'says'").unwrap(),
            hostnames: Arc::default(),
            at,
        })
        .await;
}

async fn publish(system: &System, tenant: &TenantName) -> ExecutionId {
    let event = Event::new("1", "/tests", "a.b".parse().unwrap(), "{}").unwrap();
    let (name, trace) = ("says".parse().unwrap(), TraceContext::new_root());
    let dispatch = Dispatch::new(tenant.clone(), name, trace, Arc::new(event));
    let id = dispatch.execution;
    system.publisher.publish(dispatch).await.unwrap();
    id
}

async fn ended(system: &System, tenant: &TenantName, id: ExecutionId) {
    let waiting = async {
        loop {
            let found = system.store.execution(tenant, id).await.unwrap();
            if let Some(found) = found.filter(|found| found.summary.state.is_terminal()) {
                assert_eq!(found.summary.state, State::Succeeded, "{found:?}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, waiting).await.expect("it ends in time");
}

#[tokio::test]
async fn long_ones_run_beside_guests_and_by_turns_of_the_tenants() {
    let compiler = Arc::new(GatedCompiler::default());
    let gate = Arc::clone(&compiler.gate);
    let mut system = System::with_compiler(compiler).await;
    // One thread for guests: a check on it would hold all of them up.
    let settings = EngineSettings { slots: 32, threads: 1, ..EngineSettings::default() };
    system.engine = Engine::new(settings, Capabilities::default()).unwrap();
    let [busy, other]: [TenantName; 2] = ["busy", "other"].map(|name| name.parse().unwrap());
    deploy(&system, &busy, "slow").await;
    deploy(&system, &other, "quick").await;
    system.deploy(HELLO, "name = 'hello'").await;
    let host = system.start_with(HostSettings { emission_checks: 1, ..HostSettings::default() });

    let mut of_busy = Vec::new();
    for _ in 0..4 {
        of_busy.push(publish(&system, &busy).await);
    }
    eventually("the first check begins", || gate.begun() == 1).await;
    // Guests run meanwhile, those of the same engine's only thread.
    let greeted = system.publish("hello", "greeting.requested", r#"{"name": "Ada"}"#).await;
    assert_eq!(system.ended(greeted).await.summary.state, State::Succeeded);

    // The other tenant's waits behind one of those that came before it, and not behind all.
    eventually("the others wait", || host.status.waiting_checks() == 3).await;
    let others = publish(&system, &other).await;
    eventually("the other tenant's waits", || host.status.waiting_checks() == 4).await;
    gate.open(1);
    eventually("the second check begins", || gate.begun() == 2).await;
    gate.open(2);
    ended(&system, &other, others).await;
    eventually("the third check begins", || gate.begun() == 3).await;
    gate.open(4);
    for id in of_busy {
        ended(&system, &busy, id).await;
    }
    host.stop().await;
}

#[tokio::test]
async fn a_start_compiles_no_schema() {
    let mut system = System::new().await;
    let tenant = TenantName::default();
    deploy(&system, &tenant, "quick").await;
    system.deploy(HELLO, "name = 'hello'").await;

    // As a process does that starts where all of it is stored.
    let compiler = Arc::new(GatedCompiler::default());
    let first = Registry::new(Arc::clone(&compiler) as _);
    let store = Arc::clone(&system.store) as _;
    system.registry =
        RegistryWatch::start_from(first, store, Duration::from_millis(20)).await.unwrap();
    let host = system.start();
    let greeted = system.publish("hello", "greeting.requested", r#"{"name": "Ada"}"#).await;
    assert_eq!(system.ended(greeted).await.summary.state, State::Succeeded);
    assert_eq!(compiler.compiled.load(Ordering::Relaxed), 0);
    ended(&system, &tenant, publish(&system, &tenant).await).await;
    assert_eq!(compiler.compiled.load(Ordering::Relaxed), 1, "at its first use");
    host.stop().await;
}
