//! `wasmill:function/secrets`.

use wasmill_secrets::Secret;
use wasmtime::component::Resource;

use crate::bindings::wasmill::function::secrets::{Error, Host, HostSecret};
use crate::granted::NotGranted;
use crate::guest::Guest;

impl Host for Guest {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<Resource<Secret>, Error>> {
        if !self.calls.count() {
            return Ok(Err(Error::Unknown));
        }
        match self.granted.secret(&name).await {
            Ok(secret) => Ok(Ok(self.resources().push(secret)?)),
            Err(NotGranted::Unknown) => Ok(Err(Error::Unknown)),
            Err(NotGranted::NoExecution) => Ok(Err(Error::NoExecution)),
            Err(NotGranted::Failed(error)) => Err(error.into()),
        }
    }
}

impl HostSecret for Guest {
    async fn reveal(&mut self, secret: Resource<Secret>) -> wasmtime::Result<Vec<u8>> {
        self.calls.count();
        Ok(self.resources().get(&secret)?.expose().to_vec())
    }

    async fn drop(&mut self, secret: Resource<Secret>) -> wasmtime::Result<()> {
        self.resources().delete(secret)?;
        Ok(())
    }
}
