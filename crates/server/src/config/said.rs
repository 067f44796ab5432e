//! What a file says beside its applications: what of it is another one waits for the next start.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

/// How far down a value has a name of its own: `server.apps.tls`.
const DEPTH: usize = 3;

/// The values of a file beside `[[app]]`, by their places. `Debug` shows none: a header of a sink may be a credential.
#[derive(Clone, Default)]
pub struct Said(BTreeMap<String, Value>);

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Said").finish_non_exhaustive()
    }
}

impl Said {
    /// Of a file that was read before: of text that is no TOML it holds nothing.
    pub(super) fn of(text: &str) -> Self {
        let mut said = BTreeMap::new();
        for (name, value) in text.parse::<Table>().unwrap_or_default() {
            if name != "app" {
                collect(&mut said, name, value, 1);
            }
        }
        Said(said)
    }

    /// The places whose values are not the same, in order.
    pub fn changed(&self, other: &Said) -> Vec<String> {
        let mut places: Vec<&String> = self.0.keys().chain(other.0.keys()).collect();
        places.sort();
        places.dedup();
        places.into_iter().filter(|place| self.0.get(*place) != other.0.get(*place)).cloned().collect()
    }
}

fn collect(said: &mut BTreeMap<String, Value>, place: String, value: Value, depth: usize) {
    match value {
        Value::Table(table) if depth < DEPTH => {
            for (name, value) in table {
                collect(said, format!("{place}.{name}"), value, depth + 1);
            }
        }
        value => {
            said.insert(place, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_another_one_is_named_by_its_place_and_applications_are_not() {
        let of = |apps: &str, rest: &str| {
            Said::of(&format!("[server]\napi_url = 'u'\napps = {apps}\n{rest}\n[[app]]\nhost = '{rest:.1}'\n"))
        };
        let first = of("{ listen = 'a', tls = { certificate = 'c', key = 'k' } }", "");
        #[rustfmt::skip]
        let cases: [(&str, &str, &[&str]); 6] = [
            ("{ listen = 'a', tls = { certificate = 'c', key = 'k' } }", "",                       &[]),
            ("{ tls = { key = 'k', certificate = 'c' }, listen = 'a' } # said otherwise", "",      &[]),
            ("{ listen = 'a', tls = { certificate = 'd', key = 'k' } }", "",                       &["server.apps.tls"]),
            ("{ listen = 'b', behind_tls_proxy = true }", "",                                      &["server.apps.behind_tls_proxy", "server.apps.listen", "server.apps.tls"]),
            ("{ listen = 'a', tls = { certificate = 'c', key = 'k' } }", "[[audit.sink]]\nkind = 'stdout'", &["audit.sink"]),
            ("{ listen = 'a', tls = { certificate = 'c', key = 'k' } }", "state = 's'",            &["server.state"]),
        ];
        for (apps, rest, expected) in cases {
            let other = of(apps, rest);
            assert_eq!(first.changed(&other), expected, "{apps} {rest}");
            assert_eq!(other.changed(&first), expected, "{apps} {rest}");
        }
        assert!(!format!("{first:?}").contains("certificate"));
    }
}
