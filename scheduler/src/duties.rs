//! What a scheduler does.

mod due;
mod nodes;
mod outbox;
mod partitions;
mod publish;
mod retention;

use crate::duty::Duty;
use crate::parts::SchedulerParts;

/// All of it.
pub(crate) fn all(parts: &SchedulerParts) -> Vec<Box<dyn Duty>> {
    vec![
        Box::new(due::Due::new(parts)),
        Box::new(outbox::Sweep::new(parts)),
        Box::new(retention::History::new(parts)),
        Box::new(partitions::DaysAhead::new(parts)),
        Box::new(nodes::DeadNodes::new(parts)),
    ]
}
