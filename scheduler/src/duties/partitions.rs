//! The days ahead.

use std::time::Duration;

use async_trait::async_trait;

use crate::duty::{Duty, Next};
use crate::error::DutyError;
use crate::parts::SchedulerParts;

/// How often is looked whether days are missing.
const PACE: Duration = Duration::from_secs(60);

/// Makes the partitions of the days ahead, also where nobody writes for days.
pub(crate) struct DaysAhead {
    parts: SchedulerParts,
}

impl DaysAhead {
    pub(crate) fn new(parts: &SchedulerParts) -> Self {
        Self { parts: parts.clone() }
    }
}

#[async_trait]
impl Duty for DaysAhead {
    fn name(&self) -> &'static str {
        "partitions"
    }

    fn pace(&self) -> Duration {
        PACE
    }

    async fn round(&mut self) -> Result<Next, DutyError> {
        self.parts.store.retention.make_days().await?;
        Ok(Next::InTime)
    }
}
