//! What one deploy costs among few functions and among many: its own time, the time until every
//! process routes to it, and the bytes that each of them reads for it.
//!
//!     cargo run --release -p wasmill-bench --bin deploys -- [FUNCTIONS] [TENANTS]
//!
//! 10,000 functions over 1,000 tenants where nothing else is said, deployed one after the other, on
//! SQLite and on PostgreSQL (`DATABASE_URL`, or that of this machine). Beside the first and the
//! last hundred deploys it prints what it takes to read everything once, which is what each process
//! did at every change before definitions were read by what changed.

#![expect(clippy::print_stdout, reason = "the report of this program")]

mod relay;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::json;
use wasmill_domain::{Digest, Manifest, Registry, Revision, TenantName, Timestamp};
use wasmill_store::postgres::testing::{Schema, address_of, shared_server, url_at};
use wasmill_store::postgres::{PostgresSettings, PostgresStore};
use wasmill_store::sqlite::{SqliteSettings, SqliteStore};
use wasmill_store::{Artifacts, Catalog, Change, RegistryWatch};

use self::relay::Relay;

/// How many deploys are summed up at the beginning and at the end.
const SAMPLE: usize = 100;

/// How many processes follow the definitions in PostgreSQL.
const PROCESSES: usize = 3;

/// How often they ask, where they hear of nothing: as the roles do.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a process may take to hear of a deploy.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A component's bytes: nothing here runs it.
const ARTIFACT: &[u8] = b"\0asm of no consequence";

/// A database with processes that follow it.
struct System {
    name: &'static str,
    store: Arc<dyn Catalog>,
    artifacts: Arc<dyn Artifacts>,
    /// The store of one of those that follow.
    follower: Arc<dyn Catalog>,
    watches: Vec<RegistryWatch>,
    /// The way of each process to its database, where that is a network; the follower's is the
    /// last.
    relays: Vec<Relay>,
}

/// What deploys cost, one by one.
#[derive(Default)]
struct Costs {
    deploy: Vec<f64>,
    routed: Vec<f64>,
    bytes: Vec<f64>,
}

impl System {
    async fn sqlite(folder: &Path) -> Result<Self> {
        let file = folder.join("store.sqlite");
        let sqlite = Arc::new(SqliteStore::open(&file, SqliteSettings::default()).await?);
        let (store, artifacts) = (Arc::clone(&sqlite) as Arc<dyn Catalog>, sqlite);
        let watches = vec![RegistryWatch::start(Arc::clone(&store), INTERVAL).await?];
        let follower = Arc::clone(&store);
        Ok(Self { name: "SQLite", store, artifacts, follower, watches, relays: Vec::new() })
    }

    async fn postgres(schema: &Schema) -> Result<Self> {
        let postgres =
            Arc::new(PostgresStore::connect(&schema.url(), PostgresSettings::default()).await?);
        let (store, artifacts) = (Arc::clone(&postgres) as Arc<dyn Catalog>, postgres);
        let mut follower = Arc::clone(&store);
        let (mut watches, mut relays) = (Vec::new(), Vec::new());
        for _ in 0..PROCESSES {
            let relay = Relay::to(&address_of(&shared_server())).await?;
            let url = schema.url_at(&url_at(&relay.address, &shared_server()));
            follower = Arc::new(PostgresStore::connect(&url, PostgresSettings::default()).await?);
            watches.push(RegistryWatch::start(Arc::clone(&follower), INTERVAL).await?);
            relays.push(relay);
        }
        Ok(Self { name: "PostgreSQL", store, artifacts, follower, watches, relays })
    }

    /// The bytes that processes have read, on average.
    fn bytes(&self) -> f64 {
        let read: u64 = self.relays.iter().map(Relay::bytes).sum();
        read as f64 / self.relays.len().max(1) as f64
    }

    /// Waits until every process routes by a revision. Where nothing tells of changes there is one
    /// process, which asks after its own deploy, as a gateway does.
    async fn routed(&self, revision: Revision) -> Result<()> {
        for watch in &self.watches {
            if self.relays.is_empty() {
                watch.reach(revision).await?;
                continue;
            }
            let mut registry = watch.subscribe();
            let heard = registry.wait_for(|registry| registry.revision() >= revision);
            tokio::time::timeout(WAIT_TIMEOUT, heard)
                .await
                .context("a deploy is not heard of")??;
        }
        Ok(())
    }

    async fn deploy(&self, tenant: &TenantName, number: usize, costs: &mut Costs) -> Result<()> {
        let manifest = manifest(number)?;
        let name = manifest.name.clone();
        let change = Change::Deploy {
            tenant: tenant.clone(),
            digest: Digest::of(ARTIFACT),
            manifest,
            hostnames: Arc::default(),
            at: Timestamp::now(),
        };
        let (read, begun) = (self.bytes(), Instant::now());
        let changed = self.store.define(&change).await?;
        costs.deploy.push(millis(begun));
        self.routed(changed.revision).await?;
        costs.routed.push(millis(begun));
        costs.bytes.push(self.bytes() - read);
        let is_routed = |watch: &RegistryWatch| watch.current().function(tenant, &name).is_some();
        ensure!(self.watches.iter().all(is_routed), "{name} is not where it was deployed");
        Ok(())
    }

    /// Deploys all, tenants by turns, and prints what the first and the last cost.
    async fn run(&self, functions: usize, tenants: usize) -> Result<()> {
        let tenants: Vec<TenantName> =
            (0..tenants).map(|i| format!("tenant-{i}").parse()).collect::<Result<_, _>>()?;
        for tenant in &tenants {
            let bytes = Bytes::from_static(ARTIFACT);
            self.artifacts.put_artifact(tenant, Digest::of(ARTIFACT), bytes).await?;
        }
        let mut costs = Costs::default();
        for number in 0..functions {
            self.deploy(&tenants[number % tenants.len()], number, &mut costs).await?;
        }
        let sample = SAMPLE.min(functions);
        self.print(&format!("first {sample}"), &costs, 0..sample);
        self.print(&format!("last {sample} of {functions}"), &costs, functions - sample..functions);
        self.print_everything(functions).await
    }

    fn print(&self, which: &str, costs: &Costs, range: std::ops::Range<usize>) {
        let [deploy, routed, bytes] =
            [&costs.deploy, &costs.routed, &costs.bytes].map(|all| Spread::of(&all[range.clone()]));
        let read = if self.relays.is_empty() {
            "–".to_owned()
        } else {
            format!("{:.0} ({:.0})", bytes.median, bytes.high)
        };
        println!(
            "| {} | {which} | {:.2} ({:.2}) | {:.2} ({:.2}) | {read} |",
            self.name, deploy.median, deploy.high, routed.median, routed.high
        );
    }

    /// What it takes to read and index everything once.
    async fn print_everything(&self, functions: usize) -> Result<()> {
        let read = || self.relays.last().map(Relay::bytes);
        let (before, begun) = (read(), Instant::now());
        let all = self.follower.definitions(Revision(-1)).await?.context("the definitions")?;
        ensure!(all.functions.len() == functions, "all are read");
        let registry = Registry::build(all, &Registry::default());
        let took = millis(begun);
        let read = read().zip(before).map(|(after, before)| (after - before).to_string());
        let read = read.unwrap_or("–".into());
        println!("| {} | everything, once | – | {took:.2} | {read} |", self.name);
        drop(registry);
        Ok(())
    }
}

/// The median, and the value below which 99% are.
struct Spread {
    median: f64,
    high: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| sorted[(sorted.len() - 1) * percent / 100];
        Self { median: at(50), high: at(99) }
    }
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// A manifest as functions have them: an event with a schema, a route, some settings.
fn manifest(number: usize) -> Result<Manifest> {
    let properties: serde_json::Map<String, serde_json::Value> = (0..8)
        .map(|i| (format!("field_{i}"), json!({"type": "string", "maxLength": 100 + number % 7})))
        .collect();
    let schema = json!({"type": "object", "properties": properties, "required": ["field_0"]});
    Ok(Manifest::from_json(json!({
        "name": format!("function-{number}"),
        "description": "one of many",
        "env": {"REGION": "somewhere", "NUMBER": number.to_string()},
        "trigger": [
            {"event": format!("order.created.v{}", number % 5), "schema": schema},
            {"http": format!("/function-{number}/{{id}}"), "methods": ["GET", "POST"]},
        ],
    }))?)
}

fn argument(place: usize, default: usize) -> Result<usize> {
    let text = std::env::args().nth(place);
    let number = text.map_or(Ok(default), |text| text.parse())?;
    ensure!(number > 0, "at least one function and one tenant");
    Ok(number)
}

#[tokio::main]
async fn main() -> Result<()> {
    let (functions, tenants) = (argument(1, 10_000)?, argument(2, 1_000)?);
    println!(
        "{functions} functions over {tenants} tenants; milliseconds and bytes as median (99th percentile). Routed: from the \
         beginning of the deploy until every process has it ({PROCESSES} with PostgreSQL). Read: by each process for one deploy.\n"
    );
    println!("| database | deploys | deploy, ms | routed, ms | read, bytes |");
    println!("|---|---|---|---|---|");
    let folder = tempfile::tempdir()?;
    System::sqlite(folder.path()).await?.run(functions, tenants).await?;
    let schema = Schema::make().await;
    System::postgres(&schema).await?.run(functions, tenants).await
}
