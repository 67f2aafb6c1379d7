//! W3C trace context: <https://www.w3.org/TR/trace-context/>.

use std::fmt;

use crate::key::mask_keys;

/// The position of an execution in a trace: the `traceparent` and `tracestate` headers, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    sampled: bool,
    /// The vendors' part, passed on as it came; at most 512 bytes.
    pub tracestate: Option<String>,
}

impl TraceContext {
    /// A new trace, sampled, with random ids.
    pub fn new_root() -> Self {
        Self { trace_id: random(), span_id: random(), sampled: true, tracestate: None }
    }

    /// Reads the two headers; `None` where `traceparent` is not valid, in which case the
    /// specification asks for a new trace.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let mut parts = traceparent.trim().split('-');
        let (version, trace_id, span_id, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lower_hex =
            |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let known = version.len() == 2
            && lower_hex(version)
            && version != "ff"
            && (version != "00" || parts.next().is_none());
        if !known
            || flags.len() != 2
            || !lower_hex(trace_id)
            || !lower_hex(span_id)
            || !lower_hex(flags)
        {
            return None;
        }
        let trace_id: [u8; 16] = hex::decode(trace_id).ok()?.try_into().ok()?;
        let span_id: [u8; 8] = hex::decode(span_id).ok()?.try_into().ok()?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return None;
        }
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        // One with an API key in it is left out: what is here is stored, and handed to guests.
        let has_key = |text: &str| mask_keys(&mut text.as_bytes().to_vec());
        let tracestate =
            tracestate.filter(|text| !text.is_empty() && text.len() <= 512 && !has_key(text));
        let tracestate = tracestate.map(str::to_owned);
        Some(Self { trace_id, span_id, sampled, tracestate })
    }

    /// The context of these parts, which another process had parsed: the trace's id, the span's,
    /// whether it is sampled, and the vendors' part.
    pub(crate) fn of_parts(
        trace_id: [u8; 16],
        span_id: [u8; 8],
        sampled: bool,
        tracestate: Option<String>,
    ) -> Self {
        Self { trace_id, span_id, sampled, tracestate }
    }

    /// The trace's id, the span's, and whether it is sampled.
    pub(crate) fn parts(&self) -> (&[u8; 16], &[u8; 8], bool) {
        (&self.trace_id, &self.span_id, self.sampled)
    }

    /// A new span of the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: random(), ..self.clone() }
    }

    /// The trace's id: 32 hex digits.
    pub fn trace_id(&self) -> String {
        hex::encode(self.trace_id)
    }

    /// The span's id: 16 hex digits.
    pub fn span_id(&self) -> String {
        hex::encode(self.span_id)
    }
}

/// Writes the `traceparent` header.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{}-{}-{:02x}",
            hex::encode(self.trace_id),
            hex::encode(self.span_id),
            u8::from(self.sampled)
        )
    }
}

/// Random bytes that are not all zero, which the specification forbids.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Version 4 UUIDs come from the random generator that `uuid` keeps for speed; trace ids are no
    // secrets.
    let uuid = uuid::Uuid::new_v4();
    let source = uuid.as_bytes();
    let start = source.len() - N;
    bytes.copy_from_slice(&source[start..]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_back() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = TraceContext::parse(text, Some("a=b")).unwrap();
        assert_eq!(context.to_string(), text);
        assert_eq!(context.tracestate.as_deref(), Some("a=b"));
        let child = context.child();
        assert_eq!(child.trace_id(), context.trace_id());
        assert_ne!(child.span_id(), context.span_id());
    }

    #[test]
    fn a_later_version_may_have_more_parts() {
        assert!(
            TraceContext::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x", None)
                .is_some()
        );
        assert!(
            TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x", None)
                .is_none()
        );
    }

    #[test]
    fn invalid_headers() {
        for bad in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f-00f067aa0ba902b7-01",
        ] {
            assert!(TraceContext::parse(bad, None).is_none(), "{bad}");
        }
    }

    #[test]
    fn random_ids_are_never_zero() {
        let root = TraceContext::new_root();
        assert!(TraceContext::parse(&root.to_string(), None).is_some());
    }
}
