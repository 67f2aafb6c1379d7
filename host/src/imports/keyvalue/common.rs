//! What the drafts have in common: the same operations, each draft around types of its own.

/// Implements a draft for guests where it is as the other one is. `bindings` has a draft's types;
/// the arguments are how it names places in a listing, and what `get_many` gives for a key.
macro_rules! common {
    (
        cursor: $cursor:ty, read: $read:expr, write: $write:expr;
        found: $found:ty, $each:expr;
    ) => {
        type Answer<T> = wasmtime::Result<Result<T, Error>>;

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
            async fn get(
                &mut self,
                bucket: Resource<OpenBucket>,
                key: String,
            ) -> Answer<Option<Vec<u8>>> {
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
                cursor: Option<$cursor>,
            ) -> Answer<KeyResponse> {
                let call = self.call_on(&bucket)?;
                let read: fn($cursor) -> Option<u64> = $read;
                let after = match cursor.map(read) {
                    Some(None) => {
                        let why = "the cursor is none that list-keys gave";
                        return Ok(Err(Error::Other(why.into())));
                    }
                    after => after.flatten(),
                };
                let page = call.keys(after).await.map_err(Error::from);
                let write: fn(u64) -> $cursor = $write;
                Ok(page.map(|page| KeyResponse { keys: page.keys, cursor: page.next.map(write) }))
            }

            async fn drop(&mut self, bucket: Resource<OpenBucket>) -> wasmtime::Result<()> {
                self.close_bucket(bucket)
            }
        }

        impl batch::Host for Guest {
            async fn get_many(
                &mut self,
                bucket: Resource<OpenBucket>,
                keys: Vec<String>,
            ) -> Answer<Vec<$found>> {
                let each: fn((String, Option<Vec<u8>>)) -> $found = $each;
                let found = self.call_on(&bucket)?.get_many(keys).await.map_err(Error::from);
                Ok(found.map(|found| found.into_iter().map(each).collect()))
            }

            async fn set_many(
                &mut self,
                bucket: Resource<OpenBucket>,
                entries: Vec<(String, Vec<u8>)>,
            ) -> Answer<()> {
                Ok(self.call_on(&bucket)?.set_many(entries).await.map_err(Error::from))
            }

            async fn delete_many(
                &mut self,
                bucket: Resource<OpenBucket>,
                keys: Vec<String>,
            ) -> Answer<()> {
                Ok(self.call_on(&bucket)?.delete_many(keys).await.map_err(Error::from))
            }
        }
    };
}

pub(super) use common;
