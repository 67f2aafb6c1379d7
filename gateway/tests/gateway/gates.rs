//! Where work waits that tests hold up: in the store, on the way to the broker, on threads.

use std::sync::{Arc, Condvar, Mutex};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::Semaphore;
use wasmill_broker::embedded::EmbeddedBroker;
use wasmill_broker::{BrokerError, Message, PendingReply, Publishing, QueueName};
use wasmill_domain::schema::{CompileError, CompiledSchema, SchemaCompiler};
use wasmill_schema::Compiler;
use wasmill_store::StoreError;
use wasmill_store::testing::Hook;

/// A gate that tasks wait at.
pub(crate) struct Gate {
    /// One for each that has come here.
    pub(crate) reached: Semaphore,
    /// One for each that may go on.
    pub(crate) open: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Self { reached: Semaphore::new(0), open: Semaphore::new(0) }
    }
}

impl Gate {
    /// Waits to be let through.
    pub(crate) async fn pass(&self) {
        self.reached.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }

    /// Waits until somebody has come here.
    pub(crate) async fn is_reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    /// Lets one through.
    pub(crate) fn let_one(&self) {
        self.open.add_permits(1);
    }
}

/// Holds up the calls of one verb of a store, or lets one fail.
#[derive(Default)]
pub(crate) struct VerbGate {
    verb: Mutex<Option<&'static str>>,
    fails: Mutex<Option<&'static str>>,
    pub(crate) gate: Gate,
}

impl VerbGate {
    /// Which one from now on, if any.
    pub(crate) fn hold(&self, verb: Option<&'static str>) {
        *self.verb.lock().unwrap() = verb;
    }

    /// The store is away when it is asked for this next.
    pub(crate) fn fail_once(&self, verb: &'static str) {
        *self.fails.lock().unwrap() = Some(verb);
    }
}

#[async_trait]
impl Hook for VerbGate {
    async fn before(&self, verb: &'static str) -> Result<(), StoreError> {
        if self.fails.lock().unwrap().take_if(|fails| *fails == verb).is_some() {
            return Err(StoreError::Unavailable("the test says so".into()));
        }
        let is_held = *self.verb.lock().unwrap() == Some(verb);
        if is_held {
            self.gate.pass().await;
        }
        Ok(())
    }
}

/// A broker that holds up messages while it is told to.
pub(crate) struct GatedBroker {
    inner: Arc<EmbeddedBroker>,
    holds: Mutex<bool>,
    pub(crate) gate: Gate,
}

impl GatedBroker {
    pub(crate) fn new(inner: Arc<EmbeddedBroker>) -> Self {
        Self { inner, holds: Mutex::new(false), gate: Gate::default() }
    }

    /// Whether messages are held up from now on.
    pub(crate) fn hold(&self, holds: bool) {
        *self.holds.lock().unwrap() = holds;
    }

    async fn pass(&self) {
        let holds = *self.holds.lock().unwrap();
        if holds {
            self.gate.pass().await;
        }
    }
}

#[async_trait]
impl Publishing for GatedBroker {
    async fn declare(&self, queue: &QueueName) -> Result<(), BrokerError> {
        self.inner.declare(queue).await
    }

    async fn publish(&self, queue: &QueueName, message: Message) -> Result<(), BrokerError> {
        self.pass().await;
        self.inner.publish(queue, message).await
    }

    async fn request(
        &self,
        queue: &QueueName,
        message: Message,
    ) -> Result<PendingReply, BrokerError> {
        self.pass().await;
        self.inner.request(queue, message).await
    }
}

/// A gate that threads wait at.
#[derive(Debug, Default)]
pub(crate) struct ThreadGate {
    state: Mutex<ThreadGateState>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct ThreadGateState {
    reached: usize,
    open: usize,
}

impl ThreadGate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.reached += 1;
        let mut state = self.opened.wait_while(state, |state| state.open == 0).unwrap();
        state.open -= 1;
    }

    /// How many have come here.
    pub(crate) fn reached(&self) -> usize {
        self.state.lock().unwrap().reached
    }

    /// Lets so many through.
    pub(crate) fn open(&self, count: usize) {
        self.state.lock().unwrap().open += count;
        self.opened.notify_all();
    }
}

/// Compiles schemas with the title "gate" when it is let, and others at once.
#[derive(Debug)]
pub(crate) struct GatedCompiler {
    pub(crate) inner: Compiler,
    pub(crate) gate: Arc<ThreadGate>,
}

impl SchemaCompiler for GatedCompiler {
    fn compile(&self, source: Arc<Value>) -> Result<Box<dyn CompiledSchema>, CompileError> {
        if source["title"] == "gate" {
            self.gate.pass();
        }
        self.inner.compile(source)
    }

    fn bytes_of(&self, source: &Value) -> Result<usize, CompileError> {
        self.inner.bytes_of(source)
    }

    fn max_tenant_bytes(&self) -> usize {
        self.inner.max_tenant_bytes()
    }

    fn max_check_steps(&self) -> u64 {
        self.inner.max_check_steps()
    }
}
