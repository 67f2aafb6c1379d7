//! The dead-letter queue: messages that no process could read. For operators, as what is in them
//! may be anybody's.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use uuid::Uuid;
use wasmill_broker::{BrokerError, Message, Publishing, QueueName};
use wasmill_domain::AttemptKey;
use wasmill_domain::wire::Identity;
use wasmill_store::{DeadLetter, DeadLetterSummary};

use super::executions::inert;
use crate::app::{App, SharedApp};
use crate::auth::Caller;
use crate::documents::dead_letters::{
    DeadLetterDocument, DeadLetterPage, ListDeadLetters, Redriven,
};
use crate::error::{ApiError, Result};
use crate::extract::{Params, Segment};
use crate::page;

/// List dead letters
///
/// Messages that no process could read, of all tenants, the newest first. For operator keys.
#[utoipa::path(get, path = "/v1/dead-letters", tag = "dead-letters", params(ListDeadLetters),
    operation_id = "list_dead_letters",
    responses((status = 200, description = "A page of dead letters", body = DeadLetterPage)))]
pub(crate) async fn list(
    State(app): State<SharedApp>,
    caller: Caller,
    Params(query): Params<ListDeadLetters>,
) -> Result<Json<DeadLetterPage>> {
    caller.must_be_operator()?;
    let limit = page::limit(query.limit, 50, page::MAX_PAGE)?;
    // One more than is shown says whether there is another page.
    let letters = app.store.dead_letters.dead_letters(query.cursor, limit + 1).await?;
    let (letters, next) = page::cut(letters, limit, |letter: &DeadLetterSummary| letter.id);
    Ok(Json(DeadLetterPage {
        dead_letters: letters.into_iter().map(DeadLetterDocument::from).collect(),
        next,
    }))
}

/// Export a dead letter
///
/// The message's bytes as they were in the queue. For operator keys.
#[utoipa::path(get, path = "/v1/dead-letters/{id}", tag = "dead-letters", operation_id = "export_dead_letter",
    params(("id" = Uuid, Path, description = "The letter's id")),
    responses(
        (status = 200, description = "The bytes", content((serde_json::Value = "application/octet-stream"))),
        (status = 404, description = "No such letter")))]
pub(crate) async fn export(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(id): Segment<Uuid>,
) -> Result<Response> {
    caller.must_be_operator()?;
    let letter = find(&app, id).await?;
    let octets = HeaderValue::from_static("application/octet-stream");
    Ok((inert(), [(CONTENT_TYPE, octets)], letter.body).into_response())
}

/// Delete a dead letter
///
/// Its executions stay as they are. For operator keys.
#[utoipa::path(delete, path = "/v1/dead-letters/{id}", tag = "dead-letters", operation_id = "delete_dead_letter",
    params(("id" = Uuid, Path, description = "The letter's id")),
    responses((status = 204, description = "It is gone"), (status = 404, description = "No such letter")))]
pub(crate) async fn delete(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(id): Segment<Uuid>,
) -> Result<StatusCode> {
    caller.must_be_operator()?;
    if !app.store.dead_letters.delete_dead_letter(id).await? {
        return Err(missing(id));
    }
    tracing::info!(letter = %id, "dead letter deleted");
    Ok(StatusCode::NO_CONTENT)
}

/// Send a dead letter again
///
/// To the end of the queue that it was in, as it is; the executions that failed by it wait again.
/// It is deleted then, and comes back as another letter where still no process can read it. For
/// operator keys.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/redrive", tag = "dead-letters", operation_id = "redrive_dead_letter",
    params(("id" = Uuid, Path, description = "The letter's id")),
    responses(
        (status = 200, description = "It is in its queue", body = Redriven),
        (status = 404, description = "No such letter"),
        (status = 429, description = "The function's queue is full; the letter is kept")))]
pub(crate) async fn redrive(
    State(app): State<SharedApp>,
    caller: Caller,
    Segment(id): Segment<Uuid>,
) -> Result<Json<Redriven>> {
    caller.must_be_operator()?;
    let letter = find(&app, id).await?;
    let of_its_queue =
        |i: &Identity| (&i.tenant, &i.function) == (&letter.tenant, &letter.function);
    let attempts = Identity::of(&letter.body)
        .filter(of_its_queue)
        .map(|identity| identity.attempts)
        .unwrap_or_default();
    // What is begun is brought to its end even if the client goes away now.
    let work = tokio::spawn(send_again(Arc::clone(&app), letter, attempts.clone()));
    let reopened = work
        .await
        .unwrap_or_else(|e| Err(ApiError::Internal(format!("the task that redrives: {e}"))))?;
    let executions: Vec<_> = attempts.iter().map(|key| key.execution).collect();
    Ok(Json(Redriven { id, executions, reopened }))
}

/// Puts a letter in its queue and deletes it. Its executions wait before the message can come to a
/// host: else what came of it would not stand. Where the broker does not take it, the letter is
/// there for another try.
async fn send_again(app: Arc<App>, letter: DeadLetter, attempts: Vec<AttemptKey>) -> Result<u64> {
    let reopened = app.store.dead_letters.reopen_dead_letter(&letter, &attempts).await?;
    let queue = QueueName::of_function(&letter.tenant, &letter.function);
    let message = Message { body: letter.body, headers: letter.headers, reply_to: None };
    publish(&*app.broker.publishing, &queue, message).await.map_err(|error| match error {
        BrokerError::Full(_) => ApiError::QueueFull(letter.function.to_string()),
        BrokerError::Rejected(why) => ApiError::TooLarge(why),
        _ => ApiError::Unavailable(
            "the broker is not available now: the letter is kept, and may have been sent",
        ),
    })?;
    app.store.dead_letters.delete_dead_letter(letter.id).await?;
    tracing::info!(letter = %letter.id, %queue, reopened, "dead letter sent again");
    Ok(reopened)
}

async fn publish(
    broker: &dyn Publishing,
    queue: &QueueName,
    message: Message,
) -> Result<(), BrokerError> {
    match broker.publish(queue, message.clone()).await {
        Err(BrokerError::NoQueue(_)) => {
            broker.declare(queue).await?;
            broker.publish(queue, message).await
        }
        published => published,
    }
}

async fn find(app: &App, id: Uuid) -> Result<DeadLetter> {
    app.store.dead_letters.dead_letter(id).await?.ok_or_else(|| missing(id))
}

fn missing(id: Uuid) -> ApiError {
    ApiError::NotFound(format!("there is no dead letter {id}"))
}
