//! The bytes of every version, as the release that brought it wrote them. They are never changed: a
//! release that must read them differently needs a version of its own.

use super::sample::{empty, full, id, opaque, request_head};
use super::{as_version_1, writes};
use crate::batch::Batch;
use crate::dispatch::{Dispatch, Origin};
use crate::execution::Outcome;
use crate::http_message::{Download, Opening, ResponseHead, Upload};
use crate::order::{Order, OrderKind};
use crate::preflight::{PreflightAnswer, PreflightRequest};
use crate::timestamp::Timestamp;
use crate::wire::{Broadcast, Reads};
use crate::{Digest, Manifest};

/// The bytes in `golden/`.
macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!("../golden/", $name, ".bin")).as_slice()
    };
}

/// A dispatch of each origin.
fn of_all_origins() -> Vec<Dispatch> {
    let due = Timestamp::from_micros(1_780_000_002_000_000);
    let origins = [
        Origin::Event,
        Origin::EmittedBy { execution: id(9), depth: 1 },
        Origin::ReplayOf { execution: id(7) },
        Origin::Schedule { name: "nightly".into(), due },
        Origin::WorkflowStep { run: id(6), path: "pay/0".into() },
        Origin::Invocation,
    ];
    origins.into_iter().map(|origin| Dispatch { origin, ..full() }).collect()
}

/// One far down in its chain.
fn deep() -> Dispatch {
    Dispatch { origin: Origin::EmittedBy { execution: id(9), depth: 300 }, ..full() }
}

fn batch_v1() -> Batch {
    as_version_1(Batch::new(vec![full(), opaque(), empty()]).unwrap())
}

fn batch_v2() -> Batch {
    Batch::new([vec![full(), opaque(), empty()], of_all_origins()].concat()).unwrap()
}

fn opening(dispatch: Dispatch) -> Opening {
    Opening { dispatch, head: request_head(), body: "begin".into(), complete: false }
}

#[test]
fn batches() {
    for (version, batch, golden) in [
        (1, batch_v1(), golden!("batch_v1")),
        (2, batch_v2(), golden!("batch_v2")),
        // The depth of a chain came later, as an extra that may be passed over.
        (2, Batch::single(deep()), golden!("batch_v2_depth")),
    ] {
        assert_eq!(Batch::decode(golden).unwrap(), batch, "version {version}");
        assert_eq!(batch.encode_as(version), golden, "version {version}");
    }
    // What version 1 cannot say is left out where it is written.
    assert_eq!(
        Batch::new(vec![full(), opaque(), empty()]).unwrap().encode_as(1),
        golden!("batch_v1")
    );
}

#[test]
fn openings() {
    let older = batch_v1().into_dispatches().remove(0);
    for (version, opening, golden) in [
        (1, opening(older), golden!("http_v1_opening")),
        (2, opening(full()), golden!("http_v2_opening")),
    ] {
        assert_eq!(Opening::decode(golden).unwrap(), opening, "version {version}");
        assert_eq!(opening.encode(&writes(version)), golden, "version {version}");
    }
}

#[test]
fn uploads() {
    let data = || Upload::Data("more".into());
    let end = || Upload::End(vec![("checksum".into(), "7".into())]);
    for (version, upload, golden) in [
        (1, data(), golden!("http_v1_upload_data")),
        (1, end(), golden!("http_v1_upload_end")),
        (2, data(), golden!("http_v2_upload_data")),
        (2, end(), golden!("http_v2_upload_end")),
    ] {
        assert_eq!(Upload::decode(golden).unwrap(), upload, "version {version}");
        assert_eq!(upload.encode(&writes(version)), golden, "version {version}");
    }
}

#[test]
fn downloads() {
    let head =
        || Download::Head(ResponseHead { status: 404, headers: vec![("a".into(), "b".into())] });
    let data = || Download::Data("x".into());
    let failed = || Download::Failed { outcome: Outcome::OutOfFuel, message: "it broke".into() };
    for (version, download, golden) in [
        (1, head(), golden!("http_v1_download_head")),
        (1, data(), golden!("http_v1_download_data")),
        (1, Download::End(vec![]), golden!("http_v1_download_end")),
        (1, failed(), golden!("http_v1_download_failed")),
        (2, head(), golden!("http_v2_download_head")),
        (2, data(), golden!("http_v2_download_data")),
        (2, Download::End(vec![]), golden!("http_v2_download_end")),
        (2, failed(), golden!("http_v2_download_failed")),
    ] {
        assert_eq!(Download::decode(golden).unwrap(), download, "version {version}");
        assert_eq!(download.encode(&writes(version)), golden, "version {version}");
    }
}

/// A manifest's JSON is not this format's: a key with a default may come to it.
#[test]
fn questions_about_versions_to_deploy() {
    let manifest = serde_json::json!({
        "name": "total", "kind": "http", "runs_on": ["gpu"],
        "limits": {"memory": "32MiB", "timeout": "250ms"},
        "trigger": [{"http": "/total/{id}"}, {"event": "order.*", "schema": {"type": "object"}}],
    });
    let request = PreflightRequest {
        tenant: "acme".parse().unwrap(),
        digest: Digest::of(b"component"),
        manifest: Manifest::from_json(manifest).unwrap(),
    };
    let golden = golden!("preflight_v1_request");
    assert_eq!(PreflightRequest::decode(golden).unwrap(), request);
    let encoded = request.encode_for(Reads::HERE).unwrap();
    assert_eq!(PreflightRequest::decode(&encoded).unwrap(), request);
    // Up to the manifest's length, and the number of extras.
    assert_eq!((&encoded[..39], encoded.last()), (&golden[..39], Some(&0)));
    assert_eq!(request.encode_for(Reads::OLDEST), None);
}

#[test]
fn answers_about_versions_to_deploy() {
    let manifest = || PreflightAnswer::Manifest {
        key: "limits.memory".into(),
        message: "is too little".into(),
    };
    for (answer, golden) in [
        (PreflightAnswer::Passed, golden!("preflight_v1_passed")),
        (PreflightAnswer::Refused("it exports nothing".into()), golden!("preflight_v1_refused")),
        (manifest(), golden!("preflight_v1_manifest")),
        (
            PreflightAnswer::Unavailable("the database is away".into()),
            golden!("preflight_v1_unavailable"),
        ),
        (PreflightAnswer::Unread("a newer key".into()), golden!("preflight_v1_unread")),
    ] {
        assert_eq!(PreflightAnswer::decode(golden).unwrap(), answer);
        assert_eq!(answer.encode(), golden);
    }
}

#[test]
fn broadcasts() {
    let order = |number, epoch, kind, reason: Option<&str>| Order {
        tenant: None,
        execution: id(number),
        epoch,
        kind,
        reason: reason.map(str::to_owned),
    };
    let orders = vec![
        order(9, 2, OrderKind::Cancel, Some("too dear ü")),
        order(7, 300, OrderKind::Suspend, None),
        order(6, 4, OrderKind::Abandon, None),
    ];
    let broadcast = Broadcast { orders };
    assert_eq!(Broadcast::decode(golden!("broadcast_v1")).unwrap(), broadcast);
    assert_eq!(broadcast.encode(&writes(1)), golden!("broadcast_v1"));
    // The tenant came later, as an extra that may be passed over.
    let orders = vec![Order {
        tenant: Some("acme".parse().unwrap()),
        ..order(9, 2, OrderKind::Cancel, Some("too dear ü"))
    }];
    let broadcast = Broadcast { orders };
    assert_eq!(Broadcast::decode(golden!("broadcast_v1_tenant")).unwrap(), broadcast);
    assert_eq!(broadcast.encode(&writes(1)), golden!("broadcast_v1_tenant"));
}

/// The words of outcomes are numbers in the format: each keeps its own.
#[test]
fn outcomes_keep_their_numbers() {
    for (number, outcome) in (0_u8..).zip(Outcome::ALL) {
        let bytes = Download::Failed { outcome, message: String::new() }.encode(&writes(1));
        assert_eq!(bytes.as_ref(), [1, 3, number, 0], "{outcome}");
    }
}
