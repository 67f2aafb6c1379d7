//! The data of a guest's store as wasmtime's linkers know it, and WASI linked for it.
//!
//! wasmtime compiles each function that a guest may import once more for every type of data that a
//! store has: for all of WASI that takes minutes. So the type is one of this crate, [`GuestData`],
//! behind which the host keeps what it knows of a guest: a change in the host does not compile WASI
//! again. Nothing here knows of functions, events or any other crate of wasmill.

mod next_handler;

use std::any::Any;
use std::fmt;

use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

/// What a host knows of a guest while it runs: what WASI works on, and anything else.
pub trait GuestState: WasiView + WasiHttpView + Any {}

impl<T: WasiView + WasiHttpView + Any> GuestState for T {}

/// The data of a guest's store.
pub struct GuestData(Box<dyn GuestState>);

impl GuestData {
    /// Data with this state behind it.
    pub fn new(state: impl GuestState) -> Self {
        Self(Box::new(state))
    }

    /// The state.
    ///
    /// # Panics
    /// Where it is of another type: whoever makes stores has one type for all of them.
    pub fn state<S: GuestState>(&self) -> &S {
        let state: &dyn Any = &*self.0;
        state.downcast_ref().expect("stores are made with one type of state")
    }

    /// The state, to be changed.
    ///
    /// # Panics
    /// As [`GuestData::state`].
    pub fn state_mut<S: GuestState>(&mut self) -> &mut S {
        let state: &mut dyn Any = &mut *self.0;
        state.downcast_mut().expect("stores are made with one type of state")
    }
}

impl fmt::Debug for GuestData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestData").finish_non_exhaustive()
    }
}

impl WasiView for GuestData {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.0.ctx()
    }
}

impl WasiHttpView for GuestData {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.0.http()
    }
}

/// Links all of WASI 0.2 that wasmtime has.
///
/// # Errors
/// Where something of it is linked already.
pub fn link_wasi_0_2(linker: &mut Linker<GuestData>) -> Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

/// Links all of WASI 0.3 that wasmtime has, and `wasi:http/handler`, of which a handler may import
/// another one.
///
/// # Errors
/// Where something of it is linked already.
pub fn link_wasi_0_3(linker: &mut Linker<GuestData>) -> Result<()> {
    wasmtime_wasi::p3::add_to_linker(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)?;
    next_handler::add_to_linker(linker)
}
