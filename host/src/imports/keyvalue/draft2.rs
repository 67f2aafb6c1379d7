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
use wasmtime::Result;
use wasmtime::component::Resource;

pub(super) use self::bindings::Imports;
use self::bindings::wasi::keyvalue::atomics::CasError;
use self::bindings::wasi::keyvalue::store::{Error, KeyResponse};
use self::bindings::wasi::keyvalue::{atomics, batch, store};
use super::access::Failure;
use super::granted::{Cas, OpenBucket};
use crate::guest::Guest;

type Answer<T> = Result<Result<T, Error>>;

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoSuchStore => Self::NoSuchStore,
            Failure::Other(why) => Self::Other(why),
        }
    }
}

impl store::Host for Guest {
    async fn open(&mut self, identifier: String) -> Answer<Resource<OpenBucket>> {
        Ok(self.open_bucket(&identifier)?.map_err(Error::from))
    }
}

impl store::HostBucket for Guest {
    async fn get(&mut self, bucket: Resource<OpenBucket>, key: String) -> Answer<Option<Vec<u8>>> {
        Ok(self.call_on(&bucket)?.get(key).await.map_err(Error::from))
    }

    async fn set(
        &mut self,
        bucket: Resource<OpenBucket>,
        key: String,
        value: Vec<u8>,
    ) -> Answer<()> {
        Ok(self.call_on(&bucket)?.set(key, value).await.map_err(Error::from))
    }

    async fn delete(&mut self, bucket: Resource<OpenBucket>, key: String) -> Answer<()> {
        Ok(self.call_on(&bucket)?.delete(key).await.map_err(Error::from))
    }

    async fn exists(&mut self, bucket: Resource<OpenBucket>, key: String) -> Answer<bool> {
        Ok(self.call_on(&bucket)?.exists(key).await.map_err(Error::from))
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<OpenBucket>,
        cursor: Option<String>,
    ) -> Answer<KeyResponse> {
        let call = self.call_on(&bucket)?;
        let Ok(after) = cursor.map(|cursor| cursor.parse::<u64>()).transpose() else {
            return Ok(Err(Error::Other("the cursor is none that list-keys gave".into())));
        };
        let page = call.keys(after).await;
        let cursor = |next: u64| next.to_string();
        Ok(page
            .map(|page| KeyResponse { keys: page.keys, cursor: page.next.map(cursor) })
            .map_err(Error::from))
    }

    async fn drop(&mut self, bucket: Resource<OpenBucket>) -> Result<()> {
        self.close_bucket(bucket)
    }
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

    async fn drop(&mut self, cas: Resource<Cas>) -> Result<()> {
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

    async fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> Result<Result<(), CasError>> {
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

impl batch::Host for Guest {
    async fn get_many(
        &mut self,
        bucket: Resource<OpenBucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<(String, Option<Vec<u8>>)>> {
        Ok(self.call_on(&bucket)?.get_many(keys).await.map_err(Error::from))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<OpenBucket>,
        entries: Vec<(String, Vec<u8>)>,
    ) -> Answer<()> {
        Ok(self.call_on(&bucket)?.set_many(entries).await.map_err(Error::from))
    }

    async fn delete_many(&mut self, bucket: Resource<OpenBucket>, keys: Vec<String>) -> Answer<()> {
        Ok(self.call_on(&bucket)?.delete_many(keys).await.map_err(Error::from))
    }
}
