//! This process among those that are alive: it says so, hears of the others, and writes what all of
//! them read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wasmill_domain::wire::{Reads, Writes};
use wasmill_domain::{HostLabel, Timestamp};
use wasmill_store::{Node, Nodes, Result};

/// How long a start waits for the first heartbeat, and a stop for the last word.
const WAIT_TIMEOUT: Duration = Duration::from_secs(1);

/// How many heartbeats there are within the time after which a process without one is not alive.
const BEATS: u32 = 3;

/// A process, as it describes itself to the others.
pub(super) fn this(role: &str, name: String, labels: &BTreeSet<HostLabel>) -> Node {
    Node {
        id: Uuid::now_v7(),
        name,
        role: role.into(),
        release: env!("CARGO_PKG_VERSION").into(),
        labels: labels.iter().map(|label| label.as_str().to_owned()).collect(),
        reads: Reads::HERE,
        started_at: Timestamp::now(),
    }
}

/// The heartbeats of this process, until it leaves.
pub(super) struct Membership {
    nodes: Arc<dyn Nodes>,
    id: Uuid,
    stop: CancellationToken,
    beating: JoinHandle<()>,
}

impl Membership {
    /// Says that this process is alive, and from then on again and again. `writes` are set to the
    /// newest formats that all processes read, before anything is written; to the oldest ones where
    /// the database does not answer.
    pub(super) async fn join(
        nodes: Arc<dyn Nodes>,
        node: Node,
        node_timeout: Duration,
        writes: &Writes,
    ) -> Self {
        writes.set([Reads::OLDEST]);
        let first = match timeout(WAIT_TIMEOUT, beat(&*nodes, &node, writes)).await {
            Ok(Ok(())) => true,
            Ok(Err(why)) => {
                tracing::warn!(%why, "this process cannot say that it is alive: it writes the oldest formats for now");
                false
            }
            Err(_) => {
                tracing::warn!(
                    "the database does not answer: this process writes the oldest formats for now"
                );
                false
            }
        };
        let (id, stop) = (node.id, CancellationToken::new());
        let beating = Beating {
            nodes: Arc::clone(&nodes),
            node,
            writes: writes.clone(),
            interval: node_timeout / BEATS,
        };
        let beating = tokio::spawn(beating.until(stop.clone(), first));
        Self { nodes, id, stop, beating }
    }

    /// This process's id in the list.
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// Takes this process off the list: the others need not wait for its last heartbeat to grow
    /// old.
    pub(super) async fn leave(self) {
        self.stop.cancel();
        // A heartbeat that is under way would put it back.
        if timeout(WAIT_TIMEOUT, self.beating).await.is_err() {
            return;
        }
        match timeout(WAIT_TIMEOUT, self.nodes.leave(self.id)).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => {
                tracing::debug!(%why, "this process is listed until its heartbeat is old");
            }
            Err(_) => {
                tracing::debug!(
                    "the database does not answer; this process is listed until its heartbeat is old"
                );
            }
        }
    }
}

/// What a heartbeat needs.
struct Beating {
    nodes: Arc<dyn Nodes>,
    node: Node,
    writes: Writes,
    interval: Duration,
}

impl Beating {
    async fn until(self, stop: CancellationToken, mut is_announced: bool) {
        loop {
            tokio::select! {
                () = sleep(self.interval) => {}
                () = stop.cancelled() => return,
            }
            match beat(&*self.nodes, &self.node, &self.writes).await {
                Ok(()) if !is_announced => {
                    is_announced = true;
                    tracing::info!("this process is among those that are alive again");
                }
                Err(why) if is_announced => {
                    is_announced = false;
                    // Others of an older release cannot start either, while the database is away.
                    tracing::warn!(%why, "this process cannot say that it is alive: it writes the formats that it wrote");
                }
                _ => {}
            }
        }
    }
}

/// Says that this process is alive, then looks who else is, and writes what they read. In this
/// order: of two that start at once, the later one sees the other.
async fn beat(nodes: &dyn Nodes, node: &Node, writes: &Writes) -> Result<()> {
    nodes.beat(node).await?;
    let live = nodes.live_nodes().await?;
    let versions = || (writes.batch(), writes.http(), writes.control(), writes.streams());
    let before = versions();
    writes.set(live.into_iter().map(|live| live.node.reads));
    let now = versions();
    if now != before {
        let (batch, http, control, streams) = now;
        tracing::info!(
            batch,
            http,
            control,
            streams,
            "writes the newest formats that all processes read"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasmill_store::sqlite::{SqliteSettings, SqliteStore};

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(60);

    async fn open(folder: &tempfile::TempDir) -> Arc<SqliteStore> {
        Arc::new(
            SqliteStore::open(&folder.path().join("db"), SqliteSettings::default()).await.unwrap(),
        )
    }

    fn node(name: &str, reads: Reads) -> Node {
        Node { reads, ..this("host", name.into(), &BTreeSet::new()) }
    }

    async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
        let waiting = async {
            while !is_so().await {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(Duration::from_secs(30), waiting)
            .await
            .unwrap_or_else(|_| panic!("waited in vain: {what}"));
    }

    #[tokio::test]
    async fn a_process_writes_what_all_that_are_alive_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        let writes = Writes::default();
        let member =
            Membership::join(Arc::clone(&store) as _, node("new", Reads::HERE), TIMEOUT, &writes)
                .await;
        assert_eq!(writes.streams(), Reads::HERE.streams, "it is alone");
        // An older process comes, and goes.
        let old = node("old", Reads::OLDEST);
        store.beat(&old).await.unwrap();
        until("the oldest is written", async || writes.streams() == Reads::OLDEST.streams).await;
        let other = Writes::default();
        let late =
            Membership::join(Arc::clone(&store) as _, node("late", Reads::HERE), TIMEOUT, &other)
                .await;
        assert_eq!(other.streams(), Reads::OLDEST.streams, "known before anything is written");
        store.leave(old.id).await.unwrap();
        until("the newest is written", async || writes.streams() == Reads::HERE.streams).await;
        member.leave().await;
        let left: Vec<String> =
            store.live_nodes().await.unwrap().into_iter().map(|live| live.node.name).collect();
        assert_eq!(left, ["late"]);
        late.leave().await;
        assert!(store.live_nodes().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_oldest_is_written_while_the_database_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        store.close().await;
        let writes = Writes::default();
        let member =
            Membership::join(Arc::clone(&store) as _, node("new", Reads::HERE), TIMEOUT, &writes)
                .await;
        assert_eq!(writes.streams(), Reads::OLDEST.streams);
        member.leave().await;
    }
}
