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
        let mut reads: Vec<AttributePath> = values.into_iter().map(AttributePath).collect();
        let presence: Vec<AttributePath> = presence.into_iter().map(AttributePath).collect();
        let asked = presence.iter().filter(|attribute| !reads.contains(attribute)).cloned().collect::<Vec<_>>();
        reads.extend(asked);
        let reads_path = reads.iter().any(|attribute| attribute.0 == Attribute::Path);
        let expression = if meter::is_small(&checked.expression) && !reads.iter().any(|read| read.0.is_open()) {
            Expression::unmetered(source, checked)
        } else {
            Expression::of(source, checked)
        };
        let values = named(&reads, Attribute::to_string);
        let presence = named(&presence, typecheck::presence_name);
        let compiled = Compiled { expression, reads, values, presence, reads_path };
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

    /// Whether the condition holds, as an allow policy asks: a path that is not normal must pass as it was sent and as it is
    /// normalised.
    ///
    /// Costs some microseconds, and at most some ten milliseconds.
    ///
    /// # Errors
    /// [`EvaluationError`] if it is not known, as for an attribute that has no value here. Nothing is granted then.
    pub fn holds(&self, context: &RequestContext<'_>) -> Result<bool, EvaluationError> {
        let compiled = self.compiled.as_ref().ok_or(EvaluationError::NotCompiled)?;
        let (raw, normal) = compiled.paths(context);
        let first = compiled.run(context, raw)?;
        match normal {
            Some(normal) => Ok(first && compiled.run(context, normal)?),
            None => Ok(first),
        }
    }

    /// Whether the condition holds for the path as it was sent or as it is normalised, as a deny policy asks. It denies unless this
    /// is `Ok(false)`.
    ///
    /// # Errors
    /// [`EvaluationError`] if it holds for neither, and is not known for one. It denies then, too.
    pub fn may_hold(&self, context: &RequestContext<'_>) -> Result<bool, EvaluationError> {
        let compiled = self.compiled.as_ref().ok_or(EvaluationError::NotCompiled)?;
        let (raw, normal) = compiled.paths(context);
        let first = compiled.run(context, raw);
        let Some(normal) = normal.filter(|_| first != Ok(true)) else { return first };
        match compiled.run(context, normal)? {
            true => Ok(true),
            false => first,
        }
    }
}

impl Compiled {
    /// The path as it was sent, and its normal form if that is another and the condition looks at it.
    fn paths<'c>(&self, context: &'c RequestContext<'_>) -> (&'c str, Option<&'c str>) {
        let Some(http) = &context.http else { return ("", None) };
        (http.path.raw(), http.path.normal().filter(|_| self.reads_path))
    }

    fn run<'c>(&'c self, context: &'c RequestContext<'_>, path: &'c str) -> Result<bool, EvaluationError> {
        let bind = |scope: &mut cel::Context<'_, 'c>, input: &meter::Meter| {
            for (name, attribute) in &self.values {
                if let Some(value) = attribute.value(context, path, input)? {
                    scope.add_variable_as_val(name.as_str(), value);
                }
            }
            for (name, attribute) in &self.presence {
                let there = attribute.value(context, path, input)?.is_some();
                scope.add_variable_as_val(name.as_str(), Box::new(CelBool::from(there)));
            }
            Ok(())
        };
        self.expression.run(bind, values::to_bool).map_err(|error| match error {
            EvaluationError::NoVariable(name) => EvaluationError::NoValue(name),
            other => other,
        })
    }
}

fn named(attributes: &[AttributePath], name: fn(&Attribute) -> String) -> Vec<(String, Attribute)> {
    attributes.iter().map(|AttributePath(attribute)| (name(attribute), attribute.clone())).collect()
}
