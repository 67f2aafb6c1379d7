//! `wasi:keyvalue@0.2.0-draft2`.

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/keyvalue-draft2",
        world: "imports",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": super::super::granted::OpenBucket,
            "wasi:keyvalue/atomics.cas": super::super::granted::Cas,
        },
    });
}

use std::sync::Arc;

use wasmill_store::Swap;
use wasmtime::component::Resource;

pub(super) use self::bindings::Imports;
use self::bindings::wasi::keyvalue::atomics::CasError;
use self::bindings::wasi::keyvalue::store::{Error, KeyResponse};
use self::bindings::wasi::keyvalue::{atomics, batch, store};
use super::access::Failure;
use super::common::common;
use super::granted::{Cas, OpenBucket};
use crate::guest::Guest;

common! {
    cursor: String, read: |cursor| cursor.parse().ok(), write: |next| next.to_string();
    found: (String, Option<Vec<u8>>), |found| found;
}

impl atomics::HostCas for Guest {
    async fn new(&mut self, bucket: Resource<OpenBucket>, key: String) -> Answer<Resource<Cas>> {
        let call = self.call_on(&bucket)?;
        let bucket = Arc::clone(&self.resources().get(&bucket)?.0);
        match call.version(key.clone()).await {
            Ok(seen) => Ok(Ok(self.resources().push(Cas { bucket, key, seen })?)),
            Err(failure) => Ok(Err(failure.into())),
        }
    }

    /// The value as it is now. Where it is not any more what `new` found, the swap will fail, so
    /// that nothing between is lost.
    async fn current(&mut self, cas: Resource<Cas>) -> Answer<Option<Vec<u8>>> {
        let Cas { bucket, key, .. } = self.resources().get(&cas)?;
        let (bucket, key) = (Arc::clone(bucket), key.clone());
        Ok(self.call(bucket).get(key).await.map_err(Error::from))
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.calls.count();
        self.resources().delete(cas)?;
        Ok(())
    }
}

impl atomics::Host for Guest {
    async fn increment(
        &mut self,
        bucket: Resource<OpenBucket>,
        key: String,
        delta: i64,
    ) -> Answer<i64> {
        Ok(self.call_on(&bucket)?.increment(key, delta).await.map_err(Error::from))
    }

    async fn swap(
        &mut self,
        cas: Resource<Cas>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), CasError>> {
        let Cas { bucket, key, seen } = self.resources().delete(cas)?;
        match self.call(Arc::clone(&bucket)).swap(key.clone(), seen, value).await {
            Ok(Swap::Done) => Ok(Ok(())),
            Ok(Swap::Changed(latest)) => {
                let latest = self.resources().push(Cas { bucket, key, seen: latest })?;
                Ok(Err(CasError::CasFailed(latest)))
            }
            Err(failure) => Ok(Err(CasError::StoreError(failure.into()))),
        }
    }
}
