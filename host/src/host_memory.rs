//! What the host holds for a guest: the resources behind its handles, in bytes.
//!
//! The libraries that make these resources tell nobody when one grows, so they are measured: what
//! they hold that a guest can make large (header fields, the parts of a request) by looking at it,
//! and what is in buffers on its way by the most that these take. [`Guest`](crate::guest::Guest)
//! says when.

use std::collections::HashSet;
use std::mem::size_of;

use http::{HeaderMap, HeaderName, HeaderValue};
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::bindings::http::types::{Method, Scheme};
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostIncomingBody, HostOutgoingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingRequest, HostIncomingResponse, HostOutgoingRequest,
    HostOutgoingResponse,
};
use wasmtime_wasi_http::p3;

use crate::imports::keyvalue::granted::Cas;

/// The most that header fields of one resource may have, in the library's count: names and values,
/// with what each takes besides its text.
pub(crate) const FIELDS_LIMIT: usize = 128 << 10;

/// The most that such fields take in memory: tables and lists are at most half empty.
const FIELDS_MOST: usize = 5 * FIELDS_LIMIT;

/// The trailers of a body that is on its way out, which wait with it unseen.
const TRAILERS: usize = FIELDS_MOST;

/// A resource's entry in the table, and its own fixed part.
const RESOURCE: usize = 512;

/// A body on its way: a piece that was written or read and one that waits behind it, of 64 KiB
/// each.
const BODY: usize = 128 << 10;

/// The head of a request or a response that came from outside, which cannot be looked at. It is no
/// longer than what is read at once.
const HEAD: usize = 64 << 10;

/// What the host holds for a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostMemory {
    /// All of it, in bytes.
    pub(crate) bytes: usize,
    /// How many resources that is.
    pub(crate) resources: usize,
    /// Bytes of header fields among it.
    pub(crate) fields: usize,
}

/// Measures what is behind the first `most` entries of a table, which is all if there can be no
/// more.
pub(crate) fn measure(table: &mut ResourceTable, most: usize) -> HostMemory {
    let mut measured = HostMemory::default();
    let mut seen = HashSet::new();
    for index in 0..u32::try_from(most).unwrap_or(u32::MAX) {
        let Ok(resource) = table.get_any_mut(index) else { continue };
        let (fields, other): (Option<&FieldMap>, usize) =
            if let Some(fields) = resource.downcast_ref() {
                (Some(fields), 0)
            } else if let Some(request) = resource.downcast_ref::<HostOutgoingRequest>() {
                (
                    Some(&request.headers),
                    parts(request) + request.body.as_ref().map_or(0, |_| BODY + TRAILERS),
                )
            } else if let Some(response) = resource.downcast_ref::<HostOutgoingResponse>() {
                (Some(&response.headers), response.body.as_ref().map_or(0, |_| BODY + TRAILERS))
            } else if let Some(response) = resource.downcast_ref::<HostIncomingResponse>() {
                (Some(&response.headers), response.body.as_ref().map_or(0, |_| BODY))
            } else if let Some(request) = resource.downcast_ref::<p3::Request>() {
                (Some(&request.headers), HEAD + BODY)
            } else if let Some(response) = resource.downcast_ref::<p3::Response>() {
                (Some(&response.headers), BODY)
            } else if resource.is::<HostIncomingRequest>()
                || resource.is::<HostFutureIncomingResponse>()
            {
                (None, HEAD + BODY)
            } else if resource.is::<HostIncomingBody>() || resource.is::<HostOutgoingBody>() {
                (None, BODY)
            } else if let Some(cas) = resource.downcast_ref::<Cas>() {
                (None, cas.size())
            } else if resource.is::<HostFutureTrailers>() {
                (None, HEAD + BODY)
            } else {
                (None, 0)
            };
        measured.resources += 1;
        measured.bytes += RESOURCE + other;
        // Copies share their content until one of them is changed.
        if let Some(fields) = fields
            && seen.insert(std::ptr::from_ref::<HeaderMap>(fields).addr())
        {
            let bytes = size_of_fields(fields);
            measured.fields += bytes;
            measured.bytes += bytes;
        }
    }
    measured
}

/// The most that one call of wasi:http may add to what is held, where the guest can hand over
/// `largest` bytes with it.
pub(crate) fn most_of_a_call(largest: usize) -> usize {
    largest.max(FIELDS_MOST).saturating_add(2 * (RESOURCE + HEAD + BODY))
}

/// The texts of a request.
fn parts(request: &HostOutgoingRequest) -> usize {
    let method = if let Method::Other(method) = &request.method { method.capacity() } else { 0 };
    let scheme =
        if let Some(Scheme::Other(scheme)) = &request.scheme { scheme.capacity() } else { 0 };
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
    method + scheme + text(&request.authority) + text(&request.path_with_query)
}

/// What header fields take in memory, about: the table and its index, further values of the same
/// name, and the texts.
fn size_of_fields(fields: &HeaderMap) -> usize {
    const ENTRY: usize = size_of::<HeaderName>() + size_of::<HeaderValue>() + 32 + 8;
    /// The list of further values grows by doubling.
    const FURTHER: usize = 2 * (size_of::<HeaderValue>() + 32);
    const ALLOCATION: usize = 16;
    let further = fields.len() - fields.keys_len();
    let names: usize = fields.keys().map(|name| name.as_str().len() + ALLOCATION).sum();
    let values: usize = fields.values().map(|value| value.len() + ALLOCATION).sum();
    fields.capacity() * ENTRY + further * FURTHER + names + values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(count: usize, bytes: usize) -> FieldMap {
        let mut map = HeaderMap::new();
        for i in 0..count {
            let name = HeaderName::try_from(format!("x-{i}")).unwrap();
            map.insert(name, HeaderValue::try_from("v".repeat(bytes)).unwrap());
        }
        let mut fields = FieldMap::new_mutable(FIELDS_LIMIT);
        for (name, value) in &map {
            fields.append_raw(name.clone(), value.clone()).unwrap();
        }
        fields
    }

    #[test]
    fn fields_are_counted_once_however_often_they_are_shared() {
        let mut table = ResourceTable::new();
        assert_eq!(measure(&mut table, 100), HostMemory::default());
        let first = fields(10, 1_000);
        let copy = first.clone();
        table.push(first).unwrap();
        let one = measure(&mut table, 100);
        assert!((10_000..15_000).contains(&one.fields), "{one:?}");
        assert_eq!(
            one,
            HostMemory { bytes: one.fields + RESOURCE, resources: 1, fields: one.fields }
        );
        table.push(copy).unwrap();
        assert_eq!(
            measure(&mut table, 100),
            HostMemory { bytes: one.bytes + RESOURCE, resources: 2, fields: one.fields }
        );
        table.push(fields(10, 1_000)).unwrap();
        assert_eq!(measure(&mut table, 100).fields, 2 * one.fields);
    }

    #[test]
    fn full_fields_are_within_what_is_said_of_them() {
        // The library counts a name and a value of nothing as 72 bytes.
        let mut many = FieldMap::new_mutable(FIELDS_LIMIT);
        let name = |i: usize| HeaderName::try_from(format!("{i}")).unwrap();
        let count = (0..)
            .find(|i| many.append_raw(name(*i), HeaderValue::from_static("")).is_err())
            .unwrap();
        assert!(count > 1_000);
        assert!(
            (FIELDS_LIMIT..FIELDS_MOST).contains(&size_of_fields(&many)),
            "{}",
            size_of_fields(&many)
        );
        let mut same = FieldMap::new_mutable(FIELDS_LIMIT);
        while same.append_raw(name(0), HeaderValue::from_static("")).is_ok() {}
        assert!(
            (FIELDS_LIMIT..FIELDS_MOST).contains(&size_of_fields(&same)),
            "{}",
            size_of_fields(&same)
        );
    }

    #[test]
    fn the_texts_of_a_request_count() {
        let mut table = ResourceTable::new();
        let request = HostOutgoingRequest {
            method: Method::Other("m".repeat(5_000)),
            scheme: Some(Scheme::Other("s".repeat(3_000))),
            authority: Some("a".repeat(2_000)),
            path_with_query: Some("p".repeat(1_000)),
            headers: FieldMap::default(),
            body: None,
        };
        table.push(request).unwrap();
        let measured = measure(&mut table, 1);
        assert!((11_000 + RESOURCE..12_000 + RESOURCE).contains(&measured.bytes), "{measured:?}");
    }
}
