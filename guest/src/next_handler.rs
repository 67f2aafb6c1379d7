//! `wasi:http/handler` as an import of WASI 0.3: what middleware passes a request on to. No
//! function stands behind another here, so what follows is the network: the same as
//! `wasi:http/client`, with the same grants, by the other name.

use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi_http::p3::bindings::http::client::HostWithStore as _;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{WasiHttp, WasiHttpView as _};

use crate::GuestData;

/// What a handler answers.
type Answer = Result<Resource<Response>, ErrorCode>;

pub(super) fn add_to_linker(linker: &mut Linker<GuestData>) -> wasmtime::Result<()> {
    let mut interface = linker.instance("wasi:http/handler@0.3.0")?;
    interface.func_wrap_concurrent(
        "handle",
        |guest: &Accessor<GuestData>, (request,): (Resource<Request>,)| {
            Box::pin(handle(guest, request))
        },
    )
}

async fn handle(
    guest: &Accessor<GuestData>,
    request: Resource<Request>,
) -> wasmtime::Result<(Answer,)> {
    let client = guest.with_getter::<WasiHttp>(GuestData::http);
    let answer = match WasiHttp::send(&client, request).await {
        Ok(response) => Ok(response),
        Err(error) => Err(error.downcast()?),
    };
    Ok((answer,))
}
