//! Messages and errors of the port in AMQP 0-9-1.
//!
//! # Properties of published messages
//! Another release, and other programs, read what is published. Bodies have versions of their own;
//! this is everything else that a message has:
//! ```text
//! delivery-mode    2 (persistent); 1 (transient) for replies, control messages and broadcasts
//! content-type     the header `content-type`, where it is at most 255 bytes long: the body's media
//!                  type with its version
//! headers          the other headers of the message, each a long string: `traceparent`
//! message-id       the message's number on its publish channel, in decimal: tells which message
//!                  was returned because there is no queue; read by the publisher only
//! reply-to         a request's reply address (direct reply-to)
//! correlation-id   a request's number, in decimal; a reply has that of its request
//! ```
//! Control messages of request streams and broadcasts have no other property. Of a delivery,
//! `redelivered` and the headers `x-delivery-count` and `x-acquired-count`, which RabbitMQ sets,
//! are read besides. Properties and headers that are not known here are passed on as headers or
//! ignored.

use lapin::BasicProperties;
use lapin::message::Delivery as AmqpDelivery;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::port::{BrokerError, Message, ReplyTo, Result};

/// Headers that RabbitMQ itself adds to count deliveries. The second is there from 4.3 on, where
/// the first no longer counts what was requeued.
const COUNTS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

/// The header that is a property in AMQP.
const CONTENT_TYPE: &str = "content-type";

const PERSISTENT: u8 = 2;
const TRANSIENT: u8 = 1;

/// Text of at most 255 bytes.
pub(super) fn short(text: &str) -> Result<ShortString> {
    ShortString::try_new(text)
        .map_err(|_| BrokerError::Rejected(format!("'{text}' is longer than 255 bytes")))
}

/// The properties of a message that is published.
pub(super) fn properties(message: &Message) -> Result<BasicProperties> {
    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let mut headers = FieldTable::default();
    for (name, value) in &message.headers {
        match ShortString::try_new(value.as_str()) {
            Ok(value) if name == CONTENT_TYPE => properties = properties.with_content_type(value),
            _ => {
                headers
                    .insert(short(name)?, AMQPValue::LongString(LongString::from(value.as_str())));
            }
        }
    }
    if !headers.inner().is_empty() {
        properties = properties.with_headers(headers);
    }
    if let Some(to) = &message.reply_to {
        properties = properties
            .with_reply_to(short(&to.address)?)
            .with_correlation_id(short(&to.correlation)?);
    }
    Ok(properties)
}

/// The properties of a message that is not kept over a crash.
pub(super) fn transient() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(TRANSIENT)
}

/// The properties of a reply: it is not kept over a crash.
pub(super) fn reply_properties(correlation: &str) -> Result<BasicProperties> {
    Ok(transient().with_correlation_id(short(correlation)?))
}

/// A delivery as a message, and how often it was delivered before.
pub(super) fn received(delivery: AmqpDelivery) -> (Message, u32) {
    let properties = &delivery.properties;
    let mut headers = Vec::new();
    // A quorum queue counts; a classic one only marks what was delivered before.
    let mut redeliveries = u32::from(delivery.redelivered);
    if let Some(content_type) = properties.content_type() {
        headers.push((CONTENT_TYPE.to_owned(), content_type.to_string()));
    }
    for (name, value) in properties.headers().iter().flat_map(FieldTable::inner) {
        if COUNTS.contains(&name.as_str()) {
            redeliveries = redeliveries.max(count(value));
        } else if let Some(text) = text(value) {
            headers.push((name.to_string(), text));
        }
    }
    let reply_to = match (properties.reply_to(), properties.correlation_id()) {
        (Some(address), Some(correlation)) => {
            Some(ReplyTo { address: address.to_string(), correlation: correlation.to_string() })
        }
        _ => None,
    };
    (Message { body: delivery.data.into(), headers, reply_to }, redeliveries)
}

fn number(value: &AMQPValue) -> Option<i64> {
    match *value {
        AMQPValue::ShortShortInt(number) => Some(number.into()),
        AMQPValue::ShortShortUInt(number) => Some(number.into()),
        AMQPValue::ShortInt(number) => Some(number.into()),
        AMQPValue::ShortUInt(number) => Some(number.into()),
        AMQPValue::LongInt(number) => Some(number.into()),
        AMQPValue::LongUInt(number) => Some(number.into()),
        AMQPValue::LongLongInt(number) => Some(number),
        _ => None,
    }
}

fn count(value: &AMQPValue) -> u32 {
    u32::try_from(number(value).unwrap_or(0).max(0)).unwrap_or(u32::MAX)
}

/// A header's value as text. Other programs may add headers that are not text; tables and the like
/// are left out.
fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        AMQPValue::Boolean(flag) => Some(flag.to_string()),
        AMQPValue::Timestamp(seconds) => Some(seconds.to_string()),
        other => number(other).map(|number| number.to_string()),
    }
}

/// Why RabbitMQ does not do an operation on a queue.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// There is no such queue.
    #[error("there is no such queue")]
    NoQueue,
    /// A queue of this name exists with other arguments.
    #[error("{0}")]
    Differs(String),
    /// A message is too large, an argument is wrong, or it is not permitted: permanent.
    #[error("{0}")]
    Refused(String),
    /// Anything that may be gone at the next attempt.
    #[error("{0}")]
    Transient(String),
}

impl From<&lapin::Error> for Fault {
    fn from(error: &lapin::Error) -> Self {
        let lapin::ErrorKind::ProtocolError(amqp) = error.kind() else {
            return Self::Transient(error.to_string());
        };
        let text = amqp.get_message().to_string();
        match amqp.kind() {
            // A queue whose node is down is "not found" too, with another text.
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) if text.contains("no queue") => {
                Self::NoQueue
            }
            AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED)
                if text.contains("inequivalent arg") =>
            {
                Self::Differs(text)
            }
            AMQPErrorKind::Soft(
                AMQPSoftError::PRECONDITIONFAILED
                | AMQPSoftError::CONTENTTOOLARGE
                | AMQPSoftError::ACCESSREFUSED
                | AMQPSoftError::RESOURCELOCKED,
            ) => Self::Refused(text),
            _ => Self::Transient(text),
        }
    }
}

/// The last number in RabbitMQ's error about a message's size, which is the most bytes that it
/// takes.
pub(super) fn size_limit(error: &str) -> Option<usize> {
    if !error.contains("size") {
        return None;
    }
    error.split(|c: char| !c.is_ascii_digit()).rfind(|digits| !digits.is_empty())?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(message: &Message, add: impl FnOnce(&mut FieldTable)) -> (Message, u32) {
        let mut delivery =
            AmqpDelivery::mock(1, "".into(), "q".into(), false, message.body.to_vec());
        let properties = properties(message).unwrap();
        let mut headers = properties.headers().clone().unwrap_or_default();
        add(&mut headers);
        delivery.properties = properties.with_headers(headers);
        received(delivery)
    }

    #[test]
    fn a_message_arrives_as_it_was() {
        let message = Message {
            body: "body".into(),
            headers: vec![
                ("content-type".into(), "text/plain".into()),
                ("a".into(), "x".repeat(1_000)),
                ("empty".into(), String::new()),
            ],
            reply_to: Some(ReplyTo {
                address: "amq.rabbitmq.reply-to.abc".into(),
                correlation: "7".into(),
            }),
        };
        assert_eq!(delivered(&message, |_| {}), (message, 0));
    }

    #[test]
    fn a_content_type_too_long_for_its_property_is_a_header() {
        let message = Message {
            headers: vec![("content-type".into(), "x".repeat(256))],
            ..Message::default()
        };
        assert_eq!(delivered(&message, |_| {}), (message, 0));
    }

    /// Whoever changes what a message has besides its body, fails here: see the table above.
    #[test]
    fn published_messages_have_the_documented_properties_only() {
        let message = Message {
            body: "body".into(),
            headers: vec![
                ("content-type".into(), "text/plain".into()),
                ("traceparent".into(), "00-1".into()),
            ],
            reply_to: Some(ReplyTo { address: "address".into(), correlation: "7".into() }),
        };
        let mut headers = FieldTable::default();
        headers.insert("traceparent".into(), AMQPValue::LongString("00-1".into()));
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let documented = persistent
            .clone()
            .with_content_type("text/plain".into())
            .with_headers(headers)
            .with_reply_to("address".into())
            .with_correlation_id("7".into());
        assert_eq!(properties(&message).unwrap(), documented);
        assert_eq!(properties(&Message::new("x")).unwrap(), persistent);
        let transient_only = BasicProperties::default().with_delivery_mode(1);
        assert_eq!(transient(), transient_only);
        assert_eq!(reply_properties("7").unwrap(), transient_only.with_correlation_id("7".into()));
    }

    #[test]
    fn the_larger_count_of_deliveries_counts() {
        let (message, redeliveries) = delivered(&Message::new("x"), |headers| {
            headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(1));
            headers.insert("x-acquired-count".into(), AMQPValue::LongLongInt(4));
        });
        assert_eq!((message, redeliveries), (Message::new("x"), 4));
    }

    #[test]
    fn headers_of_other_programs_become_text_or_nothing() {
        let (message, _) = delivered(&Message::new("x"), |headers| {
            headers.insert("flag".into(), AMQPValue::Boolean(true));
            headers.insert("number".into(), AMQPValue::LongInt(12));
            headers.insert("table".into(), AMQPValue::FieldTable(FieldTable::default()));
        });
        assert_eq!(
            message.headers,
            [("flag".into(), "true".into()), ("number".into(), "12".into())]
        );
    }

    #[test]
    fn names_and_addresses_of_more_than_255_bytes_are_refused() {
        let long = "x".repeat(256);
        let header = Message { headers: vec![(long.clone(), "v".into())], ..Message::default() };
        assert!(matches!(properties(&header), Err(BrokerError::Rejected(_))));
        let reply_to = Some(ReplyTo { address: long, correlation: String::new() });
        assert!(matches!(
            properties(&Message { reply_to, ..Message::default() }),
            Err(BrokerError::Rejected(_))
        ));
    }

    #[test]
    fn the_limit_is_read_from_the_error() {
        let errors = [
            "PRECONDITION_FAILED - message size 20000000 is larger than configured max size 16777216",
            "PRECONDITION_FAILED - message size 20000000 is larger than max size 16777216",
        ];
        for error in errors {
            assert_eq!(size_limit(error), Some(16_777_216));
        }
        assert_eq!(
            size_limit("PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out"),
            None
        );
    }
}
