//! The processes of an installation.

use async_trait::async_trait;
use uuid::Uuid;

use super::error::Result;
use crate::nodes::{LiveNode, Node};

/// Which processes are alive.
#[async_trait]
pub trait Nodes: Send + Sync + 'static {
    /// Says that a process is alive: makes its row, or renews what it says and its heartbeat, by
    /// the database's clock.
    async fn beat(&self, node: &Node) -> Result<()>;

    /// Every process that is alive, by role, name and id. A row that a later release wrote is among
    /// them.
    async fn live_nodes(&self) -> Result<Vec<LiveNode>>;

    /// Takes a process off the list: it ends. One that is not on it is no error.
    async fn leave(&self, id: Uuid) -> Result<()>;

    /// Deletes the rows of processes that are not alive, and gives how many. One that is alive all
    /// the same has a row again with its next heartbeat.
    async fn delete_dead_nodes(&self) -> Result<u64>;
}
