//! Version 2 of the batch message, behind its version's byte: an envelope, which every later
//! version begins with as well, and the rest.

use serde::{Deserialize, Serialize};

use super::error::DecodeError;
use super::event::{WireEvent, WireTrace};
use super::extras::Extra;
use super::octets::Id;
use crate::batch::Batch;
use crate::definition::Revision;
use crate::dispatch::{AttemptKey, Dispatch, Origin};
use crate::names::{FunctionName, TenantName};
use crate::timestamp::Timestamp;

/// The tag of a dispatch's extra that holds the depth of its chain, where that is more than 1. Who
/// does not know it counts from 1 again.
const DEPTH: u8 = 1;

/// What every version from this one on begins with, so that whoever cannot read the rest can tell
/// what is in it. It never changes.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    tenant: &'a str,
    function: &'a str,
    attempts: Vec<WireKey>,
}

/// What an attempt is known by.
#[derive(Serialize, Deserialize)]
struct WireKey {
    execution: Id,
    epoch: u32,
    attempt: u32,
}

#[derive(Serialize, Deserialize)]
struct BodyV2<'a> {
    /// One for each of the envelope's attempts.
    #[serde(borrow)]
    dispatches: Vec<DispatchV2<'a>>,
    extras: Vec<Extra>,
}

/// What of a dispatch is not in the envelope.
#[derive(Serialize, Deserialize)]
struct DispatchV2<'a> {
    max_attempts: u32,
    accepted_at: i64,
    queued_at: i64,
    #[serde(borrow)]
    trace: WireTrace<'a>,
    #[serde(borrow)]
    origin: OriginV2<'a>,
    /// None where the execution is the first of its chain.
    root: Option<Id>,
    revision: i64,
    #[serde(borrow)]
    event: WireEvent<'a>,
    /// Whether nobody said what the data is.
    opaque: bool,
    extras: Vec<Extra>,
}

/// The order is the format's.
#[derive(Serialize, Deserialize)]
enum OriginV2<'a> {
    Event,
    EmittedBy(Id),
    ReplayOf(Id),
    Schedule { name: &'a str, due: i64 },
    WorkflowStep { run: Id, path: &'a str },
    Invocation,
}

/// Appends a batch to `bytes`.
pub(super) fn encode(batch: &Batch, bytes: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
    encode_with(batch, &[], &[], bytes)
}

/// Appends a batch to `bytes`, with extras of its own and others of each dispatch.
pub(super) fn encode_with(
    batch: &Batch,
    of_batch: &[Extra],
    of_each: &[Extra],
    bytes: Vec<u8>,
) -> Result<Vec<u8>, postcard::Error> {
    let dispatches = batch.dispatches();
    let envelope = Envelope {
        tenant: &dispatches[0].tenant,
        function: &dispatches[0].function,
        attempts: dispatches.iter().map(WireKey::from).collect(),
    };
    let bytes = postcard::to_extend(&envelope, bytes)?;
    let body = BodyV2 {
        dispatches: dispatches
            .iter()
            .map(|dispatch| DispatchV2::new(dispatch, of_each.to_vec()))
            .collect(),
        extras: of_batch.to_vec(),
    };
    postcard::to_extend(&body, bytes)
}

/// Reads all of `bytes`.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Dispatch>, DecodeError> {
    let (Envelope { tenant, function, attempts }, rest) = postcard::take_from_bytes(bytes)?;
    let (BodyV2 { dispatches, extras }, rest) = postcard::take_from_bytes(rest)?;
    if !rest.is_empty() {
        return Err(DecodeError::Behind(rest.len()));
    }
    if attempts.len() != dispatches.len() {
        return Err(DecodeError::Length(attempts.len()));
    }
    if let Some(tag) = Extra::first_needed(&extras) {
        return Err(DecodeError::Extra(tag));
    }
    let (tenant, function): (TenantName, FunctionName) = (tenant.parse()?, function.parse()?);
    let both = attempts.into_iter().zip(dispatches);
    both.map(|(key, dispatch)| dispatch.into_dispatch(&key, &tenant, &function)).collect()
}

/// Whose a batch of this version or of a later one is, and what is in it.
pub(super) fn identify(bytes: &[u8]) -> Option<(TenantName, FunctionName, Vec<AttemptKey>)> {
    let (envelope, _): (Envelope<'_>, &[u8]) = postcard::take_from_bytes(bytes).ok()?;
    let attempts = envelope.attempts.iter().map(WireKey::key).collect();
    Some((envelope.tenant.parse().ok()?, envelope.function.parse().ok()?, attempts))
}

impl WireKey {
    fn key(&self) -> AttemptKey {
        AttemptKey { execution: self.execution.0, epoch: self.epoch, attempt: self.attempt }
    }
}

impl From<&Dispatch> for WireKey {
    fn from(dispatch: &Dispatch) -> Self {
        let AttemptKey { execution, epoch, attempt } = dispatch.key();
        Self { execution: Id(execution), epoch, attempt }
    }
}

impl<'a> DispatchV2<'a> {
    fn new(dispatch: &'a Dispatch, mut extras: Vec<Extra>) -> Self {
        let depth = dispatch.origin.depth();
        if depth > 1 {
            extras.push(Extra { tag: DEPTH, body: depth.to_le_bytes().into() });
        }
        Self {
            max_attempts: dispatch.max_attempts,
            accepted_at: dispatch.accepted_at.as_micros(),
            queued_at: dispatch.queued_at.as_micros(),
            trace: (&dispatch.trace).into(),
            origin: (&dispatch.origin).into(),
            root: (dispatch.root != dispatch.execution).then_some(Id(dispatch.root)),
            revision: dispatch.revision.0,
            event: (&**dispatch.event).into(),
            opaque: dispatch.event.opaque,
            extras,
        }
    }

    fn into_dispatch(
        self,
        key: &WireKey,
        tenant: &TenantName,
        function: &FunctionName,
    ) -> Result<Dispatch, DecodeError> {
        if let Some(tag) = Extra::first_needed(&self.extras) {
            return Err(DecodeError::Extra(tag));
        }
        let mut origin = Origin::from(self.origin);
        if let Origin::EmittedBy { depth, .. } = &mut origin
            && let Some(extra) = self.extras.iter().find(|extra| extra.tag == DEPTH)
        {
            let body = extra.body.as_slice().try_into().map_err(|_| DecodeError::Depth)?;
            *depth = u32::from_le_bytes(body);
        }
        let AttemptKey { execution, epoch, attempt } = key.key();
        Ok(Dispatch {
            tenant: tenant.clone(),
            function: function.clone(),
            execution,
            epoch,
            attempt,
            max_attempts: self.max_attempts,
            accepted_at: Timestamp::from_micros(self.accepted_at),
            queued_at: Timestamp::from_micros(self.queued_at),
            trace: self.trace.into(),
            origin,
            root: self.root.map_or(execution, |root| root.0),
            revision: Revision(self.revision),
            event: self.event.into_event(self.opaque)?,
        })
    }
}

impl<'a> From<&'a Origin> for OriginV2<'a> {
    fn from(origin: &'a Origin) -> Self {
        match origin {
            Origin::Event => Self::Event,
            Origin::EmittedBy { execution, .. } => Self::EmittedBy(Id(*execution)),
            Origin::ReplayOf { execution } => Self::ReplayOf(Id(*execution)),
            Origin::Schedule { name, due } => Self::Schedule { name, due: due.as_micros() },
            Origin::WorkflowStep { run, path } => Self::WorkflowStep { run: Id(*run), path },
            Origin::Invocation => Self::Invocation,
        }
    }
}

impl From<OriginV2<'_>> for Origin {
    fn from(origin: OriginV2<'_>) -> Self {
        match origin {
            OriginV2::Event => Self::Event,
            OriginV2::EmittedBy(Id(execution)) => Self::of_parent(Some(execution)),
            OriginV2::ReplayOf(Id(execution)) => Self::ReplayOf { execution },
            OriginV2::Schedule { name, due } => {
                Self::Schedule { name: name.to_owned(), due: Timestamp::from_micros(due) }
            }
            OriginV2::WorkflowStep { run: Id(run), path } => {
                Self::WorkflowStep { run, path: path.to_owned() }
            }
            OriginV2::Invocation => Self::Invocation,
        }
    }
}
