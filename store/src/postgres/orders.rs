//! What hosts ask about the attempts that they make.

use std::collections::HashMap;

use async_trait::async_trait;
use wasmill_domain::{AttemptKey, ExecutionId, Order};

use super::columns::{Columns, get, id_of, pieces};
use super::error::Result;
use super::queries::{count, text_if_any};
use super::session::Session;
use super::store::PostgresStore;
use crate::fence;
use crate::port::{self, Orders};

const CURRENT_STATES: &str =
    "SELECT id, state, epoch, attempt, reason FROM executions WHERE id = ANY($1)";

#[async_trait]
impl Orders for PostgresStore {
    async fn orders(&self, running: &[AttemptKey]) -> port::Result<Vec<Order>> {
        self.inner.read(|session| Box::pin(orders(session, running))).await
    }
}

async fn orders(session: &mut Session<'_>, running: &[AttemptKey]) -> Result<Vec<Order>> {
    let attempts: HashMap<ExecutionId, &AttemptKey> =
        running.iter().map(|key| (key.execution, key)).collect();
    let mut orders = Vec::new();
    for piece in pieces(running, |_| size_of::<AttemptKey>()) {
        let ids = Columns::default().add(piece.iter().map(|key| key.execution.0))?;
        for row in &session.rows(ids.of(CURRENT_STATES)).await? {
            let Some(key) = attempts.get(&id_of(row, "id")?) else { continue };
            let state = fence::stored_state(get(row, "state")?);
            let (epoch, attempt) = (count(row, "epoch")?, count(row, "attempt")?);
            let reason = text_if_any(row, "reason")?;
            orders.extend(Order::for_attempt(key, state, epoch, attempt, reason));
        }
    }
    Ok(orders)
}
