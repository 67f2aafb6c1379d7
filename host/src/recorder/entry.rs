//! The end of an attempt, on its way to be committed.

use tokio::sync::oneshot;
use wasmill_store::Finished;

use crate::shares::SharePermit;

/// An end on its way.
pub(super) struct PendingRecord {
    pub(super) finished: Finished,
    pub(super) done: oneshot::Sender<()>,
    pub(super) _reserved: [SharePermit; 2],
}

/// What an end takes of memory, about.
pub(super) fn weight(finished: &Finished) -> usize {
    let logs: usize = finished
        .logs
        .iter()
        .map(|line| 96 + line.message.len() + line.fields.as_ref().map_or(0, String::len))
        .sum();
    let data = |dispatch: &wasmill_domain::Dispatch| {
        dispatch.event.data.as_ref().map_or(0, bytes::Bytes::len)
    };
    let emitted: usize = finished.emitted.iter().map(|dispatch| 512 + data(dispatch)).sum();
    let output = finished.report.output.as_ref().map_or(0, |output| output.data.len());
    1024 + data(&finished.dispatch) + output + logs + emitted
}
