//! Access levels: named conditions on where, when and how somebody asks. Policies name them, and applications are told which ones
//! are met.
//!
//! Spec: <https://cloud.google.com/access-context-manager/docs/access-level-attributes>,
//! <https://cloud.google.com/access-context-manager/docs/custom-access-level-spec>

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::Value as Json;

use crate::member::Member;
use crate::policy::condition::{CompileError, Condition, EvaluationError, Schema, ip_range};
use crate::policy::request::RequestContext;

/// The most levels. All are evaluated for every request that is let in, within what its evaluations may spend together.
pub const MAX_LEVELS: usize = 100;

/// The most ranges, required levels or members of a level.
pub const MAX_ENTRIES: usize = 100;

/// The longest title, in bytes.
pub const MAX_TITLE: usize = 100;

/// The longest description, in bytes.
pub const MAX_DESCRIPTION: usize = 1024;

/// `accessPolicies/P/accessLevels/L`: P in digits, L of at most fifty letters, digits and `_`, with a letter first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccessLevelName(String);

impl AccessLevelName {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part that whoever made the level chose.
    pub fn id(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for AccessLevelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AccessLevelName {
    type Err = AccessLevelError;

    fn from_str(text: &str) -> Result<Self, AccessLevelError> {
        let parts: Vec<&str> = text.split('/').collect();
        let ["accessPolicies", policy, "accessLevels", level] = parts.as_slice() else {
            return Err(AccessLevelError::Name(text.to_owned()));
        };
        let digits = !policy.is_empty() && policy.len() <= 20 && policy.bytes().all(|byte| byte.is_ascii_digit());
        let letters = level.starts_with(|first: char| first.is_ascii_alphabetic())
            && level.len() <= 50
            && level.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if digits && letters {
            Ok(AccessLevelName(text.to_owned()))
        } else {
            Err(AccessLevelError::Name(text.to_owned()))
        }
    }
}

/// What a level demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Definition {
    /// A condition in CEL over `source.ip`, `request.time`, `request.auth.claims`, `.principal` and `.strength`, and `device`.
    Expression(String),
    /// Lists, all of which that are not empty must be met.
    Simple(Simple),
}

/// The form of a level without an expression.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Simple {
    /// The address is in one of these ranges.
    pub ip_subnetworks: Vec<String>,
    /// All of these levels are met.
    pub required_access_levels: Vec<AccessLevelName>,
    /// The caller is one of these: users and service accounts, named one by one.
    pub members: Vec<Member>,
}

/// Why a level is refused when it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessLevelError {
    /// Not a name.
    #[error("{0:?} is no name of an access level, which is accessPolicies/NUMBER/accessLevels/NAME")]
    Name(String),
    /// No title, or one that is too long or has control characters.
    #[error("a level needs a title of at most {MAX_TITLE} bytes")]
    Title,
    /// Too long.
    #[error("a description may have {MAX_DESCRIPTION} bytes")]
    Description,
    /// Nothing is demanded: everybody would meet the level.
    #[error("the level demands nothing")]
    Empty,
    /// A list is too long.
    #[error("a level may have {MAX_ENTRIES} {0}")]
    TooMany(&'static str),
    /// Not a range, or one with bits beyond its prefix.
    #[error("{0:?} is no range of addresses, such as 10.0.0.0/8")]
    Range(String),
    /// A group, a domain or the like.
    #[error("{0} cannot be a member here: name users and service accounts one by one")]
    Member(Member),
    /// The expression does not compile.
    #[error("the expression is not valid: {0}")]
    Expression(#[from] CompileError),
    /// More than [`MAX_LEVELS`].
    #[error("there may be {MAX_LEVELS} access levels")]
    TooManyLevels,
    /// Two of one name.
    #[error("{0} is there twice")]
    Twice(AccessLevelName),
    /// A level that another requires is not there.
    #[error("{level} requires {required}, which is not there")]
    Missing {
        /// The level.
        level: AccessLevelName,
        /// What it requires.
        required: AccessLevelName,
    },
    /// A level requires itself, perhaps through others.
    #[error("{0} requires itself")]
    Cycle(AccessLevelName),
}

/// An access level, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLevel {
    name: AccessLevelName,
    title: String,
    description: String,
    definition: Definition,
    /// `None` where levels are required and nothing else.
    condition: Option<Condition>,
}

impl AccessLevel {
    /// Checks a level by itself. Whether the levels that it requires are there is checked by [`AccessLevels::new`].
    ///
    /// # Errors
    /// [`AccessLevelError`], for whoever wrote it.
    pub fn new(
        name: AccessLevelName,
        title: String,
        description: String,
        definition: Definition,
    ) -> Result<AccessLevel, AccessLevelError> {
        if title.trim().is_empty() || title.len() > MAX_TITLE || title.chars().any(char::is_control) {
            return Err(AccessLevelError::Title);
        }
        if description.len() > MAX_DESCRIPTION {
            return Err(AccessLevelError::Description);
        }
        let source = match &definition {
            Definition::Expression(source) => Some(source.clone()),
            Definition::Simple(simple) => simple.expression()?,
        };
        let condition = source.map(|source| Condition::compile(&source, &Schema::access_level())).transpose()?;
        Ok(AccessLevel { name, title, description, definition, condition })
    }

    /// The name.
    pub fn name(&self) -> &AccessLevelName {
        &self.name
    }

    /// What people see.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What it is for.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What it demands, as it was written.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The levels that must be met, too.
    pub fn required(&self) -> &[AccessLevelName] {
        match &self.definition {
            Definition::Expression(_) => &[],
            Definition::Simple(simple) => &simple.required_access_levels,
        }
    }

    /// What it demands besides, as a condition.
    pub fn condition(&self) -> Option<&Condition> {
        self.condition.as_ref()
    }

    /// Whether the level's own condition holds.
    fn holds(&self, context: &RequestContext<'_>) -> Result<bool, EvaluationError> {
        self.condition.as_ref().map_or(Ok(true), |condition| condition.holds(context))
    }
}

impl Simple {
    /// The same as an expression; `None` if it only requires other levels.
    fn expression(&self) -> Result<Option<String>, AccessLevelError> {
        use AccessLevelError as E;
        let counts = [
            (self.ip_subnetworks.len(), "ranges"),
            (self.required_access_levels.len(), "required levels"),
            (self.members.len(), "members"),
        ];
        if let Some((_, what)) = counts.iter().find(|(count, _)| *count > MAX_ENTRIES) {
            return Err(E::TooMany(what));
        }
        if counts.iter().all(|(count, _)| *count == 0) {
            return Err(E::Empty);
        }
        if let Some(wrong) = self.ip_subnetworks.iter().find(|range| ip_range(range).is_none()) {
            return Err(E::Range(wrong.clone()));
        }
        let is_account = |member: &&Member| !matches!(member, Member::User(_) | Member::ServiceAccount(_));
        if let Some(wrong) = self.members.iter().find(is_account) {
            return Err(E::Member(wrong.clone()));
        }
        let mut demands = Vec::new();
        // A list in JSON is one in CEL.
        if !self.ip_subnetworks.is_empty() {
            demands.push(format!("inIpRange(source.ip, {})", Json::from(self.ip_subnetworks.clone())));
        }
        if !self.members.is_empty() {
            let members: Vec<String> = self.members.iter().map(Member::to_string).collect();
            demands.push(format!("request.auth.principal in {}", Json::from(members)));
        }
        Ok(Some(demands.join(" && ")).filter(|expression| !expression.is_empty()))
    }
}

/// All levels, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessLevels {
    levels: Vec<AccessLevel>,
    /// The places of the levels that each one requires.
    required: Vec<Vec<usize>>,
    /// The places of all, each after those that it requires.
    order: Vec<usize>,
}

impl AccessLevels {
    /// Puts levels together and checks what they require of one another.
    ///
    /// # Errors
    /// [`AccessLevelError`]: too many, one name twice, a required level that is not there, a cycle.
    pub fn new(mut levels: Vec<AccessLevel>) -> Result<AccessLevels, AccessLevelError> {
        use AccessLevelError as E;
        if levels.len() > MAX_LEVELS {
            return Err(E::TooManyLevels);
        }
        levels.sort_by(|left, right| left.name.cmp(&right.name));
        if let Some([twice, _]) = levels.array_windows().find(|[left, right]| left.name == right.name) {
            return Err(E::Twice(twice.name.clone()));
        }
        let places: BTreeMap<&AccessLevelName, usize> =
            levels.iter().enumerate().map(|(place, level)| (&level.name, place)).collect();
        let mut required = Vec::with_capacity(levels.len());
        for level in &levels {
            let place = |name: &AccessLevelName| {
                let missing = || E::Missing { level: level.name.clone(), required: name.clone() };
                places.get(name).copied().ok_or_else(missing)
            };
            required.push(level.required().iter().map(place).collect::<Result<Vec<_>, _>>()?);
        }
        // Takes those whose required levels were all taken, until none is left.
        let mut order: Vec<usize> = Vec::with_capacity(levels.len());
        while order.len() < levels.len() {
            let ready = |place: &usize| {
                let needs = required.get(*place).map_or(&[][..], Vec::as_slice);
                !order.contains(place) && needs.iter().all(|needed| order.contains(needed))
            };
            let Some(next) = (0..levels.len()).find(ready) else {
                let left = levels.iter().enumerate().find(|(place, _)| !order.contains(place));
                return left.map_or(Ok(AccessLevels::default()), |(_, level)| Err(E::Cycle(level.name.clone())));
            };
            order.push(next);
        }
        Ok(AccessLevels { levels, required, order })
    }

    /// The levels, in the order of their names.
    pub fn levels(&self) -> &[AccessLevel] {
        &self.levels
    }

    /// The level of this name.
    pub fn get(&self, name: &str) -> Option<&AccessLevel> {
        self.place(name).and_then(|place| self.levels.get(place))
    }

    /// Where the level of this name is among them.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.levels.binary_search_by(|level| level.name.as_str().cmp(name)).ok()
    }

    /// Whether each of [`levels`](Self::levels) is met. Costs some microseconds for each: [`RequestContext::access_level`] keeps the
    /// answer.
    ///
    /// One that cannot be evaluated is not met, and is not known to be unmet either: whoever is kept out by a level is kept out then,
    /// too. One is unmet if any part of what it demands is, whatever is known of the others.
    pub(crate) fn outcomes(&self, context: &RequestContext<'_>) -> Vec<Result<bool, EvaluationError>> {
        let mut outcomes = vec![Ok(false); self.levels.len()];
        for place in &self.order {
            let Some(level) = self.levels.get(*place) else { continue };
            let required = self.required.get(*place).map_or(&[][..], Vec::as_slice);
            let mut above = Ok(true);
            for needed in required {
                match outcomes.get(*needed) {
                    Some(Ok(true)) => {}
                    Some(Err(error)) if above != Ok(false) => above = Err(EvaluationError::clone(error)),
                    Some(Err(_)) => {}
                    Some(Ok(false)) | None => above = Ok(false),
                }
            }
            let outcome = match above {
                Ok(false) => Ok(false),
                above => level.holds(context).and_then(|holds| if holds { above } else { Ok(false) }),
            };
            if let Some(kept) = outcomes.get_mut(*place) {
                *kept = outcome;
            }
        }
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::policy::condition::HeaderAllowList;
    use crate::policy::request::AuthenticationStrength;

    /// 2026-07-06T05:30:00Z, a Monday.
    const MONDAY: Timestamp = Timestamp::from_seconds(1_783_315_800);

    fn name(id: &str) -> AccessLevelName {
        format!("accessPolicies/123/accessLevels/{id}").parse().unwrap()
    }

    fn level(id: &str, definition: Definition) -> Result<AccessLevel, AccessLevelError> {
        AccessLevel::new(name(id), id.to_owned(), String::new(), definition)
    }

    fn expression(id: &str, source: &str) -> AccessLevel {
        level(id, Definition::Expression(source.to_owned())).unwrap_or_else(|error| panic!("{source}: {error}"))
    }

    fn simple(id: &str, ranges: &str, required: &str, members: &str) -> Result<AccessLevel, AccessLevelError> {
        level(
            id,
            Definition::Simple(Simple {
                ip_subnetworks: ranges.split_whitespace().map(str::to_owned).collect(),
                required_access_levels: required.split_whitespace().map(name).collect(),
                members: members.split_whitespace().map(|member| member.parse().unwrap()).collect(),
            }),
        )
    }

    #[test]
    fn the_levels_that_are_met_come_in_the_order_of_names() {
        let levels = AccessLevels::new(vec![
            simple("trusted", "", "office hours", "").unwrap(),
            simple("office", "10.0.0.0/8 2001:db8::/32", "", "").unwrap(),
            expression(
                "hours",
                "request.time.getHours('Europe/Berlin') >= 7 && request.time.getHours('Europe/Berlin') < 18",
            ),
            expression("encrypted", "device.encrypted == true && !has(device.rooted)"),
            expression("strong", "request.auth.strength >= 2"),
            expression("staff", "request.auth.claims.hd == 'example.com'"),
            simple("ann", "10.0.0.0/8", "", "user:ann@example.com serviceAccount:o'r@p.test").unwrap(),
            simple("deep", "", "trusted", "user:ann@example.com").unwrap(),
            expression("google", "inIpRange(origin.ip, ['10.0.0.0/8'])"),
        ])
        .unwrap();
        let claims = json!({ "hd": "example.com", "device": { "encrypted": true } });
        let bare = RequestContext::new(MONDAY);
        let mut full = RequestContext::new(MONDAY);
        full.source_ip = Some("10.1.2.3".parse().unwrap());
        full.claims = claims.as_object();
        full.principal = Some(&"user:ann@example.com");
        full.strength = Some(AuthenticationStrength::TwoFactors);
        let mut late = RequestContext::new(Timestamp::from_seconds(MONDAY.seconds() + 12 * 3600));
        late.source_ip = Some("2001:db8::1".parse().unwrap());
        late.principal = Some(&"serviceAccount:o'r@p.test");
        late.strength = Some(AuthenticationStrength::OneFactor);
        let cases = [
            (&bare, "hours"),
            (&full, "ann deep encrypted google hours office staff strong trusted"),
            (&late, "office"),
        ];
        for (context, expected) in cases {
            let outcomes = levels.outcomes(context);
            let met = levels.levels().iter().zip(outcomes).filter(|(_, outcome)| *outcome == Ok(true));
            let ids: Vec<&str> = met.map(|(level, _)| level.name().id()).collect();
            assert_eq!(ids.join(" "), expected);
        }
    }

    #[test]
    fn a_condition_of_a_policy_reads_the_levels_that_are_met() {
        let levels = AccessLevels::new(vec![
            expression("always", "true"),
            expression("never", "false"),
            expression("unknown", "device.x == 1"),
        ])
        .unwrap();
        let context = RequestContext::new(MONDAY).with_access_levels(&levels);
        let schema = Schema::policy(HeaderAllowList::default());
        let at = |id: &str| format!("'accessPolicies/123/accessLevels/{id}' in request.auth.access_levels");
        let [always, never, unknown, gone] = ["always", "never", "unknown", "gone"].map(at);
        let listed = "request.auth.access_levels.exists(level, level.endsWith('always'))".to_owned();
        let fails = Err(EvaluationError::UnknownLevel("accessPolicies/123/accessLevels/unknown".to_owned()));
        // A level that cannot be evaluated grants nothing, by being met or by not being met, and denies. It spoils no condition that does
        // not hang on it.
        let cases = [
            (always.clone(), Ok(true)),
            (never.clone(), Ok(false)),
            (gone, Ok(false)),
            (unknown.clone(), fails.clone()),
            (format!("!({unknown})"), fails.clone()),
            (format!("{unknown} || {always}"), Ok(true)),
            (format!("{unknown} || {never}"), fails.clone()),
            (format!("{unknown} && {never}"), Ok(false)),
            (format!("has(request.auth.access_levels) && {unknown}"), fails.clone()),
            (listed.clone(), fails.clone()),
            (format!("!({listed})"), fails.clone()),
        ];
        for (source, expected) in cases {
            let condition = Condition::compile(&source, &schema).unwrap_or_else(|error| panic!("{source}: {error}"));
            assert_eq!(condition.holds(&context), expected, "{source}");
            assert_eq!(condition.may_hold(&context), expected, "{source}");
            assert_eq!(
                condition.reads().iter().map(ToString::to_string).collect::<Vec<_>>(),
                ["request.auth.access_levels"]
            );
        }
        let nothing = RequestContext::new(MONDAY);
        let read = Condition::compile(&always, &schema).unwrap();
        assert_eq!(read.holds(&nothing).unwrap_err().to_string(), "request.auth.access_levels has no value here");
        let [told] = read.reads() else { panic!() };
        let expected =
            "[\"accessPolicies/123/accessLevels/always\"]; not known of [\"accessPolicies/123/accessLevels/unknown\"]";
        assert_eq!(told.value(&context).as_deref(), Some(expected));
        assert_eq!(context.access_levels(), Some(vec!["accessPolicies/123/accessLevels/always"]));
        let known = ["accessPolicies/123/accessLevels/never".to_owned()];
        let recorded = RequestContext::new(MONDAY).with_known_access_levels(&known);
        let source = "'accessPolicies/123/accessLevels/never' in request.auth.access_levels";
        assert_eq!(Condition::compile(source, &schema).unwrap().holds(&recorded), Ok(true));
    }

    #[test]
    fn a_level_is_unknown_only_if_what_is_known_of_it_does_not_decide() {
        let levels = AccessLevels::new(vec![
            expression("never", "false"),
            expression("unknown", "device.x == 1"),
            simple("over_both", "", "unknown never", "").unwrap(),
            simple("over_unknown", "", "unknown", "").unwrap(),
            simple("over_unknown_elsewhere", "10.0.0.0/8", "unknown", "").unwrap(),
        ])
        .unwrap();
        let mut context = RequestContext::new(MONDAY).with_access_levels(&levels);
        context.source_ip = Some("192.0.2.1".parse().unwrap());
        let name = |id: &str| format!("accessPolicies/123/accessLevels/{id}");
        assert_eq!(context.access_levels(), Some(vec![]));
        assert_eq!(context.unknown_access_levels(), [name("over_unknown"), name("unknown")]);
        assert_eq!(context.access_level(&name("over_both")), Some(Ok(false)));
        assert_eq!(context.access_level(&name("over_unknown_elsewhere")), Some(Ok(false)));
        assert_eq!(context.access_level(&name("unknown")), context.access_level(&name("over_unknown")));
    }

    #[test]
    fn levels_that_take_too_much_work_together_are_unknown() {
        let heavy = "request.auth.claims.list.all(a, request.auth.claims.list.all(b, a + b != 'x'))";
        let levels = (0..MAX_LEVELS - 1).map(|n| expression(&format!("heavy_{n}"), heavy));
        let levels = AccessLevels::new(levels.chain([expression("plain", "true")]).collect()).unwrap();
        let claims = json!({ "list": vec!["a"; 100] });
        let mut context = RequestContext::new(MONDAY).with_access_levels(&levels);
        context.claims = claims.as_object();
        let (met, unknown) = (context.access_levels().unwrap().len(), context.unknown_access_levels().len());
        assert!((1..20).contains(&met) && met + unknown == MAX_LEVELS, "{met} {unknown}");
        assert_eq!(
            context.access_level("accessPolicies/123/accessLevels/plain"),
            Some(Err(EvaluationError::BudgetSpent))
        );
    }

    #[test]
    fn a_level_that_cannot_hold_is_refused_when_it_is_written() {
        let ranges = "10.0.0.0/8 ".repeat(MAX_ENTRIES + 1);
        let source = |source: &str| level("a", Definition::Expression(source.to_owned()));
        let title = |title: &str| {
            AccessLevel::new(name("a"), title.to_owned(), String::new(), Definition::Expression("true".to_owned()))
        };
        #[rustfmt::skip]
        let cases = [
            (simple("a", "", "", ""),                       "the level demands nothing"),
            (simple("a", "10.1.0.0/8", "", ""),             "\"10.1.0.0/8\" is no range of addresses, such as 10.0.0.0/8"),
            (simple("a", "x", "", ""),                      "\"x\" is no range of addresses, such as 10.0.0.0/8"),
            (simple("a", &ranges, "", ""),                  "a level may have 100 ranges"),
            (simple("a", "", "", "domain:example.com"),     "domain:example.com cannot be a member here: name users and service accounts one by one"),
            (simple("a", "", "", "allUsers"),               "allUsers cannot be a member here: name users and service accounts one by one"),
            (source("request.path == '/'"),                 "the expression is not valid: there is no attribute request.path; there is request.auth.claims, request.auth.principal, request.auth.strength, request.time (at column 8)"),
            (source("'a' in request.auth.access_levels"),   "the expression is not valid: there is no attribute request.auth.access_levels; there is request.auth.claims, request.auth.principal, request.auth.strength (at column 20)"),
            (source("source.ip"),                           "the expression is not valid: the result is string, not bool"),
            (title(""),                                     "a level needs a title of at most 100 bytes"),
            (title(&"a".repeat(101)),                       "a level needs a title of at most 100 bytes"),
        ];
        for (level, expected) in cases {
            assert_eq!(level.map_err(|error| error.to_string()), Err(expected.to_owned()));
        }
        for wrong in [
            "a",
            "accessPolicies/p/accessLevels/a",
            "accessPolicies/1/accessLevels/1a",
            "accessPolicies//accessLevels/a",
        ] {
            assert_eq!(wrong.parse::<AccessLevelName>(), Err(AccessLevelError::Name(wrong.to_owned())));
        }
    }

    #[test]
    fn levels_that_require_each_other_or_what_is_not_there_are_refused() {
        let required = |id: &str, required: &str| simple(id, "", required, "").unwrap();
        let many = (0..=MAX_LEVELS).map(|n| expression(&format!("l{n}"), "true")).collect();
        #[rustfmt::skip]
        let cases: [(Vec<AccessLevel>, Result<(), AccessLevelError>); 6] = [
            (vec![required("a", "b"), required("b", "c"), expression("c", "true")], Ok(())),
            (vec![required("a", "a")],                                      Err(AccessLevelError::Cycle(name("a")))),
            (vec![required("a", "b"), required("b", "c"), required("c", "b")], Err(AccessLevelError::Cycle(name("a")))),
            (vec![required("a", "b")],                                      Err(AccessLevelError::Missing { level: name("a"), required: name("b") })),
            (vec![expression("a", "true"), expression("a", "false")],       Err(AccessLevelError::Twice(name("a")))),
            (many,                                                          Err(AccessLevelError::TooManyLevels)),
        ];
        for (levels, expected) in cases {
            assert_eq!(AccessLevels::new(levels).map(|_| ()), expected);
        }
    }
}
