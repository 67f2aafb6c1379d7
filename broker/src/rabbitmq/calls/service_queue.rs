//! The queue at which a service's streams are opened.

use lapin::types::{AMQPValue, FieldTable, ShortString};

/// How long an opening message waits to be accepted, in milliseconds.
const DIAL_TIMEOUT: i32 = 30_000;

/// How long the queue stays where nobody accepts streams, in milliseconds.
const EXPIRES: i32 = 600_000;

/// How many opening messages wait at most.
const MAX_PENDING: i32 = 10_000;

/// The arguments that it is declared with.
pub(crate) fn arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    for (name, value) in [
        ("x-queue-type", AMQPValue::LongString("classic".into())),
        ("x-message-ttl", AMQPValue::LongInt(DIAL_TIMEOUT)),
        ("x-expires", AMQPValue::LongInt(EXPIRES)),
        ("x-max-length", AMQPValue::LongInt(MAX_PENDING)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ] {
        arguments.insert(ShortString::from(name), value);
    }
    arguments
}
