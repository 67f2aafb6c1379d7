//! The processes that are alive: for operators.

use axum::Json;
use axum::extract::State;

use crate::app::SharedApp;
use crate::auth::Caller;
use crate::documents::nodes::{NodeDocument, NodeList};
use crate::error::Result;

/// List processes
///
/// Every gateway, host and scheduler that is alive, in one list. One that crashed is listed until
/// its last sign of life is older than `nodes.timeout`. For operator keys.
#[utoipa::path(get, path = "/v1/nodes", tag = "service", operation_id = "list_nodes",
    responses((status = 200, description = "All of them", body = NodeList)))]
pub(crate) async fn list(State(app): State<SharedApp>, caller: Caller) -> Result<Json<NodeList>> {
    caller.must_be_operator()?;
    let live = app.nodes.live_nodes().await?;
    Ok(Json(NodeList { nodes: live.into_iter().map(NodeDocument::from).collect() }))
}
