//! `wasi:keyvalue@0.2.0-draft`.

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/keyvalue-draft",
        world: "imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": super::super::granted::OpenBucket },
    });
}

use wasmtime::Result;
use wasmtime::component::Resource;

pub(super) use self::bindings::Imports;
use self::bindings::wasi::keyvalue::store::{Error, KeyResponse};
use self::bindings::wasi::keyvalue::{atomics, batch, store};
use super::access::Failure;
use super::granted::OpenBucket;
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
        cursor: Option<u64>,
    ) -> Answer<KeyResponse> {
        let page = self.call_on(&bucket)?.keys(cursor).await;
        Ok(page.map(|page| KeyResponse { keys: page.keys, cursor: page.next }).map_err(Error::from))
    }

    async fn drop(&mut self, bucket: Resource<OpenBucket>) -> Result<()> {
        self.close_bucket(bucket)
    }
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

impl batch::Host for Guest {
    async fn get_many(
        &mut self,
        bucket: Resource<OpenBucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        let found = self.call_on(&bucket)?.get_many(keys).await.map_err(Error::from);
        Ok(found.map(|found| found.into_iter().map(|(key, value)| Some((key, value?))).collect()))
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
