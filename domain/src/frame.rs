//! The message that crosses the broker: 1 to 64 executions of one function.
//!
//! The first byte is the format's version; what follows is [postcard](https://postcard.jamesmunns.com/wire-format). A change
//! of the wire types below is a new version, and hosts read the old one for as long as a message may live. What was added
//! since stands behind, as [`Extra`]s: a host that knows none of them does not look there.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::definition::Revision;
use crate::event::Event;
use crate::execution::{Dispatch, ExecutionId};
use crate::names::{FunctionName, TenantName};
use crate::timestamp::Timestamp;
use crate::trace::TraceContext;

/// The version that is written.
pub const VERSION: u8 = 1;

/// The most executions in one frame.
pub const MAX_DISPATCHES: usize = 64;

/// A frame holds no further execution once it is this long, in bytes; a single larger one travels alone.
pub const SOFT_MAX_BYTES: usize = 1 << 20;

/// Dispatches of one function, in the order of their acceptance.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    dispatches: Vec<Dispatch>,
}

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("an empty message")]
    Empty,
    /// From a newer wasmill, or not from wasmill.
    #[error("frame version {0} is not one of those known here (1)")]
    Version(u8),
    /// Cut off or damaged.
    #[error("the frame cannot be read: {0}")]
    Damaged(#[from] postcard::Error),
    /// From a newer wasmill, with something that must not be passed over.
    #[error("the frame has something that is not known here (tag {0})")]
    Extra(u8),
    /// A frame with none or too many executions.
    #[error("a frame of {0} executions: expected 1 to 64")]
    Length(usize),
}

#[derive(Serialize, Deserialize)]
struct WireFrame {
    tenant: TenantName,
    function: FunctionName,
    dispatches: Vec<WireDispatch>,
}

#[derive(Serialize, Deserialize)]
struct WireDispatch {
    execution: ExecutionId,
    attempt: u32,
    max_attempts: u32,
    accepted_at: Timestamp,
    queued_at: Timestamp,
    trace: TraceContext,
    parent: Option<ExecutionId>,
    revision: Revision,
    event: Arc<Event>,
}

/// Something that the version does not have.
#[derive(Serialize, Deserialize)]
struct Extra {
    /// What it is; with [`MUST_UNDERSTAND`] where the frame cannot be read without it.
    tag: u8,
    body: Vec<u8>,
}

/// The bit of tags that a reader must know.
const MUST_UNDERSTAND: u8 = 0x80;

/// The tag of the indexes, a byte each, of the dispatches whose events have data that nobody said the type of. Who does not
/// know it takes them for JSON, as all did.
const OPAQUE: u8 = 1;

impl Frame {
    /// A frame of `dispatches`; `None` unless there are 1 to 64, all of one function.
    pub fn new(dispatches: Vec<Dispatch>) -> Option<Self> {
        let first = dispatches.first()?;
        let same = |d: &Dispatch| d.tenant == first.tenant && d.function == first.function;
        (dispatches.len() <= MAX_DISPATCHES && dispatches.iter().all(same)).then_some(Self { dispatches })
    }

    /// A frame of one.
    pub fn single(dispatch: Dispatch) -> Self {
        Self { dispatches: vec![dispatch] }
    }

    /// What it holds; never empty.
    pub fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }

    /// Takes it apart.
    pub fn into_dispatches(self) -> Vec<Dispatch> {
        self.dispatches
    }

    /// The bytes of the message.
    pub fn encode(&self) -> Vec<u8> {
        let first = &self.dispatches[0];
        let wire = WireFrame {
            tenant: first.tenant.clone(),
            function: first.function.clone(),
            dispatches: self.dispatches.iter().map(WireDispatch::from).collect(),
        };
        // Cannot fail: it grows a Vec, and every length is known.
        let bytes = postcard::to_extend(&wire, vec![VERSION]).unwrap_or_default();
        let indexed = (0_u8..).zip(&self.dispatches);
        let opaque: Vec<u8> = indexed.filter(|(_, dispatch)| dispatch.event.opaque).map(|(index, _)| index).collect();
        if opaque.is_empty() {
            return bytes;
        }
        postcard::to_extend(&Extra { tag: OPAQUE, body: opaque }, bytes).unwrap_or_default()
    }

    /// Reads the bytes of a message.
    ///
    /// # Errors
    /// Where they are not a frame of a known version; the message must then be kept aside, not dropped.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (&version, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let (wire, mut extras): (WireFrame, &[u8]) = postcard::take_from_bytes(rest)?;
        let length = wire.dispatches.len();
        if !(1..=MAX_DISPATCHES).contains(&length) {
            return Err(DecodeError::Length(length));
        }
        let (tenant, function) = (wire.tenant, wire.function);
        let mut dispatches: Vec<Dispatch> = wire.dispatches.into_iter().map(|d| d.of(&tenant, &function)).collect();
        while !extras.is_empty() {
            let (extra, rest): (Extra, &[u8]) = postcard::take_from_bytes(extras)?;
            match extra.tag {
                OPAQUE => mark_opaque(&mut dispatches, &extra.body),
                unknown if unknown & MUST_UNDERSTAND != 0 => return Err(DecodeError::Extra(unknown)),
                _ => {}
            }
            extras = rest;
        }
        Ok(Self { dispatches })
    }
}

fn mark_opaque(dispatches: &mut [Dispatch], indexes: &[u8]) {
    for index in indexes {
        if let Some(dispatch) = dispatches.get_mut(usize::from(*index)) {
            Arc::make_mut(&mut dispatch.event).mark_opaque();
        }
    }
}

impl From<&Dispatch> for WireDispatch {
    fn from(dispatch: &Dispatch) -> Self {
        Self {
            execution: dispatch.execution,
            attempt: dispatch.attempt,
            max_attempts: dispatch.max_attempts,
            accepted_at: dispatch.accepted_at,
            queued_at: dispatch.queued_at,
            trace: dispatch.trace.clone(),
            parent: dispatch.parent,
            revision: dispatch.revision,
            event: Arc::clone(&dispatch.event),
        }
    }
}

impl WireDispatch {
    fn of(self, tenant: &TenantName, function: &FunctionName) -> Dispatch {
        Dispatch {
            tenant: tenant.clone(),
            function: function.clone(),
            execution: self.execution,
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            accepted_at: self.accepted_at,
            queued_at: self.queued_at,
            trace: self.trace,
            parent: self.parent,
            revision: self.revision,
            event: self.event,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dispatch(data: Vec<u8>) -> Dispatch {
        Dispatch {
            tenant: TenantName::default(),
            function: "hello".parse().unwrap(),
            execution: ExecutionId::new(),
            attempt: 2,
            max_attempts: 3,
            accepted_at: Timestamp::now(),
            queued_at: Timestamp::now(),
            trace: TraceContext::new_root(),
            parent: Some(ExecutionId::new()),
            revision: Revision(7),
            event: Arc::new(Event::new("1", "/test", "greeting".parse().unwrap(), data).unwrap()),
        }
    }

    fn opaque(data: &'static [u8]) -> Dispatch {
        let parts = dispatch(vec![]).event.as_ref().clone().into_parts();
        let parts = crate::EventParts { datacontenttype: None, data: Some(data.into()), opaque: true, ..parts };
        Dispatch { event: Arc::new(parts.check().unwrap()), ..dispatch(vec![]) }
    }

    #[test]
    fn what_was_added_stands_behind_the_version() {
        let frame = Frame::new(vec![dispatch(b"{}".to_vec()), opaque(b"{}"), dispatch(vec![])]).unwrap();
        let bytes = frame.encode();
        assert_eq!(Frame::decode(&bytes).unwrap(), frame);
        // What is written today: the tag, one byte of body, the index.
        assert!(bytes.ends_with(&[OPAQUE, 1, 1]) && OPAQUE == 1);
        // As an earlier release reads it.
        let wire: WireFrame = postcard::from_bytes(&bytes[1..]).unwrap();
        assert_eq!(wire.dispatches.len(), 3);
        let with = |tag: u8| [&bytes[..], &[tag, 2, 0, 0]].concat();
        assert_eq!(Frame::decode(&with(0x7f)).unwrap(), frame);
        assert!(matches!(Frame::decode(&with(0x80)), Err(DecodeError::Extra(0x80))));
    }

    #[test]
    fn bytes_and_back() {
        let frame = Frame::new(vec![dispatch(b"{}".to_vec()), dispatch(vec![0; 1000])]).unwrap();
        assert_eq!(Frame::decode(&frame.encode()).unwrap(), frame);
    }

    #[test]
    fn a_frame_is_of_one_function() {
        let mut other = dispatch(vec![]);
        other.function = "other".parse().unwrap();
        assert!(Frame::new(vec![dispatch(vec![]), other]).is_none());
        assert!(Frame::new(vec![]).is_none());
        assert!(Frame::new(vec![dispatch(vec![]); MAX_DISPATCHES + 1]).is_none());
    }

    #[test]
    fn what_is_not_a_frame_is_named() {
        assert!(matches!(Frame::decode(b""), Err(DecodeError::Empty)));
        assert!(matches!(Frame::decode(b"\x07abc"), Err(DecodeError::Version(7))));
        let bytes = Frame::single(dispatch(vec![1, 2, 3])).encode();
        assert!(matches!(Frame::decode(&bytes[..bytes.len() - 1]), Err(DecodeError::Damaged(_))));
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0usize..400, bit in 0u8..8) {
            let mut bytes = Frame::single(dispatch(b"{\"a\":1}".to_vec())).encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let _ = Frame::decode(&bytes);
        }
    }
}
