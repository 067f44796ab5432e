//! What conditions read: one question with everything that was proven or measured about it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;

use serde_json::{Map, Value as Json};

use super::path::RequestPath;
use crate::access_level::AccessLevels;
use crate::clock::Timestamp;
use crate::resource::Host;

/// The fields of a request.
pub trait HeaderFields: Sync {
    /// The field's value, of several their values joined with `, ` (RFC 9110 section 5.3). `None` if there is none, or it is no
    /// text. The name is in lower case.
    fn value(&self, name: &str) -> Option<Cow<'_, str>>;
}

impl HeaderFields for BTreeMap<String, String> {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(|value| Cow::Borrowed(value.as_str()))
    }
}

/// A request to an application.
pub struct HttpRequest<'a> {
    /// `request.host` is its name, without the port.
    pub host: &'a Host,
    /// `request.path`
    pub path: RequestPath<'a>,
    /// `request.method`, as it was sent.
    pub method: &'a str,
    /// `request.headers`. `None` where fields were not kept, as in a recorded decision.
    pub headers: Option<&'a dyn HeaderFields>,
}

/// How well somebody was recognised. Compared as a number: `request.auth.strength >= 2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthenticationStrength {
    /// By one factor, such as a password. 1.
    OneFactor,
    /// By two. 2.
    TwoFactors,
    /// By a key that cannot be phished. 3.
    PhishingResistant,
}

impl AuthenticationStrength {
    /// The number that conditions compare.
    pub fn level(self) -> i64 {
        match self {
            AuthenticationStrength::OneFactor => 1,
            AuthenticationStrength::TwoFactors => 2,
            AuthenticationStrength::PhishingResistant => 3,
        }
    }

    /// What the methods of a sign-in, the claim `amr`, amount to; `None` if none is named.
    ///
    /// Spec: RFC 8176 section 2; `phr` and `phrh` are of OpenID's Extended Authentication Profile.
    pub fn of_methods<'m>(methods: impl IntoIterator<Item = &'m str>) -> Option<AuthenticationStrength> {
        const KNOWN: [&str; 3] = ["kba", "pin", "pwd"];
        const HELD: [&str; 6] = ["otp", "sc", "sms", "swk", "tel", "pop"];
        const KEYS: [&str; 4] = ["fido", "hwk", "phr", "phrh"];
        let (mut known, mut held, mut both, mut key, mut any) = (false, false, false, false, false);
        for method in methods {
            any = true;
            known |= KNOWN.contains(&method);
            held |= HELD.contains(&method);
            both |= method == "mfa";
            key |= KEYS.contains(&method);
        }
        if key {
            return Some(AuthenticationStrength::PhishingResistant);
        }
        if both || (known && held) {
            return Some(AuthenticationStrength::TwoFactors);
        }
        any.then_some(AuthenticationStrength::OneFactor)
    }
}

/// What a question is about.
#[derive(Debug, Clone, Copy)]
pub struct ResourceAttributes<'a> {
    /// `resource.name`, canonical.
    pub name: &'a str,
    /// `resource.type`, such as `iap.googleapis.com/WebServiceVersion`.
    pub kind: &'a str,
    /// `resource.service`, such as `iap.googleapis.com`.
    pub service: &'a str,
}

/// Where a tunnel goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// `destination.ip`
    pub ip: Option<IpAddr>,
    /// `destination.port`
    pub port: u16,
}

/// One question as conditions see it.
///
/// It borrows: making one costs no allocation, and nothing is turned into a value of CEL before a condition reads it. What is
/// `None` has no value here, and a condition that needs it cannot be evaluated.
pub struct RequestContext<'a> {
    /// `request.time`
    pub time: Timestamp,
    /// `request.host`, `.path`, `.method`, `.headers`.
    pub http: Option<HttpRequest<'a>>,
    /// `source.ip`: whom we spoke to, or whom a proxy that we trust spoke to.
    pub source_ip: Option<IpAddr>,
    /// `destination.ip`, `.port`.
    pub destination: Option<Destination>,
    /// `request.auth.principal`: the caller as a member, such as `user:ann@example.com`. Written out when it is read.
    pub principal: Option<&'a (dyn fmt::Display + Sync)>,
    /// `request.auth.claims`: what the caller's credential says, verified.
    pub claims: Option<&'a Map<String, Json>>,
    /// `request.auth.strength`
    pub strength: Option<AuthenticationStrength>,
    /// `resource.name`, `.type`, `.service`.
    pub resource: Option<ResourceAttributes<'a>>,
    /// `api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', [])`: the roles whose holders a policy that is written would
    /// change.
    pub modified_grants_by_role: Option<&'a [String]>,
    levels: Levels<'a>,
}

/// Where the access levels come from.
enum Levels<'a> {
    /// Nothing is known of levels.
    Unknown,
    /// They are evaluated when they are first asked for; then the places of those that are met stand here.
    Evaluated(&'a AccessLevels, OnceLock<Vec<usize>>),
    /// They were evaluated before.
    Known(&'a [String]),
}

impl<'a> RequestContext<'a> {
    /// A question of this moment, of which nothing else is known.
    pub fn new(time: Timestamp) -> RequestContext<'a> {
        RequestContext {
            time,
            http: None,
            source_ip: None,
            destination: None,
            principal: None,
            claims: None,
            strength: None,
            resource: None,
            modified_grants_by_role: None,
            levels: Levels::Unknown,
        }
    }

    /// The same question where these access levels may be met. They are evaluated when one is first asked for, once.
    #[must_use]
    pub fn with_access_levels(mut self, levels: &'a AccessLevels) -> RequestContext<'a> {
        self.levels = Levels::Evaluated(levels, OnceLock::new());
        self
    }

    /// The same question where these access levels were met, as a record says.
    #[must_use]
    pub fn with_known_access_levels(mut self, names: &'a [String]) -> RequestContext<'a> {
        self.levels = Levels::Known(names);
        self
    }

    /// `request.auth.access_levels`: the names of the levels that are met, in the order of names. `None` if nothing is known of
    /// levels.
    pub fn access_levels(&self) -> Option<Vec<&'a str>> {
        match &self.levels {
            Levels::Unknown => None,
            Levels::Known(names) => Some(names.iter().map(String::as_str).collect()),
            Levels::Evaluated(levels, met) => {
                let places = met.get_or_init(|| levels.met_places(self));
                Some(
                    places
                        .iter()
                        .filter_map(|place| levels.levels().get(*place))
                        .map(|level| level.name().as_str())
                        .collect(),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_may_be_held_across_threads() {
        fn is_shared<T: Send + Sync>(_: &T) {}
        is_shared(&RequestContext::new(Timestamp::from_seconds(0)));
    }

    #[test]
    fn methods_of_a_sign_in_amount_to_a_strength() {
        #[rustfmt::skip]
        let cases = [
            ("",            None),
            ("pwd",         Some(1)),
            ("otp",         Some(1)),
            ("unheard-of",  Some(1)),
            ("pwd otp",     Some(2)),
            ("mfa",         Some(2)),
            ("otp sms",     Some(1)),
            ("pwd hwk",     Some(3)),
            ("phr",         Some(3)),
        ];
        for (methods, expected) in cases {
            let strength = AuthenticationStrength::of_methods(methods.split_whitespace());
            assert_eq!(strength.map(AuthenticationStrength::level), expected, "{methods}");
        }
    }
}
