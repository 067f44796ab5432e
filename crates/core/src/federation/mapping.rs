//! From the claims of a foreign token to an identity of a pool.
//!
//! Spec: <https://cloud.google.com/iam/docs/workload-identity-federation#mapping>

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::policy::condition::{CompileError, EvaluationError, Expression, SampledCondition};

/// The longest `google.subject`, in bytes.
const SUBJECT_LIMIT: usize = 127;
/// Attributes of our users' own, at most.
const CUSTOM_LIMIT: usize = 50;
/// The longest name of one, after `attribute.`.
const NAME_LIMIT: usize = 100;
/// The longest expression of a mapping, in bytes.
const EXPRESSION_LIMIT: usize = 2048;
/// Everything that is mapped, together, in bytes.
const MAPPED_LIMIT: usize = 8 * 1024;
/// Groups, at most.
const GROUPS_LIMIT: usize = 400;

const SUBJECT: &str = "google.subject";
const GROUPS: &str = "google.groups";

/// The attribute mapping and the attribute condition of a provider, compiled.
pub struct AttributeMapping {
    /// As it was written, in the order of the keys.
    text: BTreeMap<String, String>,
    condition_text: Option<String>,
    subject: Expression,
    groups: Option<Expression>,
    /// Names without `attribute.`.
    attributes: Vec<(String, Expression)>,
    condition: Option<SampledCondition>,
}

impl std::fmt::Debug for AttributeMapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttributeMapping")
            .field("text", &self.text)
            .field("condition", &self.condition_text)
            .finish_non_exhaustive()
    }
}

impl PartialEq for AttributeMapping {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.condition_text == other.condition_text
    }
}

impl Eq for AttributeMapping {}

/// Why a mapping is refused when it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// Nothing says who the caller is.
    #[error("the mapping must set google.subject, for instance to assertion.sub")]
    SubjectMissing,
    /// A key that is neither `google.subject`, `google.groups` nor `attribute.NAME`.
    #[error("{0:?} cannot be mapped to: use google.subject, google.groups, or attribute.NAME with a-z, 0-9 and _")]
    Key(String),
    /// More than fifty attributes.
    #[error("a mapping sets at most {CUSTOM_LIMIT} attributes")]
    TooMany,
    /// An expression does not compile.
    #[error("{key}: {error}")]
    Expression {
        /// The key, or `attributeCondition`.
        key: String,
        /// Why.
        error: CompileError,
    },
}

/// Why a token's claims give no identity. `Display` holds no value of a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappedError {
    /// An expression failed: most often a claim that is not there.
    #[error("{key} cannot be computed: {error}")]
    Failed {
        /// The key.
        key: String,
        /// Why.
        error: EvaluationError,
    },
    /// The value is not a text, or for `google.groups` a list of texts; or it is empty, has spaces at its ends, or characters that
    /// cannot be seen or that change the order in which others are seen.
    #[error("{0} is not a text that can be used")]
    Value(String),
    /// The value is too long.
    #[error("{key} is longer than {limit} bytes")]
    TooLong {
        /// The key, or `the mapped attributes`.
        key: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// More than [`GROUPS_LIMIT`] groups.
    #[error("google.groups has more than {GROUPS_LIMIT} groups")]
    TooManyGroups,
    /// The attribute condition does not hold.
    #[error("the attribute condition does not hold")]
    ConditionFalse,
    /// The attribute condition cannot be computed, so it does not hold.
    #[error("the attribute condition cannot be computed: {0}")]
    ConditionFailed(EvaluationError),
}

/// What the claims gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// `google.subject`
    pub subject: String,
    /// `google.groups`
    pub groups: Vec<String>,
    /// `attribute.NAME`
    pub attributes: BTreeMap<String, String>,
}

impl AttributeMapping {
    /// Compiles a mapping and a condition. Expressions see the token's claims as `assertion`; the condition sees besides `google`
    /// and `attribute`, what was mapped.
    pub fn compile(text: BTreeMap<String, String>, condition_text: Option<String>) -> Result<Self, MappingError> {
        let mut subject = None;
        let mut groups = None;
        let mut attributes = Vec::new();
        for (key, source) in &text {
            let fail = |error| MappingError::Expression { key: key.clone(), error };
            if source.len() > EXPRESSION_LIMIT {
                return Err(fail(CompileError::too_long(EXPRESSION_LIMIT)));
            }
            let expression = Expression::compile(source, &["assertion"]).map_err(fail)?;
            match key.as_str() {
                SUBJECT => subject = Some(expression),
                GROUPS => groups = Some(expression),
                _ => match key.strip_prefix("attribute.").filter(|name| is_name(name)) {
                    Some(name) => attributes.push((name.to_owned(), expression)),
                    None => return Err(MappingError::Key(key.clone())),
                },
            }
        }
        if attributes.len() > CUSTOM_LIMIT {
            return Err(MappingError::TooMany);
        }
        let condition = match &condition_text {
            None => None,
            Some(source) => {
                let (claims, google, attribute) = (json!({}), json!({"subject": "s", "groups": []}), json!({}));
                let sample = [("assertion", &claims), ("google", &google), ("attribute", &attribute)];
                let compiled = SampledCondition::compile(source, &["assertion", "google", "attribute"], &sample);
                Some(compiled.map_err(|error| MappingError::Expression { key: "attributeCondition".into(), error })?)
            }
        };
        let subject = subject.ok_or(MappingError::SubjectMissing)?;
        Ok(AttributeMapping { text, condition_text, subject, groups, attributes, condition })
    }

    /// The mapping as it was written.
    pub fn text(&self) -> &BTreeMap<String, String> {
        &self.text
    }

    /// The condition as it was written.
    pub fn condition_text(&self) -> Option<&str> {
        self.condition_text.as_deref()
    }

    /// What the claims of a verified token give.
    ///
    /// # Errors
    /// [`MappedError`]: the token stands for nobody. A condition that cannot be computed does not hold.
    pub fn apply(&self, claims: &Map<String, Value>) -> Result<Mapped, MappedError> {
        let assertion = Value::Object(claims.clone());
        let compute = |key: &str, expression: &Expression| {
            let value = expression.evaluate(&[("assertion", &assertion)]);
            value.map_err(|error| MappedError::Failed { key: key.to_owned(), error })
        };
        let mut size = Size(0);
        let subject = size.text(SUBJECT, compute(SUBJECT, &self.subject)?)?;
        if subject.len() > SUBJECT_LIMIT {
            return Err(MappedError::TooLong { key: SUBJECT.into(), limit: SUBJECT_LIMIT });
        }
        let groups = match &self.groups {
            None => Vec::new(),
            Some(expression) => match compute(GROUPS, expression)? {
                Value::Array(groups) if groups.len() > GROUPS_LIMIT => return Err(MappedError::TooManyGroups),
                Value::Array(groups) => {
                    groups.into_iter().map(|group| size.text(GROUPS, group)).collect::<Result<_, _>>()?
                }
                _ => return Err(MappedError::Value(GROUPS.into())),
            },
        };
        let mut attributes = BTreeMap::new();
        for (name, expression) in &self.attributes {
            let key = format!("attribute.{name}");
            let value = size.text(&key, compute(&key, expression)?)?;
            attributes.insert(name.clone(), value);
        }
        let mapped = Mapped { subject, groups, attributes };
        self.check(&assertion, &mapped)?;
        Ok(mapped)
    }

    fn check(&self, assertion: &Value, mapped: &Mapped) -> Result<(), MappedError> {
        let Some(condition) = &self.condition else { return Ok(()) };
        let google = json!({"subject": mapped.subject, "groups": mapped.groups});
        let attribute = json!(mapped.attributes);
        match condition.holds(&[("assertion", assertion), ("google", &google), ("attribute", &attribute)]) {
            Ok(true) => Ok(()),
            Ok(false) => Err(MappedError::ConditionFalse),
            Err(error) => Err(MappedError::ConditionFailed(error)),
        }
    }
}

/// How much was mapped so far, in bytes.
struct Size(usize);

impl Size {
    /// A value that stands in the name of a principal, so it must be a text that reads as it looks.
    fn text(&mut self, key: &str, value: Value) -> Result<String, MappedError> {
        let Value::String(text) = value else { return Err(MappedError::Value(key.to_owned())) };
        if text.is_empty() || text.trim() != text || text.chars().any(is_unseen) {
            return Err(MappedError::Value(key.to_owned()));
        }
        self.0 += text.len();
        if self.0 > MAPPED_LIMIT {
            return Err(MappedError::TooLong { key: "the mapped attributes".into(), limit: MAPPED_LIMIT });
        }
        Ok(text)
    }
}

/// Whether a character cannot be seen, or changes how others are: with one of them, two names that a policy tells apart would look
/// alike to whoever writes and reads it. Control characters, line ends, and what Unicode lets be ignored or turns the direction of
/// writing, marks that choose a variant included.
///
/// Spec: <https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point> (with the blanks that are letters), and
/// <https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters>
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn is_name(text: &str) -> bool {
    let allowed = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    !text.is_empty() && text.len() <= NAME_LIMIT && allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(pairs: &[(&str, &str)], condition: Option<&str>) -> Result<AttributeMapping, MappingError> {
        let text = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        AttributeMapping::compile(text, condition.map(str::to_owned))
    }

    fn github() -> AttributeMapping {
        let pairs = [
            ("google.subject", "assertion.sub"),
            ("google.groups", "assertion.teams"),
            ("attribute.repository", "assertion.repository"),
            ("attribute.owner", "assertion.repository.split('/')[0]"),
        ];
        mapping(&pairs, Some("attribute.owner == 'octo' && assertion.ref == 'refs/heads/main'")).unwrap()
    }

    #[test]
    fn a_mapping_that_cannot_hold_is_refused_when_it_is_written() {
        let subject = ("google.subject", "assertion.sub");
        let long = format!("'{}'", "a".repeat(EXPRESSION_LIMIT));
        let names: Vec<String> = (0..51).map(|n| format!("attribute.a{n}")).collect();
        let mut many = vec![subject];
        many.extend(names.iter().map(|name| (name.as_str(), "assertion.sub")));
        type Case<'a> = (Vec<(&'a str, &'a str)>, Option<&'a str>, &'a str);
        #[rustfmt::skip]
        let cases: Vec<Case<'_>> = vec![
            (vec![],                                             None,               "SubjectMissing"),
            (vec![("attribute.a", "assertion.a")],               None,               "SubjectMissing"),
            (vec![subject, ("google.email", "assertion.email")], None,               "Key"),
            (vec![subject, ("attribute.", "assertion.email")],   None,               "Key"),
            (vec![subject, ("attribute.A", "assertion.email")],  None,               "Key"),
            (vec![subject, ("attribute.a/b", "assertion.email")], None,              "Key"),
            (vec![("google.subject", "assertion.")],             None,               "Expression"),
            (vec![("google.subject", "claims.sub")],             None,               "Expression"),
            (vec![("google.subject", &long)],                    None,               "Expression"),
            (vec![subject],                                      Some("assertion.sub == 'a'"), "ok"),
            (vec![subject],                                      Some("'yes'"),      "Expression"),
            (vec![subject],                                      Some("request.path == '/'"), "Expression"),
            (many.clone(),                                       None,               "TooMany"),
            (many[..51].to_vec(),                                None,               "ok"),
        ];
        for (pairs, condition, expected) in cases {
            let outcome = match mapping(&pairs, condition) {
                Ok(_) => "ok",
                Err(MappingError::SubjectMissing) => "SubjectMissing",
                Err(MappingError::Key(_)) => "Key",
                Err(MappingError::TooMany) => "TooMany",
                Err(MappingError::Expression { .. }) => "Expression",
            };
            assert_eq!(outcome, expected, "{pairs:?} {condition:?}");
        }
    }

    #[test]
    fn claims_become_an_identity_or_nobody() {
        let good = json!({
            "sub": "repo:octo/app:ref:refs/heads/main", "teams": ["a", "b"], "repository": "octo/app", "ref": "refs/heads/main",
        });
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            claims
        };
        let without = |name: &str| {
            let mut claims = good.clone();
            claims.as_object_mut().unwrap().remove(name);
            claims
        };
        #[rustfmt::skip]
        let cases: Vec<(Value, &str)> = vec![
            (good.clone(),                                      "ok"),
            (with("sub", json!("s".repeat(127))),               "ok"),
            (with("teams", json!([])),                          "ok"),
            (with("sub", json!("s".repeat(128))),               "TooLong google.subject"),
            (with("sub", json!("")),                            "Value google.subject"),
            (with("sub", json!("a\nb")),                        "Value google.subject"),
            (with("sub", json!(7)),                             "Value google.subject"),
            (without("sub"),                                    "Failed google.subject"),
            (without("repository"),                             "Failed attribute.owner"),
            (with("repository", json!(null)),                   "Failed attribute.owner"),
            (with("teams", json!("a")),                         "Value google.groups"),
            (with("teams", json!(["a", 7])),                    "Value google.groups"),
            (with("teams", json!(vec!["g"; 401])),              "TooManyGroups"),
            (with("teams", json!(vec!["g".repeat(100); 100])),  "TooLong the mapped attributes"),
            (with("repository", json!("evil/app")),             "ConditionFalse"),
            (with("ref", json!("refs/heads/topic")),            "ConditionFalse"),
            (without("ref"),                                    "ConditionFailed"),
        ];
        for (claims, expected) in cases {
            let outcome = match github().apply(claims.as_object().unwrap()) {
                Ok(_) => "ok".to_owned(),
                Err(MappedError::Failed { key, .. }) => format!("Failed {key}"),
                Err(MappedError::Value(key)) => format!("Value {key}"),
                Err(MappedError::TooLong { key, .. }) => format!("TooLong {key}"),
                Err(MappedError::TooManyGroups) => "TooManyGroups".to_owned(),
                Err(MappedError::ConditionFalse) => "ConditionFalse".to_owned(),
                Err(MappedError::ConditionFailed(_)) => "ConditionFailed".to_owned(),
            };
            assert_eq!(outcome, expected, "{claims}");
        }
        // A name that is seen otherwise than it is compared is nobody's, wherever it would stand.
        #[rustfmt::skip]
        let unseen = [
            " a", "a ", "\u{a0}a", "a\u{3000}", "a\0", "a\tb", "a\u{7f}", "a\u{85}b", "a\u{ad}b", "a\u{200b}", "a\u{200d}b",
            "a\u{200e}b", "\u{feff}a", "a\u{2060}b", "\u{202e}a", "a\u{202a}b", "a\u{2066}b\u{2069}", "a\u{61c}b", "a\u{2028}b",
            "a\u{34f}", "a\u{180e}b", "a\u{3164}", "a\u{2800}b", "a\u{fe0f}", "a\u{fffa}", "a\u{e0041}", "a\u{e0100}",
        ];
        for text in unseen {
            for claims in [with("sub", json!(text)), with("teams", json!(["a", text])), with("repository", json!(text))]
            {
                let outcome = github().apply(claims.as_object().unwrap());
                assert!(matches!(outcome, Err(MappedError::Value(_))), "{claims}: {outcome:?}");
            }
        }
        for text in
            ["a b", "CN=Ann Lee, O=Example", "Zo\u{eb}", "\u{5d0}\u{5d1}", "\u{65e5}\u{672c}", "a/b:c@d", "\u{1f600}"]
        {
            let outcome = github().apply(with("sub", json!(text)).as_object().unwrap());
            assert_eq!(outcome.map(|mapped| mapped.subject).as_deref(), Ok(text));
        }
        let mapped = github().apply(good.as_object().unwrap()).unwrap();
        assert_eq!(mapped.groups, ["a", "b"]);
        assert_eq!(mapped.attributes["owner"], "octo");
    }
}
