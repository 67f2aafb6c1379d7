//! What hosts ask about the attempts that they make, and about those that are still to be made.

use async_trait::async_trait;
use wasmill_domain::{AttemptKey, FunctionName, Order, TenantName};

use super::bulk::Bulk;
use super::error;
use super::history::{id_bytes, id_of};
use super::queries::get;
use super::store::SqliteStore;
use crate::convert;
use crate::fence;
use crate::operate::by_execution;
use crate::port::{OPEN_LOOKED_AT, Orders, Result};

static CURRENT_STATES: Bulk = Bulk::new(
    "SELECT id, tenant, state, epoch, attempt, reason FROM executions WHERE id IN (",
    1,
    ")",
);

/// No index has the open executions of a function: those of its tenant are looked at, and no more
/// of them than ?3.
pub(super) const OPEN: &str = "SELECT count(*) AS seen, coalesce(max(function = ?2), false) AS found \
     FROM (SELECT function FROM executions WHERE tenant = ?1 AND state IN ('scheduled', 'queued', 'running') LIMIT ?3)";

#[async_trait]
impl Orders for SqliteStore {
    async fn orders(
        &self,
        running: &[(TenantName, AttemptKey)],
    ) -> Result<Vec<(AttemptKey, Order)>> {
        let attempts = by_execution(running);
        let mut reader = self.readers.acquire().await.map_err(error::of)?;
        let bind = |(_, key): &(TenantName, AttemptKey), values: &mut super::bulk::Values| {
            values.push(id_bytes(&key.execution)).map(drop)
        };
        let mut orders: Vec<(AttemptKey, Order)> = Vec::new();
        for row in &CURRENT_STATES.fetch(&mut reader, running, bind).await? {
            let (id, tenant) = (id_of(row, "id")?, get::<&str>(row, "tenant")?);
            let state = fence::stored_state(get(row, "state")?);
            let epoch = convert::count("epoch", get(row, "epoch")?)?;
            let attempt = convert::count("attempt", get(row, "attempt")?)?;
            let reason: Option<String> = get(row, "reason")?;
            let own = attempts.get(&id).into_iter().flatten().filter(|(of, _)| **of == *tenant);
            orders.extend(own.filter_map(|(tenant, key)| {
                let reason = reason.clone();
                let order = Order::for_attempt(tenant, key, state, epoch, attempt, reason)?;
                Some((*key, order))
            }));
        }
        Ok(orders)
    }

    async fn has_open(&self, tenant: &TenantName, function: &FunctionName) -> Result<bool> {
        let open = sqlx::query(OPEN)
            .bind(tenant.as_str())
            .bind(function.as_str())
            .bind(OPEN_LOOKED_AT)
            .fetch_one(&self.readers)
            .await
            .map_err(error::of)?;
        Ok(get(&open, "found")? || get::<i64>(&open, "seen")? >= OPEN_LOOKED_AT)
    }
}
