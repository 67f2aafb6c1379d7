//! What guests may call.

mod config;
mod context;
pub(crate) mod keyvalue;
mod log;
mod logging;
pub(crate) mod outgoing;
mod secrets;
mod sockets;
pub(crate) mod wasi;

use wasmill_guest::GuestData;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::Function;
use crate::guest::Guest;

/// Everything that a component can import, what WASI 0.3 has only if `wasi_0_3`.
pub(crate) fn linker(
    wasmtime: &wasmtime::Engine,
    wasi_0_3: bool,
) -> wasmtime::Result<Linker<GuestData>> {
    let mut linker = Linker::new(wasmtime);
    wasmill_guest::link_wasi_0_2(&mut linker)?;
    sockets::add_to_linker(&mut linker)?;
    config::add_to_linker(&mut linker)?;
    Function::add_to_linker::<_, HasSelf<Guest>>(&mut linker, Guest::of_mut)?;
    keyvalue::add_to_linker(&mut linker)?;
    logging::add_to_linker(&mut linker)?;
    if wasi_0_3 {
        wasmill_guest::link_wasi_0_3(&mut linker)?;
        sockets::add_later_to_linker(&mut linker)?;
    }
    Ok(linker)
}

impl crate::bindings::wasmill::function::types::Host for Guest {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wasmtime::component::Component;

    /// Something out of each interface: a function's name, or a resource's behind a '+'.
    const SAMPLES: [(&str, &str); 62] = [
        ("wasi:cli/environment@0.2", "get-environment"),
        ("wasi:cli/exit@0.2", "exit"),
        ("wasi:cli/stderr@0.2", "get-stderr"),
        ("wasi:cli/stdin@0.2", "get-stdin"),
        ("wasi:cli/stdout@0.2", "get-stdout"),
        ("wasi:cli/terminal-input@0.2", "+terminal-input"),
        ("wasi:cli/terminal-output@0.2", "+terminal-output"),
        ("wasi:cli/terminal-stderr@0.2", "get-terminal-stderr"),
        ("wasi:cli/terminal-stdin@0.2", "get-terminal-stdin"),
        ("wasi:cli/terminal-stdout@0.2", "get-terminal-stdout"),
        ("wasi:clocks/monotonic-clock@0.2", "now"),
        ("wasi:clocks/wall-clock@0.2", "now"),
        ("wasi:config/store@0.2.0-draft", "get"),
        ("wasi:config/store@0.2.0-draft-2024-09-27", "get-all"),
        ("wasi:config/store@0.2.0-rc.1", "get"),
        ("wasi:filesystem/preopens@0.2", "get-directories"),
        ("wasi:filesystem/types@0.2", "+descriptor"),
        ("wasi:http/outgoing-handler@0.2", "handle"),
        ("wasi:http/types@0.2", "+fields"),
        ("wasi:io/error@0.2", "+error"),
        ("wasi:io/poll@0.2", "+pollable"),
        ("wasi:io/streams@0.2", "+output-stream"),
        ("wasi:keyvalue/atomics@0.2.0-draft", "increment"),
        ("wasi:keyvalue/atomics@0.2.0-draft2", "+cas"),
        ("wasi:keyvalue/batch@0.2.0-draft", "get-many"),
        ("wasi:keyvalue/batch@0.2.0-draft2", "get-many"),
        ("wasi:keyvalue/store@0.2.0-draft", "+bucket"),
        ("wasi:keyvalue/store@0.2.0-draft2", "+bucket"),
        ("wasi:logging/logging@0.1.0-draft", "log"),
        ("wasi:random/insecure@0.2", "get-insecure-random-u64"),
        ("wasi:random/insecure-seed@0.2", "insecure-seed"),
        ("wasi:random/random@0.2", "get-random-u64"),
        ("wasi:sockets/instance-network@0.2", "instance-network"),
        ("wasi:sockets/ip-name-lookup@0.2", "resolve-addresses"),
        ("wasi:sockets/network@0.2", "+network"),
        ("wasi:sockets/tcp@0.2", "+tcp-socket"),
        ("wasi:sockets/tcp-create-socket@0.2", "create-tcp-socket"),
        ("wasi:sockets/udp@0.2", "+udp-socket"),
        ("wasi:sockets/udp-create-socket@0.2", "create-udp-socket"),
        ("wasi:cli/environment@0.3", "get-environment"),
        ("wasi:cli/exit@0.3", "exit"),
        ("wasi:cli/stderr@0.3", "write-via-stream"),
        ("wasi:cli/stdin@0.3", "read-via-stream"),
        ("wasi:cli/stdout@0.3", "write-via-stream"),
        ("wasi:cli/terminal-input@0.3", "+terminal-input"),
        ("wasi:cli/terminal-output@0.3", "+terminal-output"),
        ("wasi:cli/terminal-stderr@0.3", "get-terminal-stderr"),
        ("wasi:cli/terminal-stdin@0.3", "get-terminal-stdin"),
        ("wasi:cli/terminal-stdout@0.3", "get-terminal-stdout"),
        ("wasi:clocks/monotonic-clock@0.3", "now"),
        ("wasi:clocks/system-clock@0.3", "now"),
        ("wasi:filesystem/preopens@0.3", "get-directories"),
        ("wasi:filesystem/types@0.3", "+descriptor"),
        ("wasi:http/client@0.3", "send"),
        ("wasi:http/handler@0.3", "handle"),
        ("wasi:http/types@0.3", "+fields"),
        ("wasi:random/insecure@0.3", "get-insecure-random-u64"),
        ("wasi:random/insecure-seed@0.3", "get-insecure-seed"),
        ("wasi:random/random@0.3", "get-random-u64"),
        ("wasi:sockets/ip-name-lookup@0.3", "resolve-addresses"),
        ("wasi:sockets/types@0.3", "+tcp-socket"),
        ("wasi:sockets/types@0.3", "+udp-socket"),
    ];

    /// What becomes of a component that imports a function of a type that it does not have, or a
    /// resource.
    fn link(interface: &str, sample: &str) -> Result<(), String> {
        let wasmtime = wasmtime::Engine::default();
        let linker = super::linker(&wasmtime, true).unwrap();
        let item = match sample.strip_prefix('+') {
            Some(resource) => format!(r#"(export "{resource}" (type (sub resource)))"#),
            None => format!(r#"(export "{sample}" (func (param "unlikely" f32)))"#),
        };
        // What is not released has its whole version already.
        let patch = if interface.contains(".0-") { "" } else { ".0" };
        let text = format!(r#"(component (import "{interface}{patch}" (instance {item})))"#);
        let component = Component::new(&wasmtime, wat::parse_str(text).unwrap()).unwrap();
        linker.instantiate_pre(&component).map(drop).map_err(|error| format!("{error:#}"))
    }

    /// `wasmill-component` tells users what there is to import; this is what there is.
    #[test]
    fn everything_that_is_said_to_be_provided_is() {
        let own = [
            ("wasmill:function/context@0.1", "current"),
            ("wasmill:function/log@0.1", "log"),
            ("wasmill:function/secrets@0.1", "get"),
        ];
        let samples = SAMPLES.into_iter().chain(own);
        let known: BTreeSet<_> = samples.clone().map(|(name, _)| name.to_owned()).collect();
        let said: BTreeSet<_> = wasmill_component::provided_interfaces().collect();
        let types_only: Vec<&str> = said.difference(&known).map(String::as_str).collect();
        let expected =
            vec!["wasi:cli/types@0.3", "wasi:clocks/types@0.3", "wasmill:function/types@0.1"];
        assert_eq!((types_only, known.difference(&said).count()), (expected, 0));
        for (interface, sample) in samples {
            match link(interface, sample) {
                Ok(()) => assert!(sample.starts_with('+'), "{interface}"),
                Err(error) => assert!(!error.contains("missing"), "{interface}: {error}"),
            }
        }
        assert!(link("wasi:tls/types@0.2", "no-such").unwrap_err().contains("missing"));
        assert!(link("wasi:tls/types@0.2", "+fields").is_err());
    }
}
