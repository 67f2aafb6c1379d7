//! `wasi:sockets`, of which functions have none. Each language's library tells that in words of its
//! own ("connection refused", "non-recoverable error"), so the attempt's log and the message of its
//! failure say what it is.

use wasmill_domain::LogLevel;
use wasmill_guest::GuestData;
use wasmtime::StoreContextMut;
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::ResolveAddressStream;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, Network};
use wasmtime_wasi::p2::bindings::sockets::tcp::TcpSocket;
use wasmtime_wasi::p2::bindings::sockets::udp::UdpSocket;
use wasmtime_wasi::p3::bindings::sockets::{ip_name_lookup as later_names, types as later};

use crate::guest::Guest;

/// How much of a name is shown, in characters: as much as a host name may have.
const SHOWN: usize = 253;

/// What a function is told, as one value in a result.
type Refused<T, E = ErrorCode> = wasmtime::Result<(Result<T, E>,)>;

/// What is being refused.
const TCP: &str = "a TCP socket";
const UDP: &str = "a UDP socket";

/// Takes the place of what makes sockets and looks names up.
pub(super) fn add_to_linker(linker: &mut Linker<GuestData>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker
        .instance("wasi:sockets/tcp-create-socket@0.2.12")?
        .func_wrap("create-tcp-socket", create_tcp)?;
    linker
        .instance("wasi:sockets/udp-create-socket@0.2.12")?
        .func_wrap("create-udp-socket", create_udp)?;
    linker
        .instance("wasi:sockets/ip-name-lookup@0.2.12")?
        .func_wrap("resolve-addresses", look_up)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The same for WASI 0.3.
pub(super) fn add_later_to_linker(linker: &mut Linker<GuestData>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut sockets = linker.instance("wasi:sockets/types@0.3.0")?;
    sockets.func_wrap("[static]tcp-socket.create", create_later_tcp)?;
    sockets.func_wrap("[static]udp-socket.create", create_later_udp)?;
    linker.instance("wasi:sockets/ip-name-lookup@0.3.0")?.func_wrap_concurrent(
        "resolve-addresses",
        |guest: &Accessor<GuestData>, (name,): (String,)| {
            guest.with(|mut store| Guest::of_mut(store.data_mut()).refuse_lookup(&name));
            let refused: Refused<Vec<later::IpAddress>, later_names::ErrorCode> =
                Ok((Err(later_names::ErrorCode::PermanentResolverFailure),));
            Box::pin(std::future::ready(refused))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn create_tcp(
    mut store: StoreContextMut<'_, GuestData>,
    _: (IpAddressFamily,),
) -> Refused<Resource<TcpSocket>> {
    Guest::of_mut(store.data_mut()).refuse_socket(TCP);
    Ok((Err(ErrorCode::AccessDenied),))
}

fn create_udp(
    mut store: StoreContextMut<'_, GuestData>,
    _: (IpAddressFamily,),
) -> Refused<Resource<UdpSocket>> {
    Guest::of_mut(store.data_mut()).refuse_socket(UDP);
    Ok((Err(ErrorCode::AccessDenied),))
}

fn look_up(
    mut store: StoreContextMut<'_, GuestData>,
    (_, name): (Resource<Network>, String),
) -> Refused<Resource<ResolveAddressStream>> {
    Guest::of_mut(store.data_mut()).refuse_lookup(&name);
    Ok((Err(ErrorCode::PermanentResolverFailure),))
}

fn create_later_tcp(
    mut store: StoreContextMut<'_, GuestData>,
    _: (later::IpAddressFamily,),
) -> Refused<Resource<later::TcpSocket>, later::ErrorCode> {
    Guest::of_mut(store.data_mut()).refuse_socket(TCP);
    Ok((Err(later::ErrorCode::AccessDenied),))
}

fn create_later_udp(
    mut store: StoreContextMut<'_, GuestData>,
    _: (later::IpAddressFamily,),
) -> Refused<Resource<later::UdpSocket>, later::ErrorCode> {
    Guest::of_mut(store.data_mut()).refuse_socket(UDP);
    Ok((Err(later::ErrorCode::AccessDenied),))
}

impl Guest {
    fn refuse_lookup(&mut self, name: &str) {
        let name: String = name.chars().take(SHOWN).collect();
        self.refuse_socket(&format!("the lookup of '{name}'"));
    }

    /// Counts a call, and writes down that something was refused.
    fn refuse_socket(&mut self, what: &str) {
        if !self.calls.count() {
            return;
        }
        let message = format!(
            "{what} was refused: functions have no sockets; they send HTTP by wasi:http, to the hosts that allowed_hosts in \
             wasmill.toml names"
        );
        // A client that tries one address after the other need not say so each time.
        if self.outgoing.refuse_socket(&message) {
            self.log.note(LogLevel::Warn, message);
        }
    }
}
