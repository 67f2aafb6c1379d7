//! What hosts ask about the attempts that they make.

use std::collections::HashMap;

use async_trait::async_trait;
use wasmill_domain::{AttemptKey, ExecutionId, Order};

use super::bulk::Bulk;
use super::error;
use super::history::{id_bytes, id_of};
use super::queries::get;
use super::store::SqliteStore;
use crate::convert;
use crate::fence;
use crate::port::{Orders, Result};

static CURRENT_STATES: Bulk =
    Bulk::new("SELECT id, state, epoch, attempt, reason FROM executions WHERE id IN (", 1, ")");

#[async_trait]
impl Orders for SqliteStore {
    async fn orders(&self, running: &[AttemptKey]) -> Result<Vec<Order>> {
        let attempts: HashMap<ExecutionId, &AttemptKey> =
            running.iter().map(|key| (key.execution, key)).collect();
        let mut reader = self.readers.acquire().await.map_err(error::of)?;
        let bind = |key: &AttemptKey, values: &mut super::bulk::Values| {
            values.push(id_bytes(&key.execution)).map(drop)
        };
        let mut orders = Vec::new();
        for row in &CURRENT_STATES.fetch(&mut reader, running, bind).await? {
            let Some(key) = attempts.get(&id_of(row, "id")?) else { continue };
            let state = fence::stored_state(get(row, "state")?);
            let epoch = convert::count("epoch", get(row, "epoch")?)?;
            let attempt = convert::count("attempt", get(row, "attempt")?)?;
            orders.extend(Order::for_attempt(key, state, epoch, attempt, get(row, "reason")?));
        }
        Ok(orders)
    }
}
