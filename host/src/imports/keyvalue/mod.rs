//! `wasi:keyvalue`: what functions keep from one execution to the next, in the store.
//!
//! Two drafts of it are in use. Both are the same operations here, with other types around them
//! (`common`): `draft` is the one that was released, `draft2` the one that knows compare-and-swap.
//! Every operation is done at once, in a transaction of its own: it does not wait for the attempt's
//! success.

pub(crate) mod access;
mod common;
mod draft;
mod draft2;
pub(crate) mod granted;

use std::sync::Arc;

use wasmill_guest::GuestData;
use wasmill_store::Bucket;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::access::{Call, Failure};
use self::granted::OpenBucket;
use crate::guest::Guest;

/// Links both drafts.
pub(super) fn add_to_linker(linker: &mut Linker<GuestData>) -> wasmtime::Result<()> {
    draft::Imports::add_to_linker::<_, HasSelf<Guest>>(linker, Guest::of_mut)?;
    draft2::Imports::add_to_linker::<_, HasSelf<Guest>>(linker, Guest::of_mut)
}

/// What both drafts do with a guest.
impl Guest {
    fn open_bucket(
        &mut self,
        identifier: &str,
    ) -> wasmtime::Result<Result<Resource<OpenBucket>, Failure>> {
        let opened = if self.calls.count() {
            self.keyvalue.open(identifier)
        } else {
            Err(Failure::too_many_calls())
        };
        match opened {
            Ok(bucket) => Ok(Ok(self.resources().push(bucket)?)),
            Err(failure) => Ok(Err(failure)),
        }
    }

    fn close_bucket(&mut self, bucket: Resource<OpenBucket>) -> wasmtime::Result<()> {
        self.calls.count();
        self.resources().delete(bucket)?;
        Ok(())
    }

    fn call_on(&mut self, bucket: &Resource<OpenBucket>) -> wasmtime::Result<Call> {
        let bucket = Arc::clone(&self.resources().get(bucket)?.0);
        Ok(self.call(bucket))
    }

    fn call(&mut self, bucket: Arc<Bucket>) -> Call {
        let store =
            if self.calls.count() { self.keyvalue.store() } else { Err(Failure::too_many_calls()) };
        Call::new(store, bucket)
    }
}
