//! Conditions over the attributes of a request.

use std::sync::Arc;

use cel::common::types::CelBool;

use super::schema::{Attribute, AttributePath, Schema};
use super::typecheck::{self, Reads};
use super::{CompileError, EvaluationError, Expression, check, meter, values};
use crate::policy::request::RequestContext;

/// A condition of a policy or an access level: checked against a [`Schema`] when it was written.
#[derive(Debug, Clone)]
pub struct Condition {
    source: String,
    /// `None` if it does not compile.
    compiled: Option<Arc<Compiled>>,
}

#[derive(Debug)]
struct Compiled {
    expression: Expression,
    reads: Vec<AttributePath>,
    /// The variables that hold values.
    values: Vec<(String, Attribute)>,
    /// The variables that say whether an attribute has a value.
    presence: Vec<(String, Attribute)>,
    reads_path: bool,
    /// It has a text that no path has as it is sent.
    reads_decoded: bool,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Condition) -> bool {
        self.source == other.source && self.compiled.is_some() == other.compiled.is_some()
    }
}

impl Eq for Condition {}

impl Condition {
    /// Parses a condition and checks its attributes and types. Takes a thread for a moment; not for requests.
    ///
    /// # Errors
    /// [`CompileError`] with the place: what is not CEL, an attribute that there is not, an operator or function that does not take
    /// these types, a pattern, time, zone, range or template that is not one, a result that is not bool.
    pub fn compile(source: &str, schema: &Schema) -> Result<Condition, CompileError> {
        let mut checked = check::parse(source, schema.roots())?;
        let Reads { values, presence } = {
            let place = |id| checked.places.of(id);
            typecheck::check(&mut checked.expression, schema, &place)?
        };
        let mut reads: Vec<AttributePath> = Vec::new();
        for attribute in values.iter().chain(&presence) {
            let read = AttributePath(attribute.as_read());
            if !reads.contains(&read) {
                reads.push(read);
            }
        }
        let reads_path = reads.iter().any(|attribute| attribute.0 == Attribute::Path);
        // Whoever writes such bytes means paths as people read them.
        let reads_decoded = checked.words.iter().any(|word| !word.bytes().all(|byte| byte.is_ascii_graphic()));
        let small = meter::small_parts(&checked.expression).filter(|_| !reads.iter().any(|read| read.0.is_open()));
        let expression = match small {
            Some(parts) => Expression::unmetered(source, checked, parts),
            None => Expression::of(source, checked),
        };
        let values = named(values, Attribute::to_string);
        let presence = named(presence, typecheck::presence_name);
        let compiled = Compiled { expression, reads, values, presence, reads_path, reads_decoded };
        Ok(Condition { source: source.to_owned(), compiled: Some(Arc::new(compiled)) })
    }

    /// A condition that was stored and compiles no longer, because a header was taken off the list. Every evaluation of it fails:
    /// it grants nothing, and it denies.
    pub fn failing(source: &str) -> Condition {
        Condition { source: source.to_owned(), compiled: None }
    }

    /// The text that was compiled.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The attributes that it reads, each once, in the order of the text.
    pub fn reads(&self) -> &[AttributePath] {
        self.compiled.as_ref().map_or(&[], |compiled| &compiled.reads)
    }

    /// Whether the condition holds, as an allow policy asks: a path must pass as it was sent, as it is normalised, and in its plain
    /// spelling; decoded, too, if the condition has a text that stands in no path undecoded (`'/café'`).
    ///
    /// Costs some microseconds for each form of the path, and at most some ten milliseconds.
    ///
    /// # Errors
    /// [`EvaluationError`] if it is not known, as for an attribute that has no value here. Nothing is granted then.
    pub fn holds(&self, context: &RequestContext<'_>) -> Result<bool, EvaluationError> {
        let compiled = self.compiled.as_ref().ok_or(EvaluationError::NotCompiled)?;
        let (raw, [normal, plain, decoded]) = compiled.paths(context);
        let decoded = decoded.filter(|_| compiled.reads_decoded);
        let mut holds = compiled.run(context, raw)?;
        for path in [normal, plain, decoded].into_iter().flatten() {
            holds = holds && compiled.run(context, path)?;
        }
        Ok(holds)
    }

    /// Whether the condition holds for the path in any of its forms, as a deny policy asks. It denies unless this is `Ok(false)`.
    ///
    /// # Errors
    /// [`EvaluationError`] if it holds for none, and is not known for one. It denies then, too.
    pub fn may_hold(&self, context: &RequestContext<'_>) -> Result<bool, EvaluationError> {
        let compiled = self.compiled.as_ref().ok_or(EvaluationError::NotCompiled)?;
        let (raw, others) = compiled.paths(context);
        let mut outcome = compiled.run(context, raw);
        for path in others.into_iter().flatten() {
            if outcome == Ok(true) {
                break;
            }
            match compiled.run(context, path) {
                Ok(false) => {}
                other if other == Ok(true) || outcome == Ok(false) => outcome = other,
                Ok(true) | Err(_) => {}
            }
        }
        outcome
    }
}

impl Compiled {
    /// The path as it was sent; and its normal, plain and decoded forms if they are others and the condition looks at them.
    fn paths<'c>(&self, context: &'c RequestContext<'_>) -> (&'c str, [Option<&'c str>; 3]) {
        let Some(path) = context.http.as_ref().map(|http| &http.path) else { return ("", [None; 3]) };
        let others = if self.reads_path { [path.normal(), path.plain(), path.decoded()] } else { [None; 3] };
        (path.raw(), others)
    }

    fn run<'c>(&'c self, context: &'c RequestContext<'_>, path: &'c str) -> Result<bool, EvaluationError> {
        let bind = |scope: &mut cel::Context<'_, 'c>, input: &meter::Meter| {
            for (name, attribute) in &self.values {
                if let Some(value) = attribute.value(context, path, input)? {
                    scope.add_variable_as_val(name.as_str(), value);
                }
            }
            for (name, attribute) in &self.presence {
                let there = attribute.is_there(context, path, input)?;
                scope.add_variable_as_val(name.as_str(), Box::new(CelBool::from(there)));
            }
            Ok(())
        };
        self.expression.run(bind, context.budget(), values::to_bool).map_err(|error| match error {
            EvaluationError::NoVariable(name) => self.without_value(name, context),
            other => other,
        })
    }

    /// Why a variable has no value.
    fn without_value(&self, name: String, context: &RequestContext<'_>) -> EvaluationError {
        let attribute = self.values.iter().find(|(known, _)| *known == name).map(|(_, attribute)| attribute);
        let level = match attribute {
            Some(Attribute::Level(level)) if context.access_levels().is_some() => Some(level.as_str()),
            Some(Attribute::AccessLevels) => context.unknown_access_levels().first().copied(),
            Some(_) | None => None,
        };
        match level {
            Some(level) => EvaluationError::UnknownLevel(level.to_owned()),
            None => EvaluationError::NoValue(attribute.map_or(name, |attribute| attribute.as_read().to_string())),
        }
    }
}

fn named(attributes: Vec<Attribute>, name: fn(&Attribute) -> String) -> Vec<(String, Attribute)> {
    attributes.into_iter().map(|attribute| (name(&attribute), attribute)).collect()
}
