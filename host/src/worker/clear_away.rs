//! What is left of a deleted function: its queue, and the memory of it.

use std::error::Error;

use wasmill_broker::{Depth, QueueName};
use wasmill_store::Change;

use super::host::{FunctionKey, Host};

/// Deletes what is left of a deleted function, and gives whether that is done. Where it is not, the
/// queue is to be consumed as before.
pub(super) async fn clear_away(host: &Host, key: &FunctionKey, queue: &QueueName) -> bool {
    match try_to_clear_away(host, key, queue).await {
        Ok(true) => {
            tracing::info!(%queue, "the queue of a deleted function is deleted");
            true
        }
        Ok(false) => false,
        Err(error) => {
            tracing::debug!(%queue, %error, "an empty queue is left for now");
            false
        }
    }
}

async fn try_to_clear_away(
    host: &Host,
    key: &FunctionKey,
    queue: &QueueName,
) -> Result<bool, Box<dyn Error + Send + Sync>> {
    if !is_of_no_use(host, key, queue).await? {
        return Ok(false);
    }
    host.broker.queues.delete(queue).await?;
    let (tenant, function) = key.clone();
    let changed = host.store.catalog.define(&Change::ForgetFunction { tenant, function }).await?;
    // Or a worker would be begun again.
    host.registry.reach(changed.revision).await?;
    Ok(true)
}

/// Whether nothing needs the queue any more.
async fn is_of_no_use(
    host: &Host,
    (tenant, function): &FunctionKey,
    queue: &QueueName,
) -> Result<bool, Box<dyn Error + Send + Sync>> {
    // Not by the worker's own version, nor by what is known here just now: one that was deployed
    // again takes its time to compile and to be known, and what it is sent meanwhile must find its
    // queue.
    host.registry.catch_up().await?;
    if !host.registry.current().is_deleted(tenant, function.as_str()) {
        return Ok(false);
    }
    // A queue may look empty while another process has a message of it, which comes back where that
    // process dies; and what is due later comes by a message of its own.
    if host.store.orders.has_open(tenant, function).await? {
        return Ok(false);
    }
    // The last question, so that as little as may be comes between it and the deletion.
    Ok(host.broker.queues.depth(queue).await? == Depth::default())
}
