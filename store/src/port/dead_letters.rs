//! The dead-letter queue.

use async_trait::async_trait;
use uuid::Uuid;
use wasmill_domain::AttemptKey;

use super::error::Result;
use crate::dead_letters::{DeadLetter, DeadLetterSummary};

/// The dead-letter queue: messages that no process could read. Each call is a transaction of its
/// own.
///
/// # Errors
/// [`Error::Unavailable`](crate::StoreError::Unavailable).
#[async_trait]
pub trait DeadLetters: Send + Sync + 'static {
    /// Keeps a message, and ends those of `attempts` that wait or run: their executions fail as
    /// poisoned, with the letter's reason. One whose execution has another epoch or attempt by now,
    /// or is not of the letter's tenant and function, or has no row, is left as it is. A letter
    /// whose id is there already changes nothing.
    async fn put_dead_letter(&self, letter: &DeadLetter, attempts: &[AttemptKey]) -> Result<()>;

    /// Up to `limit` letters, the newest first: those before the id `before`, where one is given.
    async fn dead_letters(
        &self,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<DeadLetterSummary>>;

    /// A letter with its bytes.
    async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>>;

    /// Prepares for a letter to be sent again: those of `attempts` that ended by it wait again.
    /// Gives how many.
    async fn reopen_dead_letter(&self, letter: &DeadLetter, attempts: &[AttemptKey])
    -> Result<u64>;

    /// Deletes a letter, and says whether it was there.
    async fn delete_dead_letter(&self, id: Uuid) -> Result<bool>;
}
