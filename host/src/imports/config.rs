//! `wasi:config/store`: the manifest's `[config]`, and the `[secrets]` for guests that know no
//! other way to them.
//!
//! No version of it is released, so that wasmtime tells each apart; all of them have had the same
//! two functions.

use wasmill_guest::GuestData;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use crate::granted::NotGranted;
use crate::guest::Guest;

/// The versions that guests are built for: the first is the current one, of the other two one has
/// the name that Spin's tools give it.
const VERSIONS: [&str; 3] = ["0.2.0-rc.1", "0.2.0-draft", "0.2.0-draft-2024-09-27"];

/// `wasi:config/store.error`.
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

type Answer<T> = wasmtime::Result<Result<T, Error>>;

/// Lets guests import every version.
pub(super) fn add_to_linker(linker: &mut Linker<GuestData>) -> wasmtime::Result<()> {
    for version in VERSIONS {
        let mut store = linker.instance(&format!("wasi:config/store@{version}"))?;
        store.func_wrap_async(
            "get",
            |mut store: StoreContextMut<'_, GuestData>, (key,): (String,)| {
                Box::new(
                    async move { Ok((Guest::of_mut(store.data_mut()).config_value(&key).await?,)) },
                )
            },
        )?;
        store.func_wrap_async("get-all", |mut store: StoreContextMut<'_, GuestData>, (): ()| {
            Box::new(async move { Ok((Guest::of_mut(store.data_mut()).config_values().await?,)) })
        })?;
    }
    Ok(())
}

impl Guest {
    async fn config_value(&mut self, key: &str) -> Answer<Option<String>> {
        if !self.calls.count() {
            return Ok(Ok(None));
        }
        if let Some(value) = self.granted.config().get(key) {
            return Ok(Ok(Some(value.clone())));
        }
        match self.granted.secret(key).await {
            Ok(secret) => match str::from_utf8(secret.expose()) {
                Ok(value) => Ok(Ok(Some(value.to_owned()))),
                Err(_) => Ok(Err(Error::Upstream(format!(
                    "the secret '{key}' is not text: wasmill:function/secrets gives its bytes"
                )))),
            },
            Err(NotGranted::Unknown | NotGranted::NoExecution) => Ok(Ok(None)),
            Err(NotGranted::Failed(error)) => Err(error.into()),
        }
    }

    async fn config_values(&mut self) -> Answer<Vec<(String, String)>> {
        let mut values: Vec<(String, String)> =
            self.granted.config().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        for key in self.granted.secret_names() {
            match self.config_value(&key).await? {
                Ok(Some(value)) => values.push((key, value)),
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        self.calls.count();
        Ok(Ok(values))
    }
}
