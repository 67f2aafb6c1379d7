//! Control messages as bytes: golden bytes of every version, and what a reader does with what it
//! does not know.

use std::ops::RangeInclusive;

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;
use wasmill_domain::wire::Reads;

use super::codec::{decode, encode};
use super::control_message::{Control, ControlMessage, DecodeError, MUST_UNDERSTAND};
use super::{v1, v2};
use crate::golden::Golden;

/// The versions that are read. Each of them can be written.
const VERSIONS: RangeInclusive<u8> = Reads::OLDEST.streams..=Reads::HERE.streams;

const STREAM: Uuid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
const OTHER: Uuid = Uuid::from_u128(0xffee_ddcc_bbaa_9988_7766_5544_3322_1100);

/// A message of each kind, by its name in the golden files.
fn messages() -> [(&'static str, ControlMessage); 8] {
    [
        ("open", Control::Open { reply_queue: "wasmill.mail.x".into(), opening: "hello".into() }),
        ("open_empty", Control::Open { reply_queue: String::new(), opening: Bytes::new() }),
        ("accepted", Control::Accepted { reply_queue: "wasmill.mail.y".into(), stream: OTHER }),
        ("data", Control::Data { number: 7, body: Bytes::from_static(&[0, 1, 2, 255]) }),
        ("consumed", Control::Consumed { count: u64::MAX }),
        ("end", Control::End { count: 3 }),
        ("stop", Control::Stop),
        ("keep_alive", Control::KeepAlive),
    ]
    .map(|(name, control)| (name, ControlMessage { stream: STREAM, control }))
}

fn golden(version: u8) -> Golden {
    match version {
        1 => Golden::read(include_str!("golden/v1.txt")),
        2 => Golden::read(include_str!("golden/v2.txt")),
        other => panic!("version {other} has no golden bytes"),
    }
}

/// Whoever changes a version's bytes, in either direction, fails here.
#[test]
fn every_version_is_written_and_read_as_it_was() {
    for version in VERSIONS {
        let golden = golden(version);
        for (name, message) in messages() {
            golden.check(name, &encode(&message, version));
            let bytes = Bytes::copy_from_slice(golden.bytes(name));
            assert_eq!(decode(bytes), Ok(Some(message)), "{name} of version {version}");
        }
        golden.check_all_used();
    }
}

/// A release that knows version 1 alone takes nothing of a later one for its own.
#[test]
fn no_version_byte_is_a_kind_of_version_1() {
    for version in VERSIONS.skip(1) {
        for (name, message) in messages() {
            let bytes = encode(&message, version);
            assert!(!v1::is_kind(bytes[0]), "{name}");
            assert_eq!(v1::decode(bytes), Err(DecodeError::Malformed), "{name}");
        }
    }
}

#[test]
fn a_version_that_is_not_known_is_named() {
    for (first, version) in [(0x80, 0), (0x81, 1), (0x83, 3), (0xff, 127)] {
        let bytes = [&[first][..], &[7; 40][..]].concat();
        assert_eq!(decode(bytes.into()), Err(DecodeError::Version(version)));
    }
}

#[test]
fn an_extra_is_skipped_unless_it_must_be_understood() {
    let (name, count) = (MUST_UNDERSTAND - 1, 3_u64.to_le_bytes());
    let extras = [(name, "trace"), (0, ""), (name, "again")];
    let kind = v1::kind_of(&Control::End { count: 3 });
    let read = decode(v2::encode_later(STREAM, kind, &extras, &count));
    assert_eq!(
        read,
        Ok(Some(ControlMessage { stream: STREAM, control: Control::End { count: 3 } }))
    );
    for tag in [MUST_UNDERSTAND, 0xff] {
        let bytes = v2::encode_later(STREAM, kind, &[(name, "trace"), (tag, "x")], &count);
        assert_eq!(decode(bytes), Err(DecodeError::Extra { stream: STREAM, tag }));
    }
}

#[test]
fn a_kind_is_skipped_unless_it_must_be_understood() {
    for kind in [0, 8, 0x7f] {
        assert_eq!(decode(v2::encode_later(STREAM, kind, &[], b"later")), Ok(None), "{kind}");
    }
    for kind in [MUST_UNDERSTAND | 1, 0xff] {
        let read = decode(v2::encode_later(STREAM, kind, &[], b"later"));
        assert_eq!(read, Err(DecodeError::Kind { stream: STREAM, kind }));
    }
}

#[test]
fn what_is_cut_off_is_refused() {
    assert_eq!(decode(Bytes::new()), Err(DecodeError::Malformed));
    for version in VERSIONS {
        let (_, message) = &messages()[2];
        let whole = encode(message, version);
        // The name at its end may have any length.
        for length in 1..whole.len() - "wasmill.mail.y".len() {
            assert_eq!(decode(whole.slice(..length)), Err(DecodeError::Malformed), "{length}");
        }
    }
    // An extra that is longer than all of them.
    let bytes = v2::encode_later(STREAM, 7, &[(1, "extra")], b"");
    let mut longer = bytes.to_vec();
    longer[21] += 1;
    assert_eq!(decode(longer.into()), Err(DecodeError::Malformed));
}

fn control() -> impl Strategy<Value = Control> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let name = || "[ -~]{0,40}";
    prop_oneof![
        (name(), bytes()).prop_map(|(reply_queue, opening)| Control::Open { reply_queue, opening }),
        (name(), any::<u128>()).prop_map(|(reply_queue, id)| Control::Accepted {
            reply_queue,
            stream: Uuid::from_u128(id)
        }),
        (any::<u64>(), bytes()).prop_map(|(number, body)| Control::Data { number, body }),
        any::<u64>().prop_map(|count| Control::Consumed { count }),
        any::<u64>().prop_map(|count| Control::End { count }),
        Just(Control::Stop),
        Just(Control::KeepAlive),
    ]
}

proptest! {
    #[test]
    fn messages_and_back(control in control(), id in any::<u128>(), version in VERSIONS) {
        let message = ControlMessage { stream: Uuid::from_u128(id), control };
        prop_assert_eq!(decode(encode(&message, version)), Ok(Some(message)));
    }

    /// And what is read is read the same when it is written again.
    #[test]
    fn any_bytes_are_read_or_refused(
        first in prop_oneof![any::<u8>(), 1..=7_u8, Just(v2::VERSION_BYTE)],
        rest in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let bytes = [&[first][..], &rest[..]].concat();
        if let Ok(Some(message)) = decode(bytes.into()) {
            for version in VERSIONS {
                prop_assert_eq!(decode(encode(&message, version)), Ok(Some(message.clone())));
            }
        }
    }

    #[test]
    fn any_extras_are_read_or_refused(extras in prop::collection::vec(any::<u8>(), 0..40), kind in any::<u8>()) {
        let length = u16::try_from(extras.len()).unwrap().to_le_bytes();
        let head = [&[v2::VERSION_BYTE, kind][..], &STREAM.as_bytes()[..], &length[..]].concat();
        let bytes = [&head[..], &extras[..], &[0; 40][..]].concat();
        let _ = decode(bytes.into());
    }
}
