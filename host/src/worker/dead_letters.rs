//! Messages that no process can read: kept in the store, for an operator to look at and to have
//! sent again.

use tokio::time::sleep;
use uuid::Uuid;
use wasmill_broker::Message;
use wasmill_domain::{AttemptKey, Timestamp};
use wasmill_store::{DeadLetter, StoreError};

use super::host::{FunctionKey, Host};
use super::settled::Settled;

/// Whether the executions of `attempts` have rows. Those of what a gateway has just accepted follow
/// its message: a letter that is kept before them would not end them, and they would wait for ever.
pub(super) async fn have_rows(host: &Host, key: &FunctionKey, attempts: &[AttemptKey]) -> bool {
    let mut backoff = host.settings.recorder.backoff();
    for attempt in attempts {
        loop {
            match host.store.history.execution(&key.0, attempt.execution).await {
                Ok(None) => return false,
                Err(StoreError::Unavailable(why)) => {
                    tracing::debug!(why, "the store cannot say whether an execution has a row");
                    sleep(backoff.pause()).await;
                }
                // A row that cannot be read is one.
                Ok(Some(_)) | Err(_) => break,
            }
        }
    }
    true
}

/// Keeps a message, and ends the executions that wait for `attempts`. It is not acknowledged before
/// that is committed: while the store is away it is held, and a host that ends gives it back.
pub(super) async fn keep(
    host: &Host,
    key: &FunctionKey,
    message: &Message,
    reason: String,
    attempts: &[AttemptKey],
) -> Settled {
    let (tenant, function) = key.clone();
    tracing::error!(%tenant, %function, reason, "a message cannot be read: it goes to the dead letters");
    let (id, at, headers, body) =
        (Uuid::now_v7(), Timestamp::now(), message.headers.clone(), message.body.clone());
    let letter = DeadLetter { id, tenant, function, reason, at, headers, body };
    let mut backoff = host.settings.recorder.backoff();
    loop {
        match host.store.dead_letters.put_dead_letter(&letter, attempts).await {
            Ok(()) => return Settled::Ack,
            Err(StoreError::Unavailable(why)) => {
                tracing::debug!(why, "a dead letter cannot be kept yet");
                sleep(backoff.pause()).await;
            }
            // It would be refused again: a process with another store, or a later release of it,
            // may fare better.
            Err(error) => {
                tracing::error!(letter = %letter.id, %error, "the store refuses a dead letter");
                return Settled::Release;
            }
        }
    }
}
