//! Tunnel destination groups: addresses and names of hosts, under one name of a region.
//!
//! Spec: <https://cloud.google.com/iap/docs/tcp-by-host>

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;

use crate::policy::condition::ip_range;
use crate::resource::Resource;

/// Ranges of addresses in one group, at most, and as many names of hosts.
pub const ENTRIES_LIMIT: usize = 1000;

/// What is no part of a destination group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestGroupError {
    /// Not a region.
    #[error("a location has 1 to 63 of a-z, 0-9 and -, and begins with a letter")]
    Location,
    /// Not an id.
    #[error("the id of a destination group has 4 to 63 of a-z and -")]
    Id,
    /// Not a range: the text.
    #[error("{0:?} is not a range of addresses such as 10.1.0.0/16, with zeros behind the prefix")]
    Range(String),
    /// Not a name: the text.
    #[error("{0:?} is not the full name of a host, or *. and one")]
    HostName(String),
    /// Too many.
    #[error("a destination group has at most {ENTRIES_LIMIT} ranges and {ENTRIES_LIMIT} names")]
    TooMany,
}

/// Where a group is, and its id there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestGroupName {
    location: String,
    id: String,
}

impl DestGroupName {
    /// A name of these parts.
    ///
    /// # Errors
    /// [`DestGroupError::Location`] or [`DestGroupError::Id`].
    pub fn new(location: &str, id: &str) -> Result<Self, DestGroupError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let begins = location.starts_with(|first: char| first.is_ascii_lowercase());
        if !begins || location.len() > 63 || !location.bytes().all(plain) {
            return Err(DestGroupError::Location);
        }
        if !(4..=63).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') {
            return Err(DestGroupError::Id);
        }
        Ok(DestGroupName { location: location.to_owned(), id: id.to_owned() })
    }

    /// The region.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The id in it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The resource whose policy says who reaches what is in the group.
    pub fn resource(&self) -> Resource {
        Resource::TunnelDestGroup(self.location.clone(), self.id.clone())
    }
}

/// A range of addresses, such as `10.1.0.0/16` or `2001:db8::/32`. One address is a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange(IpNet);

impl FromStr for AddressRange {
    type Err = DestGroupError;

    fn from_str(text: &str) -> Result<Self, DestGroupError> {
        ip_range(text).map(AddressRange).ok_or_else(|| DestGroupError::Range(text.to_owned()))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The full name of a host, in lower case, or `*.` and such a name for all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNamePattern(String);

impl FromStr for HostNamePattern {
    type Err = DestGroupError;

    fn from_str(text: &str) -> Result<Self, DestGroupError> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let label = |label: &str| {
            let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
        };
        // Of an address or a single word nobody can say which host it is.
        let last = name.rsplit('.').next().unwrap_or_default();
        let full = name.contains('.') && !last.bytes().all(|b| b.is_ascii_digit());
        match full && name.len() <= 253 && name.split('.').all(label) {
            true => Ok(HostNamePattern(text.to_ascii_lowercase())),
            false => Err(DestGroupError::HostName(text.to_owned())),
        }
    }
}

impl fmt::Display for HostNamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A destination group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestGroup {
    /// Its name.
    pub name: DestGroupName,
    /// Ranges of addresses, as they were given.
    pub cidrs: Vec<AddressRange>,
    /// Names of hosts, as they were given.
    pub fqdns: Vec<HostNamePattern>,
}

impl DestGroup {
    /// A group of these texts.
    ///
    /// # Errors
    /// [`DestGroupError`] for the first that is wrong.
    pub fn read(name: DestGroupName, cidrs: &[String], fqdns: &[String]) -> Result<Self, DestGroupError> {
        if cidrs.len() > ENTRIES_LIMIT || fqdns.len() > ENTRIES_LIMIT {
            return Err(DestGroupError::TooMany);
        }
        Ok(DestGroup { name, cidrs: all(cidrs)?, fqdns: all(fqdns)? })
    }
}

fn all<T: FromStr<Err = DestGroupError>>(texts: &[String]) -> Result<Vec<T>, DestGroupError> {
    texts.iter().map(|text| text.parse()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use DestGroupError as E;

    #[test]
    fn a_name_is_a_region_and_four_to_sixty_three_small_letters() {
        let (longest, longer) = ("g".repeat(63), "g".repeat(64));
        #[rustfmt::skip]
        let cases = [
            ("europe-west1", "prod",          Ok(())),
            ("r",            "--a-",          Ok(())),
            ("r",            longest.as_str(), Ok(())),
            ("r",            longer.as_str(), Err(E::Id)),
            ("r",            "abc",           Err(E::Id)),
            ("r",            "",              Err(E::Id)),
            ("r",            "prod1",         Err(E::Id)),
            ("r",            "Prod",          Err(E::Id)),
            ("r",            "pr_od",         Err(E::Id)),
            ("-",            "prod",          Err(E::Location)),
            ("",             "prod",          Err(E::Location)),
            ("1r",           "prod",          Err(E::Location)),
            ("EU",           "prod",          Err(E::Location)),
            ("a/b",          "prod",          Err(E::Location)),
            (longer.as_str(), "prod",         Err(E::Location)),
        ];
        for (location, id, expected) in cases {
            assert_eq!(DestGroupName::new(location, id).map(drop), expected, "{location:?} {id:?}");
        }
    }

    #[test]
    fn ranges_and_names_are_read_and_written() {
        #[rustfmt::skip]
        let ranges = [
            ("10.1.0.0/16",   Some("10.1.0.0/16")),
            ("10.1.2.3",      Some("10.1.2.3/32")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("0.0.0.0/0",     Some("0.0.0.0/0")),
            ("10.1.2.3/16",   None),
            ("10.1.0.0/33",   None),
            ("10.1.0.0-9",    None),
            ("",              None),
        ];
        for (text, expected) in ranges {
            let read: Result<AddressRange, _> = text.parse();
            assert_eq!(read.ok().map(|it| it.to_string()).as_deref(), expected, "{text:?}");
        }
        let long = format!("{}.test", vec!["a".repeat(49); 5].join("."));
        #[rustfmt::skip]
        let names = [
            ("Host.Example.com", Some("host.example.com")),
            ("*.example.com",    Some("*.example.com")),
            ("a-b.3c.internal",  Some("a-b.3c.internal")),
            ("*",                None),
            ("*.",               None),
            ("*.*.example.com",  None),
            ("a.*.example.com",  None),
            ("example",          None),
            ("example.com.",     None),
            ("-a.example.com",   None),
            ("a_b.example.com",  None),
            ("a..example.com",   None),
            ("10.1.2.3",         None),
            ("a.com:22",         None),
            (long.as_str(),      None),
        ];
        for (text, expected) in names {
            let read: Result<HostNamePattern, _> = text.parse();
            assert_eq!(read.ok().map(|it| it.to_string()).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_group_has_a_thousand_of_each_at_most() {
        let name = DestGroupName::new("r", "prod").unwrap();
        let ranges = |count: usize| vec!["10.0.0.0/8".to_owned(); count];
        let names = |count: usize| vec!["a.test".to_owned(); count];
        #[rustfmt::skip]
        let cases = [
            (ranges(0),    names(0),    Ok(())),
            (ranges(1000), names(1000), Ok(())),
            (ranges(1001), names(0),    Err(E::TooMany)),
            (ranges(0),    names(1001), Err(E::TooMany)),
            (names(1),     names(0),    Err(E::Range("a.test".into()))),
            (ranges(0),    ranges(1),   Err(E::HostName("10.0.0.0/8".into()))),
        ];
        for (cidrs, fqdns, expected) in cases {
            assert_eq!(DestGroup::read(name.clone(), &cidrs, &fqdns).map(drop), expected);
        }
    }
}
