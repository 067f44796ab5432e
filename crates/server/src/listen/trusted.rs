//! Whom somebody before us says that the client is. Believed of those alone whom the file names, and of nobody else.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use doorward_control::admin::Peer;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// Where each one who passes a request on writes down from whom it came, at the end.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Addresses that share their first bits, such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

/// Not a [`Network`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a network: write 10.0.0.0/8, 2001:db8::/32 or one address, with no bit set after the prefix")]
pub struct NetworkError;

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse::<IpNet>().map_err(|_| NetworkError)?,
        };
        // A network of everybody is no restriction, bits after the prefix are a slip, and IPv4 is written as IPv4.
        let good =
            network.prefix_len() > 0 && network.trunc() == network && network.addr().to_canonical() == network.addr();
        if good { Ok(Network(network)) } else { Err(NetworkError) }
    }
}

/// Those before us whose word about the client is believed.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustedProxies {
    networks: Arc<[Network]>,
    /// Every connection is one of somebody before us, trusted or not.
    all_behind: bool,
}

impl TrustedProxies {
    /// Those of a listener that only somebody before us reaches. (The default is for one that clients reach themselves.)
    pub(crate) fn new(networks: &[Network]) -> Self {
        TrustedProxies { networks: networks.into(), all_behind: true }
    }

    /// Who the client of a request is: the other end of the connection, or if that is trusted, the last in `X-Forwarded-For` who is
    /// not. Whatever stands before that one may have been written by the client itself.
    ///
    /// It is no client, and the address is that of somebody before us, if none of them is trusted, or those who are told none.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Peer {
        let (address, is_told) = self.told(peer, headers);
        // With some who are trusted, all others are clients.
        let passes_on = self.all_behind && (self.networks.is_empty() || self.is_trusted(address));
        Peer { address, is_client: is_told || !passes_on }
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.0.contains(&address))
    }

    /// The client, and whether somebody told.
    fn told(&self, peer: IpAddr, headers: &HeaderMap) -> (IpAddr, bool) {
        let (mut client, mut is_told) = (peer.to_canonical(), false);
        if !self.is_trusted(client) {
            return (client, false);
        }
        let told: Vec<&[u8]> = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .collect();
        for text in told.into_iter().rev() {
            let named = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse::<IpAddr>().ok());
            // What is no address was not written by one of those who are trusted: the last of them is who is known.
            let Some(named) = named else { break };
            (client, is_told) = (named.to_canonical(), true);
            if !self.is_trusted(client) {
                break;
            }
        }
        (client, is_told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_network_is_an_address_and_how_many_of_its_bits_count() {
        #[rustfmt::skip]
        let cases = [
            ("10.0.0.0/8", Some("10.0.0.0/8")), ("10.1.2.3", Some("10.1.2.3/32")), ("2001:db8::/32", Some("2001:db8::/32")), ("::1", Some("::1/128")),
            ("10.0.0.1/8", None), ("10.0.0.0/33", None), ("0.0.0.0/0", None), ("::/0", None), ("::ffff:10.0.0.1", None),
            ("10.0.0.0/", None), ("10.0.0.0/+8", None), ("10.0.0/8", None), ("lb.example.com", None), ("", None),
        ];
        for (text, expected) in cases {
            let read = text.parse::<Network>().ok().map(|it| it.0.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_client_is_the_last_one_who_is_not_trusted() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap());
        let trusted = TrustedProxies::new(&trusted);
        #[rustfmt::skip]
        let cases: [(&str, &[&str], &str); 13] = [
            // other end, X-Forwarded-For => client
            ("203.0.113.9",      &[],                                   "203.0.113.9"),
            ("203.0.113.9",      &["6.6.6.6"],                          "203.0.113.9"),
            ("11.0.0.1",         &["6.6.6.6"],                          "11.0.0.1"),
            ("10.0.0.1",         &[],                                   "10.0.0.1"),
            ("10.0.0.1",         &["203.0.113.9"],                      "203.0.113.9"),
            ("10.0.0.1",         &["6.6.6.6, 203.0.113.9"],             "203.0.113.9"),
            ("10.0.0.1",         &["6.6.6.6, 203.0.113.9 ,10.9.9.9"],   "203.0.113.9"),
            ("10.0.0.1",         &["6.6.6.6", "203.0.113.9,10.9.9.9"],  "203.0.113.9"),
            ("10.0.0.1",         &["10.2.2.2,10.1.1.1"],                "10.2.2.2"),
            ("10.0.0.1",         &["6.6.6.6, unknown, 10.1.1.1"],       "10.1.1.1"),
            ("10.0.0.1",         &["203.0.113.9:80"],                   "10.0.0.1"),
            ("::ffff:10.0.0.1",  &["2001:db9::1, 2001:db8::1"],         "2001:db9::1"),
            ("2001:db8::1",      &["::ffff:203.0.113.9"],               "203.0.113.9"),
        ];
        for (peer, told, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in told {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
            }
            assert_eq!(
                trusted.client(peer.parse().unwrap(), &headers).address.to_string(),
                expected,
                "{peer} {told:?}"
            );
        }
        // Behind somebody, an address counts that was told, or is of nobody who only passes on.
        #[rustfmt::skip]
        let behind: [(&str, &[&str], (&str, bool)); 6] = [
            ("203.0.113.9", &["6.6.6.6"],             ("203.0.113.9", true)),
            ("10.0.0.1",    &[],                      ("10.0.0.1", false)),
            ("10.0.0.1",    &["203.0.113.9"],         ("203.0.113.9", true)),
            ("10.0.0.1",    &["203.0.113.9:80"],      ("10.0.0.1", false)),
            ("10.0.0.1",    &["10.2.2.2,10.1.1.1"],   ("10.2.2.2", true)),
            ("10.0.0.1",    &["6.6.6.6, unknown"],    ("10.0.0.1", false)),
        ];
        for (peer, told, (client, known)) in behind {
            let mut headers = HeaderMap::new();
            for value in told {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
            }
            let (peer, expected) = (peer.parse().unwrap(), Peer { address: client.parse().unwrap(), is_client: known });
            assert_eq!(trusted.client(peer, &headers), expected, "{peer} {told:?}");
            let theirs = Peer { address: peer, is_client: false };
            assert_eq!(TrustedProxies::new(&[]).client(peer, &headers), theirs, "{peer}");
            assert_eq!(TrustedProxies::default().client(peer, &headers), Peer::from(peer), "{peer}");
        }
    }
}
