//! The budget of an evaluation.
//!
//! The library that evaluates has none: `[s].map(x, x + x)`, chained, would double a string hundreds of times. So every
//! step of an expression is wrapped, once, in a call that charges the weight of the step's result to a meter before
//! anything else is done with it. The meter is a variable that no text can name, because `@` is not of the language.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cel::common::ast::operators;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, SelectExpr};
use cel::common::types::{CelBytes, CelList, CelMap, CelString, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{Env, ExecutionError};

use super::pattern::Pattern;
use super::{EvaluationError, RANGE_LIMIT, functions};

/// The variable that holds the meter.
pub(super) const NAME: &str = "@meter";

/// The meter's type, for messages to leave out.
pub(super) const TYPE_NAME: &str = "@meter";

const CHARGE: &str = "@charge";
const RANGE: &str = "@range";

/// What a step or a value costs besides its bytes.
pub(super) const STEP: u64 = 32;

static TYPE: Type = Type::new_unspecified_type(TYPE_NAME);

/// Counts what an evaluation spends. Clones count together.
#[derive(Debug, Clone)]
pub(super) struct Meter(Arc<State>);

#[derive(Debug)]
struct State {
    budget: u64,
    spent: AtomicU64,
    range_too_large: AtomicBool,
    patterns: Arc<BTreeMap<String, Pattern>>,
}

impl Meter {
    pub(super) fn new(budget: u64, patterns: Arc<BTreeMap<String, Pattern>>) -> Meter {
        Meter(Arc::new(State { budget, spent: AtomicU64::new(0), range_too_large: AtomicBool::new(false), patterns }))
    }

    /// The literal patterns of the expression, compiled.
    pub(super) fn patterns(&self) -> &BTreeMap<String, Pattern> {
        &self.0.patterns
    }

    /// Spends a step and so many bytes.
    pub(super) fn spend_bytes(&self, bytes: usize) -> Result<(), ExecutionError> {
        let cost = STEP.saturating_add(bytes as u64);
        let spent = self.0.spent.load(Ordering::Relaxed).saturating_add(cost);
        self.0.spent.store(spent, Ordering::Relaxed);
        if spent > self.0.budget { Err(stop()) } else { Ok(()) }
    }

    /// Spends what a value weighs, and stops looking at it where the budget ends.
    pub(super) fn spend_value(&self, value: &dyn Val) -> Result<(), ExecutionError> {
        if let Some(text) = value.downcast_ref::<CelString<'_>>() {
            return self.spend_bytes(text.inner().len());
        }
        self.spend_bytes(0)?;
        if let Some(list) = value.downcast_ref::<CelList<'_>>() {
            return list.inner().iter().try_for_each(|element| self.spend_value(element.as_ref()));
        }
        if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
            return map.inner().iter().try_for_each(|(key, value)| {
                self.spend_value(key.inner())?;
                self.spend_value(value.as_ref())
            });
        }
        match value.downcast_ref::<CelBytes<'_>>() {
            Some(bytes) => self.spend_bytes(bytes.inner().len()),
            None => Ok(()),
        }
    }

    /// What was spent: not more than a step and one value beyond the budget.
    pub(super) fn spent(&self) -> u64 {
        self.0.spent.load(Ordering::Relaxed)
    }

    /// Why the evaluation was stopped, if it was.
    pub(super) fn stopped(&self) -> Option<EvaluationError> {
        if self.0.range_too_large.load(Ordering::Relaxed) {
            return Some(EvaluationError::RangeTooLarge);
        }
        (self.0.spent.load(Ordering::Relaxed) > self.0.budget).then_some(EvaluationError::TooMuchWork)
    }

    fn check_range(&self, value: &dyn Val) -> Result<(), ExecutionError> {
        let size = value.as_sizer().map_or(0, |sizer| *sizer.size().inner());
        if size > RANGE_LIMIT as i64 && value.as_iterable().is_some() {
            self.0.range_too_large.store(true, Ordering::Relaxed);
            return Err(stop());
        }
        Ok(())
    }
}

/// Ends the evaluation. What is told comes from [`Meter::stopped`].
fn stop() -> ExecutionError {
    ExecutionError::InternalError(String::new())
}

impl Val for Meter {
    fn get_type(&self) -> &Type {
        &TYPE
    }
    fn cel_type() -> &'static Type {
        &TYPE
    }
    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Meter {}

/// The meter that the last argument of a call is.
pub(super) fn of<'a>(argument: &'a CowVal<'_, '_>) -> Result<&'a Meter, ExecutionError> {
    argument.downcast_ref::<Meter>().ok_or(ExecutionError::MissingArgumentOrTarget)
}

/// Adds the calls that charge to the environment.
pub(super) fn register(env: &mut Env) -> Result<(), cel::DeclarationError> {
    use cel::common::types::DYN_TYPE;
    env.add_overload(CHARGE, CHARGE, vec![DYN_TYPE, DYN_TYPE], charge)?;
    env.add_overload(RANGE, RANGE, vec![DYN_TYPE, DYN_TYPE], range)
}

fn charge<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [value, meter] = functions::exactly(arguments)?;
    of(&meter)?.spend_value(value.as_ref())?;
    Ok(value)
}

fn range<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [value, meter] = functions::exactly(arguments)?;
    of(&meter)?.check_range(value.as_ref())?;
    Ok(value)
}

/// The most parts of an expression that is not metered.
const SMALL: usize = 64;

/// The number of parts of an expression that does so little that it need not be metered, which most of its time would go to: few
/// parts, none of which goes over anything or makes a text longer. Each then looks at its arguments about once, and their size is
/// bounded.
pub(super) fn small_parts(expression: &IdedExpr) -> Option<u64> {
    let mut left = SMALL;
    takes_little(expression, &mut left).then(|| (SMALL - left) as u64)
}

fn takes_little(part: &IdedExpr, left: &mut usize) -> bool {
    let Some(rest) = left.checked_sub(1) else { return false };
    *left = rest;
    match &part.expr {
        Expr::Ident(_) | Expr::Literal(_) => true,
        Expr::Call(call) => {
            functions::is_cheap(&call.func_name)
                && call.target.iter().all(|target| takes_little(target, left))
                && call.args.iter().all(|argument| takes_little(argument, left))
        }
        Expr::List(list) => list.elements.iter().all(|element| takes_little(element, left)),
        Expr::Select(_) | Expr::Map(_) | Expr::Comprehension(_) | Expr::Struct(_) | Expr::Unspecified => false,
    }
}

/// The expression with a charge around every step that is not a literal.
pub(super) fn metered(expression: IdedExpr) -> IdedExpr {
    if matches!(expression.expr, Expr::Literal(_)) {
        return expression;
    }
    call(CHARGE, within(expression))
}

fn call(name: &str, argument: IdedExpr) -> IdedExpr {
    let id = argument.id;
    let meter = IdedExpr { id, expr: Expr::Ident(NAME.to_owned()) };
    let call = CallExpr { func_name: name.to_owned(), target: None, args: vec![argument, meter] };
    IdedExpr { id, expr: Expr::Call(call) }
}

/// The expression with its parts metered, and not itself.
fn within(expression: IdedExpr) -> IdedExpr {
    let IdedExpr { id, expr } = expression;
    let expr = match expr {
        Expr::Call(call) => Expr::Call(call_within(call, id)),
        Expr::Select(select) => Expr::Select(SelectExpr { operand: Box::new(looked_into(*select.operand)), ..select }),
        Expr::List(mut list) => {
            list.elements = list.elements.into_iter().map(metered).collect();
            Expr::List(list)
        }
        Expr::Map(mut map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    entry.key = metered(std::mem::take(&mut entry.key));
                    entry.value = metered(std::mem::take(&mut entry.value));
                }
            }
            Expr::Map(map)
        }
        Expr::Comprehension(comprehension) => {
            let ComprehensionExpr { iter_range, loop_step, accu_var, .. } = *comprehension;
            let iter_range = call(RANGE, metered(iter_range));
            let loop_step = step(loop_step, &accu_var);
            Expr::Comprehension(Box::new(ComprehensionExpr { iter_range, loop_step, accu_var, ..*comprehension }))
        }
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => expr,
    };
    IdedExpr { id, expr }
}

fn call_within(mut call: CallExpr, id: u64) -> CallExpr {
    let into_first = call.func_name == operators::INDEX;
    let part = |(nth, argument)| if into_first && nth == 0 { looked_into(argument) } else { metered(argument) };
    call.args = call.args.into_iter().enumerate().map(part).collect();
    call.target = call.target.map(|target| Box::new(metered(*target)));
    if functions::is_metered(&call.func_name) {
        call.args.push(IdedExpr { id, expr: Expr::Ident(NAME.to_owned()) });
    }
    call
}

/// What a field or an element is taken out of is borrowed, not copied: `assertion.sub` costs what `sub` weighs.
fn looked_into(expression: IdedExpr) -> IdedExpr {
    let path = match &expression.expr {
        Expr::Ident(_) => true,
        Expr::Select(select) => !select.test,
        Expr::Call(call) => call.func_name == operators::INDEX,
        Expr::Comprehension(_) | Expr::List(_) | Expr::Literal(_) | Expr::Map(_) => false,
        Expr::Struct(_) | Expr::Unspecified => false,
    };
    if path { within(expression) } else { metered(expression) }
}

/// A loop's step keeps the shape that its macro gave it, which the library knows and makes fast; what the user wrote
/// inside is metered.
fn step(expression: IdedExpr, accumulator: &str) -> IdedExpr {
    let is_accumulator = |part: &IdedExpr| matches!(&part.expr, Expr::Ident(name) if name == accumulator);
    if is_accumulator(&expression) {
        return expression;
    }
    let IdedExpr { id, expr } = expression;
    match expr {
        Expr::Call(mut call)
            if call.func_name == operators::CONDITIONAL && call.args.get(2).is_some_and(is_accumulator) =>
        {
            let parts = call.args.into_iter().enumerate();
            call.args =
                parts.map(|(nth, part)| if nth == 0 { metered(part) } else { step(part, accumulator) }).collect();
            IdedExpr { id, expr: Expr::Call(call) }
        }
        Expr::Call(mut call) if call.args.first().is_some_and(is_accumulator) => {
            let part = |part: IdedExpr| match &part.expr {
                Expr::Ident(name) if name == accumulator => part,
                Expr::List(_) => within(part),
                _ => metered(part),
            };
            call.args = call.args.into_iter().map(part).collect();
            IdedExpr { id, expr: Expr::Call(call) }
        }
        expr => metered(IdedExpr { id, expr }),
    }
}
