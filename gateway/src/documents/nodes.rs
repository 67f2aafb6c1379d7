//! The processes that are alive.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use wasmill_domain::Timestamp;
use wasmill_domain::wire::Reads;
use wasmill_store::LiveNode;

/// Every process that is alive.
#[derive(Serialize, ToSchema)]
pub(crate) struct NodeList {
    /// By role and name.
    pub(crate) nodes: Vec<NodeDocument>,
}

/// A process that is alive.
#[derive(Serialize, ToSchema)]
#[schema(as = Node)]
pub(crate) struct NodeDocument {
    /// Made when the process started.
    pub(crate) id: Uuid,
    /// A host's configured name, else the machine's and the process id.
    pub(crate) name: String,
    /// `gateway`, `host`, `scheduler`, `dev` (all in one), or what a later release calls its own.
    pub(crate) role: String,
    /// The release that it is of.
    pub(crate) release: String,
    /// The number of the database's schema that it knows.
    pub(crate) schema_version: i64,
    /// The labels that functions may ask for.
    pub(crate) labels: Vec<String>,
    /// The newest version of each wire format that it reads. It reads the version before as well.
    #[schema(value_type = BTreeMap<String, u32>)]
    pub(crate) reads: Reads,
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) started_at: Timestamp,
    /// When it last said that it is alive, by the database's clock.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) beat_at: Timestamp,
}

impl From<LiveNode> for NodeDocument {
    fn from(live: LiveNode) -> Self {
        let LiveNode { node, schema_version, beat_at } = live;
        Self {
            id: node.id,
            name: node.name,
            role: node.role,
            release: node.release,
            schema_version,
            labels: node.labels,
            reads: node.reads,
            started_at: node.started_at,
            beat_at,
        }
    }
}
