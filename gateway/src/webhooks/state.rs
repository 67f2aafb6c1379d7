//! What a gateway knows of webhooks.

use super::counts::{Counted, Counts};
use super::deliveries::Deliveries;
use super::target::WebhookTrigger;
use crate::settings::GatewaySettings;

/// What this gateway knows of webhooks.
pub(crate) struct Webhooks {
    pub(super) deliveries: Deliveries,
    pub(super) counts: Counts,
}

impl Webhooks {
    pub(crate) fn new(settings: &GatewaySettings) -> Self {
        Self { deliveries: Deliveries::new(settings.max_deliveries), counts: Counts::default() }
    }

    /// What was counted at a trigger since this gateway began.
    pub(crate) fn counted(&self, target: WebhookTrigger<'_>) -> Counted {
        self.counts.of(target).read()
    }
}
