//! Components that take events: `wasmill:function/handler`.

use wasmill_domain::Event;
use wasmill_guest::GuestData;
use wasmtime::Store;

use super::returned::{Returned, contract};
use crate::bindings::Function;

pub(super) async fn call(
    function: &Function,
    store: &mut Store<GuestData>,
    event: &Event,
) -> wasmtime::Result<Returned> {
    let attributes: Vec<(&str, String)> =
        event.extensions.iter().map(|(name, value)| (name.as_str(), value.to_string())).collect();
    let extensions: Vec<(&str, &str)> =
        attributes.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let event = contract::Event {
        id: &event.id,
        source: &event.source,
        type_: &event.event_type,
        subject: event.subject.as_deref(),
        time: event.time.as_deref(),
        dataschema: event.dataschema.as_deref(),
        extensions: &extensions,
        datacontenttype: event.media_type(),
        data: event.data.as_deref(),
    };
    function.wasmill_function_handler().call_handle(store, event).await
}
