//! Version 1 of the batch message, behind its version's byte. It knows neither epochs nor origins;
//! what came to be needed stands behind it, as extras till the end.

use serde::{Deserialize, Serialize};

use super::error::DecodeError;
use super::event::{WireEvent, WireTrace};
use super::extras::{Extra, MUST_UNDERSTAND};
use super::octets::Id;
use crate::batch::Batch;
use crate::definition::Revision;
use crate::dispatch::{AttemptKey, Dispatch, Origin};
use crate::names::{FunctionName, TenantName};
use crate::timestamp::Timestamp;

/// The tag of the indexes, a byte each, of the dispatches whose events have data that nobody said
/// the type of. Who does not know it takes them for JSON, as all did.
const OPAQUE: u8 = 1;

#[derive(Serialize, Deserialize)]
struct BatchV1<'a> {
    tenant: &'a str,
    function: &'a str,
    #[serde(borrow)]
    dispatches: Vec<DispatchV1<'a>>,
}

#[derive(Serialize, Deserialize)]
struct DispatchV1<'a> {
    execution: Id,
    attempt: u32,
    max_attempts: u32,
    accepted_at: i64,
    queued_at: i64,
    #[serde(borrow)]
    trace: WireTrace<'a>,
    parent: Option<Id>,
    revision: i64,
    #[serde(borrow)]
    event: WireEvent<'a>,
}

/// Appends a batch to `bytes`.
pub(super) fn encode(batch: &Batch, bytes: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
    let dispatches = batch.dispatches();
    let wire = BatchV1 {
        tenant: &dispatches[0].tenant,
        function: &dispatches[0].function,
        dispatches: dispatches.iter().map(DispatchV1::from).collect(),
    };
    let bytes = postcard::to_extend(&wire, bytes)?;
    let opaque: Vec<u8> = (0_u8..)
        .zip(dispatches)
        .filter(|(_, dispatch)| dispatch.event.opaque)
        .map(|(index, _)| index)
        .collect();
    if opaque.is_empty() {
        Ok(bytes)
    } else {
        postcard::to_extend(&Extra { tag: OPAQUE, body: opaque }, bytes)
    }
}

/// Reads all of `bytes`.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Dispatch>, DecodeError> {
    let (wire, mut rest): (BatchV1<'_>, &[u8]) = postcard::take_from_bytes(bytes)?;
    let mut opaque = Vec::new();
    while !rest.is_empty() {
        let (extra, after): (Extra, &[u8]) = postcard::take_from_bytes(rest)?;
        match extra.tag {
            OPAQUE => opaque.extend(extra.body),
            unknown if unknown & MUST_UNDERSTAND != 0 => return Err(DecodeError::Extra(unknown)),
            _ => {}
        }
        rest = after;
    }
    let (tenant, function): (TenantName, FunctionName) =
        (wire.tenant.parse()?, wire.function.parse()?);
    let is_opaque = |index: usize| u8::try_from(index).is_ok_and(|index| opaque.contains(&index));
    let dispatches = wire.dispatches.into_iter().enumerate();
    dispatches
        .map(|(index, dispatch)| dispatch.into_dispatch(&tenant, &function, is_opaque(index)))
        .collect()
}

/// Whose a batch is and what is in it, whatever stands behind.
pub(super) fn identify(bytes: &[u8]) -> Option<(TenantName, FunctionName, Vec<AttemptKey>)> {
    let (wire, _): (BatchV1<'_>, &[u8]) = postcard::take_from_bytes(bytes).ok()?;
    let key =
        |d: &DispatchV1<'_>| AttemptKey { execution: d.execution.0, epoch: 0, attempt: d.attempt };
    Some((
        wire.tenant.parse().ok()?,
        wire.function.parse().ok()?,
        wire.dispatches.iter().map(key).collect(),
    ))
}

impl<'a> From<&'a Dispatch> for DispatchV1<'a> {
    fn from(dispatch: &'a Dispatch) -> Self {
        Self {
            execution: Id(dispatch.execution),
            attempt: dispatch.attempt,
            max_attempts: dispatch.max_attempts,
            accepted_at: dispatch.accepted_at.as_micros(),
            queued_at: dispatch.queued_at.as_micros(),
            trace: (&dispatch.trace).into(),
            parent: dispatch.parent().map(Id),
            revision: dispatch.revision.0,
            event: (&**dispatch.event).into(),
        }
    }
}

impl DispatchV1<'_> {
    fn into_dispatch(
        self,
        tenant: &TenantName,
        function: &FunctionName,
        opaque: bool,
    ) -> Result<Dispatch, DecodeError> {
        let (execution, parent) = (self.execution.0, self.parent.map(|id| id.0));
        Ok(Dispatch {
            tenant: tenant.clone(),
            function: function.clone(),
            execution,
            epoch: 0,
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            accepted_at: Timestamp::from_micros(self.accepted_at),
            queued_at: Timestamp::from_micros(self.queued_at),
            trace: self.trace.into(),
            origin: Origin::of_parent(parent),
            root: parent.unwrap_or(execution),
            revision: Revision(self.revision),
            event: self.event.into_event(opaque)?,
        })
    }
}
