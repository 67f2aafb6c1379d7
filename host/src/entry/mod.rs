//! The ways into a component, one for each kind, which all lead from an event to a result.

mod command;
mod event;
pub(crate) mod http;
mod response;
pub(crate) mod returned;
mod wasi3;

use wasmill_domain::Event;
use wasmill_domain::manifest::Kind;
use wasmill_guest::GuestData;
use wasmtime::Store;
use wasmtime::component::{Component, InstancePre};
use wasmtime_wasi::p2::bindings::{Command, CommandPre};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};

use self::http::HttpExchange;
use self::returned::Returned;
use crate::bindings::{Function, FunctionPre};

/// A component as one of the kinds that it is, linked.
pub(crate) enum Entry {
    Event(FunctionPre<GuestData>),
    Http(ProxyPre<GuestData>),
    Command(CommandPre<GuestData>),
    /// Of WASI 0.3.
    Wasi3Http(wasi3::ServicePre<GuestData>),
    /// The same.
    Wasi3Command(wasi3::CommandPre<GuestData>),
}

/// The same of an instance.
pub(crate) enum Live {
    Event(Function),
    Http(Proxy),
    Command(Command),
    Wasi3Http(wasi3::Service),
    Wasi3Command(wasi3::Command),
}

impl Entry {
    /// Every way into a linked component, the one first that is taken where a manifest names none.
    /// Where a component is the same for two versions of WASI, it is
    /// run by the later one, if that is enabled.
    pub(crate) fn all(
        component: &Component,
        linked: &InstancePre<GuestData>,
        wasi_0_3: bool,
    ) -> wasmtime::Result<Vec<Self>> {
        let exports = |name: &str| component.get_export_index(None, name).is_some();
        let mut entries = Vec::new();
        if exports("wasmill:function/handler@0.1.0") {
            entries.push(Self::Event(FunctionPre::new(linked.clone())?));
        }
        if wasi_0_3 && exports("wasi:http/handler@0.3.0") {
            entries.push(Self::Wasi3Http(wasi3::ServicePre::new(linked.clone())?));
        } else if exports("wasi:http/incoming-handler@0.2.0") {
            entries.push(Self::Http(ProxyPre::new(linked.clone())?));
        }
        if wasi_0_3 && exports("wasi:cli/run@0.3.0") {
            entries.push(Self::Wasi3Command(wasi3::CommandPre::new(linked.clone())?));
        } else if exports("wasi:cli/run@0.2.0") {
            entries.push(Self::Command(CommandPre::new(linked.clone())?));
        }
        Ok(entries)
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Event(_) => Kind::Event,
            Self::Http(_) | Self::Wasi3Http(_) => Kind::Http,
            Self::Command(_) | Self::Wasi3Command(_) => Kind::Command,
        }
    }

    /// Whether an instance can be called again: a program ends, and a guest of WASI 0.3 may have
    /// left something going on.
    pub(crate) fn serves_again(&self) -> bool {
        matches!(self, Self::Event(_) | Self::Http(_))
    }

    /// Makes an instance: runs what the guest runs at its start, and finds what is called with the
    /// types that it should have.
    pub(crate) async fn instantiate(&self, store: &mut Store<GuestData>) -> wasmtime::Result<Live> {
        Ok(match self {
            Self::Event(function) => Live::Event(function.instantiate_async(store).await?),
            Self::Http(proxy) => Live::Http(proxy.instantiate_async(store).await?),
            Self::Command(command) => Live::Command(command.instantiate_async(store).await?),
            Self::Wasi3Http(service) => Live::Wasi3Http(service.instantiate_async(store).await?),
            Self::Wasi3Command(command) => {
                Live::Wasi3Command(command.instantiate_async(store).await?)
            }
        })
    }
}

impl Live {
    /// Calls the guest.
    pub(crate) async fn call(
        &self,
        store: &mut Store<GuestData>,
        event: &Event,
    ) -> wasmtime::Result<Returned> {
        match self {
            Self::Event(function) => event::call(function, store, event).await,
            Self::Http(proxy) => http::call(proxy, store, event).await,
            Self::Command(command) => command::call(command, store).await,
            Self::Wasi3Http(service) => wasi3::call(service, store, event).await,
            Self::Wasi3Command(command) => wasi3::run(command, store).await,
        }
    }

    /// Lets the guest answer a request whose caller waits. Only HTTP handlers can.
    pub(crate) async fn exchange(
        &self,
        store: &mut Store<GuestData>,
        exchange: HttpExchange,
    ) -> wasmtime::Result<Returned> {
        match self {
            Self::Http(proxy) => http::exchange(proxy, store, exchange).await,
            Self::Wasi3Http(service) => wasi3::exchange(service, store, exchange).await,
            Self::Event(_) | Self::Command(_) | Self::Wasi3Command(_) => {
                wasmtime::bail!("it is not an HTTP handler")
            }
        }
    }
}
