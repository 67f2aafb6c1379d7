//! How processes tell each other that they are alive.

use std::time::Duration;

use serde::Deserialize;
use wasmill_domain::units::Span;
use wasmill_store::NODE_TIMEOUT;

use super::bounds::{OutOfBounds, within};

/// The heartbeats of all processes, which is the same in all of them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Nodes {
    /// How old a heartbeat may be, before its process counts as gone: 1 s to 10 min. Each process
    /// renews its own three times as often.
    pub(crate) timeout: Span,
}

impl Default for Nodes {
    fn default() -> Self {
        Self { timeout: Span(NODE_TIMEOUT) }
    }
}

impl Nodes {
    pub(super) fn check(&self) -> Result<(), OutOfBounds> {
        let bounds = Duration::from_secs(1)..=Duration::from_secs(600);
        within("nodes.timeout", bounds.contains(&self.timeout.0), "1s to 10m")
    }
}
