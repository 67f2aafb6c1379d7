//! What a function can see of the machine that it runs on. It should be nothing but the manifest's
//! `[env]`.

use serde::Serialize;
use wasip2::cli::{environment, stdin};
use wasip2::filesystem::preopens;
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::{ip_name_lookup, tcp_create_socket};

/// Everything that was seen, and what was tried in vain.
#[derive(Serialize)]
pub struct Surroundings {
    env: Vec<(String, String)>,
    args: Vec<String>,
    stdin: Vec<u8>,
    /// Every file that WASI can open is in one of these.
    directories: Vec<String>,
    sockets: Vec<&'static str>,
    refused: Vec<(&'static str, &'static str)>,
}

/// Looks everywhere.
pub fn look() -> Surroundings {
    let mut sockets = Vec::new();
    let mut refused = Vec::new();
    for (what, result) in
        [("connect to 127.0.0.1:5432", connect()), ("resolve localhost", resolve())]
    {
        match result {
            Ok(()) => sockets.push(what),
            Err(error) => refused.push((what, error.name())),
        }
    }
    Surroundings {
        env: environment::get_environment(),
        args: environment::get_arguments(),
        stdin: stdin::get_stdin().blocking_read(1024).unwrap_or_default(),
        directories: preopens::get_directories().into_iter().map(|(_, path)| path).collect(),
        sockets,
        refused,
    }
}

/// A connection that may begin is enough to have seen the network.
fn connect() -> Result<(), ErrorCode> {
    let address = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 5432, address: (127, 0, 0, 1) });
    let socket = tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.start_connect(&instance_network(), address)
}

fn resolve() -> Result<(), ErrorCode> {
    let addresses = ip_name_lookup::resolve_addresses(&instance_network(), "localhost")?;
    addresses.subscribe().block();
    addresses.resolve_next_address().map(drop)
}
