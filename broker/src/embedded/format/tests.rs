//! What the formats promise, and the golden bytes of every version.

use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use super::batch::{BATCH_HEADER, Batch, BatchHeader, write_record};
use super::reader::Reader;
use super::record::{Item, MUST_UNDERSTAND, ReadMessage, Record, RecordError};
use super::segment::{HeaderError, Location, READ, SEGMENT_HEADER, SegmentHeader, WRITTEN};
use super::v1;
use crate::embedded::message::{MessageRecord, NUMBER_LIMIT};
use crate::embedded::recovery::{OpenError, recover};
use crate::golden::Golden;
use crate::port::{Message, QueueName, ReplyTo};

const LOG: Uuid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);

fn location(offset: u64) -> Location {
    Location { log: LOG, segment: 7, offset }
}

fn queue(name: &str) -> QueueName {
    name.parse().unwrap()
}

/// A record of each kind, by its name in the golden files.
fn records() -> Vec<(&'static str, Record)> {
    let queues = vec![(1, queue("wasmill.default.hello")), (2, queue("wasmill.unreadable"))];
    vec![
        ("delivered", Record::Delivered(vec![1, 127, 128, 300, 1 << 40])),
        ("acked", Record::Acked(vec![2, 16_384])),
        ("declared", Record::Declared { queue: 1, name: queue("wasmill.default.hello") }),
        ("deleted", Record::Deleted { queue: 300 }),
        ("table", Record::Table { next_message: 1_000, next_queue: 3, queues }),
    ]
}

/// Messages, by their names in the golden files.
fn messages() -> Vec<(&'static str, ReadMessage)> {
    let message = Message {
        body: (0..=255).collect::<Vec<u8>>().into(),
        headers: vec![("content-type".into(), "text/plain".into()), ("ü".into(), String::new())],
        reply_to: Some(ReplyTo { address: "embedded/x".into(), correlation: "7".into() }),
    };
    vec![
        ("message", ReadMessage { number: 999, queue: 2, deliveries: 4, message }),
        (
            "empty_message",
            ReadMessage { number: 9, queue: 1, deliveries: 0, message: Message::default() },
        ),
    ]
}

fn to_write(read: &ReadMessage) -> MessageRecord {
    MessageRecord {
        number: read.number,
        queue: read.queue,
        message: Arc::new(read.message.clone()),
    }
}

fn read(version: u32, bytes: &[u8]) -> Result<Vec<Item>, RecordError> {
    Reader::new(version, bytes).collect()
}

/// Whoever changes a version's bytes, in either direction, fails here.
#[test]
fn version_1_is_written_and_read_as_it_was() {
    let golden = Golden::read(include_str!("golden/v1.txt"));
    let mut batch = Batch::new();
    let mut items = Vec::new();
    for (name, record) in records() {
        let mut bytes = Vec::new();
        write_record(&mut bytes, &record);
        golden.check(name, &bytes);
        assert_eq!(read(1, golden.bytes(name)).unwrap(), [Item::Other(record.clone())], "{name}");
        batch.add(&record);
        items.push(Item::Other(record));
    }
    for (name, message) in messages() {
        let mut bytes = Vec::new();
        v1::write_message(&mut bytes, &to_write(&message), message.deliveries);
        golden.check(name, &bytes);
        assert_eq!(
            read(1, golden.bytes(name)).unwrap(),
            [Item::Message(message.clone())],
            "{name}"
        );
        batch.add_message(&to_write(&message), message.deliveries);
        items.push(Item::Message(message));
    }
    golden.check("batch", batch.seal(location(64), 64));
    let bytes = golden.bytes("batch");
    let header = BatchHeader::decode(bytes, location(64)).unwrap();
    assert_eq!((header.length as usize, header.synced), (bytes.len() - BATCH_HEADER, 64));
    assert!(header.covers(&bytes[BATCH_HEADER..]));
    assert_eq!(read(1, &bytes[BATCH_HEADER..]).unwrap(), items);
    let header = SegmentHeader { version: 1, log: LOG, number: 7, previous_length: 4_096 };
    golden.check("segment_header", &header.encode());
    assert_eq!(SegmentHeader::decode(golden.bytes("segment_header")), Ok(header));
    golden.check_all_used();
}

/// A log that a broker of version 1 left: it is recovered, and written again to the last byte.
#[test]
fn a_log_of_version_1_is_recovered_and_written_as_it_was() {
    let log = include_bytes!("golden/v1.log");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("00000000000000000001.log"), log).unwrap();
    let recovered = recover(dir.path()).unwrap().unwrap();
    assert_eq!(
        recovered.queues.into_values().collect::<Vec<_>>(),
        [queue("wasmill.default.hello")]
    );
    let found: Vec<_> = recovered
        .messages
        .iter()
        .map(|(_, message)| (&*message.message, message.deliveries))
        .collect();
    let texts: Vec<_> = found
        .iter()
        .map(|(m, deliveries)| (String::from_utf8_lossy(&m.body).into_owned(), *deliveries))
        .collect();
    let wanted = [("message 1", 1), ("message 2", 1), ("message 3", 0), ("request", 0)];
    assert_eq!(texts, wanted.map(|(text, deliveries)| (text.to_owned(), deliveries)));
    assert_eq!(found[0].0.headers, [("content-type".to_owned(), "text/plain".to_owned())]);
    assert!(found[0].0.reply_to.is_none());
    assert_eq!(found[3].0.reply_to.as_ref().unwrap().correlation, "0");

    let header = SegmentHeader::decode(log).unwrap();
    let mut again = header.encode().to_vec();
    while again.len() < log.len() {
        let at = Location { log: header.log, segment: header.number, offset: again.len() as u64 };
        let bytes = &log[again.len()..];
        let batch = BatchHeader::decode(bytes, at).unwrap();
        let mut copy = Batch::new();
        for item in read(header.version, &bytes[BATCH_HEADER..][..batch.length as usize]).unwrap() {
            match item {
                Item::Message(message) => copy.add_message(&to_write(&message), message.deliveries),
                Item::Other(record) => copy.add(&record),
            }
        }
        again.extend_from_slice(copy.seal(at, batch.synced));
    }
    assert_eq!(again, log);
}

/// What stands in the log behind a record that it adds to.
#[test]
fn an_extra_is_skipped_unless_it_must_be_understood() {
    let record = Record::Acked(vec![1]);
    let with = |tag| {
        let mut bytes = Vec::new();
        v1::write(&mut bytes, &record);
        v1::write_extra(&mut bytes, tag, b"added later");
        v1::write(&mut bytes, &record);
        bytes
    };
    let both = [Item::Other(record.clone()), Item::Other(record.clone())];
    assert_eq!(read(1, &with(MUST_UNDERSTAND - 1)).unwrap(), both);
    assert_eq!(read(1, &with(MUST_UNDERSTAND)), Err(RecordError::Extra(MUST_UNDERSTAND)));
    // The last record may have one too.
    let mut bytes = Vec::new();
    v1::write_extra(&mut bytes, 5, &[]);
    assert_eq!(read(1, &bytes).unwrap(), []);
}

/// A segment whose records are the given ones, in a directory of its own.
fn segment(version: u32, records: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let header = SegmentHeader { version, log: LOG, number: 7, previous_length: 0 };
    let mut batch = Batch::new();
    batch.add_encoded(records);
    let bytes = [&header.encode()[..], batch.seal(location(SEGMENT_HEADER as u64), 0)].concat();
    std::fs::write(dir.path().join("00000000000000000007.log"), bytes).unwrap();
    dir
}

/// Refused with the reason, and not changed.
#[test]
fn a_log_of_a_newer_release_is_an_error_that_says_so() {
    let newer = READ.end() + 1;
    let mut with_extra = Vec::new();
    v1::write(&mut with_extra, &Record::Acked(vec![1]));
    v1::write_extra(&mut with_extra, 0x81, &[]);
    let cases = [
        (
            segment(newer, &[]),
            "is of version 2 of the queue's format, which this wasmill does not know: use a newer one",
        ),
        (
            segment(WRITTEN, &with_extra),
            "at byte 64 that this wasmill does not know (tag 129): use a newer one",
        ),
    ];
    for (dir, says) in cases {
        let file = dir.path().join("00000000000000000007.log");
        let before = std::fs::read(&file).unwrap();
        let error =
            crate::embedded::EmbeddedBroker::open(dir.path(), Default::default()).err().unwrap();
        assert!(matches!(
            error,
            OpenError::Version { version: 2, .. } | OpenError::Extra { tag: 0x81, .. }
        ));
        assert!(error.to_string().ends_with(says), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }
}

#[test]
fn a_batch_is_valid_at_its_location_only() {
    let mut batch = Batch::new();
    let bytes = batch.seal(location(64), 10).to_vec();
    assert!(BatchHeader::decode(&bytes, location(65)).is_none());
    assert!(BatchHeader::decode(&bytes, Location { segment: 4, ..location(64) }).is_none());
    assert!(
        BatchHeader::decode(&bytes, Location { log: Uuid::from_u128(8), ..location(64) }).is_none()
    );
    let shifted = [&[1, 2, 3][..], &bytes].concat();
    assert!(BatchHeader::any(&shifted, location(61), |header| header.synced == 10));
    assert!(!BatchHeader::any(&shifted, location(60), |_| true));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let mut batch = Batch::new();
    batch.add(&Record::Acked(vec![1, 2, 3]));
    let bytes = batch.seal(location(64), 10).to_vec();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let intact = BatchHeader::decode(&bytes, location(64))
            .is_some_and(|h| h.covers(&bytes[BATCH_HEADER..]));
        assert!(!intact, "bit {bit}");
    }
    let header = SegmentHeader { version: WRITTEN, log: LOG, number: 3, previous_length: 5 };
    assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    for bit in 0..SEGMENT_HEADER * 8 {
        let mut bytes = header.encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderError::Damaged), "bit {bit}");
    }
}

/// A number that no tag can name would panic or name another message.
#[test]
fn numbers_that_cannot_be_are_refused() {
    let name = queue("q");
    let at_limit = [
        Record::Declared { queue: NUMBER_LIMIT, name },
        Record::Table { next_message: NUMBER_LIMIT, next_queue: 1, queues: vec![] },
        Record::Table { next_message: 1, next_queue: u64::MAX, queues: vec![] },
    ];
    for record in at_limit {
        let mut bytes = Vec::new();
        v1::write(&mut bytes, &record);
        assert!(matches!(read(1, &bytes), Err(RecordError::Damaged(_))), "{record:?}");
    }
    for (number, queue) in [(u64::MAX, 1), (1, u64::MAX)] {
        let mut bytes = Vec::new();
        v1::write_message(&mut bytes, &MessageRecord { number, queue, message: Arc::default() }, 0);
        assert!(matches!(read(1, &bytes), Err(RecordError::Damaged(_))));
    }
}

proptest! {
    /// Whatever has the right checksum is recovered or refused.
    #[test]
    fn any_records_are_recovered_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(1, &bytes);
        let _ = recover(segment(1, &bytes).path());
    }

    /// The same for records that are nearly right.
    #[test]
    fn damaged_records_are_recovered_or_refused(at in 0_usize..500, byte in any::<u8>(), cut in 0_usize..500) {
        let golden = Golden::read(include_str!("golden/v1.txt"));
        let mut bytes = golden.bytes("batch")[BATCH_HEADER..].to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut % bytes.len());
        let _ = recover(segment(1, &bytes).path());
    }

    #[test]
    fn any_file_is_opened_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("00000000000000000007.log"), &bytes).unwrap();
        prop_assert!(recover(dir.path()).is_err());
    }

    #[test]
    fn records_and_back(
        numbers in prop::collection::vec(any::<u64>(), 0..20),
        body in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let message = ReadMessage { number: 5, queue: 6, deliveries: 7, message: Message::new(body) };
        let (acked, delivered) = (Record::Acked(numbers.clone()), Record::Delivered(numbers));
        let mut bytes = Vec::new();
        v1::write(&mut bytes, &acked);
        v1::write_message(&mut bytes, &to_write(&message), 7);
        v1::write(&mut bytes, &delivered);
        let wanted = [Item::Other(acked), Item::Message(message), Item::Other(delivered)];
        prop_assert_eq!(read(1, &bytes).unwrap(), wanted);
    }
}
