//! Which addresses are on the public internet, and so in anybody's reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What is not on the public internet, or should not be reached from a function although it is: the
/// registries at <https://www.iana.org/assignments/iana-ipv4-special-registry>, multicast, and what
/// is reserved.
const SPECIAL_V4: [([u8; 4], u32, &str); 17] = [
    ([0, 0, 0, 0], 8, "unspecified"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "shared address space (carrier-grade NAT)"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([169, 254, 0, 0], 16, "link-local (metadata)"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "reserved for protocols"),
    ([192, 0, 2, 0], 24, "for documentation"),
    ([192, 88, 99, 0], 24, "a relay of 6to4"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "for benchmarks"),
    ([198, 51, 100, 0], 24, "for documentation"),
    ([203, 0, 113, 0], 24, "for documentation"),
    // It looks public, and is the machine's own platform wherever it answers.
    ([168, 63, 129, 16], 32, "Azure's platform (metadata)"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([255, 255, 255, 255], 32, "broadcast"),
    ([240, 0, 0, 0], 4, "reserved"),
];

/// The same for IPv6: <https://www.iana.org/assignments/iana-ipv6-special-registry>. The first that
/// fits counts.
const SPECIAL_V6: [([u16; 8], u32, &str); 13] = [
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, "an IPv4 address in an obsolete form"),
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, "unique local (metadata)"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "for benchmarks"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "for documentation"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "for documentation"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "reserved for protocols"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "translated to a network's own IPv4"),
];

/// Where guests may connect to.
pub(super) struct Networks(Vec<IpNet>);

impl Networks {
    /// The public internet, and these.
    pub(super) fn new(allowed: Vec<IpNet>) -> Self {
        Self(allowed)
    }

    /// Why guests may not connect to an address; `None` where they may.
    pub(super) fn why_not(&self, address: IpAddr) -> Option<&'static str> {
        let address = address.to_canonical();
        if self.0.iter().any(|network| network.contains(&address)) {
            return None;
        }
        match address {
            IpAddr::V4(address) => special_v4(address),
            IpAddr::V6(address) => special_v6(address),
        }
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    let found = SPECIAL_V4
        .iter()
        .find(|(net, length, _)| (bits ^ u32::from_be_bytes(*net)) >> (32 - length) == 0);
    found.map(|(.., what)| *what)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(inner) = inner_v4(address) {
        return inner.into_iter().find_map(special_v4);
    }
    let bits = address.to_bits();
    let found = SPECIAL_V6
        .iter()
        .find(|(net, length, _)| (bits ^ Ipv6Addr::from(*net).to_bits()) >> (128 - length) == 0);
    // All that is assigned to the internet is in 2000::/3.
    found.map(|(.., what)| *what).or((bits >> 125 != 1).then_some("not assigned to the internet"))
}

/// The IPv4 addresses that a packet to this address may end up at, where it is one that a gateway
/// takes apart.
fn inner_v4(address: Ipv6Addr) -> Option<Vec<Ipv4Addr>> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        // NAT64.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(vec![v4(high, low)]),
        // 6to4.
        [0x2002, high, low, ..] => Some(vec![v4(high, low)]),
        // Teredo: its server, and the client with every bit turned over.
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            Some(vec![v4(!high, !low), v4(server_high, server_low)])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn why_not(address: &str) -> Option<&'static str> {
        Networks::new(Vec::new()).why_not(address.parse().unwrap())
    }

    #[test]
    fn public_addresses_are_in_reach() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(why_not(address), None, "{address}");
        }
    }

    #[test]
    fn the_others_are_not() {
        for (address, word) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("10.255.255.255", "private"),
            ("100.64.0.1", "carrier-grade"),
            ("100.100.100.200", "carrier-grade"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("169.254.169.254", "metadata"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.192", "protocols"),
            ("192.0.2.1", "documentation"),
            ("192.88.99.1", "6to4"),
            ("192.168.1.1", "private"),
            ("198.19.255.255", "benchmarks"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("168.63.129.16", "metadata"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::127.0.0.1", "obsolete"),
            ("::8.8.8.8", "obsolete"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:a9fe:a9fe", "metadata"),
            ("::ffff:0:127.0.0.1", "not assigned"),
            ("64:ff9b::10.0.0.1", "private"),
            ("64:ff9b::169.254.169.254", "metadata"),
            ("64:ff9b:1::8.8.8.8", "translated"),
            ("2002:7f00:1::", "loopback"),
            ("2002:a9fe:a9fe::1", "metadata"),
            ("2001:0:808:808:0:0:5601:5601", "metadata"),
            ("2001:0:a00:1::f7f7:f7f7", "private"),
            ("2001:2::1", "benchmarks"),
            ("2001:20::1", "protocols"),
            ("2001:db8::1", "documentation"),
            ("3fff::1", "documentation"),
            ("fc00::1", "unique local"),
            ("fd00:ec2::254", "metadata"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
            ("100::1", "not assigned"),
            ("5f00::1", "not assigned"),
        ] {
            assert!(
                why_not(address).is_some_and(|why| why.contains(word)),
                "{address}: {:?}",
                why_not(address)
            );
        }
    }

    #[test]
    fn an_operator_lets_guests_reach_a_network_and_no_other() {
        let networks =
            Networks::new(vec!["10.1.0.0/16".parse().unwrap(), "fd12::/16".parse().unwrap()]);
        let reached = |address: &str| networks.why_not(address.parse().unwrap()).is_none();
        for address in ["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3", "fd12::1", "1.1.1.1"] {
            assert!(reached(address), "{address}");
        }
        // What a gateway makes of an address is not what the operator named.
        for address in [
            "10.2.0.0",
            "10.0.255.255",
            "127.0.0.1",
            "fd13::1",
            "64:ff9b::10.1.2.3",
            "2002:a01:203::1",
        ] {
            assert!(!reached(address), "{address}");
        }
    }

    proptest! {
        /// The standard library knows some of the ranges: none of them may be missing here.
        #[test]
        fn what_the_standard_library_knows_is_known(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            let known = address.is_private() || address.is_loopback() || address.is_link_local()
                || address.is_broadcast() || address.is_documentation() || address.is_multicast()
                || address.is_unspecified();
            prop_assert!(!known || special_v4(address).is_some(), "{}", address);
        }

        #[test]
        fn an_address_in_another_is_no_way_around(bits: u32) {
            let [a, b, c, d] = Ipv4Addr::from_bits(bits).octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let networks = Networks::new(Vec::new());
            let alone = networks.why_not(Ipv4Addr::from_bits(bits).into());
            for segments in [
                [0, 0, 0, 0, 0, 0xffff, high, low],
                [0x64, 0xff9b, 0, 0, 0, 0, high, low],
                [0x2002, high, low, 0, 0, 0, 0, 1],
                [0x2001, 0, 0x808, 0x808, 0, 0, !high, !low],
            ] {
                prop_assert_eq!(networks.why_not(Ipv6Addr::from(segments).into()), alone);
            }
        }

        #[test]
        fn only_global_unicast_is_in_reach(bits: u128) {
            let address = Ipv6Addr::from_bits(bits);
            let reached = Networks::new(Vec::new()).why_not(address.into()).is_none();
            let is_mapped = address.to_ipv4_mapped().is_some() || address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
            prop_assert!(!reached || is_mapped || address.segments()[0] >> 13 == 1, "{}", address);
        }
    }
}
