//! `wasi:keyvalue@0.2.0-draft`.

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/keyvalue-draft",
        world: "imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": super::super::granted::OpenBucket },
    });
}

use wasmtime::component::Resource;

pub(super) use self::bindings::Imports;
use self::bindings::wasi::keyvalue::store::{Error, KeyResponse};
use self::bindings::wasi::keyvalue::{atomics, batch, store};
use super::access::Failure;
use super::common::common;
use super::granted::OpenBucket;
use crate::guest::Guest;

common! {
    cursor: u64, read: Some, write: |next| next;
    found: Option<(String, Vec<u8>)>, |(key, value)| Some((key, value?));
}

impl atomics::Host for Guest {
    /// A number may be negative where a function of the other draft counts too.
    async fn increment(
        &mut self,
        bucket: Resource<OpenBucket>,
        key: String,
        delta: u64,
    ) -> Answer<u64> {
        let call = self.call_on(&bucket)?;
        let Ok(delta) = i64::try_from(delta) else {
            return Ok(Err(Error::Other(format!("{delta} is more than numbers can be"))));
        };
        let sum = call.increment(key, delta).await.map_err(Error::from);
        Ok(sum.and_then(|sum| {
            u64::try_from(sum).map_err(|_| Error::Other(format!("the number is negative: {sum}")))
        }))
    }
}
