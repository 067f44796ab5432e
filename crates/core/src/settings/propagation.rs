//! What an application is told about its caller beside who it is: a list of attributes that an expression selects.
//!
//! The language is CEL with functions of its own. `attributes.iap_attributes` and `attributes.saml_attributes` are lists of
//! attributes; `LIST.filter(x, CONDITION)` keeps those for which a condition on `x.name` and `x.values` holds,
//! `LIST.selectByName(NAME)` takes one, `ATTRIBUTE.emitAs(NAME)` gives it another name, `ATTRIBUTE.strict()` leaves out the prefix of
//! its header, and `LIST.append(LIST or ATTRIBUTE)` puts together. Names are written as literals, so that all headers that an
//! expression can set without our prefix are known when it is written: the proxy takes them out of what callers send.
//!
//! Spec: <https://cloud.google.com/iap/docs/saml-attribute-propagation>,
//! <https://cloud.google.com/iap/docs/reference/rest/v1/IapSettings> (`attributePropagationSettings`)

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};
use doorward_wire::headers::{folds_to, folds_to_prefix, is_reserved};
use serde_json::json;

use crate::policy::condition::{Budget, CompileError, EvaluationError, Parsed, SampledCondition};

/// The most attributes that an expression may select.
pub const MAX_ATTRIBUTES: usize = 45;

/// What stands before an attribute's name in a header, unless it is strict.
pub const HEADER_PREFIX: &str = "x-goog-iap-attr-";

/// The longest name that an expression gives, in bytes.
const MAX_NAME: usize = 100;

/// The attributes of every caller, in this order, as far as they have a value. Google documents no names of its
/// `iap_attributes`; these are ours.
pub const IAP_ATTRIBUTES: [&str; 6] =
    ["user_email", "user_id", "hosted_domain", "access_levels", "device_id", "principal"];

/// One thing that is known about a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its values; perhaps none.
    pub values: Vec<String>,
}

/// Everything that is known about a caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallerAttributes {
    /// What we know: [`IAP_ATTRIBUTES`].
    pub iap: Vec<Attribute>,
    /// What the provider at which somebody signed in says: attributes of a SAML assertion, or claims that are texts or lists of
    /// texts.
    pub saml: Vec<Attribute>,
}

/// An attribute that the application is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropagatedAttribute {
    /// Its name there: the key in `additional_claims`.
    pub name: String,
    /// Its values.
    pub values: Vec<String>,
    /// Its header has no prefix.
    pub strict: bool,
}

impl PropagatedAttribute {
    /// The header's name, in lower case. `None` for a name that cannot be one, such as a URN that was not given another name, and for
    /// an attribute without a value: it is in tokens only.
    pub fn header_name(&self) -> Option<String> {
        if !is_token(&self.name) || self.values.is_empty() {
            return None;
        }
        let name = self.name.to_ascii_lowercase();
        Some(if self.strict { name } else { format!("{HEADER_PREFIX}{name}") })
    }

    /// The header's value: the values joined with `,`. In each, `,`, `%` and all that is not a visible ASCII character are
    /// percent-encoded, so that no value can end the header or look like two. Google documents no encoding.
    pub fn header_value(&self) -> String {
        let mut out = String::new();
        for (nth, value) in self.values.iter().enumerate() {
            if nth > 0 {
                out.push(',');
            }
            for byte in value.bytes() {
                match byte {
                    b',' | b'%' => write!(out, "%{byte:02X}").unwrap_or_default(),
                    0x21..=0x7e => out.push(char::from(byte)),
                    _ => write!(out, "%{byte:02X}").unwrap_or_default(),
                }
            }
        }
        out
    }
}

/// Why nothing is propagated to an application.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropagationError {
    /// A filter's condition failed.
    #[error("the filter of an attribute propagation failed: {0}")]
    Filter(#[from] EvaluationError),
    /// More than [`MAX_ATTRIBUTES`].
    #[error("more than {MAX_ATTRIBUTES} attributes are selected")]
    TooMany,
}

/// An expression that was checked.
#[derive(Debug, Clone)]
pub struct Propagation {
    source: String,
    root: Arc<Node>,
    strict_names: BTreeSet<String>,
}

impl PartialEq for Propagation {
    fn eq(&self, other: &Propagation) -> bool {
        self.source == other.source
    }
}

impl Eq for Propagation {}

#[derive(Debug)]
enum Node {
    Iap,
    Saml,
    Filter {
        of: Box<Node>,
        variable: String,
        condition: SampledCondition,
    },
    /// None or one.
    Named {
        of: Box<Node>,
        name: String,
    },
    EmitAs {
        of: Box<Node>,
        name: String,
    },
    Strict {
        of: Box<Node>,
    },
    /// One list after another.
    Together(Vec<Node>),
}

impl Propagation {
    /// Parses an expression and finds the names of its headers.
    ///
    /// # Errors
    /// [`CompileError`] with the place: what is not of this language, a name that is not a literal or cannot be in a header, a
    /// strict name that would be taken for something else, more than [`MAX_ATTRIBUTES`] named ones.
    pub fn compile(source: &str) -> Result<Propagation, CompileError> {
        let functions = [("append", 1), ("emitAs", 1), ("selectByName", 1), ("strict", 0)];
        let parsed = Parsed::new(source, &["attributes"], &functions)?;
        let mut reading = Reading { parsed: &parsed, strict_names: BTreeSet::new(), named: 0 };
        let (root, _) = reading.part(parsed.root())?;
        let strict_names = reading.strict_names;
        Ok(Propagation { source: source.to_owned(), root: Arc::new(root), strict_names })
    }

    /// The text that was compiled.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The headers that it can set without [`HEADER_PREFIX`], in lower case: nobody else may, in any spelling that an application
    /// could take for them. Those with the prefix nobody may send anyway.
    pub fn strict_header_names(&self) -> impl Iterator<Item = &str> {
        self.strict_names.iter().map(String::as_str)
    }

    /// The attributes of this caller that the application is told, in the expression's order. Of two with one name the first is
    /// kept.
    ///
    /// The filters spend what the evaluations of the request have left.
    ///
    /// # Errors
    /// [`PropagationError`]: nothing is told then.
    pub fn select(
        &self,
        caller: &CallerAttributes,
        budget: &Budget,
    ) -> Result<Vec<PropagatedAttribute>, PropagationError> {
        let mut selected: Vec<PropagatedAttribute> = Vec::new();
        for attribute in self.root.select(caller, budget)? {
            let same = |other: &PropagatedAttribute| {
                other.name.eq_ignore_ascii_case(&attribute.name) && other.strict == attribute.strict
            };
            if !selected.iter().any(same) {
                selected.push(attribute);
            }
        }
        if selected.len() > MAX_ATTRIBUTES { Err(PropagationError::TooMany) } else { Ok(selected) }
    }
}

impl Node {
    fn select(&self, caller: &CallerAttributes, budget: &Budget) -> Result<Vec<PropagatedAttribute>, PropagationError> {
        let all = |attributes: &[Attribute]| {
            let all = attributes.iter().map(|Attribute { name, values }| PropagatedAttribute {
                name: name.clone(),
                values: values.clone(),
                strict: false,
            });
            all.collect::<Vec<_>>()
        };
        Ok(match self {
            Node::Iap => all(&caller.iap),
            Node::Saml => all(&caller.saml),
            Node::Filter { of, variable, condition } => {
                let mut kept = Vec::new();
                for attribute in of.select(caller, budget)? {
                    let value = json!({ "name": attribute.name, "values": attribute.values });
                    if condition.holds_within(&[(variable, &value)], budget)? {
                        kept.push(attribute);
                    }
                }
                kept
            }
            Node::Named { of, name } => {
                of.select(caller, budget)?.into_iter().find(|attribute| attribute.name == *name).into_iter().collect()
            }
            Node::EmitAs { of, name } => of
                .select(caller, budget)?
                .into_iter()
                .map(|of| PropagatedAttribute { name: name.clone(), ..of })
                .collect(),
            Node::Strict { of } => {
                of.select(caller, budget)?.into_iter().map(|of| PropagatedAttribute { strict: true, ..of }).collect()
            }
            Node::Together(parts) => {
                let mut selected = Vec::new();
                for part in parts {
                    selected.extend(part.select(caller, budget)?);
                }
                selected
            }
        })
    }
}

/// What a part of an expression gives.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    List,
    One { name: String, strict: bool },
}

struct Reading<'p> {
    parsed: &'p Parsed,
    strict_names: BTreeSet<String>,
    named: usize,
}

impl Reading<'_> {
    fn part(&mut self, part: &IdedExpr) -> Result<(Node, Shape), CompileError> {
        match &part.expr {
            Expr::Select(select) if !select.test => {
                let of_attributes = matches!(&select.operand.expr, Expr::Ident(name) if name == "attributes");
                match select.field.as_str() {
                    "iap_attributes" if of_attributes => Ok((Node::Iap, Shape::List)),
                    "saml_attributes" if of_attributes => Ok((Node::Saml, Shape::List)),
                    other => Err(self.parsed.wrong(
                        part,
                        format!(
                            "there is no {other} here; there is attributes.iap_attributes, attributes.saml_attributes"
                        ),
                    )),
                }
            }
            Expr::Call(call) => self.call(part, call),
            Expr::List(list) => {
                let mut parts = Vec::with_capacity(list.elements.len());
                for element in &list.elements {
                    match self.part(element)? {
                        (node, Shape::One { .. }) => parts.push(node),
                        (_, Shape::List) => {
                            return Err(self.parsed.wrong(element, "a list in a list; use append"));
                        }
                    }
                }
                Ok((Node::Together(parts), Shape::List))
            }
            Expr::Comprehension(comprehension) => self.filter(part, comprehension),
            Expr::Ident(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Select(_)
            | Expr::Struct(_)
            | Expr::Unspecified => Err(self.parsed.wrong(part, "this is no list of attributes")),
        }
    }

    fn call(&mut self, part: &IdedExpr, call: &CallExpr) -> Result<(Node, Shape), CompileError> {
        let target = match (&call.target, call.func_name.as_str()) {
            (Some(target), "append" | "emitAs" | "selectByName" | "strict") => self.part(target)?,
            _ => return Err(self.parsed.wrong(part, "this is no list of attributes")),
        };
        let argument = call.args.first();
        match (call.func_name.as_str(), target, argument) {
            ("append", (list, Shape::List), Some(argument)) => {
                let (more, _) = self.part(argument)?;
                Ok((Node::Together(vec![list, more]), Shape::List))
            }
            ("selectByName", (list, Shape::List), Some(argument)) => {
                let name = self.literal(argument, "selectByName")?;
                self.named += 1;
                if self.named > MAX_ATTRIBUTES {
                    return Err(self.parsed.wrong(part, format!("{MAX_ATTRIBUTES} attributes may be selected")));
                }
                Ok((Node::Named { of: Box::new(list), name: name.clone() }, Shape::One { name, strict: false }))
            }
            ("emitAs", (one, Shape::One { strict, .. }), Some(argument)) => {
                let name = self.literal(argument, "emitAs")?;
                if !is_token(&name) {
                    return Err(self.parsed.wrong(argument, format!("{name:?} cannot be in the name of a header")));
                }
                if strict {
                    self.strict(argument, &name)?;
                }
                Ok((Node::EmitAs { of: Box::new(one), name: name.clone() }, Shape::One { name, strict }))
            }
            ("strict", (one, Shape::One { name, .. }), None) => {
                self.strict(part, &name)?;
                Ok((Node::Strict { of: Box::new(one) }, Shape::One { name, strict: true }))
            }
            ("emitAs" | "strict", ..) => {
                Err(self.parsed.wrong(part, format!("{} takes one attribute: use selectByName", call.func_name)))
            }
            (name, ..) => Err(self.parsed.wrong(part, format!("{name} takes a list of attributes"))),
        }
    }

    /// `filter` as its macro writes it out: of the loops only this one leaves attributes as they are.
    fn filter(&mut self, part: &IdedExpr, of: &ComprehensionExpr) -> Result<(Node, Shape), CompileError> {
        let is = |part: &IdedExpr, name: &str| matches!(&part.expr, Expr::Ident(is) if is == name);
        let condition = match &of.loop_step.expr {
            Expr::Call(step) if step.func_name == operators::CONDITIONAL => match step.args.as_slice() {
                [condition, IdedExpr { expr: Expr::Call(add), .. }, kept] if is(kept, &of.accu_var) => {
                    let element = match add.args.as_slice() {
                        [before, IdedExpr { expr: Expr::List(list), .. }] if is(before, &of.accu_var) => {
                            matches!(list.elements.as_slice(), [element] if is(element, &of.iter_var))
                        }
                        _ => false,
                    };
                    (element && add.func_name == operators::ADD).then_some(condition)
                }
                _ => None,
            },
            _ => None,
        };
        let Some(condition) = condition.filter(|_| is(&of.result, &of.accu_var)) else {
            return Err(self.parsed.wrong(part, "of all, exists, map and filter only filter gives attributes"));
        };
        let (list, Shape::List) = self.part(&of.iter_range)? else {
            return Err(self.parsed.wrong(&of.iter_range, "filter takes a list of attributes"));
        };
        let sample = json!({ "name": "name", "values": ["value"] });
        let expression = self.parsed.part(condition, &of.iter_var)?;
        let condition = SampledCondition::of(expression, &[(&of.iter_var, &sample)])
            .map_err(|message| self.parsed.wrong(condition, message))?;
        let node = Node::Filter { of: Box::new(list), variable: of.iter_var.clone(), condition };
        Ok((node, Shape::List))
    }

    fn literal(&self, part: &IdedExpr, function: &str) -> Result<String, CompileError> {
        match &part.expr {
            Expr::Literal(LiteralValue::String(text)) if (1..=MAX_NAME).contains(&text.inner().len()) => {
                Ok(text.inner().to_owned())
            }
            _ => Err(self
                .parsed
                .wrong(part, format!("{function} takes a name, written here, of at most {MAX_NAME} bytes"))),
        }
    }

    /// A name that a header may have without our prefix.
    fn strict(&mut self, part: &IdedExpr, name: &str) -> Result<(), CompileError> {
        if !is_token(name) {
            return Err(self
                .parsed
                .wrong(part, format!("{name:?} cannot be in the name of a header: use emitAs first")));
        }
        if is_taken(name) {
            return Err(self
                .parsed
                .wrong(part, format!("the header {name} has a meaning of its own and cannot be set")));
        }
        self.strict_names.insert(name.to_ascii_lowercase());
        Ok(())
    }
}

/// Whether a field name may be this (RFC 9110 section 5.6.2).
fn is_token(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(allowed)
}

/// Whether a header of this name already means something to servers or to us, so that setting it would change a request or
/// who is believed to send it.
fn is_taken(name: &str) -> bool {
    #[rustfmt::skip]
    const NAMES: [&str; 33] = [
        "accept-encoding", "authorization", "connection", "cookie", "cookie2", "date", "expect", "forwarded", "host",
        "http2-settings", "keep-alive", "max-forwards", "origin", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "range", "referer", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade", "user-agent",
        "via", "x-http-method", "x-http-method-override", "x-method-override", "x-host", "x-client-ip", "x-cluster-client-ip",
        "true-client-ip",
        // `HTTP_PROXY` to a program behind CGI: where its own requests go.
        "proxy",
    ];
    const PREFIXES: [&str; 8] =
        ["access-control-", "content-", "if-", "sec-", "x-doorward-", "x-envoy-", "x-forwarded-", "x-original-"];
    is_reserved(name)
        || NAMES.iter().any(|taken| folds_to(name, taken))
        || PREFIXES.iter().any(|prefix| folds_to_prefix(name, prefix))
        || folds_to(name, "x-rewrite-url")
        || folds_to(name, "x-real-ip")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> Vec<Attribute> {
        let values = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        pairs.iter().map(|(name, text)| Attribute { name: (*name).to_owned(), values: values(text) }).collect()
    }

    fn caller() -> CallerAttributes {
        CallerAttributes {
            iap: attributes(&[("user_email", "ann@example.com"), ("user_id", "117"), ("access_levels", "a b")]),
            saml: attributes(&[
                ("test", "1"),
                ("dept", "eng,ops 50%"),
                ("urn:oid:2.5", "x"),
                ("none", ""),
                ("Test", "2"),
            ]),
        }
    }

    fn selected(source: &str) -> String {
        let propagation = Propagation::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        let selected = propagation.select(&caller(), &Budget::of_one_question()).unwrap();
        let shown = selected.iter().map(|attribute| {
            let name = attribute.header_name().unwrap_or_else(|| format!("({})", attribute.name));
            format!("{name}={}", attribute.header_value())
        });
        shown.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn an_expression_selects_attributes_and_names_their_headers() {
        #[rustfmt::skip]
        let cases = [
            // Google's example.
            ("attributes.saml_attributes.filter(x, x.name in ['test']).append(attributes.iap_attributes.selectByName('user_email').emitAs('custom').strict())",
                                                                            "x-goog-iap-attr-test=1; custom=ann@example.com"),
            ("attributes.iap_attributes",                                   "x-goog-iap-attr-user_email=ann@example.com; x-goog-iap-attr-user_id=117; x-goog-iap-attr-access_levels=a,b"),
            ("attributes.saml_attributes",                                  "x-goog-iap-attr-test=1; x-goog-iap-attr-dept=eng%2Cops,50%25; (urn:oid:2.5)=x; (none)="),
            ("attributes.saml_attributes.selectByName('dept')",             "x-goog-iap-attr-dept=eng%2Cops,50%25"),
            ("attributes.saml_attributes.selectByName('gone')",             ""),
            ("attributes.saml_attributes.selectByName('gone').emitAs('a').strict()", ""),
            ("attributes.saml_attributes.selectByName('urn:oid:2.5').emitAs('Oid')", "x-goog-iap-attr-oid=x"),
            ("attributes.saml_attributes.selectByName('dept').strict().emitAs('X-Dept')", "x-dept=eng%2Cops,50%25"),
            ("[attributes.iap_attributes.selectByName('user_id'), attributes.saml_attributes.selectByName('test')]", "x-goog-iap-attr-user_id=117; x-goog-iap-attr-test=1"),
            ("[]",                                                          ""),
            ("attributes.saml_attributes.filter(x, x.name.startsWith('t') || '50%' in x.values)", "x-goog-iap-attr-test=1; x-goog-iap-attr-dept=eng%2Cops,50%25"),
            ("attributes.saml_attributes.filter(x, x.name != 'test').filter(y, y.name.matches('^d'))", "x-goog-iap-attr-dept=eng%2Cops,50%25"),
            ("attributes.iap_attributes.selectByName('user_id').emitAs('a').strict().emitAs('b')", "b=117"),
        ];
        for (source, expected) in cases {
            assert_eq!(selected(source), expected, "{source}");
        }
    }

    #[test]
    fn the_headers_without_a_prefix_are_known_when_the_expression_is_written() {
        #[rustfmt::skip]
        let cases = [
            ("attributes.saml_attributes",                                              ""),
            ("attributes.saml_attributes.selectByName('Dept').strict()",                "dept"),
            ("attributes.saml_attributes.selectByName('a').emitAs('X-Dept').strict()",  "x-dept"),
            ("attributes.saml_attributes.selectByName('a').strict().emitAs('b')",       "a b"),
            ("attributes.saml_attributes.append(attributes.iap_attributes.selectByName('a').strict()).append([attributes.iap_attributes.selectByName('c').strict()])", "a c"),
        ];
        for (source, expected) in cases {
            let propagation = Propagation::compile(source).unwrap();
            assert_eq!(propagation.strict_header_names().collect::<Vec<_>>().join(" "), expected, "{source}");
        }
    }

    #[test]
    fn what_could_set_another_header_or_gives_no_attributes_is_refused_when_it_is_written() {
        let one = "attributes.iap_attributes.selectByName('a')";
        let strict = |name: &str| format!("{one}.emitAs('{name}').strict()");
        let many = format!("[{}]", vec![one; MAX_ATTRIBUTES + 1].join(","));
        let taken = |name: &str| format!("the header {name} has a meaning of its own and cannot be set");
        #[rustfmt::skip]
        let cases: Vec<(String, String)> = vec![
            ("".into(),                                         "an expression is needed".into()),
            ("attributes".into(),                               "this is no list of attributes".into()),
            ("'a'".into(),                                      "this is no list of attributes".into()),
            ("true".into(),                                     "this is no list of attributes".into()),
            ("size(attributes.iap_attributes)".into(),          "this is no list of attributes".into()),
            ("attributes.other".into(),                         "there is no other here".into()),
            ("attributes.iap_attributes.name".into(),           "there is no name here".into()),
            ("request.path".into(),                             "there is no variable request; there is attributes".into()),
            ("attributes.iap_attributes.pick('a')".into(),      "there is no function pick".into()),
            ("attributes.iap_attributes.map(x, x)".into(),      "of all, exists, map and filter only filter gives attributes".into()),
            ("attributes.iap_attributes.exists(x, true)".into(), "of all, exists, map and filter only filter gives attributes".into()),
            (format!("{one}.filter(x, true)"),                  "filter takes a list of attributes".into()),
            ("attributes.iap_attributes.filter(x, x.name)".into(), "the result is string, not bool".into()),
            ("attributes.iap_attributes.filter(x, x.name == 'a' && attributes.iap_attributes == [])".into(), "there is no variable attributes; there is x".into()),
            ("attributes.iap_attributes.strict()".into(),       "strict takes one attribute: use selectByName".into()),
            ("attributes.iap_attributes.emitAs('a')".into(),    "emitAs takes one attribute: use selectByName".into()),
            ("attributes.iap_attributes.filter(x, x.strict())".into(), "there is no function strict".into()),
            (format!("{one}.append({one})"),                    "append takes a list of attributes".into()),
            (format!("{one}.selectByName('a')"),                "selectByName takes a list of attributes".into()),
            (format!("{one}.emitAs('a' + 'b')"),                "emitAs takes a name, written here, of at most 100 bytes".into()),
            (format!("{one}.emitAs('')"),                       "emitAs takes a name, written here, of at most 100 bytes".into()),
            (format!("{one}.emitAs('a b')"),                    "\"a b\" cannot be in the name of a header".into()),
            (format!("{one}.emitAs('a\\r\\nb')"),               "\"a\\r\\nb\" cannot be in the name of a header".into()),
            ("attributes.saml_attributes.selectByName('urn:a').strict()".into(), "\"urn:a\" cannot be in the name of a header: use emitAs first".into()),
            ("[attributes.iap_attributes]".into(),              "a list in a list; use append".into()),
            (many,                                              "45 attributes may be selected".into()),
            (strict("Authorization"),                           taken("Authorization")),
            (strict("cookie"),                                  taken("cookie")),
            (strict("Host"),                                    taken("Host")),
            (strict("Content-Length"),                          taken("Content-Length")),
            (strict("content_length"),                          taken("content_length")),
            (strict("Connection"),                              taken("Connection")),
            (strict("X-Forwarded-For"),                         taken("X-Forwarded-For")),
            (strict("X-Goog-Authenticated-User-Email"),         taken("X-Goog-Authenticated-User-Email")),
            (strict("x_goog_iap_jwt_assertion"),                taken("x_goog_iap_jwt_assertion")),
            (strict("X-Real-IP"),                               taken("X-Real-IP")),
            (strict("Proxy"),                                   taken("Proxy")),
            (strict("X-HTTP-Method"),                           taken("X-HTTP-Method")),
            (strict("x_method_override"),                       taken("x_method_override")),
            (strict("X-Host"),                                  taken("X-Host")),
            (strict("X-Envoy-Original-Path"),                   taken("X-Envoy-Original-Path")),
            (strict("Max-Forwards"),                            taken("Max-Forwards")),
            (strict("User-Agent"),                              taken("User-Agent")),
            (format!("{one}.strict().emitAs('via')"),           taken("via")),
        ];
        for (source, expected) in cases {
            let refused = Propagation::compile(&source).map_or_else(|error| error.message, |_| "accepted".to_owned());
            assert!(refused.starts_with(&expected), "{source:.100}: {refused}");
        }
    }

    #[test]
    fn too_many_attributes_or_a_filter_that_fails_propagate_nothing() {
        let names: Vec<String> = (0..=MAX_ATTRIBUTES).map(|n| format!("n{n}")).collect();
        let saml: Vec<Attribute> = names.iter().map(|name| Attribute { name: name.clone(), values: vec![] }).collect();
        let select = |source: &str, count: usize| {
            let caller = CallerAttributes { iap: vec![], saml: saml[..count].to_vec() };
            Propagation::compile(source)
                .unwrap()
                .select(&caller, &Budget::of_one_question())
                .map(|selected| selected.len())
        };
        assert_eq!(select("attributes.saml_attributes", MAX_ATTRIBUTES), Ok(MAX_ATTRIBUTES));
        assert_eq!(select("attributes.saml_attributes", MAX_ATTRIBUTES + 1), Err(PropagationError::TooMany));
        assert_eq!(
            select("attributes.saml_attributes.filter(x, x.values[0] == 'a')", 1),
            Err(PropagationError::Filter(EvaluationError::OutOfRange("an index")))
        );
        // Filters share what the request has left: each by itself is allowed.
        let budget = Budget::of_one_question();
        let long = Attribute { name: "a".to_owned(), values: vec!["v".to_owned(); 100] };
        let caller = CallerAttributes { iap: vec![], saml: vec![long; MAX_ATTRIBUTES] };
        let heavy = "attributes.saml_attributes.filter(x, x.values.all(a, x.values + x.values != []))";
        let heavy = Propagation::compile(heavy).unwrap();
        let one = CallerAttributes { iap: vec![], saml: caller.saml[..1].to_vec() };
        assert_eq!(heavy.select(&one, &budget).map(|selected| selected.len()), Ok(1));
        assert_eq!(heavy.select(&caller, &budget), Err(PropagationError::Filter(EvaluationError::BudgetSpent)));
        assert_eq!(heavy.select(&one, &budget), Err(PropagationError::Filter(EvaluationError::BudgetSpent)));
    }
}
