//! What hosts ask about the attempts that they make.

use async_trait::async_trait;
use wasmill_domain::{AttemptKey, Order, TenantName};

use super::columns::{Columns, get, id_of, pieces};
use super::error::Result;
use super::queries::{count, text_if_any};
use super::session::Session;
use super::store::PostgresStore;
use crate::fence;
use crate::operate::by_execution;
use crate::port::{self, Orders};

const CURRENT_STATES: &str =
    "SELECT id, tenant, state, epoch, attempt, reason FROM executions WHERE id = ANY($1)";

#[async_trait]
impl Orders for PostgresStore {
    async fn orders(&self, running: &[(TenantName, AttemptKey)]) -> port::Result<Vec<Order>> {
        self.inner.read(|session| Box::pin(orders(session, running))).await
    }
}

async fn orders(
    session: &mut Session<'_>,
    running: &[(TenantName, AttemptKey)],
) -> Result<Vec<Order>> {
    let attempts = by_execution(running);
    let mut orders = Vec::new();
    for piece in pieces(running, |_| size_of::<AttemptKey>()) {
        let ids = Columns::default().add(piece.iter().map(|(_, key)| key.execution.0))?;
        for row in &session.rows(ids.of(CURRENT_STATES)).await? {
            let (id, tenant) = (id_of(row, "id")?, get::<&str>(row, "tenant")?);
            let state = fence::stored_state(get(row, "state")?);
            let (epoch, attempt) = (count(row, "epoch")?, count(row, "attempt")?);
            let reason = text_if_any(row, "reason")?;
            let own = attempts.get(&id).into_iter().flatten().filter(|(of, _)| **of == *tenant);
            orders.extend(own.filter_map(|(tenant, key)| {
                Order::for_attempt(tenant, key, state, epoch, attempt, reason.clone())
            }));
        }
    }
    Ok(orders)
}
