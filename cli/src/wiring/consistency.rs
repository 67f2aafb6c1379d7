//! Whether database and broker belong together, and whether each knows what the other has: a
//! restored backup, a new broker or a wrong address is found at the start instead of by what goes
//! missing.

use std::time::Duration;

use wasmill_broker::{BrokerError, Control, Owner, QueueName, Queues};
use wasmill_domain::{FunctionName, Registry, State, TenantName, Timestamp};
use wasmill_store::{ExecutionQuery, Identity};

/// How long a process that starts may take to find out. It starts all the same.
const WAIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many functions' queues are looked at when a process starts.
const MOST_FUNCTIONS: usize = 1_000;

/// How many waiting executions are counted of a function.
const MOST_WAITING: u32 = 1_000;

wasmill_domain::ports! {
    /// The ports by which an installation is looked at.
    pub(crate) struct InspectedStore of wasmill_store {
        catalog: Catalog,
        secrets: Secrets,
        identity: Identity,
        agenda: Agenda,
        history: History,
        nodes: Nodes,
    }
}

wasmill_domain::ports! {
    /// The ports of a broker by which an installation is looked at.
    pub(crate) struct InspectedBroker of wasmill_broker {
        queues: Queues,
        control: Control,
    }
}

/// What is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What was found, and what to do.
    pub(crate) detail: String,
    /// The same without the name of anybody or anything: for whoever asks `/readyz`.
    pub(crate) note: String,
}

/// A function whose queue is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) tenant: TenantName,
    pub(crate) function: FunctionName,
    /// Executions that the database has as queued, up to [`MOST_WAITING`].
    pub(crate) waiting: usize,
}

/// Whose the broker is. Where `mark` says so, one that carries no mark is marked with this
/// installation's id, if the database knows of no other that was.
pub(crate) async fn owner(
    store: &dyn Identity,
    broker: &dyn Control,
    mark: bool,
) -> Result<Option<Finding>, String> {
    let installation = store.installation().await.map_err(|e| e.to_string())?;
    let id = installation.id;
    match (broker.owner(id).await.map_err(|e| e.to_string())?, installation.broker_since) {
        (Owner::This, Some(_)) => Ok(None),
        (Owner::This | Owner::Nobody, None) if !mark => Ok(None),
        (Owner::This, None) => marked(store).await.map(|()| None),
        (Owner::Nobody, None) => {
            broker.mark(id).await.map_err(|e| e.to_string())?;
            marked(store).await.map(|()| None)
        }
        (Owner::Nobody, Some(since)) => Ok(Some(Finding {
            detail: format!(
                "the broker does not carry the mark of this installation ({id}), which one has carried since {since}: it is another \
                 broker, or it has lost its data, and events that waited there may be lost. Check broker.url (or the data folder) \
                 and restore what there is; where this broker is to be used as it is, `wasmill doctor --accept-broker` marks it"
            ),
            note: "the broker does not carry this installation's mark".into(),
        })),
        (Owner::Other(other), _) => Ok(Some(Finding {
            detail: format!(
                "the broker belongs to another installation ({other}) than the database ({id}): check broker.url and \
                 database.url. Installations that share a broker need a broker.queue_prefix each; where these two are to belong \
                 together from now on, `wasmill doctor --accept-broker` says so"
            ),
            note: "database and broker belong to different installations".into(),
        })),
    }
}

/// Marks the broker as this installation's, whatever it carries.
pub(crate) async fn accept(store: &dyn Identity, broker: &dyn Control) -> Result<(), String> {
    let installation = store.installation().await.map_err(|e| e.to_string())?;
    broker.mark(installation.id).await.map_err(|e| e.to_string())?;
    marked(store).await
}

async fn marked(store: &dyn Identity) -> Result<(), String> {
    store.broker_marked(Timestamp::now()).await.map_err(|e| e.to_string())
}

/// Functions whose queue is not there, or empty where that can be known, among the first `most`. A
/// queue is made by the first who needs it, so it is the executions which wait that tell whether
/// one was lost.
pub(crate) async fn missing_queues(
    store: &InspectedStore,
    broker: &dyn Queues,
    registry: &Registry,
    most: usize,
) -> Result<Vec<Missing>, String> {
    // Only of a broker that lists its queues an empty one is known to be empty: RabbitMQ does not
    // count what hosts have not acknowledged. What waits in the outbox has no message yet, also where
    // whoever put it there is publishing it.
    let lists = broker.queues().await.map_err(|e| e.to_string())?.is_some();
    let knows_all = lists
        && store
            .agenda
            .outbox(Timestamp::from_micros(i64::MAX), 1)
            .await
            .map_err(|e| e.to_string())?
            .is_empty();
    let mut missing = Vec::new();
    for definition in registry.functions().take(most) {
        let (tenant, function) = (definition.tenant.clone(), definition.name.clone());
        match broker.depth(&QueueName::of_function(&tenant, &function)).await {
            Err(BrokerError::NoQueue(_)) => {}
            // Made anew since, by whoever consumes.
            Ok(depth) if knows_all && depth.ready + depth.unacked == 0 => {}
            other => {
                other.map_err(|e| e.to_string())?;
                continue;
            }
        }
        let query = ExecutionQuery {
            function: Some(function.clone()),
            state: Some(State::Queued),
            ..ExecutionQuery::all_of(tenant.clone(), MOST_WAITING)
        };
        let waiting = store.history.executions(&query).await.map_err(|e| e.to_string())?.len();
        missing.push(Missing { tenant, function, waiting });
    }
    Ok(missing)
}

/// Functions' queues with messages of which the database knows nothing; `None` where the broker
/// cannot list its queues.
pub(crate) async fn orphans(
    broker: &dyn Queues,
    registry: &Registry,
) -> Result<Option<Vec<(QueueName, u64)>>, String> {
    let Some(queues) = broker.queues().await.map_err(|e| e.to_string())? else { return Ok(None) };
    let is_known = |tenant: &TenantName, function: &FunctionName| {
        registry.function(tenant, function).is_some()
            || registry.unreadable_function(tenant, function).is_some()
            || registry.is_deleted(tenant, function)
    };
    let is_orphan = |queue: &QueueName| {
        queue.function().is_some_and(|(tenant, name)| !is_known(&tenant, &name))
    };
    let holds =
        |(queue, depth): (QueueName, wasmill_broker::Depth)| (queue, depth.ready + depth.unacked);
    let orphans =
        queues.into_iter().map(holds).filter(|(queue, messages)| *messages > 0 && is_orphan(queue));
    Ok(Some(orphans.collect()))
}

/// Looks at all of it when a process starts: the log says what was found, and it is given for
/// `/readyz`.
pub(super) async fn at_start(
    store: &InspectedStore,
    broker: &InspectedBroker,
    registry: &Registry,
) -> Vec<String> {
    let findings = match tokio::time::timeout(WAIT_TIMEOUT, examine(store, broker, registry)).await
    {
        Ok(Ok(findings)) => findings,
        Ok(Err(error)) => {
            tracing::warn!(error, "nobody knows whether database and broker belong together");
            return Vec::new();
        }
        Err(_) => {
            tracing::warn!(
                "it takes too long to find out whether database and broker belong together"
            );
            return Vec::new();
        }
    };
    for finding in &findings {
        tracing::warn!("{}", finding.detail);
    }
    findings.into_iter().map(|finding| finding.note).collect()
}

async fn examine(
    store: &InspectedStore,
    broker: &InspectedBroker,
    registry: &Registry,
) -> Result<Vec<Finding>, String> {
    let mut findings: Vec<Finding> =
        owner(&*store.identity, &*broker.control, true).await?.into_iter().collect();
    let missing = missing_queues(store, &*broker.queues, registry, MOST_FUNCTIONS).await?;
    let lost: Vec<&Missing> = missing.iter().filter(|missing| missing.waiting > 0).collect();
    if let Some(first) = lost.first() {
        let Missing { tenant, function, waiting } = first;
        let count = lost.len();
        findings.push(Finding {
            detail: format!(
                "{count} function(s) have executions that wait, and no message for them: function '{function}' of tenant '{tenant}' has \
                 {waiting}. `wasmill doctor`, with this process stopped, lists them; their events are in `wasmill executions show`"
            ),
            note: format!("{count} function(s) have executions that wait, and no message for them"),
        });
    }
    if let Some((queue, messages)) =
        orphans(&*broker.queues, registry).await?.unwrap_or_default().first()
    {
        findings.push(Finding {
            detail: format!(
                "messages wait for functions that the database does not know: queue '{queue}' has {messages}. The database may be \
                 older than the broker; `wasmill doctor` lists them"
            ),
            note: "messages wait for functions that the database does not know".into(),
        });
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use serde_json::json;
    use tempfile::TempDir;
    use wasmill_broker::embedded::{EmbeddedBroker, EmbeddedSettings};
    use wasmill_broker::{Message, Publishing as _};
    use wasmill_domain::{Digest, Dispatch, Event, Manifest, Revision, TraceContext};
    use wasmill_store::sqlite::{SqliteSettings, SqliteStore};
    use wasmill_store::{Artifacts as _, Catalog as _, Change, Ledger as _, Publication};

    use super::*;

    struct InstallationFixture {
        store: Arc<SqliteStore>,
        broker: Arc<EmbeddedBroker>,
        folder: TempDir,
    }

    impl InstallationFixture {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(&folder.path().join("db"), SqliteSettings::default())
                .await
                .unwrap();
            let broker =
                EmbeddedBroker::open(&folder.path().join("queue"), EmbeddedSettings::default())
                    .unwrap();
            Self { store: Arc::new(store), broker: Arc::new(broker), folder }
        }

        async fn registry(&self) -> Registry {
            let definitions = self.store.definitions(Revision(-1)).await.unwrap().unwrap();
            Registry::build(definitions, &Registry::default())
        }

        async fn examine(&self) -> Vec<String> {
            let findings = examine(
                &InspectedStore::of(&self.store),
                &InspectedBroker::of(&self.broker),
                &self.registry().await,
            )
            .await
            .unwrap();
            findings.into_iter().map(|finding| finding.note).collect()
        }
    }

    #[tokio::test]
    async fn a_broker_is_marked_once_and_told_from_others() {
        let mut fixture = InstallationFixture::new().await;
        assert_eq!(owner(&*fixture.store, &*fixture.broker, false).await.unwrap(), None);
        assert_eq!(
            fixture.store.installation().await.unwrap().broker_since,
            None,
            "looking changes nothing"
        );
        assert_eq!(owner(&*fixture.store, &*fixture.broker, true).await.unwrap(), None);
        assert!(fixture.store.installation().await.unwrap().broker_since.is_some());
        assert_eq!(owner(&*fixture.store, &*fixture.broker, true).await.unwrap(), None);
        // One that lost its data, or another one.
        let elsewhere = fixture.folder.path().join("elsewhere");
        fixture.broker =
            Arc::new(EmbeddedBroker::open(&elsewhere, EmbeddedSettings::default()).unwrap());
        for _ in 0..2 {
            let found = owner(&*fixture.store, &*fixture.broker, true)
                .await
                .unwrap()
                .expect("it is found each time");
            assert!(
                found.detail.contains("--accept-broker") && found.note.contains("mark"),
                "{found:?}"
            );
        }
        accept(&*fixture.store, &*fixture.broker).await.unwrap();
        assert_eq!(owner(&*fixture.store, &*fixture.broker, true).await.unwrap(), None);
        // The database of another installation.
        let other =
            SqliteStore::open(&fixture.folder.path().join("other"), SqliteSettings::default())
                .await
                .unwrap();
        let found = owner(&other, &*fixture.broker, true).await.unwrap().expect("it is another's");
        let ids = [
            other.installation().await.unwrap().id,
            fixture.store.installation().await.unwrap().id,
        ];
        assert!(ids.iter().all(|id| found.detail.contains(&id.to_string())), "{found:?}");
        assert!(ids.iter().all(|id| !found.note.contains(&id.to_string())), "{found:?}");
    }

    #[tokio::test]
    async fn lost_queues_and_orphans_are_found() {
        let fixture = InstallationFixture::new().await;
        let (tenant, digest) = (TenantName::default(), Digest::of(b"wasm"));
        fixture.store.put_artifact(&tenant, digest, Bytes::from_static(b"wasm")).await.unwrap();
        let manifest = Manifest::from_json(json!({"name": "total"})).unwrap();
        let change = Change::Deploy {
            tenant: tenant.clone(),
            digest,
            manifest,
            hostnames: Arc::default(),
            at: Timestamp::now(),
        };
        fixture.store.define(&change).await.unwrap();
        let function: FunctionName = "total".parse().unwrap();
        let missing =
            |waiting| Missing { tenant: tenant.clone(), function: function.clone(), waiting };
        let look = async || {
            missing_queues(
                &InspectedStore::of(&fixture.store),
                &*fixture.broker,
                &fixture.registry().await,
                10,
            )
            .await
            .unwrap()
        };
        assert_eq!(look().await, [missing(0)]);
        assert!(fixture.examine().await.is_empty(), "nothing waits for it");
        let dispatch = Dispatch::new(
            tenant.clone(),
            function.clone(),
            TraceContext::new_root(),
            Arc::new(Event::new("1", "/test", "a.b".parse().unwrap(), "{}").unwrap()),
        );
        fixture.store.enqueue(&[dispatch], Publication::Confirmed).await.unwrap();
        assert_eq!(look().await, [missing(1)]);
        assert_eq!(
            fixture.examine().await,
            ["1 function(s) have executions that wait, and no message for them"]
        );
        let queue = QueueName::of_function(&tenant, &function);
        fixture.broker.declare(&queue).await.unwrap();
        assert_eq!(look().await, [missing(1)], "made anew, it is empty");
        fixture.broker.publish(&queue, Message::new("x")).await.unwrap();
        assert!(fixture.examine().await.is_empty());

        let gone = QueueName::of_function(&tenant, &"gone".parse().unwrap());
        let elsewhere: QueueName = "of-somebody-else".parse().unwrap();
        for queue in [&gone, &elsewhere] {
            fixture.broker.declare(queue).await.unwrap();
        }
        assert!(fixture.examine().await.is_empty(), "an empty queue is no loss");
        for queue in [&gone, &elsewhere] {
            fixture.broker.publish(queue, Message::new("x")).await.unwrap();
        }
        let found = orphans(&*fixture.broker, &fixture.registry().await).await.unwrap();
        assert_eq!(found, Some(vec![(gone, 1)]));
        assert_eq!(
            fixture.examine().await,
            ["messages wait for functions that the database does not know"]
        );
    }
}
