//! Which addresses are public.
//!
//! Spec: the IANA special-purpose address registries, <https://www.iana.org/assignments/iana-ipv4-special-registry> and
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address may be reached as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// It is an address of the public network.
    Public,
    /// It is this machine, by 127.0.0.0/8 or `::1`.
    Loopback,
    /// It is private, local, or for a special use.
    Never,
}

/// Blocks of IPv4 that are not public, with the length of their prefixes. Loopback is judged before.
const NOT_PUBLIC_V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network, RFC 791
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private, RFC 1918
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // carriers' translation, RFC 6598
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback, RFC 1122
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local, with clouds' metadata servers, RFC 3927
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private, RFC 1918
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // protocol assignments, RFC 6890
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation, RFC 5737
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // 6to4 relays, RFC 7526
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private, RFC 1918
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks, RFC 2544
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation, RFC 5737
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation, RFC 5737
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast, RFC 5771
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, and broadcast, RFC 1112
];

/// The part of IPv6 that is allocated to the public network (RFC 4291 section 2.4). All that is special lies outside, but for
/// [`NOT_PUBLIC_V6`]: mapped and compatible IPv4, NAT64 (`64:ff9b::/96`, `64:ff9b:1::/48`), unique local, link-local, multicast.
const PUBLIC_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Blocks within [`PUBLIC_V6`] that are not public.
const NOT_PUBLIC_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, with Teredo and benchmarks, RFC 2928
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation, RFC 3849
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4: holds an IPv4 address, RFC 3056
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation, RFC 9637
];

/// What this address may be reached as. An IPv4 address within an IPv6 one is not looked at: each form of that is refused whole.
pub(super) fn allowed(address: IpAddr) -> Allowed {
    let public = match address {
        _ if address.is_loopback() => return Allowed::Loopback,
        IpAddr::V4(v4) => !NOT_PUBLIC_V4.iter().any(|block| within_v4(v4, *block)),
        IpAddr::V6(v6) => within_v6(v6, PUBLIC_V6) && !NOT_PUBLIC_V6.iter().any(|block| within_v6(v6, *block)),
    };
    if public { Allowed::Public } else { Allowed::Never }
}

fn within_v4(address: Ipv4Addr, (block, prefix): (Ipv4Addr, u32)) -> bool {
    (address.to_bits() ^ block.to_bits()).leading_zeros() >= prefix
}

fn within_v6(address: Ipv6Addr, (block, prefix): (Ipv6Addr, u32)) -> bool {
    (address.to_bits() ^ block.to_bits()).leading_zeros() >= prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public_and_the_edges_of_each_block_are_exact() {
        use Allowed::{Loopback, Never, Public};
        #[rustfmt::skip]
        let cases = [
            ("0.0.0.0", Never),          ("0.255.255.255", Never),    ("1.0.0.0", Public),         ("1.1.1.1", Public),
            ("9.255.255.255", Public),   ("10.0.0.0", Never),         ("10.255.255.255", Never),   ("11.0.0.0", Public),
            ("100.63.255.255", Public),  ("100.64.0.0", Never),       ("100.127.255.255", Never),  ("100.128.0.0", Public),
            ("126.255.255.255", Public), ("127.0.0.1", Loopback),     ("127.255.255.255", Loopback), ("128.0.0.0", Public),
            ("169.253.255.255", Public), ("169.254.0.0", Never),      ("169.254.169.254", Never),  ("169.255.0.0", Public),
            ("172.15.255.255", Public),  ("172.16.0.0", Never),       ("172.31.255.255", Never),   ("172.32.0.0", Public),
            ("191.255.255.255", Public), ("192.0.0.0", Never),        ("192.0.0.255", Never),      ("192.0.1.0", Public),
            ("192.0.2.0", Never),        ("192.0.2.255", Never),      ("192.0.3.0", Public),       ("192.88.98.255", Public),
            ("192.88.99.1", Never),      ("192.88.100.0", Public),    ("192.167.255.255", Public), ("192.168.0.0", Never),
            ("192.168.255.255", Never),  ("192.169.0.0", Public),     ("198.17.255.255", Public),  ("198.18.0.0", Never),
            ("198.19.255.255", Never),   ("198.20.0.0", Public),      ("198.51.99.255", Public),   ("198.51.100.1", Never),
            ("198.51.101.0", Public),    ("203.0.112.255", Public),   ("203.0.113.1", Never),      ("203.0.114.0", Public),
            ("223.255.255.255", Public), ("224.0.0.0", Never),        ("239.255.255.255", Never),  ("240.0.0.0", Never),
            ("255.255.255.255", Never),
            ("::", Never),               ("::1", Loopback),           ("::2", Never),
            ("::127.0.0.1", Never),      ("::8.8.8.8", Never),        ("::ffff:127.0.0.1", Never), ("::ffff:8.8.8.8", Never),
            ("::ffff:169.254.169.254", Never),                        ("::ffff:0:8.8.8.8", Never),
            ("64:ff9b::7f00:1", Never),  ("64:ff9b::808:808", Never), ("64:ff9b:1::1", Never),     ("100::1", Never),
            ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Never),       ("2000::", Public),
            ("2001::1", Never),          ("2001:0:7f00:1::", Never),  ("2001:2::1", Never),        ("2001:1ff:ffff::1", Never),
            ("2001:200::1", Public),     ("2001:db7::1", Public),     ("2001:db8::1", Never),      ("2001:db9::1", Public),
            ("2001:4860:4860::8888", Public),                         ("2002::1", Never),          ("2002:7f00:1::", Never),
            ("2003::1", Public),         ("3ffe:ffff::1", Public),    ("3fff::1", Never),          ("3fff:fff:ffff::1", Never),
            ("3fff:1000::1", Public),    ("4000::1", Never),          ("5f00::1", Never),          ("fc00::1", Never),
            ("fdff::1", Never),          ("fe80::1", Never),          ("fec0::1", Never),          ("ff02::1", Never),
        ];
        for (address, expected) in cases {
            assert_eq!(allowed(address.parse().unwrap()), expected, "{address}");
        }
    }
}
