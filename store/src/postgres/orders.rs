//! What hosts ask about the attempts that they make, and about those that are still to be made.

use async_trait::async_trait;
use wasmill_domain::{AttemptKey, FunctionName, Order, TenantName};

use super::columns::{Columns, get, id_of, pieces};
use super::error::Result;
use super::queries::{count, text_if_any};
use super::session::Session;
use super::store::PostgresStore;
use crate::fence;
use crate::operate::by_execution;
use crate::port::{self, OPEN_LOOKED_AT, Orders};

const CURRENT_STATES: &str =
    "SELECT id, tenant, state, epoch, attempt, reason FROM executions WHERE id = ANY($1)";

/// No index has the open executions of a function: those of its tenant are looked at, and no more
/// of them than $3.
pub(super) const OPEN: &str = "SELECT count(*) AS seen, coalesce(bool_or(function = $2), false) AS found \
     FROM (SELECT function FROM executions WHERE tenant = $1 AND state IN ('scheduled', 'queued', 'running') LIMIT $3) open";

#[async_trait]
impl Orders for PostgresStore {
    async fn orders(
        &self,
        running: &[(TenantName, AttemptKey)],
    ) -> port::Result<Vec<(AttemptKey, Order)>> {
        self.inner.read(|session| Box::pin(orders(session, running))).await
    }

    async fn has_open(&self, tenant: &TenantName, function: &FunctionName) -> port::Result<bool> {
        self.inner.read(|session| Box::pin(has_open(session, tenant, function))).await
    }
}

async fn orders(
    session: &mut Session<'_>,
    running: &[(TenantName, AttemptKey)],
) -> Result<Vec<(AttemptKey, Order)>> {
    let attempts = by_execution(running);
    let mut orders: Vec<(AttemptKey, Order)> = Vec::new();
    for piece in pieces(running, |_| size_of::<AttemptKey>()) {
        let ids = Columns::default().add(piece.iter().map(|(_, key)| key.execution.0))?;
        for row in &session.rows(ids.of(CURRENT_STATES)).await? {
            let (id, tenant) = (id_of(row, "id")?, get::<&str>(row, "tenant")?);
            let state = fence::stored_state(get(row, "state")?);
            let (epoch, attempt) = (count(row, "epoch")?, count(row, "attempt")?);
            let reason = text_if_any(row, "reason")?;
            let own = attempts.get(&id).into_iter().flatten().filter(|(of, _)| **of == *tenant);
            orders.extend(own.filter_map(|(tenant, key)| {
                let reason = reason.clone();
                let order = Order::for_attempt(tenant, key, state, epoch, attempt, reason)?;
                Some((*key, order))
            }));
        }
    }
    Ok(orders)
}

async fn has_open(
    session: &mut Session<'_>,
    tenant: &TenantName,
    function: &FunctionName,
) -> Result<bool> {
    let open = sqlx::query(OPEN).bind(tenant.as_str()).bind(function.as_str()).bind(OPEN_LOOKED_AT);
    let row = session.row(open).await?;
    Ok(get(&row, "found")? || get::<i64>(&row, "seen")? >= OPEN_LOOKED_AT)
}
