//! What goes between the two ends of a line.

use bytes::{BufMut as _, Bytes, BytesMut};
use uuid::Uuid;

/// One message of a line, to a process's mailbox or, the first, to a service's queue. Any of them may come twice, as what is not
/// confirmed when a connection is lost is sent again over the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    /// The end that it is for; of a call, the caller's.
    pub(super) line: Uuid,
    pub(super) word: Word,
}

/// What a letter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A call: where the caller is heard, and what it says first.
    Opening { from: String, body: Bytes },
    /// The call was answered: where, and by which end.
    Answered { from: String, line: Uuid },
    /// The frame of this number, counted from 0.
    Frame { number: u64, body: Bytes },
    /// So many frames are taken in all: that many and a window more may be sent.
    Taken { frames: u64 },
    /// The sender says no more, after so many frames.
    Fin { frames: u64 },
    /// The sender hears no more.
    Stop,
    /// The sender is there.
    Alive,
}

const OPENING: u8 = 1;
const ANSWERED: u8 = 2;
const FRAME: u8 = 3;
const TAKEN: u8 = 4;
const FIN: u8 = 5;
const STOP: u8 = 6;
const ALIVE: u8 = 7;

/// A kind and a line's id stand at the beginning of each.
const HEAD: usize = 17;

impl Letter {
    pub(super) fn encode(&self) -> Bytes {
        let body_length = match &self.word {
            Word::Opening { from, body } => 1 + from.len() + body.len(),
            Word::Frame { body, .. } => 8 + body.len(),
            Word::Answered { from, .. } => 16 + from.len(),
            _ => 8,
        };
        let mut bytes = BytesMut::with_capacity(HEAD + body_length);
        let kind = match &self.word {
            Word::Opening { .. } => OPENING,
            Word::Answered { .. } => ANSWERED,
            Word::Frame { .. } => FRAME,
            Word::Taken { .. } => TAKEN,
            Word::Fin { .. } => FIN,
            Word::Stop => STOP,
            Word::Alive => ALIVE,
        };
        bytes.put_u8(kind);
        bytes.put_slice(self.line.as_bytes());
        match &self.word {
            Word::Opening { from, body } => {
                // A queue's name has at most 255 bytes.
                bytes.put_u8(u8::try_from(from.len()).unwrap_or(u8::MAX));
                bytes.put_slice(from.as_bytes());
                bytes.put_slice(body);
            }
            Word::Answered { from, line } => {
                bytes.put_slice(line.as_bytes());
                bytes.put_slice(from.as_bytes());
            }
            Word::Frame { number, body } => {
                bytes.put_u64_le(*number);
                bytes.put_slice(body);
            }
            Word::Taken { frames } | Word::Fin { frames } => bytes.put_u64_le(*frames),
            Word::Stop | Word::Alive => {}
        }
        bytes.freeze()
    }

    /// `None` for what is no letter.
    pub(super) fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < HEAD {
            return None;
        }
        let mut rest = bytes.split_off(HEAD);
        let line = Uuid::from_slice(&bytes[1..]).ok()?;
        let word = match bytes[0] {
            OPENING => {
                let length = usize::from(*rest.first()?);
                let mut from = rest.split_off(1);
                let body = (from.len() >= length).then(|| from.split_off(length))?;
                Word::Opening { from: text(&from)?, body }
            }
            ANSWERED => {
                let line = Uuid::from_slice(rest.get(..16)?).ok()?;
                Word::Answered { from: text(&rest[16..])?, line }
            }
            FRAME => {
                let number = number(&rest)?;
                Word::Frame { number, body: rest.split_off(8) }
            }
            TAKEN => Word::Taken { frames: number(&rest)? },
            FIN => Word::Fin { frames: number(&rest)? },
            STOP => Word::Stop,
            ALIVE => Word::Alive,
            _ => return None,
        };
        Some(Self { line, word })
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn letters_arrive_as_they_were() {
        for word in [
            Word::Opening { from: "mail.x".into(), body: "hello".into() },
            Word::Opening { from: String::new(), body: Bytes::new() },
            Word::Answered { from: "mail.y".into(), line: Uuid::new_v4() },
            Word::Frame { number: 7, body: "data".into() },
            Word::Taken { frames: u64::MAX },
            Word::Fin { frames: 3 },
            Word::Stop,
            Word::Alive,
        ] {
            let letter = Letter { line: Uuid::new_v4(), word };
            assert_eq!(Letter::decode(letter.encode()), Some(letter));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(letter) = Letter::decode(bytes.clone().into()) {
                prop_assert_eq!(Letter::decode(letter.encode()), Some(letter));
            }
        }
    }
}
