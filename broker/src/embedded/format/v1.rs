//! Version 1 of the log's records: [postcard](https://postcard.jamesmunns.com/wire-format) values
//! of [`RecordV1`], one behind the other. Behind a message's record come its headers, its reply
//! address (both postcard) and its body, raw.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::record::{Item, MUST_UNDERSTAND, ReadMessage, Record, RecordError};
use crate::embedded::message::{MessageRecord, NUMBER_LIMIT};
use crate::port::{Message, QueueName, ReplyTo};

/// A record. postcard writes a variant as its position here: none is moved or taken away, and
/// fields stay as they are.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum RecordV1<'a> {
    /// A message. Its headers, its reply address and its body follow.
    Message(EnvelopeV1),
    /// These messages were delivered to consumers, once more each.
    Delivered(Cow<'a, [u64]>),
    /// These messages are acknowledged.
    Acked(Cow<'a, [u64]>),
    /// There is a queue.
    Declared { queue: u64, name: &'a str },
    /// There is no such queue any more, nor its messages.
    Deleted { queue: u64 },
    /// The queues and the next numbers: the first record of each segment.
    Table {
        next_message: u64,
        next_queue: u64,
        #[serde(borrow)]
        queues: Vec<(u64, &'a str)>,
    },
    /// Adds to the record before it. No tag is in use yet.
    Extra { tag: u8, body: &'a [u8] },
}

/// What a message's record begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EnvelopeV1 {
    message: u64,
    queue: u64,
    deliveries: u32,
    body_length: u32,
}

/// A reply address.
#[derive(Debug, Serialize, Deserialize)]
struct ReplyToV1<'a> {
    address: &'a str,
    correlation: &'a str,
}

/// Reads the first record of `bytes`: `None` for an extra to be skipped; and what is behind it.
pub(super) fn read(bytes: &[u8]) -> Result<(Option<Item>, &[u8]), RecordError> {
    let (record, rest) = take::<RecordV1<'_>>(bytes)?;
    let item = match record {
        RecordV1::Message(envelope) => {
            let (message, rest) = read_message(envelope, rest)?;
            return Ok((Some(Item::Message(message)), rest));
        }
        RecordV1::Extra { tag, .. } if tag & MUST_UNDERSTAND != 0 => {
            return Err(RecordError::Extra(tag));
        }
        RecordV1::Extra { .. } => return Ok((None, rest)),
        RecordV1::Delivered(numbers) => Record::Delivered(numbers.into_owned()),
        RecordV1::Acked(numbers) => Record::Acked(numbers.into_owned()),
        RecordV1::Declared { queue, name } => {
            Record::Declared { queue: number(queue)?, name: queue_name(name)? }
        }
        RecordV1::Deleted { queue } => Record::Deleted { queue },
        RecordV1::Table { next_message, next_queue, queues } => {
            let queues =
                queues.into_iter().map(|(queue, name)| Ok((number(queue)?, queue_name(name)?)));
            let queues = queues.collect::<Result<_, _>>()?;
            Record::Table {
                next_message: number(next_message)?,
                next_queue: number(next_queue)?,
                queues,
            }
        }
    };
    Ok((Some(Item::Other(item)), rest))
}

fn read_message(envelope: EnvelopeV1, bytes: &[u8]) -> Result<(ReadMessage, &[u8]), RecordError> {
    let EnvelopeV1 { message, queue, deliveries, body_length } = envelope;
    let (headers, rest) = take::<Vec<(String, String)>>(bytes)?;
    let (reply_to, rest) = take::<Option<ReplyToV1<'_>>>(rest)?;
    let cut_off = || RecordError::Damaged("a body is cut off".into());
    let (body, rest) = rest.split_at_checked(body_length as usize).ok_or_else(cut_off)?;
    let reply_to = reply_to
        .map(|to| ReplyTo { address: to.address.into(), correlation: to.correlation.into() });
    let contents = Message { body: body.to_vec().into(), headers, reply_to };
    Ok((
        ReadMessage {
            number: number(message)?,
            queue: number(queue)?,
            deliveries,
            message: contents,
        },
        rest,
    ))
}

fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), RecordError> {
    postcard::take_from_bytes(bytes).map_err(|error| RecordError::Damaged(error.to_string()))
}

fn number(number: u64) -> Result<u64, RecordError> {
    let too_large =
        || RecordError::Damaged(format!("{number} is no number of a message or a queue"));
    (number < NUMBER_LIMIT).then_some(number).ok_or_else(too_large)
}

fn queue_name(name: &str) -> Result<QueueName, RecordError> {
    name.parse().map_err(|error: crate::port::BrokerError| RecordError::Damaged(error.to_string()))
}

/// Adds a record other than a message to `bytes`.
pub(super) fn write(bytes: &mut Vec<u8>, record: &Record) {
    let record = match record {
        Record::Delivered(numbers) => RecordV1::Delivered(numbers.into()),
        Record::Acked(numbers) => RecordV1::Acked(numbers.into()),
        Record::Declared { queue, name } => {
            RecordV1::Declared { queue: *queue, name: name.as_str() }
        }
        Record::Deleted { queue } => RecordV1::Deleted { queue: *queue },
        Record::Table { next_message, next_queue, queues } => RecordV1::Table {
            next_message: *next_message,
            next_queue: *next_queue,
            queues: queues.iter().map(|(queue, name)| (*queue, name.as_str())).collect(),
        },
    };
    put(bytes, &record);
}

/// Adds a message to `bytes`.
pub(super) fn write_message(bytes: &mut Vec<u8>, record: &MessageRecord, deliveries: u32) {
    let message = &*record.message;
    // Bounded by `EmbeddedSettings::message_bytes`, which is at most 1 GiB.
    let body_length = u32::try_from(message.body.len()).unwrap_or(u32::MAX);
    let envelope =
        EnvelopeV1 { message: record.number, queue: record.queue, deliveries, body_length };
    let reply_to = message.reply_to.as_ref();
    put(bytes, &RecordV1::Message(envelope));
    put(bytes, &message.headers);
    put(
        bytes,
        &reply_to.map(|to| ReplyToV1 { address: &to.address, correlation: &to.correlation }),
    );
    bytes.extend_from_slice(&message.body);
}

/// Adds an extra to the record that was written last.
#[cfg(test)]
pub(super) fn write_extra(bytes: &mut Vec<u8>, tag: u8, body: &[u8]) {
    put(bytes, &RecordV1::Extra { tag, body });
}

fn put<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) {
    // Cannot fail: it grows a Vec, and every length is known.
    *bytes = postcard::to_extend(value, std::mem::take(bytes)).expect("a Vec takes every value");
}
