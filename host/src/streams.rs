//! What a command reads and writes, and how much of it is kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::de::IgnoredAny;
use wasmill_domain::event::Attribute;
use wasmill_domain::{Event, Output};

use crate::mask::Mask;

/// The guest has said more than `limits.output_bytes`.
#[derive(Debug, thiserror::Error)]
#[error("the limit on output was reached")]
pub(crate) struct TooMuchOutput;

/// What a command reads and writes.
#[derive(Clone, Default)]
pub(crate) struct Streams {
    /// The event's data.
    pub(crate) input: Bytes,
    /// Environment variables besides the manifest's.
    pub(crate) environment: Vec<(String, String)>,
    /// What it has written to standard output.
    pub(crate) output: Captured,
}

/// Standard output, kept.
#[derive(Clone, Default)]
pub(crate) struct Captured {
    kept: Arc<Mutex<Kept>>,
    most: usize,
}

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    /// Whether there was more than is allowed. Not every program is stopped by that.
    is_cut: bool,
}

/// How much is kept beyond what is allowed, in bytes: the secret that the cut goes through is known
/// by the whole of it.
const BEYOND: usize = 64 << 10;

impl Captured {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds bytes; says whether they are within the limit.
    pub(crate) fn append(&self, bytes: &[u8]) -> bool {
        let mut kept = self.lock();
        kept.is_cut |= kept.bytes.len().saturating_add(bytes.len()) > self.most;
        let remaining = self.most.saturating_add(BEYOND).saturating_sub(kept.bytes.len());
        kept.bytes.extend_from_slice(&bytes[..bytes.len().min(remaining)]);
        !kept.is_cut
    }

    /// All of it, if it is whole.
    pub(crate) fn take(&self) -> Result<Vec<u8>, TooMuchOutput> {
        let mut kept = self.lock();
        if kept.is_cut { Err(TooMuchOutput) } else { Ok(std::mem::take(&mut kept.bytes)) }
    }

    /// What was written by a command that failed, as much of it as a result may have; `None` where
    /// it has written nothing.
    pub(crate) fn take_of_failed(&self, mask: &Mask) -> Option<Output> {
        let mut data = mask.bytes(std::mem::take(&mut self.lock().bytes));
        cut(&mut data, self.most);
        (!data.is_empty())
            .then(|| Output { content_type: media_type(&data).into(), data: data.into() })
    }
}

/// Cuts to a length, and what is text between two characters.
fn cut(data: &mut Vec<u8>, most: usize) {
    data.truncate(most);
    if let Err(error) = std::str::from_utf8(data)
        && error.error_len().is_none()
    {
        data.truncate(error.valid_up_to());
    }
}

impl Streams {
    /// For an attempt at an event, whose result may have `most` bytes.
    pub(crate) fn of(event: &Event, most: usize) -> Self {
        let attribute = |(name, value): (&str, Attribute)| {
            (format!("CE_{}", name.to_uppercase()), value.to_string())
        };
        let environment = event.attributes().map(attribute).collect();
        let output = Captured { kept: Arc::default(), most };
        Self { input: event.data.clone().unwrap_or_default(), environment, output }
    }
}

/// What a program has written, as far as one can tell by looking: it has no place to say it.
pub(crate) fn media_type(data: &[u8]) -> &'static str {
    if serde_json::from_slice::<IgnoredAny>(data).is_ok() {
        "application/json"
    } else if std::str::from_utf8(data).is_ok() {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    }
}

#[cfg(test)]
mod tests {
    use wasmill_secrets::Secret;

    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        for (text, most, kept) in
            [("aé", 3, "aé"), ("aé", 2, "a"), ("€", 2, ""), ("abc", 2, "ab"), ("", 2, "")]
        {
            let mut data = text.as_bytes().to_vec();
            cut(&mut data, most);
            assert_eq!(data, kept.as_bytes(), "{text} {most}");
        }
        let mut bytes = b"\xff\xfe\xfd".to_vec();
        cut(&mut bytes, 2);
        assert_eq!(bytes, b"\xff\xfe");
    }

    #[test]
    fn a_failed_command_leaves_what_fits() {
        let captured = Captured { kept: Arc::default(), most: 4 };
        assert!(captured.take_of_failed(&Mask::default()).is_none());
        assert!(captured.append(b"ab"));
        assert!(!captured.append("cdéf".as_bytes()));
        assert!(captured.take().is_err());
        let left = captured.take_of_failed(&Mask::default()).unwrap();
        assert_eq!(
            (left.content_type.as_str(), &*left.data),
            ("text/plain; charset=utf-8", &b"abcd"[..])
        );
    }

    #[test]
    fn a_secret_is_hidden_before_the_cut() {
        let mut mask = Mask::default();
        mask.add(&Secret::from(b"open-sesame-123".to_vec()));
        let captured = Captured { kept: Arc::default(), most: 10 };
        captured.append(b"it is open-sesame-123, and more");
        assert_eq!(&*captured.take_of_failed(&mask).unwrap().data, b"it is ***,");
        let captured = Captured { kept: Arc::default(), most: 10 };
        captured.append(b"\xff open-sesame-123");
        let left = captured.take_of_failed(&mask).unwrap();
        assert!(!left.data.windows(4).any(|part| part == b"open"), "{left:?}");
    }

    #[test]
    fn output_is_told_by_its_looks() {
        for (data, expected) in [
            ("{\"a\": 1}\n".as_bytes(), "application/json"),
            (b"42", "application/json"),
            (b"hello\n", "text/plain; charset=utf-8"),
            (b"", "text/plain; charset=utf-8"),
            (b"\xff\xfe", "application/octet-stream"),
        ] {
            assert_eq!(media_type(data), expected, "{data:?}");
        }
    }
}
