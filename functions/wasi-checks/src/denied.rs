//! What no function has: each try ends in an error.

use wasip2::filesystem::preopens;
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily};
use wasip2::sockets::{ip_name_lookup, tcp_create_socket, udp_create_socket};

use crate::{Check, Checked, expect};

/// In any order.
pub const CHECKS: &[Check] = &[
    ("filesystem: nothing is open", preopened),
    ("filesystem: files", files),
    ("sockets: TCP", tcp),
    ("sockets: UDP", udp),
    ("sockets: names", names),
];

fn denied<T>(result: Result<T, ErrorCode>) -> Checked {
    match result {
        Ok(_) => Err("it worked".into()),
        Err(ErrorCode::AccessDenied) => Ok(()),
        Err(other) => Err(other.name().into()),
    }
}

fn preopened() -> Checked {
    let open = preopens::get_directories().len();
    expect(open == 0, || "a directory is".into())
}

/// The error is the standard library's own word for it.
fn files() -> Checked {
    if std::fs::File::open("/etc/passwd").is_ok() { Err("it worked".into()) } else { Ok(()) }
}

fn tcp() -> Checked {
    denied(tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4))?;
    denied(tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv6))
}

fn udp() -> Checked {
    denied(udp_create_socket::create_udp_socket(IpAddressFamily::Ipv4))?;
    denied(udp_create_socket::create_udp_socket(IpAddressFamily::Ipv6))
}

/// As wasmtime words the denial of lookups.
fn names() -> Checked {
    let lookup = ip_name_lookup::resolve_addresses(&instance_network(), "localhost");
    let answer = lookup.and_then(|addresses| {
        addresses.subscribe().block();
        addresses.resolve_next_address()
    });
    match answer {
        Ok(_) => Err("it worked".into()),
        Err(ErrorCode::PermanentResolverFailure) => Ok(()),
        Err(other) => Err(other.name().into()),
    }
}
