//! Hosts at which no application is served.

use doorward_core::resource::Host;

/// Our own hosts, on the API's listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnHosts {
    /// Nothing else is at these names, at whichever port: cookies do not tell ports apart.
    Names(Vec<Host>),
    /// Applications are at these names too, at other ports: `doorward dev` has one address for all.
    Ports(Vec<Host>),
}

impl OwnHosts {
    fn has(&self, host: &Host) -> bool {
        match self {
            OwnHosts::Names(own) => own.iter().any(|it| it.name() == host.name()),
            OwnHosts::Ports(own) => own.contains(host),
        }
    }
}

/// Hosts at which no application is served: our own, and those where Google's clients send their credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservedHosts {
    own: OwnHosts,
    googles: Vec<&'static str>,
}

/// No application is served there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReservedHost {
    /// Our own.
    #[error("{0} is our own: an application there could read the cookies of the sign-in")]
    Own(Host),
    /// Google's.
    #[error("{0} is where Google's clients send their credentials: no application is there")]
    Googles(Host),
}

impl ReservedHosts {
    /// `googles` are names in lower case without ports; `*.example.com` is every name below `example.com`.
    pub fn new(own: OwnHosts, googles: Vec<&'static str>) -> Self {
        ReservedHosts { own, googles }
    }

    /// Whether an application may be at a host.
    pub fn check(&self, host: &Host) -> Result<(), ReservedHost> {
        let name = host.name();
        let covers = |it: &&str| match it.strip_prefix('*') {
            Some(below) => name.ends_with(below),
            None => name == *it,
        };
        if self.own.has(host) {
            return Err(ReservedHost::Own(host.clone()));
        }
        match self.googles.iter().any(covers) {
            true => Err(ReservedHost::Googles(host.clone())),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_hosts_and_googles_are_reserved_and_ports_count_only_where_applications_are_beside_us() {
        let own = || ["auth.test:8444", "127.0.0.1:8081"].map(|host| Host::parse(host).unwrap()).to_vec();
        let names = ReservedHosts::new(OwnHosts::Names(own()), vec!["accounts.google.com", "*.googleapis.com"]);
        let ports = ReservedHosts::new(OwnHosts::Ports(own()), vec!["accounts.google.com", "*.googleapis.com"]);
        #[rustfmt::skip]
        let cases = [
            // host                          by name         by port
            ("auth.test:8444",               Err("Own"),     Err("Own")),
            ("Auth.test.:8444",              Err("Own"),     Err("Own")),
            ("auth.test",                    Err("Own"),     Ok(())),
            ("127.0.0.1:8080",               Err("Own"),     Ok(())),
            ("127.0.0.1:8081",               Err("Own"),     Err("Own")),
            ("wiki.auth.test",               Ok(()),         Ok(())),
            ("accounts.google.com",          Err("Googles"), Err("Googles")),
            ("ACCOUNTS.google.com.:8443",    Err("Googles"), Err("Googles")),
            ("oauth2.mtls.googleapis.com",   Err("Googles"), Err("Googles")),
            ("notgoogleapis.com",            Ok(()),         Ok(())),
            ("accounts.google.com.test",     Ok(()),         Ok(())),
        ];
        for (host, by_name, by_port) in cases {
            let host = Host::parse(host).unwrap();
            for (reserved, expected) in [(&names, by_name), (&ports, by_port)] {
                let cause = |error: ReservedHost| match error {
                    ReservedHost::Own(_) => "Own",
                    ReservedHost::Googles(_) => "Googles",
                };
                assert_eq!(reserved.check(&host).map_err(cause), expected, "{host} {reserved:?}");
            }
        }
    }
}
