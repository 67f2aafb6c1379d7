//! `wasmill doctor`: looks at an installation from its own machine, without a gateway.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use serde_json::json;
use wasmill_broker::{Control, Queues};
use wasmill_domain::Registry;
use wasmill_store::{Identity, RegistryWatch, Secrets, no_host_for};

use crate::args::Doctor;
use crate::config;
use crate::exit::{Failure, Result};
use crate::output;
use crate::wiring::consistency::{self, InspectedStore, Missing};
use crate::wiring::doctor::{Closed, Opened, open_data, open_pool};
use crate::wiring::secrets::{Unopened, unopened};
use crate::wiring::{REGISTRY_INTERVAL, files};

/// How a check went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok,
    /// It could not be made, for a reason that is no fault.
    Skipped,
    /// Somebody should look at it.
    Warning,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
        }
    }
}

/// What was checked and how it went.
struct Checks(Vec<(&'static str, Status, String)>);

impl Checks {
    fn add(&mut self, check: &'static str, status: Status, detail: impl Into<String>) {
        self.0.push((check, status, detail.into()));
    }

    /// Adds what was found, or that nothing was.
    fn found<T>(
        &mut self,
        check: &'static str,
        found: Result<Vec<T>, String>,
        say: impl Fn(T) -> String,
        good: &str,
    ) {
        match found {
            Ok(found) if found.is_empty() => self.add(check, Status::Ok, good),
            Ok(found) => {
                found.into_iter().for_each(|one| self.add(check, Status::Warning, say(one)));
            }
            Err(error) => self.add(check, Status::Warning, error),
        }
    }
}

pub(crate) async fn run(args: Doctor, as_json: bool) -> Result {
    let opened = open(&args).await?;
    let mut checks = Checks(Vec::new());
    checks.add(
        "version",
        Status::Ok,
        format!("wasmill {}, on {}", env!("CARGO_PKG_VERSION"), opened.name),
    );
    let store = opened.store.as_ref().map_err(Clone::clone);
    checks.found("database", store.map(|_| Vec::new()), |text: String| text, "it answers");
    if let Some(lost) = &opened.lost_artifacts {
        checks.found(
            "artifacts",
            lost.clone(),
            |text| text,
            "every artifact's file is there and whole",
        );
    }
    match &opened.broker {
        Ok(_) => checks.add("broker", Status::Ok, "it answers"),
        Err(Closed::InUse) => {
            let why = "a process that runs has it: stop that, and the broker is looked at, too";
            checks.add("broker", Status::Skipped, why);
            if args.accept_broker {
                checks.add(
                    "installation",
                    Status::Warning,
                    format!("the broker is not marked: {why}"),
                );
            } else {
                checks.add("installation", Status::Skipped, why);
            }
            checks.add("queues", Status::Skipped, why);
        }
        Err(Closed::Failed(why)) => checks.add("broker", Status::Warning, why),
    }
    if let Ok(store) = &opened.store {
        if let Ok(broker) = &opened.broker {
            check_both(&mut checks, &*store.identity, &*broker.control, args.accept_broker).await;
            check_queues(&mut checks, store, &*broker.queues).await;
        }
        check_hosts(&mut checks, store).await;
        check_secrets(&mut checks, &*store.secrets, &opened).await;
    }
    check_files(&mut checks, opened.connections);
    print(&checks, as_json);
    match checks.0.iter().filter(|(_, status, _)| *status == Status::Warning).count() {
        0 => Ok(()),
        count => Err(Failure::Failed(anyhow!("{count} check(s) found something to look at"))),
    }
}

async fn open(args: &Doctor) -> Result<Opened> {
    if let Some(data) = &args.data {
        return Ok(open_data(data).await);
    }
    let config = config::load(args.config.as_deref(), std::env::vars())?;
    if args.config.is_none() && config.database.url.is_none() && config.broker.url.is_none() {
        return Ok(open_data(Path::new(".wasmill")).await);
    }
    Ok(open_pool(&config).await)
}

async fn check_both(checks: &mut Checks, store: &dyn Identity, broker: &dyn Control, accept: bool) {
    const CHECK: &str = "installation";
    if accept && let Err(error) = consistency::accept(store, broker).await {
        return checks.add(CHECK, Status::Warning, error);
    }
    match (consistency::owner(store, broker, false).await, store.installation().await) {
        (Ok(None), Ok(installation)) => {
            checks.add(
                CHECK,
                Status::Ok,
                format!("database and broker belong to {}", installation.id),
            );
        }
        (Ok(Some(finding)), _) => checks.add(CHECK, Status::Warning, finding.detail),
        (Err(error), _) => checks.add(CHECK, Status::Warning, error),
        (_, Err(error)) => checks.add(CHECK, Status::Warning, error.to_string()),
    }
}

async fn check_queues(checks: &mut Checks, store: &InspectedStore, broker: &dyn Queues) {
    let registry = match RegistryWatch::start(Arc::clone(&store.catalog), REGISTRY_INTERVAL).await {
        Ok(registry) => registry.current(),
        Err(error) => return checks.add("definitions", Status::Warning, error.to_string()),
    };
    let registry: &Registry = &registry;
    let unreadable = registry.unreadable().into_iter();
    let unreadable =
        unreadable.map(|unreadable| format!("{unreadable} cannot be read: {}", unreadable.why));
    let unreadable: Vec<String> = unreadable.collect();
    checks.found("definitions", Ok(unreadable), |text| text, "all can be read");
    let missing = consistency::missing_queues(store, broker, registry, usize::MAX).await;
    let missing =
        missing.map(|all| all.into_iter().filter(|missing| missing.waiting > 0).collect());
    let say = |missing: Missing| {
        let Missing { tenant, function, waiting } = missing;
        format!(
            "function '{function}' of tenant '{tenant}' has {waiting} execution(s) that wait, and no message for them"
        )
    };
    checks.found("queues", missing, say, "no execution waits without a message");
    match consistency::orphans(broker, registry).await {
        Ok(None) => {
            checks.add(
                "orphans",
                Status::Skipped,
                "this broker cannot list its queues: `rabbitmqctl list_queues` can",
            );
        }
        other => {
            let say = |(queue, messages)| {
                format!(
                    "queue '{queue}' has {messages} message(s) for a function that is not known"
                )
            };
            checks.found(
                "orphans",
                other.map(Option::unwrap_or_default),
                say,
                "no message waits for an unknown function",
            );
        }
    }
}

/// Whether every function that asks for labels has a host. Where no host is alive at all, that is
/// another matter.
async fn check_hosts(checks: &mut Checks, store: &InspectedStore) {
    const CHECK: &str = "hosts";
    let live = match store.nodes.live_nodes().await {
        Ok(live) => live,
        Err(error) => return checks.add(CHECK, Status::Warning, error.to_string()),
    };
    if !live.iter().any(|live| live.node.may_run(&[])) {
        return checks.add(CHECK, Status::Skipped, "no host is alive");
    }
    let registry = match RegistryWatch::start(Arc::clone(&store.catalog), REGISTRY_INTERVAL).await {
        Ok(registry) => registry.current(),
        Err(error) => return checks.add(CHECK, Status::Warning, error.to_string()),
    };
    let without = registry.functions().filter_map(|function| {
        let why = no_host_for(&live, &function.manifest.runs_on)?;
        Some(format!("function '{}' of tenant '{}' waits: {why}", function.name, function.tenant))
    });
    let without: Vec<String> = without.collect();
    checks.found(CHECK, Ok(without), |text| text, "every function has one that runs it");
}

async fn check_secrets(checks: &mut Checks, store: &dyn Secrets, opened: &Opened) {
    let found = match &opened.keyring {
        Ok(keyring) => unopened(store, keyring.as_deref()).await.map_err(|e| e.to_string()),
        Err(error) => Err(error.clone()),
    };
    let say = |Unopened { key, secrets, why }: Unopened| {
        format!("{secrets} secret(s) are sealed by key '{key}': {why}")
    };
    checks.found("secrets", found, say, "every key that stored secrets are sealed by is here");
}

fn check_files(checks: &mut Checks, connections: usize) {
    files::raise_limit();
    let (current, _) = files::limits();
    let fitting = files::fitting(connections, current);
    let limit = current
        .map_or_else(|| "no limit of open files".to_owned(), |limit| format!("{limit} open files"));
    if fitting < connections {
        let text = format!(
            "{limit}: a gateway started here would serve {fitting} of {connections} connections"
        );
        checks.add("files", Status::Warning, text);
    } else {
        checks.add("files", Status::Ok, format!("{limit}, enough for {connections} connections"));
    }
}

fn print(checks: &Checks, as_json: bool) {
    if as_json {
        let all = checks
            .0
            .iter()
            .map(|(check, status, detail)| json!({"check": check, "status": status.as_str(), "detail": detail}));
        let well = checks.0.iter().all(|(_, status, _)| *status != Status::Warning);
        output::json(&json!({"ok": well, "checks": all.collect::<Vec<_>>()}));
        return;
    }
    let row = |(check, status, detail): &(&str, Status, String)| {
        vec![(*check).to_owned(), status.as_str().to_owned(), detail.clone()]
    };
    output::table(&["CHECK", "STATUS", "DETAIL"], &checks.0.iter().map(row).collect::<Vec<_>>());
}
