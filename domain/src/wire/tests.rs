//! The formats: golden bytes of each version, there and back, and what is read of what is not ours.

mod golden;
mod sample;

use proptest::prelude::*;

use self::sample::{any_batch, any_download, any_opening, any_upload, empty, full, opaque};
use super::{DecodeError, Extra, Identity, MUST_UNDERSTAND, Reads, Writes, batch_v2};
use crate::batch::Batch;
use crate::dispatch::{AttemptKey, Origin};
use crate::http_message::{Download, Opening, Upload};
use crate::preflight::{PreflightAnswer, PreflightRequest};

/// What writes this version of HTTP messages, and of batches.
fn writes(version: u8) -> Writes {
    Writes::new(Reads { batch: version, http: version, ..Reads::HERE })
}

/// A batch as version 1 carries it: of no epoch, and with no more of an origin than who emitted the
/// event.
fn as_version_1(batch: Batch) -> Batch {
    let reported = batch.into_dispatches().into_iter().map(|mut dispatch| {
        dispatch.epoch = 0;
        dispatch.root = dispatch.parent().unwrap_or(dispatch.execution);
        dispatch.origin = Origin::of_parent(dispatch.parent());
        dispatch
    });
    Batch::new(reported.collect()).unwrap()
}

/// A batch in version 2 with these extras of its own, and those of each dispatch.
fn with_extras(batch: &Batch, of_batch: &[Extra], of_each: &[Extra]) -> Vec<u8> {
    batch_v2::encode_with(batch, of_batch, of_each, vec![2]).unwrap()
}

#[test]
fn extras_are_passed_over_or_refused() {
    let batch = Batch::new(vec![full(), opaque()]).unwrap();
    let optional = Extra { tag: 0x7f, body: vec![1, 2, 3] };
    let needed = Extra { tag: MUST_UNDERSTAND | 5, body: vec![] };
    let passed =
        with_extras(&batch, std::slice::from_ref(&optional), &[optional.clone(), optional.clone()]);
    assert_eq!(Batch::decode(&passed).unwrap(), batch);
    for refused in [
        with_extras(&batch, &[optional.clone(), needed.clone()], &[]),
        with_extras(&batch, &[], &[optional, needed]),
    ] {
        let error = Batch::decode(&refused).unwrap_err();
        assert!(matches!(error, DecodeError::Extra(0x85)), "{error}");
        assert!(error.may_be_newer());
        // It can be told all the same what is in it.
        assert_eq!(Identity::of(&refused).unwrap().attempts, [full().key(), opaque().key()]);
    }
}

#[test]
fn a_depth_that_is_none_is_refused() {
    let batch = Batch::single(full());
    let wrong = with_extras(&batch, &[], &[Extra { tag: 1, body: vec![1, 2, 3] }]);
    let error = Batch::decode(&wrong).unwrap_err();
    assert!(matches!(error, DecodeError::Depth) && !error.may_be_newer(), "{error}");
}

#[test]
fn extras_of_version_1_stand_behind_it() {
    let batch = as_version_1(Batch::new(vec![full(), opaque()]).unwrap());
    let bytes = batch.encode_as(1);
    let with = |tag: u8| [&bytes[..], &[tag, 2, 0, 0]].concat();
    assert_eq!(Batch::decode(&with(0x7f)).unwrap(), batch);
    assert!(matches!(Batch::decode(&with(0x80)), Err(DecodeError::Extra(0x80))));
    let keys = [AttemptKey { epoch: 0, ..full().key() }, AttemptKey { epoch: 0, ..opaque().key() }];
    assert_eq!(Identity::of(&with(0x80)).unwrap().attempts, keys);
}

#[test]
fn extras_of_http_messages_are_passed_over_or_refused() {
    let upload = Upload::Data("more".into());
    let mut bytes = upload.encode(&writes(2)).to_vec();
    // No extras are there: their number is the last byte.
    assert_eq!(bytes.pop(), Some(0));
    let with = |tag: u8| [&bytes[..], &[1, tag, 1, 9]].concat();
    assert_eq!(Upload::decode(&with(0x7f)).unwrap(), upload);
    assert!(Upload::decode(&with(0x80)).unwrap_err().to_string().contains("tag 128"));
}

#[test]
fn what_is_asked_by_a_later_release_is_refused_by_name() {
    let request = |version: u8, manifest: &str, extras: &[u8]| {
        let digest = crate::Digest::of(b"");
        let length = u8::try_from(manifest.len()).unwrap();
        let head = [&[version, 1, b'a', 32][..], digest.as_bytes(), &[length]].concat();
        PreflightRequest::decode(&[&head[..], manifest.as_bytes(), extras].concat())
            .map_err(|e| e.to_string())
    };
    let manifest = r#"{"name": "f"}"#;
    assert!(request(1, manifest, &[0]).is_ok());
    assert!(request(1, manifest, &[1, 0x7f, 1, 9]).is_ok());
    for (refused, word) in [
        (request(2, manifest, &[0]), "version 2"),
        (request(1, manifest, &[1, 0x80, 1, 9]), "tag 128"),
        (request(1, r#"{"name": "f", "newer": 1}"#, &[0]), "newer"),
        (request(1, "{", &[0]), "not JSON"),
    ] {
        let why = refused.unwrap_err();
        assert!(why.contains(word), "{why}");
    }
}

#[test]
fn a_batch_of_a_later_version_can_be_identified() {
    let batch = Batch::new(vec![full(), empty()]).unwrap();
    let mut bytes = batch.encode_as(2);
    // Of the rest nothing is known.
    let body = bytes.len() - 40;
    bytes.truncate(body);
    bytes[0] = 3;
    let error = Batch::decode(&bytes).unwrap_err();
    assert!(matches!(error, DecodeError::Version(3)) && error.may_be_newer(), "{error}");
    let Identity { tenant, function, attempts } = Identity::of(&bytes).unwrap();
    assert_eq!((tenant, function), (full().tenant, full().function));
    assert_eq!(attempts, [full().key(), empty().key()]);
}

#[test]
fn what_is_not_a_batch_is_named() {
    assert!(matches!(Batch::decode(b""), Err(DecodeError::Empty)));
    assert!(matches!(Batch::decode(b"\0abc"), Err(DecodeError::Version(0))));
    assert!(!DecodeError::Version(0).may_be_newer() && !DecodeError::Version(1).may_be_newer());
    for version in [1, 2] {
        let bytes = Batch::single(full()).encode_as(version);
        let error = Batch::decode(&bytes[..bytes.len() - 1]).unwrap_err();
        assert!(matches!(error, DecodeError::Damaged(_)) && !error.may_be_newer(), "{error}");
    }
    let behind = [&Batch::single(full()).encode_as(2)[..], &[0]].concat();
    assert!(matches!(Batch::decode(&behind), Err(DecodeError::Behind(1))));
    assert!(
        Identity::of(b"").is_none()
            && Identity::of(b"\0abc").is_none()
            && Identity::of(b"nonsense").is_none()
    );
}

#[test]
fn the_number_of_dispatches_is_bounded() {
    let none: &[u8] = &[2, 1, b'a', 1, b'b', 0, 0, 0];
    assert!(matches!(Batch::decode(none), Err(DecodeError::Length(0))));
    assert!(Identity::of(none).is_none());
    // One attempt in the envelope, and no dispatch for it.
    let mut missing = vec![2, 1, b'a', 1, b'b', 1, 16];
    missing.extend([0; 16]);
    missing.extend([1, 1, 0, 0]);
    assert!(matches!(Batch::decode(&missing), Err(DecodeError::Length(1))));
}

proptest! {
    #[test]
    fn batches_there_and_back(batch in any_batch()) {
        prop_assert_eq!(&Batch::decode(&batch.encode_as(2)).unwrap(), &batch);
        prop_assert_eq!(&Batch::decode(&batch.encode(&Writes::default())).unwrap(), &batch);
        let keys: Vec<AttemptKey> = batch.dispatches().iter().map(crate::Dispatch::key).collect();
        prop_assert_eq!(Identity::of(&batch.encode_as(2)).unwrap().attempts, keys);
        let older = as_version_1(batch.clone());
        prop_assert_eq!(Batch::decode(&batch.encode(&writes(1))).unwrap(), older);
    }

    #[test]
    fn http_messages_there_and_back(opening in any_opening(), upload in any_upload(), download in any_download()) {
        for version in [1, 2] {
            let writes = writes(version);
            let mut read = Opening::decode(&opening.clone().encode(&writes)).unwrap();
            if version == 1 {
                read.dispatch = opening.dispatch.clone();
            }
            prop_assert_eq!(&read, &opening);
            prop_assert_eq!(&Upload::decode(&upload.encode(&writes)).unwrap(), &upload);
            prop_assert_eq!(&Download::decode(&download.encode(&writes)).unwrap(), &download);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(version in 0_u8..5, mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (Batch::decode(&bytes), Identity::of(&bytes));
        bytes.insert(0, version);
        let _ = (Batch::decode(&bytes), Identity::of(&bytes));
        let _ = (Opening::decode(&bytes), Upload::decode(&bytes), Download::decode(&bytes));
        let _ = (PreflightRequest::decode(&bytes), PreflightAnswer::decode(&bytes));
    }

    #[test]
    fn damage_never_panics(version in 1_u8..3, at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<bool>()) {
        let mut bytes = Batch::new(vec![full(), opaque(), empty()]).unwrap().encode_as(version);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if cut {
            bytes.truncate(at);
        }
        let _ = (Batch::decode(&bytes), Identity::of(&bytes));
    }
}
