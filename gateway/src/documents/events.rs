//! What became of events that were sent.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use wasmill_domain::{Dispatch, Event};

/// The answer to `POST /v1/events`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// To one event.
    One(Accepted),
    /// To a batch.
    Batch(Batch),
}

/// What became of a batch.
#[derive(Serialize, ToSchema)]
pub(crate) struct Batch {
    /// One for each event, in the order of the batch.
    pub(crate) results: Vec<Accepted>,
}

/// What became of an event.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// The event.
    event: EventReference,
    /// Its executions: one for each function that it goes to, by the function's name.
    executions: Vec<ExecutionReference>,
}

/// Names an event.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventReference {
    /// Its id, made here where the sender gave none.
    id: String,
    /// Its type.
    #[serde(rename = "type")]
    event_type: String,
}

/// Names an execution.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExecutionReference {
    /// Its id: a UUIDv7.
    id: Uuid,
    /// The function that runs.
    function: String,
}

impl Accepted {
    /// The answer to `event`, which led to `dispatches`.
    pub(crate) fn new(event: &Event, dispatches: &[Dispatch]) -> Self {
        let reference = |dispatch: &Dispatch| ExecutionReference {
            id: dispatch.execution.0,
            function: dispatch.function.to_string(),
        };
        Self {
            event: EventReference {
                id: event.id.clone(),
                event_type: event.event_type.to_string(),
            },
            executions: dispatches.iter().map(reference).collect(),
        }
    }
}
