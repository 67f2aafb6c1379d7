//! How parts of documents are written.

use serde::{Serialize as _, Serializer};
use wasmill_domain::Event;
use wasmill_domain::event::json::JsonFormat;

/// An event as CloudEvents' JSON format has it.
pub(super) fn cloud_event<S: Serializer>(
    event: &Option<Event>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    event.as_deref().map(JsonFormat).serialize(serializer)
}
