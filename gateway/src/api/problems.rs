//! The kinds of problems, explained.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::extract::Segment;
use crate::problem::KINDS;

/// The explanation of a kind of problem.
#[derive(Serialize, ToSchema)]
pub(crate) struct Explanation {
    /// The URI reference.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in a few words.
    title: &'static str,
    /// The HTTP status that goes with it.
    status: u16,
    /// What it means and what to do.
    help: &'static str,
}

/// Explain a problem
///
/// What the `type` of a problem document refers to.
#[utoipa::path(get, path = "/problems/{name}", tag = "service",
    params(("name" = String, Path, description = "The last segment of the problem's `type`")),
    responses(
        (status = 200, description = "The explanation", body = Explanation),
        (status = 404, description = "No such problem")))]
pub(crate) async fn explain(Segment(name): Segment<String>) -> Result<Json<Explanation>, ApiError> {
    let found = KINDS.iter().find(|kind| kind.name == name);
    let kind =
        found.ok_or_else(|| ApiError::NotFound("there is no problem of this name".into()))?;
    Ok(Json(Explanation {
        kind: kind.uri(),
        title: kind.title,
        status: kind.status.as_u16(),
        help: kind.help,
    }))
}
