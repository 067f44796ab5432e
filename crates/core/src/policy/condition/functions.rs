//! The functions there are: the standard ones, and those for strings.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use cel::common::ast::operators;
use cel::common::types::{CelBool, CelList, CelString, LIST_TYPE, STRING_TYPE};
use cel::common::types::{CelInt, DYN_TYPE, INT_TYPE, Type as CelType};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError};
use ipnet::IpNet;

use super::meter;
use super::pattern::{self, Pattern};
use super::types::{Kind, Type};

/// A form of a function that may be called.
pub(super) struct Known {
    name: &'static str,
    /// Called as `x.name()`, and not as `name(x)`. The `x` is then the first of what it takes.
    member: bool,
    takes: &'static [Kind],
    gives: Kind,
}

impl Known {
    /// What an evaluation of this form takes, with the value before the dot as the first.
    pub(super) fn takes(&self, given: &[Type]) -> bool {
        self.takes.len() == given.len() && self.takes.iter().zip(given).all(|(kind, given)| kind.takes(given))
    }

    /// The type of its result.
    pub(super) fn gives(&self) -> Type {
        self.gives.gives()
    }

    fn arguments(&self) -> usize {
        self.takes.len() - usize::from(self.member)
    }
}

const fn global(name: &'static str, takes: &'static [Kind], gives: Kind) -> Known {
    Known { name, member: false, takes, gives }
}

const fn member(name: &'static str, takes: &'static [Kind], gives: Kind) -> Known {
    Known { name, member: true, takes, gives }
}

/// Every form, in the order of names.
#[rustfmt::skip]
const KNOWN: [Known; 83] = {
    use Kind::{Any, Bool, Bytes, Double, Duration, Int, List, Map, String, Strings, Timestamp, Uint};
    [
        global("bool",              &[Bool],                        Bool),
        global("bool",              &[String],                      Bool),
        global("bytes",             &[Bytes],                       Bytes),
        global("bytes",             &[String],                      Bytes),
        global("double",            &[Double],                      Double),
        global("double",            &[Int],                         Double),
        global("double",            &[String],                      Double),
        global("double",            &[Uint],                        Double),
        global("duration",          &[Duration],                    Duration),
        global("duration",          &[String],                      Duration),
        global("dyn",               &[Any],                         Any),
        global("inIpRange",         &[String, String],              Bool),
        global("inIpRange",         &[String, Strings],             Bool),
        global("int",               &[Double],                      Int),
        global("int",               &[Int],                         Int),
        global("int",               &[String],                      Int),
        global("int",               &[Timestamp],                   Int),
        global("int",               &[Uint],                        Int),
        global("matches",           &[String, String],              Bool),
        global("size",              &[Bytes],                       Int),
        global("size",              &[List],                        Int),
        global("size",              &[Map],                         Int),
        global("size",              &[String],                      Int),
        global("string",            &[Bool],                        String),
        global("string",            &[Bytes],                       String),
        global("string",            &[Double],                      String),
        global("string",            &[Duration],                    String),
        global("string",            &[Int],                         String),
        global("string",            &[String],                      String),
        global("string",            &[Timestamp],                   String),
        global("string",            &[Uint],                        String),
        global("timestamp",         &[Int],                         Timestamp),
        global("timestamp",         &[String],                      Timestamp),
        global("timestamp",         &[Timestamp],                   Timestamp),
        global("type",              &[Any],                         Kind::Type),
        global("uint",              &[Double],                      Uint),
        global("uint",              &[Int],                         Uint),
        global("uint",              &[String],                      Uint),
        global("uint",              &[Uint],                        Uint),
        member("charAt",            &[String, Int],                 String),
        member("contains",          &[String, String],              Bool),
        member("endsWith",          &[String, String],              Bool),
        member("extract",           &[String, String],              String),
        member("getDate",           &[Timestamp],                   Int),
        member("getDate",           &[Timestamp, String],           Int),
        member("getDayOfMonth",     &[Timestamp],                   Int),
        member("getDayOfMonth",     &[Timestamp, String],           Int),
        member("getDayOfWeek",      &[Timestamp],                   Int),
        member("getDayOfWeek",      &[Timestamp, String],           Int),
        member("getDayOfYear",      &[Timestamp],                   Int),
        member("getDayOfYear",      &[Timestamp, String],           Int),
        member("getFullYear",       &[Timestamp],                   Int),
        member("getFullYear",       &[Timestamp, String],           Int),
        member("getHours",          &[Duration],                    Int),
        member("getHours",          &[Timestamp],                   Int),
        member("getHours",          &[Timestamp, String],           Int),
        member("getMilliseconds",   &[Timestamp],                   Int),
        member("getMilliseconds",   &[Timestamp, String],           Int),
        member("getMinutes",        &[Duration],                    Int),
        member("getMinutes",        &[Timestamp],                   Int),
        member("getMinutes",        &[Timestamp, String],           Int),
        member("getMonth",          &[Timestamp],                   Int),
        member("getMonth",          &[Timestamp, String],           Int),
        member("getSeconds",        &[Duration],                    Int),
        member("getSeconds",        &[Timestamp],                   Int),
        member("getSeconds",        &[Timestamp, String],           Int),
        member("hasOnly",           &[Strings, Strings],            Bool),
        member("join",              &[Strings],                     String),
        member("join",              &[Strings, String],             String),
        member("lowerAscii",        &[String],                      String),
        member("matches",           &[String, String],              Bool),
        member("replace",           &[String, String, String],      String),
        member("size",              &[Bytes],                       Int),
        member("size",              &[List],                        Int),
        member("size",              &[Map],                         Int),
        member("size",              &[String],                      Int),
        member("split",             &[String, String],              Strings),
        member("split",             &[String, String, Int],         Strings),
        member("startsWith",        &[String, String],              Bool),
        member("substring",         &[String, Int],                 String),
        member("substring",         &[String, Int, Int],            String),
        member("trim",              &[String],                      String),
        member("upperAscii",        &[String],                      String),
    ]
};

/// The forms of a function.
pub(super) fn forms(name: &str, member: bool) -> impl Iterator<Item = &'static Known> {
    KNOWN.iter().filter(move |known| known.name == name && known.member == member)
}

/// The names of types, which an expression may compare with `type(x)`.
pub(super) const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// The functions that make an instant or a span from a text.
pub(super) const OF_TIME: [&str; 2] = ["duration", "timestamp"];

/// Whether the function is one of time whose last argument, if it has one, is a zone.
pub(super) fn takes_zone(name: &str) -> bool {
    forms(name, true).any(|form| form.takes == [Kind::Timestamp, Kind::String])
}

/// The functions whose work is more than their arguments weigh. They are given the meter as one more argument.
const METERED: [&str; 5] = ["hasOnly", "join", "matches", "replace", "split"];

/// What a call of this form is wrong about, if it is.
pub(super) fn refusal(name: &str, member: bool, arguments: usize) -> Option<String> {
    if !KNOWN.iter().any(|known| known.name == name) {
        return Some(format!("there is no function {name}"));
    }
    if forms(name, member).next().is_none() {
        let form = if member { format!("{name}(x)") } else { format!("x.{name}()") };
        return Some(format!("{name} is called as {form}"));
    }
    let wrong = forms(name, member).all(|form| form.arguments() != arguments);
    wrong.then(|| format!("{name} does not take {arguments} argument{}", if arguments == 1 { "" } else { "s" }))
}

/// Whether calls of the function are given the meter.
pub(super) fn is_metered(name: &str) -> bool {
    METERED.contains(&name)
}

/// Whether an operator or a function looks at its arguments about once and gives nothing larger.
pub(super) fn is_cheap(name: &str) -> bool {
    #[rustfmt::skip]
    const CHEAP: [&str; 17] = [
        operators::CONDITIONAL, operators::EQUALS, operators::GREATER, operators::GREATER_EQUALS, operators::IN,
        operators::LESS, operators::LESS_EQUALS, operators::LOGICAL_AND, operators::LOGICAL_NOT, operators::LOGICAL_OR,
        operators::NOT_EQUALS, "contains", "duration", "endsWith", "inIpRange", "startsWith", "timestamp",
    ];
    CHEAP.contains(&name) || takes_zone(name)
}

/// The environment of every expression. It is a table that never changes.
pub(super) fn environment() -> Arc<Env> {
    static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
        let mut env = Env::default().with_optional_support(false).with_stdlib();
        // A declaration that is lost makes the function unknown, so its use fails; the tests call every function.
        let _ = register(&mut env);
        Arc::new(env)
    });
    Arc::clone(&ENVIRONMENT)
}

fn register(env: &mut Env) -> Result<(), DeclarationError> {
    meter::register(env)?;
    let strings = |count: usize| (0..count).map(|_| STRING_TYPE).collect::<Vec<_>>();
    let with_meter = |mut types: Vec<CelType>| {
        types.push(DYN_TYPE);
        types
    };
    env.add_overload("matches", "matches", with_meter(strings(2)), matches)?;
    env.add_member_overload("matches", "string.matches", STRING_TYPE, with_meter(strings(1)), matches)?;
    env.add_member_overload("charAt", "string.charAt", STRING_TYPE, vec![INT_TYPE], char_at)?;
    env.add_member_overload("extract", "string.extract", STRING_TYPE, strings(1), extract)?;
    env.add_member_overload("hasOnly", "list.hasOnly", LIST_TYPE, with_meter(vec![LIST_TYPE]), has_only)?;
    env.add_overload("inIpRange", "inIpRange.one", strings(2), in_ip_range)?;
    env.add_overload("inIpRange", "inIpRange.some", vec![STRING_TYPE, LIST_TYPE], in_ip_range)?;
    env.add_member_overload("join", "list.join", LIST_TYPE, with_meter(strings(0)), join)?;
    env.add_member_overload("join", "list.join.by", LIST_TYPE, with_meter(strings(1)), join_by)?;
    env.add_member_overload("lowerAscii", "string.lowerAscii", STRING_TYPE, vec![], lower_ascii)?;
    env.add_member_overload("replace", "string.replace", STRING_TYPE, with_meter(strings(2)), replace)?;
    env.add_member_overload("split", "string.split", STRING_TYPE, with_meter(strings(1)), split)?;
    let limited = with_meter(vec![STRING_TYPE, INT_TYPE]);
    env.add_member_overload("split", "string.split.limit", STRING_TYPE, limited, split_limited)?;
    env.add_member_overload("substring", "string.substring", STRING_TYPE, vec![INT_TYPE], substring_from)?;
    env.add_member_overload("substring", "string.substring.to", STRING_TYPE, vec![INT_TYPE, INT_TYPE], substring)?;
    env.add_member_overload("trim", "string.trim", STRING_TYPE, vec![], trim)?;
    env.add_member_overload("upperAscii", "string.upperAscii", STRING_TYPE, vec![], upper_ascii)
}

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Returned<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// The arguments of a call, whose number its declaration fixes.
pub(super) fn exactly<'b, 'v, const N: usize>(
    arguments: Arguments<'b, 'v>,
) -> Result<[CowVal<'b, 'v>; N], ExecutionError> {
    let actual = arguments.len();
    <[CowVal<'b, 'v>; N]>::try_from(arguments).map_err(|_| ExecutionError::invalid_argument_count(N, actual))
}

fn text<'a>(argument: &'a CowVal<'_, '_>) -> Result<&'a str, ExecutionError> {
    argument.downcast_ref::<CelString<'_>>().map(CelString::inner).ok_or(ExecutionError::MissingArgumentOrTarget)
}

fn number(argument: &CowVal<'_, '_>) -> Result<i64, ExecutionError> {
    argument.downcast_ref::<CelInt>().map(|number| *number.inner()).ok_or(ExecutionError::MissingArgumentOrTarget)
}

fn string<'b, 'v>(text: impl Into<String>) -> Returned<'b, 'v> {
    Ok(CowVal::owned(CelString::from(text.into())))
}

fn matches<'b, 'v>(arguments: Arguments<'b, 'v>) -> Returned<'b, 'v> {
    let [this, pattern, meter] = exactly(arguments)?;
    let (this, pattern, meter) = (text(&this)?, text(&pattern)?, meter::of(&meter)?);
    // The worst case of a search is the pattern's size times the text's length.
    meter.spend_bytes(this.len().saturating_mul(16))?;
    let found = match meter.patterns().get(pattern) {
        Some(compiled) => compiled.is_match(this),
        None => {
            meter.spend_bytes(64 * 1024)?;
            Pattern::compile(pattern).map_err(pattern::not_valid)?.is_match(this)
        }
    };
    Ok(CowVal::owned(CelBool::from(found)))
}

fn extract<'b, 'v>(arguments: Arguments<'b, 'v>) -> Returned<'b, 'v> {
    let [this, template] = exactly(arguments)?;
    match extracted(text(&this)?, text(&template)?) {
        Some(found) => string(found),
        None => Err(ExecutionError::function_error("extract", "")),
    }
}

/// What stands in the text where the template has its `{name}`: after the first occurrence of what is before the brace,
/// and up to the next occurrence of what is after it; nothing if either is not found. `None` if the template has not
/// exactly one name in braces.
///
/// Spec: <https://cloud.google.com/iam/docs/conditions-attribute-reference#extract>
pub(super) fn extracted<'t>(text: &'t str, template: &str) -> Option<&'t str> {
    let (prefix, rest) = template.split_once('{')?;
    let (name, suffix) = rest.split_once('}')?;
    if name.is_empty() || [prefix, name, suffix].iter().any(|part| part.contains(['{', '}'])) {
        return None;
    }
    let Some((_, after)) = text.split_once(prefix) else { return Some("") };
    // An empty suffix is the end of the text, not the first empty place.
    if suffix.is_empty() {
        return Some(after);
    }
    Some(after.split_once(suffix).map_or("", |(found, _)| found))
}

/// Whether every element is among those of the argument. Google's, for `api.getAttribute`.
///
/// Spec: <https://cloud.google.com/iam/docs/conditions-attribute-reference#api-attributes>
fn has_only<'b, 'v>(arguments: Arguments<'b, 'v>) -> Returned<'b, 'v> {
    let [this, allowed, meter] = exactly(arguments)?;
    let (this, allowed) = (elements(&this)?, elements(&allowed)?);
    let meter = meter::of(&meter)?;
    for element in this {
        meter.spend_bytes(allowed.len().saturating_mul(32))?;
        if !allowed.iter().any(|other| element.equals(other.as_ref())) {
            return Ok(CowVal::owned(CelBool::from(false)));
        }
    }
    Ok(CowVal::owned(CelBool::from(true)))
}

/// Whether an address is in a range, or in one of several. An address of version 4 in the clothes of version 6 is one of
/// version 4.
///
/// Spec: <https://cloud.google.com/access-context-manager/docs/custom-access-level-spec>
fn in_ip_range<'b, 'v>(arguments: Arguments<'b, 'v>) -> Returned<'b, 'v> {
    let [address, ranges] = exactly(arguments)?;
    let failed = || ExecutionError::function_error("inIpRange", "");
    let address: IpAddr = text(&address)?.parse().map_err(|_| failed())?;
    let address = address.to_canonical();
    let contains = |range: &str| ip_range(range).map(|range| range.contains(&address)).ok_or_else(failed);
    if ranges.downcast_ref::<CelString<'_>>().is_some() {
        return Ok(CowVal::owned(CelBool::from(contains(text(&ranges)?)?)));
    }
    let mut found = false;
    for range in elements(&ranges)? {
        let range = range.downcast_ref::<CelString<'_>>().ok_or_else(failed)?;
        // Each is looked at, so that a wrong one is told and not hidden by a hit.
        found |= contains(range.inner())?;
    }
    Ok(CowVal::owned(CelBool::from(found)))
}

/// Reads a range such as `10.0.0.0/8`. One address is a range. Bits beyond the prefix must be zero: `10.1.2.3/8` is a mistake.
pub(crate) fn ip_range(text: &str) -> Option<IpNet> {
    let range = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse().ok()?,
    };
    (range.trunc() == range).then_some(range)
}

fn elements<'a, 'v>(argument: &'a CowVal<'_, 'v>) -> Result<&'a [Box<dyn Val + 'v>], ExecutionError> {
    let list = argument.downcast_ref::<CelList<'v>>().ok_or(ExecutionError::MissingArgumentOrTarget)?;
    Ok(list.inner())
}

fn join<'b, 'v>(arguments: Arguments<'b, 'v>) -> Returned<'b, 'v> {
    let [list, meter] = exactly(arguments)?;
    joined(list.as_ref(), "", meter::of(&meter)?)
}

fn join_by<'b, 'v>(arguments: Arguments<'b, 'v>) -> Returned<'b, 'v> {
    let [list, separator, meter] = exactly(arguments)?;
    joined(list.as_ref(), text(&separator)?, meter::of(&meter)?)
}

fn joined<'b, 'v>(list: &dyn Val, separator: &str, meter: &meter::Meter) -> Returned<'b, 'v> {
    let list = list.downcast_ref::<CelList<'_>>().ok_or(ExecutionError::MissingArgumentOrTarget)?;
    let mut out = String::new();
    for (nth, element) in list.inner().iter().enumerate() {
        let wrong = || ExecutionError::no_such_member_overload("join", vec![element.get_type().name().to_owned()]);
        let element = element.downcast_ref::<CelString<'_>>().ok_or_else(wrong)?;
        meter.spend_bytes(separator.len().saturating_add(element.inner().len()))?;
        if nth > 0 {
            out.push_str(separator);
        }
        out.push_str(element.inner());
    }
    string(out)
}

fn split<'b, 'v>(arguments: Arguments<'b, 'v>) -> Returned<'b, 'v> {
    let [this, separator, meter] = exactly(arguments)?;
    parts(text(&this)?, text(&separator)?, -1, meter::of(&meter)?)
}

fn split_limited<'b, 'v>(arguments: Arguments<'b, 'v>) -> Returned<'b, 'v> {
    let [this, separator, limit, meter] = exactly(arguments)?;
    parts(text(&this)?, text(&separator)?, number(&limit)?, meter::of(&meter)?)
}

/// At most `limit` parts, the last with the rest; all if it is negative. Nothing between separates characters.
fn parts<'b, 'v>(this: &str, separator: &str, limit: i64, meter: &meter::Meter) -> Returned<'b, 'v> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut parts: Vec<Box<dyn Val + 'v>> = Vec::new();
    let mut rest = Some(this).filter(|this| limit > 0 && !(separator.is_empty() && this.is_empty()));
    while let Some(text) = rest {
        let first = text.chars().next().map_or(0, char::len_utf8);
        let cut = match separator {
            _ if parts.len().saturating_add(1) >= limit => None,
            "" => text.split_at_checked(first).filter(|(_, after)| !after.is_empty()),
            separator => text.split_once(separator),
        };
        let part = cut.map_or(text, |(part, _)| part);
        rest = cut.map(|(_, after)| after);
        meter.spend_bytes(part.len())?;
        parts.push(Box::new(CelString::from(part.to_owned())));
    }
    Ok(CowVal::owned(CelList::from(parts)))
}

fn replace<'b, 'v>(arguments: Arguments<'b, 'v>) -> Returned<'b, 'v> {
    let [this, from, to, meter] = exactly(arguments)?;
    let (this, from, to) = (text(&this)?, text(&from)?, text(&to)?);
    // Before it is made: every byte could be replaced by a text as long as the budget.
    let growth = this.matches(from).count().saturating_mul(to.len());
    meter::of(&meter)?.spend_bytes(growth.saturating_add(this.len()))?;
    string(this.replace(from, to))
}

fn lower_ascii<'b, 'v>(arguments: Arguments<'b, 'v>) -> Returned<'b, 'v> {
    let [this] = exactly(arguments)?;
    string(text(&this)?.to_ascii_lowercase())
}

fn upper_ascii<'b, 'v>(arguments: Arguments<'b, 'v>) -> Returned<'b, 'v> {
    let [this] = exactly(arguments)?;
    string(text(&this)?.to_ascii_uppercase())
}

fn trim<'b, 'v>(arguments: Arguments<'b, 'v>) -> Returned<'b, 'v> {
    let [this] = exactly(arguments)?;
    string(text(&this)?.trim())
}

fn char_at<'b, 'v>(arguments: Arguments<'b, 'v>) -> Returned<'b, 'v> {
    let [this, at] = exactly(arguments)?;
    let (this, at) = (text(&this)?, number(&at)?);
    // The place after the last character is one, and has none.
    let length = this.chars().count();
    match usize::try_from(at) {
        Ok(at) if at <= length => string(this.chars().skip(at).take(1).collect::<String>()),
        Ok(_) | Err(_) => Err(ExecutionError::IndexOutOfBounds(at.into())),
    }
}

fn substring_from<'b, 'v>(arguments: Arguments<'b, 'v>) -> Returned<'b, 'v> {
    let [this, from] = exactly(arguments)?;
    let this = text(&this)?;
    between(this, number(&from)?, i64::MAX)
}

fn substring<'b, 'v>(arguments: Arguments<'b, 'v>) -> Returned<'b, 'v> {
    let [this, from, to] = exactly(arguments)?;
    let (this, from, to) = (text(&this)?, number(&from)?, number(&to)?);
    if to > this.chars().count() as i64 {
        return Err(ExecutionError::IndexOutOfBounds(to.into()));
    }
    between(this, from, to)
}

/// The characters from one place to before another.
fn between<'b, 'v>(this: &str, from: i64, to: i64) -> Returned<'b, 'v> {
    let length = this.chars().count() as i64;
    let to = to.min(length);
    match (usize::try_from(from), usize::try_from(to)) {
        (Ok(start), Ok(end)) if start <= end => string(this.chars().skip(start).take(end - start).collect::<String>()),
        _ => Err(ExecutionError::IndexOutOfBounds(from.into())),
    }
}
