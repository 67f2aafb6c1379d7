//! Commands: the event's data is standard input, its attributes are the environment, standard output is the result.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::de::IgnoredAny;
use wasmill_domain::Event;
use wasmill_domain::event::Attribute;
use wasmtime::Store;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::Command;

use super::{Returned, TooMuchOutput, contract, retry};
use crate::guest::Guest;

/// What a command reads and writes.
#[derive(Clone, Default)]
pub(crate) struct Streams {
    /// The event's data.
    pub(crate) input: Bytes,
    /// Environment variables besides the manifest's.
    pub(crate) environment: Vec<(String, String)>,
    /// What it has written to standard output.
    pub(crate) output: Captured,
}

/// Standard output, kept.
#[derive(Clone, Default)]
pub(crate) struct Captured {
    kept: Arc<Mutex<Kept>>,
    most: usize,
}

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    /// Whether something did not fit. Not every program is stopped by that.
    is_cut: bool,
}

impl Captured {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds bytes; says whether they are within the limit.
    pub(crate) fn append(&self, bytes: &[u8]) -> bool {
        let mut kept = self.lock();
        kept.is_cut |= kept.bytes.len().saturating_add(bytes.len()) > self.most;
        if !kept.is_cut {
            kept.bytes.extend_from_slice(bytes);
        }
        !kept.is_cut
    }

    /// All of it, if it is whole.
    fn take(&self) -> Result<Vec<u8>, TooMuchOutput> {
        let kept = std::mem::take(&mut *self.lock());
        if kept.is_cut { Err(TooMuchOutput) } else { Ok(kept.bytes) }
    }
}

impl Streams {
    /// For an attempt at an event, whose result may have `most` bytes.
    pub(crate) fn of(event: &Event, most: usize) -> Self {
        let attribute = |(name, value): (&str, Attribute)| (format!("CE_{}", name.to_uppercase()), value.to_string());
        let environment = event.attributes().map(attribute).collect();
        let output = Captured { kept: Arc::default(), most };
        Self { input: event.data.clone().unwrap_or_default(), environment, output }
    }
}

pub(super) async fn call(command: &Command, store: &mut Store<Guest>) -> wasmtime::Result<Returned> {
    let ended = command.wasi_cli_run().call_run(&mut *store).await;
    returned(ended, store.data())
}

/// What a program's end means, by WASI 0.2 as by 0.3.
pub(super) fn returned(ended: wasmtime::Result<Result<(), ()>>, guest: &Guest) -> wasmtime::Result<Returned> {
    let status = match ended {
        Ok(Ok(())) => 0,
        Ok(Err(())) => 1,
        // Programs of some languages end by `exit` even where all is well.
        Err(error) => error.downcast_ref::<I32Exit>().map(|exit| exit.0).ok_or(error)?,
    };
    Ok(match status {
        0 => {
            let data = guest.streams().output.take()?;
            Ok(contract::Output { content_type: Some(media_type(&data).into()), data, emit: Vec::new() })
        }
        // WASI passes on no more than that it failed, which the adapters of preview 1 say by status 1 as well.
        status => Err(retry(format!("exited with status {status}"), None)),
    })
}

/// What a program has written, as far as one can tell by looking: it has no place to say it.
fn media_type(data: &[u8]) -> &'static str {
    if serde_json::from_slice::<IgnoredAny>(data).is_ok() {
        "application/json"
    } else if std::str::from_utf8(data).is_ok() {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_told_by_its_looks() {
        for (data, expected) in [
            ("{\"a\": 1}\n".as_bytes(), "application/json"),
            (b"42", "application/json"),
            (b"hello\n", "text/plain; charset=utf-8"),
            (b"", "text/plain; charset=utf-8"),
            (b"\xff\xfe", "application/octet-stream"),
        ] {
            assert_eq!(media_type(data), expected, "{data:?}");
        }
    }
}
