//! What a scheduler works with.

use wasmill_broker::BatchPublisher;

use crate::settings::SchedulerSettings;

wasmill_domain::ports! {
    /// The ports of a store that a scheduler uses.
    pub struct SchedulerStore of wasmill_store {
        agenda: Agenda,
        ledger: Ledger,
        leases: Leases,
        retention: Retention,
        nodes: Nodes,
    }
}

/// What a scheduler works with.
#[derive(Clone)]
pub struct SchedulerParts {
    /// Where the work stands.
    pub store: SchedulerStore,
    /// Where it goes.
    pub publisher: BatchPublisher,
    /// Its bounds.
    pub settings: SchedulerSettings,
}
