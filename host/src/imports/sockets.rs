//! `wasi:sockets`, of which functions have none. Each language's library tells that in words of its
//! own ("connection refused", "non-recoverable error"), so the attempt's log and the message of its
//! failure say what it is.

use wasmill_domain::LogLevel;
use wasmill_guest::GuestData;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::ResolveAddressStream;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, Network};
use wasmtime_wasi::p2::bindings::sockets::tcp::TcpSocket;
use wasmtime_wasi::p2::bindings::sockets::udp::UdpSocket;

use crate::guest::Guest;

/// How much of a name is shown, in characters: as much as a host name may have.
const SHOWN: usize = 253;

/// What a function is told, as one value in a result.
type Refused<T> = wasmtime::Result<(Result<Resource<T>, ErrorCode>,)>;

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

fn create_tcp(
    mut store: StoreContextMut<'_, GuestData>,
    _: (IpAddressFamily,),
) -> Refused<TcpSocket> {
    Guest::of_mut(store.data_mut()).refuse_socket("a TCP socket");
    Ok((Err(ErrorCode::AccessDenied),))
}

fn create_udp(
    mut store: StoreContextMut<'_, GuestData>,
    _: (IpAddressFamily,),
) -> Refused<UdpSocket> {
    Guest::of_mut(store.data_mut()).refuse_socket("a UDP socket");
    Ok((Err(ErrorCode::AccessDenied),))
}

fn look_up(
    mut store: StoreContextMut<'_, GuestData>,
    (_, name): (Resource<Network>, String),
) -> Refused<ResolveAddressStream> {
    let name: String = name.chars().take(SHOWN).collect();
    Guest::of_mut(store.data_mut()).refuse_socket(&format!("the lookup of '{name}'"));
    Ok((Err(ErrorCode::PermanentResolverFailure),))
}

impl Guest {
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
