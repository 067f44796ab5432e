//! What conditions read: one question with everything that was proven or measured about it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;

use serde_json::{Map, Value as Json};

use super::condition::{Budget, EvaluationError};
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
    budget: Budget,
}

/// Where the access levels come from.
enum Levels<'a> {
    /// Nothing is known of levels.
    Unknown,
    /// They are evaluated when they are first asked for; then what came of each stands here.
    Evaluated(&'a AccessLevels, OnceLock<Vec<Result<bool, EvaluationError>>>),
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
            budget: Budget::of_one_question(),
        }
    }

    /// The same with another budget, such as what is left of one.
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> RequestContext<'a> {
        self.budget = budget;
        self
    }

    /// What evaluations may still spend: conditions and access levels share it.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What evaluations have left for others.
    pub fn into_budget(self) -> Budget {
        self.budget
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

    /// The names of the access levels that are met, in the order of names. `None` if nothing is known of levels.
    pub fn access_levels(&self) -> Option<Vec<&'a str>> {
        match &self.levels {
            Levels::Unknown => None,
            Levels::Known(met) => Some(met.iter().map(String::as_str).collect()),
            Levels::Evaluated(..) => Some(self.levels_where(|outcome| *outcome == Ok(true))),
        }
    }

    /// The names of those that could not be evaluated, in the order of names.
    pub fn unknown_access_levels(&self) -> Vec<&'a str> {
        match &self.levels {
            Levels::Unknown | Levels::Known(_) => Vec::new(),
            Levels::Evaluated(..) => self.levels_where(Result::is_err),
        }
    }

    /// Whether the level of this name is met: what is no level is not. `None` if nothing is known of levels.
    ///
    /// # Errors
    /// Why it could not be evaluated. Whoever must meet it does not then, and whoever must not is taken to.
    pub fn access_level(&self, name: &str) -> Option<Result<bool, EvaluationError>> {
        match &self.levels {
            Levels::Unknown => None,
            Levels::Known(met) => Some(Ok(met.iter().any(|it| it == name))),
            Levels::Evaluated(levels, _) => {
                let place = levels.place(name);
                Some(place.and_then(|place| self.outcomes().get(place).cloned()).unwrap_or(Ok(false)))
            }
        }
    }

    fn levels_where(&self, is: impl Fn(&Result<bool, EvaluationError>) -> bool) -> Vec<&'a str> {
        let Levels::Evaluated(levels, _) = &self.levels else { return Vec::new() };
        let outcomes = levels.levels().iter().zip(self.outcomes());
        outcomes.filter(|(_, outcome)| is(outcome)).map(|(level, _)| level.name().as_str()).collect()
    }

    fn outcomes(&self) -> &[Result<bool, EvaluationError>] {
        match &self.levels {
            Levels::Evaluated(levels, outcomes) => outcomes.get_or_init(|| levels.outcomes(self)),
            Levels::Unknown | Levels::Known(_) => &[],
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
