//! Expressions in CEL: conditions of policies, and the mappings and conditions of identity pools.
//!
//! An [`Expression`] is checked when it is written: its length, its depth, its names. It is then evaluated with a budget,
//! so that no expression and no input takes more than some ten milliseconds or a few megabytes. A [`Condition`] is one whose
//! attributes and types were checked against a [`Schema`]; a [`SampledCondition`], over claims whose types nobody knows, was seen to
//! give `true` or `false`.
//!
//! The language is CEL's standard without messages and optional values, and the functions that Google has in these places:
//! `extract`, `hasOnly`, `inIpRange`, `join`, `lowerAscii`, `replace`, `split`, `trim`, `upperAscii`.
//!
//! Spec: <https://github.com/google/cel-spec/blob/master/doc/langdef.md>,
//! <https://cloud.google.com/iam/docs/conditions-attribute-reference>

mod check;
mod functions;
#[cfg(test)]
mod langdef;
mod meter;
mod pattern;
mod schema;
#[cfg(test)]
mod tests;
mod typecheck;
mod typed;
mod types;
mod values;

pub(crate) use functions::ip_range;
pub use schema::{AttributePath, HeaderAllowList, Schema};
pub use typed::Condition;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::{Context, ExecutionError, Value};
use serde_json::Value as Json;

use meter::Meter;
use pattern::Pattern;

/// The largest expression, in bytes of UTF-8.
///
/// Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools.providers>
/// (`attributeCondition`)
pub const BYTES_LIMIT: usize = 4096;

/// The most elements that a comprehension (`all`, `exists`, `exists_one`, `map`, `filter`) goes over.
pub const RANGE_LIMIT: usize = 1000;

/// The largest result, in bytes as the budget counts them: the text, and 32 for each value.
const RESULT_LIMIT: u64 = 64 * 1024;

/// What one evaluation may spend: a unit for each byte that is looked at, and 32 for each step and each value.
/// Some ten milliseconds.
const BUDGET: u64 = 2 * 1024 * 1024;

/// What the variables of one evaluation may weigh together, in the same units.
const INPUT_LIMIT: u64 = 512 * 1024;

/// What every evaluation costs, whatever it does: about a microsecond.
const EVALUATION: u64 = 256;

/// What all evaluations of one question may spend together: for every condition, access level and filter, some fifty milliseconds. A
/// short condition costs about a thousand, so that some ten thousand of those fit.
const TOGETHER: u64 = 5 * BUDGET;

/// What may still be spent on one question. Whoever may write one policy or one access level could otherwise make each request take as
/// long as there are conditions.
///
/// When it is spent, every further evaluation fails with [`EvaluationError::BudgetSpent`].
#[derive(Debug)]
pub struct Budget(AtomicU64);

impl Budget {
    /// Enough for one question: as much as five evaluations may spend that are stopped.
    pub fn of_one_question() -> Budget {
        Budget(AtomicU64::new(TOGETHER))
    }

    /// Enough for one question after another about the same circumstances, as in a list of who may do something: some seconds.
    pub fn of_many_questions() -> Budget {
        Budget(AtomicU64::new(50 * TOGETHER))
    }

    /// Whether nothing is left.
    pub fn is_spent(&self) -> bool {
        self.left() == 0
    }

    fn left(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn spend(&self, cost: u64) {
        self.0.store(self.left().saturating_sub(cost), Ordering::Relaxed);
    }
}

/// A place in an expression's text. Both numbers begin at 1; a column is a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character of the line.
    pub column: usize,
}

/// Why an expression was not accepted when it was written. Made for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", At(self.position))]
pub struct CompileError {
    /// What is wrong, in one line. Quotes the expression, and no value.
    pub message: String,
    /// Where, if it is at one place.
    pub position: Option<Position>,
}

struct At(Option<Position>);

impl fmt::Display for At {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Position { line: 1, column }) => write!(out, " (at column {column})"),
            Some(Position { line, column }) => write!(out, " (at line {line}, column {column})"),
            None => Ok(()),
        }
    }
}

impl CompileError {
    /// What an expression of more bytes than are allowed at its place is refused with.
    pub fn too_long(limit: usize) -> CompileError {
        CompileError::new(format!("an expression may have {limit} bytes here"), None)
    }

    fn new(message: impl Into<String>, position: Option<Position>) -> CompileError {
        CompileError { message: message.into(), position }
    }
}

/// Why an evaluation gave no result. Names functions, types and the expression's own words, and never a value: claims of
/// tokens may be private.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// A variable that the expression uses was not given.
    #[error("{0} is not known here")]
    NoVariable(String),
    /// An attribute that this question has no value for.
    #[error("{0} has no value here")]
    NoValue(String),
    /// The condition was accepted once, and is not any more.
    #[error("the condition does not compile")]
    NotCompiled,
    /// An attribute or a key that is not there. Named if the expression has the name in its text.
    #[error("there is no attribute {}", .0.as_deref().unwrap_or("of that name"))]
    NoAttribute(Option<String>),
    /// An operator or a function was applied to types that it does not take.
    #[error("{operation} cannot be applied to {types}")]
    WrongType {
        /// The operator as it is written, or the function's name.
        operation: String,
        /// The types, separated by commas.
        types: String,
    },
    /// A conversion or a function failed on what it was given, such as `int('a')`.
    #[error("{0} failed")]
    Failed(String),
    /// An index past the end, a division by zero, or a number that is too large.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// A map has the same key twice.
    #[error("a map has the same key twice")]
    DuplicateKey,
    /// The result is not `true` or `false`, where it must be.
    #[error("the result is {0}, not bool")]
    NotBool(String),
    /// The result has no form in JSON.
    #[error("the result cannot be {0}")]
    NotJson(String),
    /// The variables are too large together.
    #[error("the values are too large to be looked at")]
    InputTooLarge,
    /// The result is too large.
    #[error("the result is too large")]
    ResultTooLarge,
    /// A comprehension over more than [`RANGE_LIMIT`] elements.
    #[error("a list or map has too many elements to go over")]
    RangeTooLarge,
    /// The evaluation was stopped.
    #[error("the evaluation takes too much work")]
    TooMuchWork,
    /// The evaluations before it, and perhaps the beginning of this one, took all that they may: see [`Budget`].
    #[error("the evaluations for this request take too much work together")]
    BudgetSpent,
    /// Whether an access level is met could not be evaluated.
    #[error("it is not known whether {0} is met")]
    UnknownLevel(String),
}

impl EvaluationError {
    /// Whether the expression itself is at fault, whatever the values are like, as far as types tell.
    fn is_mistake(&self) -> bool {
        use EvaluationError as E;
        match self {
            E::WrongType { .. } | E::NotBool(_) | E::NotJson(_) | E::DuplicateKey | E::NoVariable(_) => true,
            E::ResultTooLarge | E::RangeTooLarge | E::TooMuchWork => true,
            E::NoAttribute(_) | E::NoValue(_) | E::Failed(_) | E::OutOfRange(_) | E::InputTooLarge => false,
            E::NotCompiled | E::BudgetSpent | E::UnknownLevel(_) => false,
        }
    }
}

/// An expression that was checked: every name in it is known, and it is small.
#[derive(Clone)]
pub struct Expression {
    source: String,
    /// With a charge around every step, if it needs one: see [`meter`].
    metered: Arc<cel::IdedExpr>,
    variables: BTreeSet<String>,
    /// What the text names: attributes and literal strings.
    words: Arc<BTreeSet<String>>,
    patterns: Arc<BTreeMap<String, Pattern>>,
    /// How many parts it has, if it is not metered.
    unmetered_parts: u64,
}

impl fmt::Debug for Expression {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Expression").field(&self.source).finish()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Expression) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

impl Expression {
    /// Parses and checks an expression of at most [`BYTES_LIMIT`] that may use these variables and no others.
    ///
    /// # Errors
    /// [`CompileError`] for what is not CEL, too large, too deep, or names a variable or function that there is not.
    pub fn compile(source: &str, variables: &[&str]) -> Result<Expression, CompileError> {
        Ok(Expression::of(source, check::parse(source, variables)?))
    }

    fn of(source: &str, mut checked: check::Checked) -> Expression {
        checked.expression = meter::metered(checked.expression);
        Expression::unmetered(source, checked, 0)
    }

    /// An expression of which [`meter::small_parts`] says that it needs no budget of its own.
    fn unmetered(source: &str, checked: check::Checked, unmetered_parts: u64) -> Expression {
        Expression {
            source: source.to_owned(),
            variables: checked.variables,
            words: Arc::new(checked.words),
            patterns: Arc::new(checked.patterns),
            metered: Arc::new(checked.expression),
            unmetered_parts,
        }
    }

    /// The text that was compiled.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Evaluates the expression with variables by name; those that it does not use are not looked at.
    ///
    /// A whole number is CEL's `int`, any other a `double`. Costs a few microseconds, and at most some ten milliseconds.
    ///
    /// # Errors
    /// [`EvaluationError`]; a condition then does not hold.
    pub fn evaluate(&self, variables: &[(&str, &Json)]) -> Result<Json, EvaluationError> {
        self.run(|scope, input| self.bind(variables, scope, input), &Budget::of_one_question(), values::to_json)
    }

    /// Sets the variables that the expression uses.
    fn bind<'v>(
        &self,
        variables: &[(&str, &'v Json)],
        scope: &mut Context<'_, 'v>,
        input: &Meter,
    ) -> Result<(), EvaluationError> {
        for name in &self.variables {
            let given = variables.iter().find(|(given, _)| given == name);
            let (_, value) = given.ok_or_else(|| EvaluationError::NoVariable(name.clone()))?;
            scope.add_variable_as_val(name.as_str(), values::to_cel(value, input)?);
        }
        Ok(())
    }

    /// Evaluates, and takes what that costs from what the evaluations of one question may spend together.
    fn run<'v, T>(
        &self,
        bind: impl FnOnce(&mut Context<'_, 'v>, &Meter) -> Result<(), EvaluationError>,
        together: &Budget,
        read: fn(&dyn cel::common::value::Val) -> Result<T, EvaluationError>,
    ) -> Result<T, EvaluationError> {
        let left = together.left();
        if left == 0 {
            return Err(EvaluationError::BudgetSpent);
        }
        let input = Meter::new(INPUT_LIMIT, Arc::clone(&self.patterns));
        let work = Meter::new(BUDGET.min(left), Arc::clone(&self.patterns));
        let result = self.run_within(bind, (&input, &work), read);
        // What is not metered looks at its input at most once in each part.
        let unmetered = self.unmetered_parts.saturating_mul(meter::STEP + input.spent());
        together.spend(EVALUATION + input.spent() + work.spent() + unmetered);
        match result {
            Err(EvaluationError::TooMuchWork) if left < BUDGET => Err(EvaluationError::BudgetSpent),
            result => result,
        }
    }

    fn run_within<'v, T>(
        &self,
        bind: impl FnOnce(&mut Context<'_, 'v>, &Meter) -> Result<(), EvaluationError>,
        (input, work): (&Meter, &Meter),
        read: fn(&dyn cel::common::value::Val) -> Result<T, EvaluationError>,
    ) -> Result<T, EvaluationError> {
        let mut context = Context::with_env(functions::environment());
        bind(&mut context, input)?;
        context.add_variable_as_val(meter::NAME, Box::new(work.clone()));

        let result = Value::resolve_val(&self.metered, &context);
        // First, because `||` and `&&` may have swallowed the error that stopped the work.
        if let Some(stopped) = work.stopped() {
            return Err(stopped);
        }
        let result = result.map_err(|error| self.explain(error))?;
        let size = Meter::new(RESULT_LIMIT, Arc::default());
        size.spend_value(result.as_ref()).map_err(|_| EvaluationError::ResultTooLarge)?;
        read(result.as_ref())
    }

    /// Says what went wrong without the values that the library's own message quotes.
    fn explain(&self, error: ExecutionError) -> EvaluationError {
        use EvaluationError as E;
        let wrong = |operation: &str, types: String| E::WrongType { operation: operation.to_owned(), types };
        match error {
            ExecutionError::NoSuchKey(key) => E::NoAttribute(self.words.get(key.as_str()).cloned()),
            ExecutionError::UndeclaredReference(name) => E::NoVariable(name.to_string()),
            ExecutionError::NoSuchOverload(overload) => {
                // What follows the value before a dot is the attribute's name, which is always a string.
                let count = if overload.function() == "_._" { 1 } else { usize::MAX };
                let types = overload.argument_types().iter().filter(|name| *name != meter::TYPE_NAME).take(count);
                let types = types.map(|name| values::plain_name(name)).collect::<Vec<_>>().join(", ");
                wrong(check::written(overload.function()), types)
            }
            ExecutionError::UnexpectedType { got, .. } => wrong("this", got),
            ExecutionError::UnsupportedTargetType { target } => wrong("this", values::type_name(&target)),
            ExecutionError::NotSupportedAsMethod { method, target } => wrong(&method, values::type_name(&target)),
            ExecutionError::UnsupportedKeyType(key) => wrong("a key", values::type_name(&key)),
            ExecutionError::ValuesNotComparable(left, right) => wrong("comparison", values::type_names(&[left, right])),
            ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
                wrong(check::spelled(operator), values::type_names(&[left, right]))
            }
            ExecutionError::UnsupportedIndex(index, of) => wrong("an index", values::type_names(&[of, index])),
            ExecutionError::InvalidArgumentCount { .. } | ExecutionError::MissingArgumentOrTarget => {
                wrong("a function", "these arguments".to_owned())
            }
            ExecutionError::FunctionError { function, .. } => E::Failed(function),
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
                E::OutOfRange("a division by zero")
            }
            ExecutionError::Overflow(..) => E::OutOfRange("a number"),
            ExecutionError::IndexOutOfBounds(_) => E::OutOfRange("an index"),
            ExecutionError::DuplicateKey(_) => E::DuplicateKey,
            // The library's enum is open, so this one arm is needed. It tells nothing and grants nothing.
            _ => E::Failed("the evaluation".to_owned()),
        }
    }
}

/// The syntax of an expression of another language that is written in CEL, with functions of its own (`x.name(…)`, with so many
/// arguments). Its names are checked as an expression's.
pub(crate) struct Parsed {
    source: String,
    checked: check::Checked,
}

impl Parsed {
    /// Parses, as [`Expression::compile`].
    pub(crate) fn new(source: &str, variables: &[&str], functions: &[(&str, usize)]) -> Result<Parsed, CompileError> {
        Ok(Parsed { source: source.to_owned(), checked: check::parse_with(source, variables, functions)? })
    }

    /// The whole.
    pub(crate) fn root(&self) -> &cel::IdedExpr {
        &self.checked.expression
    }

    /// A part as an expression over one variable, which may name no other and none of the functions of the whole.
    pub(crate) fn part(&self, part: &cel::IdedExpr, variable: &str) -> Result<Expression, CompileError> {
        let variables = check::part(part, &self.checked.places, &[variable])?;
        Ok(Expression {
            source: self.source.clone(),
            metered: Arc::new(meter::metered(part.clone())),
            variables,
            words: Arc::new(self.checked.words.clone()),
            patterns: Arc::new(self.checked.patterns.clone()),
            unmetered_parts: 0,
        })
    }

    /// A mistake at a part.
    pub(crate) fn wrong(&self, part: &cel::IdedExpr, message: impl Into<String>) -> CompileError {
        CompileError::new(message, self.checked.places.of(part.id))
    }
}

/// An expression over claims that says yes or no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampledCondition(Expression);

impl SampledCondition {
    /// Compiles a condition, and evaluates it once against a sample of what it will see.
    ///
    /// What the sample lacks is no error. What it has must be of the type that real values have: a condition that treats a
    /// string as a list is refused.
    ///
    /// # Errors
    /// [`CompileError`] as [`Expression::compile`]'s, and for a condition whose result on the sample is not a bool or
    /// whose types do not fit.
    pub fn compile(
        source: &str,
        variables: &[&str],
        sample: &[(&str, &Json)],
    ) -> Result<SampledCondition, CompileError> {
        let condition = SampledCondition(Expression::compile(source, variables)?);
        match condition.holds(sample) {
            Err(error) if error.is_mistake() => Err(CompileError::new(error.to_string(), None)),
            Ok(_) | Err(_) => Ok(condition),
        }
    }

    /// The text that was compiled.
    pub fn source(&self) -> &str {
        self.0.source()
    }

    /// A part of an expression of another language, evaluated once as [`compile`](Self::compile) does.
    pub(crate) fn of(expression: Expression, sample: &[(&str, &Json)]) -> Result<SampledCondition, String> {
        let condition = SampledCondition(expression);
        match condition.holds(sample) {
            Err(error) if error.is_mistake() => Err(error.to_string()),
            Ok(_) | Err(_) => Ok(condition),
        }
    }

    /// Whether the condition holds for these values.
    ///
    /// # Errors
    /// [`EvaluationError`]: it is not known. An allow policy then grants nothing, and a deny policy denies.
    pub fn holds(&self, variables: &[(&str, &Json)]) -> Result<bool, EvaluationError> {
        self.holds_within(variables, &Budget::of_one_question())
    }

    /// The same, as one of several evaluations that have one budget.
    ///
    /// # Errors
    /// As [`holds`](Self::holds)'s.
    pub fn holds_within(&self, variables: &[(&str, &Json)], together: &Budget) -> Result<bool, EvaluationError> {
        self.0.run(|scope, input| self.0.bind(variables, scope, input), together, values::to_bool)
    }
}
