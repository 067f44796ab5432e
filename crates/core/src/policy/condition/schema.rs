//! The attributes that conditions may read: what they are called, of what type they are, and where their values come from.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use cel::common::types::{CelBool, CelInt, CelList, CelString, CelTimestamp};
use cel::common::value::Val;
use serde_json::Value as Json;

use super::EvaluationError;
use super::meter::Meter;
use super::types::Type;
use super::values;
use crate::policy::request::RequestContext;

/// The name by which Google's services know the roles that a policy's writer changes.
///
/// Spec: <https://cloud.google.com/iam/docs/setting-limits-on-granting-roles>
pub(super) const MODIFIED_GRANTS: &str = "iam.googleapis.com/modifiedGrantsByRole";

/// The request headers that conditions may read. A header is what a caller writes, so reading one proves nothing about them; and
/// some hold credentials, which no explanation may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderAllowList(BTreeSet<String>);

impl HeaderAllowList {
    /// Those of these names; none is added. Their case does not count.
    pub fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> HeaderAllowList {
        HeaderAllowList(names.into_iter().map(str::to_ascii_lowercase).collect())
    }

    /// The names, in lower case and in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Default for HeaderAllowList {
    fn default() -> Self {
        HeaderAllowList::of(["accept", "content-type", "origin", "referer", "user-agent", "x-requested-with"])
    }
}

/// Which attributes there are at a place where a condition is written.
#[derive(Debug, Clone)]
pub struct Schema {
    place: Place,
    headers: HeaderAllowList,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Policy,
    AccessLevel,
}

impl Schema {
    /// Of allow and deny policies: everything but the devices that access levels look at.
    pub fn policy(headers: HeaderAllowList) -> Schema {
        Schema { place: Place::Policy, headers }
    }

    /// Of access levels: where, when and how somebody asks, and not what for.
    pub fn access_level() -> Schema {
        Schema { place: Place::AccessLevel, headers: HeaderAllowList::of([]) }
    }

    /// The first words of all attributes.
    pub(super) fn roots(&self) -> &'static [&'static str] {
        match self.place {
            Place::Policy => &["api", "destination", "request", "resource", "source"],
            Place::AccessLevel => &["device", "origin", "request", "source"],
        }
    }

    /// The attributes without a name of their own, as they are written.
    fn plain(&self) -> &'static [(&'static str, Attribute)] {
        use Attribute as A;
        #[rustfmt::skip]
        const POLICY: &[(&str, Attribute)] = &[
            ("destination.ip",              A::DestinationIp),
            ("destination.port",            A::DestinationPort),
            ("request.auth.access_levels",  A::AccessLevels),
            ("request.auth.claims",         A::Claims),
            ("request.auth.principal",      A::Principal),
            ("request.host",                A::Host),
            ("request.method",              A::Method),
            ("request.path",                A::Path),
            ("request.time",                A::Time),
            ("resource.name",               A::ResourceName),
            ("resource.service",            A::ResourceService),
            ("resource.type",               A::ResourceType),
            ("source.ip",                   A::SourceIp),
        ];
        #[rustfmt::skip]
        const ACCESS_LEVEL: &[(&str, Attribute)] = &[
            ("device",                      A::Devices),
            // Google's name at this place.
            ("origin.ip",                   A::SourceIp),
            ("request.auth.claims",         A::Claims),
            ("request.auth.principal",      A::Principal),
            ("request.auth.strength",       A::Strength),
            ("request.time",                A::Time),
            ("source.ip",                   A::SourceIp),
        ];
        match self.place {
            Place::Policy => POLICY,
            Place::AccessLevel => ACCESS_LEVEL,
        }
    }

    /// What words joined by dots mean.
    pub(super) fn find(&self, words: &[Cow<'_, str>]) -> Found {
        let named = |before: &[&str]| words.split_last().filter(|(_, rest)| *rest == before).map(|(name, _)| &**name);
        if self.place == Place::Policy {
            if let Some(name) = named(&["request", "headers"]) {
                let name = name.to_ascii_lowercase();
                return if self.headers.0.contains(&name) {
                    Found::Attribute(Attribute::Header(name))
                } else {
                    let known = self.headers.names().collect::<Vec<_>>().join(", ");
                    Found::Wrong(format!("the header {name} may not be read; there is {known}"))
                };
            }
            if words == ["request", "headers"] {
                return Found::Wrong("a header is read by its name, as in request.headers['origin']".to_owned());
            }
        }
        if let Some(claim) = named(&["request", "auth", "claims"]) {
            return Found::Attribute(Attribute::Claim(claim.to_owned()));
        }
        if let Some(name) = named(&["device"]).filter(|_| self.place == Place::AccessLevel) {
            return Found::Attribute(Attribute::Device(name.to_owned()));
        }
        let written = words.join(".");
        if let Some((_, attribute)) = self.plain().iter().find(|(name, _)| *name == written) {
            return Found::Attribute(attribute.clone());
        }
        if written == "api" && self.place == Place::Policy {
            return Found::Wrong(format!("api is used as api.getAttribute('{MODIFIED_GRANTS}', [])"));
        }
        let below = |prefix: &str| {
            let prefix = format!("{prefix}.");
            let mut names: Vec<&str> = self.plain().iter().map(|(name, _)| *name).collect();
            if self.place == Place::Policy {
                names.push("request.headers['NAME']");
            }
            names.retain(|name| name.starts_with(&prefix));
            names.sort_unstable();
            names.join(", ")
        };
        let there = below(&written);
        if !there.is_empty() {
            return Found::Wrong(format!("{written} has no value of its own; there is {there}"));
        }
        // Only where the words before are right is this the word that is wrong.
        let before = words.split_last().map(|(_, rest)| rest.join(".")).unwrap_or_default();
        let there = below(&before);
        if there.is_empty() {
            return Found::Nothing;
        }
        Found::Wrong(format!("there is no attribute {written}; there is {there}"))
    }
}

/// What was found under a name.
pub(super) enum Found {
    Attribute(Attribute),
    /// Refused, with the reason.
    Wrong(String),
    /// No attribute: something of one, perhaps.
    Nothing,
}

/// An attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attribute {
    AccessLevels,
    /// All claims at once.
    Claims,
    Claim(String),
    DestinationIp,
    DestinationPort,
    /// Everything that is said about the device at once.
    Devices,
    Device(String),
    Header(String),
    Host,
    /// Whether the access level of this name is met.
    Level(String),
    Method,
    ModifiedGrants,
    Path,
    Principal,
    ResourceName,
    ResourceService,
    ResourceType,
    SourceIp,
    Strength,
    Time,
}

/// The claim that holds what is known about the device.
const DEVICE_CLAIM: &str = "device";

impl Attribute {
    pub(super) fn type_of(&self) -> Type {
        use Attribute as A;
        match self {
            A::AccessLevels | A::ModifiedGrants => Type::list(Type::String),
            A::Claims | A::Devices => Type::map(Type::String, Type::Dyn),
            A::Claim(_) | A::Device(_) => Type::Dyn,
            A::DestinationPort | A::Strength => Type::Int,
            A::Level(_) => Type::Bool,
            A::Time => Type::Timestamp,
            A::DestinationIp | A::Header(_) | A::Host | A::Method | A::Path | A::Principal => Type::String,
            A::ResourceName | A::ResourceService | A::ResourceType | A::SourceIp => Type::String,
        }
    }

    /// Whether the value may be anything, as claims are.
    pub(super) fn is_open(&self) -> bool {
        use Attribute as A;
        matches!(self, A::Claims | A::Claim(_) | A::Devices | A::Device(_))
    }

    /// The attribute that a person sees it read.
    pub(super) fn as_read(&self) -> Attribute {
        match self {
            Attribute::Level(_) => Attribute::AccessLevels,
            other => other.clone(),
        }
    }

    /// Whether there is a value. Levels are there also where it is not known whether one of them is met: a condition that asks first
    /// must fail then, and not go another way.
    pub(super) fn is_there(
        &self,
        context: &RequestContext<'_>,
        path: &str,
        input: &Meter,
    ) -> Result<bool, EvaluationError> {
        match self {
            Attribute::AccessLevels | Attribute::Level(_) => Ok(context.access_levels().is_some()),
            other => Ok(other.value(context, path, input)?.is_some()),
        }
    }

    /// The value, with `path` as the path; `None` if there is none here.
    fn read<'v>(&self, context: &'v RequestContext<'_>, path: &'v str) -> Option<Read<'v>> {
        use Attribute as A;
        let text = |text: &'v str| Read::Text(Cow::Borrowed(text));
        let owned = |text: String| Read::Text(Cow::Owned(text));
        Some(match self {
            A::AccessLevels => {
                Read::Texts(context.access_levels().filter(|_| context.unknown_access_levels().is_empty())?)
            }
            A::Level(name) => Read::Truth(context.access_level(name)?.ok()?),
            A::ModifiedGrants => {
                Read::Texts(context.modified_grants_by_role?.iter().map(String::as_str).collect::<Vec<_>>())
            }
            A::Claims => Read::Object(context.claims?),
            A::Claim(name) => Read::Json(context.claims?.get(name)?),
            A::Devices => Read::Object(context.claims?.get(DEVICE_CLAIM)?.as_object()?),
            A::Device(name) => Read::Json(context.claims?.get(DEVICE_CLAIM)?.get(name)?),
            A::DestinationIp => owned(context.destination?.ip?.to_canonical().to_string()),
            A::DestinationPort => Read::Number(context.destination?.port.into()),
            A::Header(name) => Read::Text(context.http.as_ref()?.headers?.value(name)?),
            A::Host => text(context.http.as_ref()?.host.name()),
            A::Method => text(context.http.as_ref()?.method),
            A::Path => {
                context.http.as_ref()?;
                text(path)
            }
            A::Principal => owned(context.principal?.to_string()),
            A::ResourceName => text(context.resource?.name),
            A::ResourceService => text(context.resource?.service),
            A::ResourceType => text(context.resource?.kind),
            A::SourceIp => owned(context.source_ip?.to_canonical().to_string()),
            A::Strength => Read::Number(context.strength?.level()),
            A::Time => Read::Time(chrono::DateTime::from_timestamp_micros(context.time.micros())?.fixed_offset()),
        })
    }

    /// The value as one of CEL. Spends what it weighs.
    pub(super) fn value<'v>(
        &self,
        context: &'v RequestContext<'_>,
        path: &'v str,
        input: &Meter,
    ) -> Result<Option<Box<dyn Val + 'v>>, EvaluationError> {
        let spend = |bytes: usize| input.spend_bytes(bytes).map_err(|_| EvaluationError::InputTooLarge);
        let Some(read) = self.read(context, path) else { return Ok(None) };
        Ok(Some(match read {
            Read::Text(text) => {
                spend(text.len())?;
                match text {
                    Cow::Borrowed(text) => Box::new(CelString::from(text)),
                    Cow::Owned(text) => Box::new(CelString::from(text)),
                }
            }
            Read::Texts(texts) => {
                texts.iter().try_for_each(|text| spend(text.len()))?;
                let texts = texts.into_iter().map(|text| Box::new(CelString::from(text)) as Box<dyn Val + 'v>);
                Box::new(CelList::from(texts.collect::<Vec<_>>()))
            }
            Read::Number(number) => Box::new(CelInt::from(number)),
            Read::Truth(truth) => Box::new(CelBool::from(truth)),
            Read::Time(time) => Box::new(CelTimestamp::from(time)),
            Read::Json(json) => values::to_cel(json, input)?,
            Read::Object(members) => values::object_to_cel(members, input)?,
        }))
    }

    /// The value as an explanation shows it.
    pub(super) fn text(&self, context: &RequestContext<'_>) -> Option<String> {
        let path = context.http.as_ref().map(|http| &http.path);
        if *self == Attribute::AccessLevels {
            let (met, unknown) = (context.access_levels()?, context.unknown_access_levels());
            let met = Json::from(met).to_string();
            return Some(match unknown.is_empty() {
                true => met,
                false => format!("{met}; not known of {}", Json::from(unknown)),
            });
        }
        let text = match self.read(context, path.map_or("", |path| path.raw()))? {
            Read::Text(text) => Json::from(text.into_owned()).to_string(),
            Read::Texts(texts) => Json::from(texts).to_string(),
            Read::Number(number) => number.to_string(),
            Read::Truth(truth) => truth.to_string(),
            Read::Time(time) => time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
            Read::Json(json) => json.to_string(),
            Read::Object(members) => Json::Object(members.clone()).to_string(),
        };
        let Some(path) = path.filter(|_| *self == Attribute::Path) else { return Some(text) };
        let others = [("normalised", path.normal()), ("plainly", path.plain()), ("decoded", path.decoded())];
        let others = others.into_iter().filter_map(|(how, form)| form.map(|form| (how, form)));
        Some(others.fold(text, |text, (how, form)| format!("{text} and, {how}, {}", Json::from(form))))
    }
}

enum Read<'v> {
    Text(Cow<'v, str>),
    Texts(Vec<&'v str>),
    Number(i64),
    Truth(bool),
    Time(chrono::DateTime<chrono::FixedOffset>),
    Json(&'v Json),
    Object(&'v serde_json::Map<String, Json>),
}

impl fmt::Display for Attribute {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Attribute as A;
        out.write_str(match self {
            A::AccessLevels => "request.auth.access_levels",
            A::Claims => "request.auth.claims",
            A::Claim(name) => return write!(out, "request.auth.claims[{}]", Json::from(name.as_str())),
            A::DestinationIp => "destination.ip",
            A::DestinationPort => "destination.port",
            A::Devices => "device",
            A::Device(name) => return write!(out, "device[{}]", Json::from(name.as_str())),
            A::Header(name) => return write!(out, "request.headers[{}]", Json::from(name.as_str())),
            A::Host => "request.host",
            A::Level(name) => return write!(out, "{} in request.auth.access_levels", Json::from(name.as_str())),
            A::Method => "request.method",
            A::ModifiedGrants => return write!(out, "api.getAttribute({})", Json::from(MODIFIED_GRANTS)),
            A::Path => "request.path",
            A::Principal => "request.auth.principal",
            A::ResourceName => "resource.name",
            A::ResourceService => "resource.service",
            A::ResourceType => "resource.type",
            A::SourceIp => "source.ip",
            A::Strength => "request.auth.strength",
            A::Time => "request.time",
        })
    }
}

/// An attribute that a condition reads, such as `request.path`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttributePath(pub(super) Attribute);

impl AttributePath {
    /// The value that a condition sees in this context, as a person reads it: texts in quotation marks, a path that is not normal in
    /// both forms. `None` if it has none. It may be private: it is for those who may read policies.
    pub fn value(&self, context: &RequestContext<'_>) -> Option<String> {
        self.0.text(context)
    }
}

impl fmt::Display for AttributePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}
