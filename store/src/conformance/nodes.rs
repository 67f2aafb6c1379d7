//! Which processes are alive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;
use wasmill_domain::Timestamp;
use wasmill_domain::wire::Reads;

use crate::nodes::Node;
use crate::port::Nodes;

/// The node timeout of short-lived stores.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// How long a test waits for what must happen.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

fn node(role: &str, name: &str) -> Node {
    Node {
        id: Uuid::now_v7(),
        name: name.into(),
        role: role.into(),
        release: "0.1.0".into(),
        labels: Vec::new(),
        reads: Reads::HERE,
        started_at: Timestamp::from_micros(1_000_000),
    }
}

async fn listed(nodes: &dyn Nodes) -> Vec<Node> {
    nodes.live_nodes().await.unwrap().into_iter().map(|live| live.node).collect()
}

pub(crate) async fn a_process_is_listed_until_it_leaves(nodes: Arc<dyn Nodes>) {
    assert!(listed(&*nodes).await.is_empty());
    let [scheduler, one, other] = [node("scheduler", "s"), node("host", "b"), node("host", "a")];
    let one = Node { labels: vec!["eu".into(), "gpu".into()], reads: Reads::OLDEST, ..one };
    for node in [&scheduler, &one, &other] {
        nodes.beat(node).await.unwrap();
    }
    assert_eq!(listed(&*nodes).await, [other.clone(), one.clone(), scheduler.clone()]);
    let live = nodes.live_nodes().await.unwrap();
    assert!(live.iter().all(|live| live.schema_version > 0), "{live:?}");
    // By the database's clock, which is this machine's.
    let age = Timestamp::now().since(live[0].beat_at);
    assert!(age < WAIT_TIMEOUT, "{age:?}");
    assert_eq!(nodes.delete_dead_nodes().await.unwrap(), 0);
    nodes.leave(one.id).await.unwrap();
    nodes.leave(one.id).await.unwrap();
    assert_eq!(listed(&*nodes).await, [other, scheduler]);
}

pub(crate) async fn a_heartbeat_renews_what_a_process_says(nodes: Arc<dyn Nodes>) {
    let first = node("host", "a");
    nodes.beat(&first).await.unwrap();
    let before = nodes.live_nodes().await.unwrap().remove(0).beat_at;
    let second = Node { labels: vec!["gpu".into()], release: "0.2.0".into(), ..first };
    let begun = Instant::now();
    // The clock may have a coarse grain.
    let after = loop {
        nodes.beat(&second).await.unwrap();
        let live = nodes.live_nodes().await.unwrap();
        assert_eq!(live.len(), 1);
        assert_eq!(live[0].node, second);
        if live[0].beat_at > before || begun.elapsed() > WAIT_TIMEOUT {
            break live[0].beat_at;
        }
    };
    assert!(after > before);
}

pub(crate) async fn any_number_of_processes_beat_at_once(nodes: Arc<dyn Nodes>) {
    let all: Vec<Node> = (0..16).map(|i| node("host", &format!("{i:02}"))).collect();
    let beats: Vec<_> = all
        .iter()
        .map(|node| {
            let (nodes, node) = (Arc::clone(&nodes), node.clone());
            tokio::spawn(async move {
                for _ in 0..4 {
                    nodes.beat(&node).await.unwrap();
                }
            })
        })
        .collect();
    for beat in beats {
        beat.await.unwrap();
    }
    assert_eq!(listed(&*nodes).await, all);
}

pub(crate) async fn any_name_is_kept(nodes: Arc<dyn Nodes>) {
    let odd = Node { role: "of a later release".into(), ..node("", "a'b\0ü␀\"") };
    nodes.beat(&odd).await.unwrap();
    assert_eq!(listed(&*nodes).await, [odd]);
}

pub(crate) async fn a_process_that_says_nothing_is_not_alive(nodes: Arc<dyn Nodes>) {
    let dead = node("host", "dead");
    let begun = Instant::now();
    nodes.beat(&dead).await.unwrap();
    while !listed(&*nodes).await.is_empty() {
        assert!(begun.elapsed() < WAIT_TIMEOUT, "it is alive still");
        tokio::time::sleep(SHORT / 30).await;
    }
    // The database's clock may have a coarser grain than this one.
    assert!(begun.elapsed() >= SHORT - Duration::from_millis(2), "{:?}", begun.elapsed());
    assert_eq!(nodes.delete_dead_nodes().await.unwrap(), 1);
    assert_eq!(nodes.delete_dead_nodes().await.unwrap(), 0);
}

pub(crate) async fn a_process_that_was_deleted_comes_back(nodes: Arc<dyn Nodes>) {
    let node = node("host", "a");
    nodes.beat(&node).await.unwrap();
    let begun = Instant::now();
    while nodes.delete_dead_nodes().await.unwrap() == 0 {
        assert!(begun.elapsed() < WAIT_TIMEOUT, "it is alive still");
        tokio::time::sleep(SHORT / 30).await;
    }
    assert!(listed(&*nodes).await.is_empty());
    nodes.beat(&node).await.unwrap();
    assert_eq!(listed(&*nodes).await, [node]);
}
