//! What became of events: the verbs that read.

use async_trait::async_trait;
use wasmill_domain::{ExecutionId, TenantName};

use super::error::Result;
use super::types::{ExecutionDetail, ExecutionQuery, ListedExecution, LogEntry, LogPosition};

/// What became of events, as it is read.
#[async_trait]
pub trait History: Send + Sync + 'static {
    /// Executions, the newest first. One whose row cannot be read stands in its place and is in
    /// nobody's way.
    async fn executions(&self, query: &ExecutionQuery) -> Result<Vec<ListedExecution>>;

    /// One execution with its event, result and attempts.
    async fn execution(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
    ) -> Result<Option<ExecutionDetail>>;

    /// Log lines of an execution by attempt and position, after `after` where given, at most
    /// `limit`.
    async fn logs(
        &self,
        tenant: &TenantName,
        id: ExecutionId,
        after: Option<LogPosition>,
        limit: u32,
    ) -> Result<Vec<LogEntry>>;
}
