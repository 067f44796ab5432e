//! Google's own names, where they lead to a world: `doorward run`.

use doorward_control::applications::{OwnHosts, ReservedHosts};

/// The name of our own origin where Google's names lead to us. `internal` is reserved for private use, so nobody has it elsewhere.
pub const OWN_NAME: &str = "doorward.internal";

/// Where the metadata server is, on Google Cloud as here.
pub const METADATA_ADDRESS: [u8; 4] = [169, 254, 169, 254];

/// [`METADATA_ADDRESS`], as a host.
const METADATA_HOST: &str = "169.254.169.254";

/// The names that lead to [`METADATA_ADDRESS`].
pub const METADATA_NAMES: [&str; 2] = ["metadata.google.internal", "metadata"];

/// Google's other names that lead to us, at 127.0.0.1, as [`OWN_NAME`] does. Those that are not served answer so; without their names here a client would
/// say that it cannot find the host, which tells nobody why.
pub const GOOGLE_NAMES: [&str; 17] = [
    "accounts.google.com",
    "appengine.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "iap.googleapis.com",
    "identitytoolkit.googleapis.com",
    "oauth2.googleapis.com",
    "openidconnect.googleapis.com",
    "sdk.cloud.google.com",
    "securetoken.google.com",
    "securetoken.googleapis.com",
    "sts.googleapis.com",
    "tunnel.cloudproxy.app",
    "www.googleapis.com",
    "www.gstatic.com",
];

/// The hosts at which no application is, where these are our own: them, and the names where Google's clients send credentials. Any API of
/// Google's counts, served by us or not.
pub(crate) fn reserved_hosts(own: OwnHosts) -> ReservedHosts {
    let googles = GOOGLE_NAMES.into_iter().chain(METADATA_NAMES).chain([METADATA_HOST, "*.googleapis.com"]);
    ReservedHosts::new(own, googles.collect())
}

/// What a certificate for all of them says. One name stands for all APIs: clients may add one that is not listed here to the
/// hosts file of their own.
pub(super) const CERTIFIED: [&str; 8] = [
    "*.googleapis.com",
    "accounts.google.com",
    "metadata.google.internal",
    "sdk.cloud.google.com",
    "securetoken.google.com",
    "tunnel.cloudproxy.app",
    "www.gstatic.com",
    OWN_NAME,
];

/// How the APIs are addressed in files and in the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// By a path on our own origin.
    OwnOrigin,
    /// By Google's own names, which lead to us.
    GoogleNames,
}

impl Addressing {
    /// The base URL of a Google host, without a trailing slash, where our own origin is at `api_url`.
    pub(crate) fn base(self, api_url: &str, host: &str) -> String {
        match self {
            Addressing::OwnOrigin => format!("{api_url}/{host}"),
            Addressing::GoogleNames => format!("https://{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use doorward_core::resource::Host;

    use super::*;

    #[test]
    fn every_host_that_is_served_has_its_name_here_and_in_the_certificate() {
        for host in crate::hosts::names() {
            assert!(GOOGLE_NAMES.contains(&host), "{host}");
        }
        for name in GOOGLE_NAMES {
            let certified = CERTIFIED.contains(&name) || name.ends_with(".googleapis.com");
            assert!(certified, "{name}");
        }
    }

    #[test]
    fn no_application_is_at_a_name_of_googles() {
        let reserved = reserved_hosts(OwnHosts::Names(vec![]));
        let address = Ipv4Addr::from(METADATA_ADDRESS).to_string();
        let names = GOOGLE_NAMES.iter().chain(&METADATA_NAMES).copied();
        for name in names.chain([address.as_str(), "oauth2.mtls.googleapis.com"]) {
            assert!(reserved.check(&Host::parse(name).unwrap()).is_err(), "{name}");
        }
        assert!(reserved.check(&Host::parse("wiki.example.com").unwrap()).is_ok());
    }

    #[test]
    fn a_base_is_a_path_of_ours_or_googles_own_address() {
        #[rustfmt::skip]
        let cases = [
            (Addressing::OwnOrigin,   "http://127.0.0.1:8081/sts.googleapis.com"),
            (Addressing::GoogleNames, "https://sts.googleapis.com"),
        ];
        for (addressing, expected) in cases {
            assert_eq!(addressing.base("http://127.0.0.1:8081", "sts.googleapis.com"), expected);
        }
    }
}
