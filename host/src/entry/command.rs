//! Commands: the event's data is standard input, its attributes are the environment, standard
//! output is the result.

use wasmill_guest::GuestData;
use wasmtime::Store;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::Command;

use super::returned::{Returned, contract, retry};
use crate::guest::Guest;
use crate::streams::media_type;

pub(super) async fn call(
    command: &Command,
    store: &mut Store<GuestData>,
) -> wasmtime::Result<Returned> {
    let ended = command.wasi_cli_run().call_run(&mut *store).await;
    returned(ended, Guest::of(store.data()))
}

/// What a program's end means, by WASI 0.2 as by 0.3.
pub(super) fn returned(
    ended: wasmtime::Result<Result<(), ()>>,
    guest: &Guest,
) -> wasmtime::Result<Returned> {
    let status = match ended {
        Ok(Ok(())) => 0,
        Ok(Err(())) => 1,
        // Programs of some languages end by `exit` even where all is well.
        Err(error) => error.downcast_ref::<I32Exit>().map(|exit| exit.0).ok_or(error)?,
    };
    Ok(match status {
        0 => {
            let data = guest.streams().output.take()?;
            Ok(contract::Output {
                content_type: Some(media_type(&data).into()),
                data,
                emit: Vec::new(),
            })
        }
        // WASI passes on no more than that it failed, which the adapters of preview 1 say by status
        // 1 as well.
        status => Err(retry(format!("exited with status {status}"), None)),
    })
}
