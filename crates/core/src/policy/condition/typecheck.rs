//! Types, checked when a condition is written, and attributes, found and given the names under which they are evaluated.

use std::borrow::Cow;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};
use cel::common::types::CelString;
use cel::{Context, Value};

use super::schema::{Attribute, Found, MODIFIED_GRANTS, Schema};
use super::types::Type;
use super::{CompileError, check, functions};

/// Where a part of the text begins.
pub(super) type Place<'a> = &'a dyn Fn(u64) -> Option<super::Position>;

/// What a condition reads.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Attributes whose value it takes.
    pub(super) values: Vec<Attribute>,
    /// Attributes that it asks for by `has` or `in`.
    pub(super) presence: Vec<Attribute>,
}

/// The variable that says whether an attribute has a value.
pub(super) fn presence_name(attribute: &Attribute) -> String {
    format!("has({attribute})")
}

/// Checks a condition, whose forms of calls and names were found right, and rewrites its attributes as single variables.
pub(super) fn check(expression: &mut IdedExpr, schema: &Schema, place: Place<'_>) -> Result<Reads, CompileError> {
    let mut check = TypeCheck { schema, place, scope: Vec::new(), reads: Reads::default() };
    match check.part(expression)? {
        Type::Bool | Type::Dyn | Type::Free => Ok(check.reads),
        other => Err(CompileError::new(format!("the result is {other}, not bool"), None)),
    }
}

struct TypeCheck<'a> {
    schema: &'a Schema,
    place: Place<'a>,
    /// The variables of the comprehensions around.
    scope: Vec<(String, Type)>,
    reads: Reads,
}

impl TypeCheck<'_> {
    fn wrong<T>(&self, at: u64, message: impl Into<String>) -> Result<T, CompileError> {
        Err(CompileError::new(message, (self.place)(at)))
    }

    fn not_for<T>(&self, at: u64, operation: &str, types: &[Type]) -> Result<T, CompileError> {
        let types = types.iter().map(Type::to_string).collect::<Vec<_>>().join(", ");
        self.wrong(at, format!("{operation} cannot be applied to {types}"))
    }

    fn part(&mut self, part: &mut IdedExpr) -> Result<Type, CompileError> {
        let at = part.id;
        if let Some((attribute, mut default)) = self.api_attribute(part)? {
            let (of, given) = (attribute.type_of(), self.part(&mut default)?);
            if !of.fits(&given) {
                return self.not_for(at, check::GET_ATTRIBUTE, &[Type::String, given]);
            }
            self.read(&attribute);
            self.asked(&attribute);
            // Without a value it is the default: `has(x) ? x : default`.
            let ident = |name: String| IdedExpr { id: at, expr: Expr::Ident(name) };
            let args = vec![ident(presence_name(&attribute)), ident(attribute.to_string()), default];
            part.expr = Expr::Call(CallExpr { func_name: operators::CONDITIONAL.to_owned(), target: None, args });
            return Ok(of);
        }
        if let Some((variable, of)) = self.attribute(part)? {
            part.expr = Expr::Ident(variable);
            return Ok(of);
        }
        match &mut part.expr {
            Expr::Literal(literal) => Ok(match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Bytes(_) => Type::Bytes,
                LiteralValue::Double(_) => Type::Double,
                LiteralValue::Int(_) => Type::Int,
                LiteralValue::Null => Type::Null,
                LiteralValue::String(_) => Type::String,
                LiteralValue::UInt(_) => Type::Uint,
            }),
            // What is in no scope and no attribute is the name of a type: other names were refused.
            Expr::Ident(name) => Ok(self.in_scope(name).cloned().unwrap_or(Type::OfTypes)),
            Expr::Select(select) => self.select(select, at),
            Expr::List(list) => {
                let mut of = Type::Free;
                for element in &mut list.elements {
                    of = of.joined(self.part(element)?);
                }
                Ok(Type::list(of))
            }
            Expr::Map(map) => {
                let (mut key, mut value) = (Type::Free, Type::Free);
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        key = key.joined(self.part(&mut entry.key)?);
                        value = value.joined(self.part(&mut entry.value)?);
                    }
                }
                Ok(Type::map(key, value))
            }
            Expr::Call(call) => self.call(call, at),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(_) | Expr::Unspecified => self.wrong(at, "this is not an expression"),
        }
    }

    fn in_scope(&self, name: &str) -> Option<&Type> {
        self.scope.iter().rev().find(|(known, _)| known == name).map(|(_, of)| of)
    }

    /// The variable and the type of what stands for an attribute.
    fn attribute(&mut self, part: &mut IdedExpr) -> Result<Option<(String, Type)>, CompileError> {
        let at = part.id;
        let (asked, words) = match &part.expr {
            Expr::Select(SelectExpr { operand, field, test: true }) => {
                let words = words(operand).map(|mut words| {
                    words.push(Cow::Borrowed(field.as_str()));
                    words
                });
                (true, words)
            }
            Expr::Call(CallExpr { func_name, args, .. }) if func_name == operators::IN => match args.as_slice() {
                [IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }, map] => {
                    if self.is_access_levels(map) {
                        // By itself, so that a level that cannot be evaluated spoils those conditions only that name it.
                        let level = Attribute::Level(name.inner().to_owned());
                        self.read(&level);
                        return Ok(Some((level.to_string(), Type::Bool)));
                    }
                    let words = words(map).filter(|words| words[..] == ["request", "headers"]);
                    let named = words.map(|mut words| {
                        words.push(Cow::Borrowed(name.inner()));
                        words
                    });
                    (true, named)
                }
                _ => return Ok(None),
            },
            _ => (false, words(part)),
        };
        let Some(words) = words.filter(|words| words.first().is_some_and(|root| self.is_root(root))) else {
            return Ok(None);
        };
        match self.schema.find(&words) {
            Found::Attribute(attribute) if asked => {
                self.asked(&attribute);
                Ok(Some((presence_name(&attribute), Type::Bool)))
            }
            Found::Attribute(attribute) => {
                self.read(&attribute);
                Ok(Some((attribute.to_string(), attribute.type_of())))
            }
            Found::Wrong(message) => self.wrong(at, message),
            Found::Nothing => Ok(None),
        }
    }

    fn is_access_levels(&self, part: &IdedExpr) -> bool {
        let words = words(part).filter(|words| words.first().is_some_and(|root| self.is_root(root)));
        words.is_some_and(|words| matches!(self.schema.find(&words), Found::Attribute(Attribute::AccessLevels)))
    }

    fn is_root(&self, name: &str) -> bool {
        self.schema.roots().contains(&name) && self.in_scope(name).is_none()
    }

    fn read(&mut self, attribute: &Attribute) {
        if !self.reads.values.contains(attribute) {
            self.reads.values.push(attribute.clone());
        }
    }

    fn asked(&mut self, attribute: &Attribute) {
        if !self.reads.presence.contains(attribute) {
            self.reads.presence.push(attribute.clone());
        }
    }

    /// `api.getAttribute(NAME, DEFAULT)`.
    fn api_attribute(&mut self, part: &mut IdedExpr) -> Result<Option<(Attribute, IdedExpr)>, CompileError> {
        let at = part.id;
        let Expr::Call(call) = &mut part.expr else { return Ok(None) };
        if call.func_name != check::GET_ATTRIBUTE {
            return Ok(None);
        }
        let of_api = matches!(call.target.as_deref(), Some(IdedExpr { expr: Expr::Ident(name), .. }) if name == "api");
        if !of_api || !self.is_root("api") {
            return self.wrong(at, "getAttribute is called as api.getAttribute()");
        }
        let Some(default) = call.args.pop() else { return Ok(None) };
        let named = match call.args.as_slice() {
            [IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }] => name.inner() == MODIFIED_GRANTS,
            _ => false,
        };
        if named {
            Ok(Some((Attribute::ModifiedGrants, default)))
        } else {
            self.wrong(at, format!("api.getAttribute takes '{MODIFIED_GRANTS}' and a default"))
        }
    }

    fn select(&mut self, select: &mut SelectExpr, at: u64) -> Result<Type, CompileError> {
        let of = self.part(&mut select.operand)?;
        let value = match &of {
            Type::Map(key, value) if key.fits(&Type::String) => (**value).clone(),
            open if open.is_open() => Type::Dyn,
            other => return self.wrong(at, format!("there is no attribute {} in {other}", select.field)),
        };
        Ok(if select.test { Type::Bool } else { value })
    }

    fn call(&mut self, call: &mut CallExpr, at: u64) -> Result<Type, CompileError> {
        let mut types = Vec::with_capacity(call.args.len() + 1);
        if let Some(target) = &mut call.target {
            types.push(self.part(target)?);
        }
        for argument in &mut call.args {
            types.push(self.part(argument)?);
        }
        let name = call.func_name.as_str();
        let operator = check::written(name);
        if operator != name {
            return match operation(name, &types) {
                Some(of) => Ok(of),
                None if name == operators::CONDITIONAL && types.first().is_some_and(|of| Type::Bool.fits(of)) => {
                    let branches = types.get(1..).unwrap_or_default();
                    let branches = branches.iter().map(Type::to_string).collect::<Vec<_>>().join(" and ");
                    self.wrong(at, format!("both branches of ?: must be of one type, not {branches}"))
                }
                None => self.not_for(at, operator, &types),
            };
        }
        let mut forms = functions::forms(name, call.target.is_some()).filter(|form| form.takes(&types)).peekable();
        let Some(first) = forms.next() else { return self.not_for(at, name, &types) };
        // Several forms fit what is known at evaluation only; they may differ in what they give.
        let of = forms.fold(first.gives(), |of, form| of.joined(form.gives()));
        self.literals(call, at)?;
        Ok(of)
    }

    /// Finds the mistakes in literal arguments that would make every evaluation fail.
    fn literals(&self, call: &CallExpr, at: u64) -> Result<(), CompileError> {
        let name = call.func_name.as_str();
        let Some(last) = call.args.last() else { return Ok(()) };
        let literal = |part: &IdedExpr| match &part.expr {
            Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
            _ => None,
        };
        if functions::OF_TIME.contains(&name)
            && let Some(text) = literal(last)
            && !computes(name, None, last)
        {
            let like = if name == "timestamp" { "'2026-01-31T18:00:00Z'" } else { "'90m'" };
            return self.wrong(at, format!("{text:?} is no {name}; write one like {like}"));
        }
        if functions::takes_zone(name)
            && let Some(zone) = literal(last)
        {
            let id = last.id;
            let zero = IdedExpr {
                id,
                expr: Expr::Literal(LiteralValue::String(CelString::from("1970-01-01T00:00:00Z".to_owned()))),
            };
            let call = CallExpr { func_name: "timestamp".to_owned(), target: None, args: vec![zero] };
            if !computes(name, Some(IdedExpr { id, expr: Expr::Call(call) }), last) {
                return self.wrong(at, format!("{zone:?} is no time zone; write one like 'Europe/Berlin' or '+01:00'"));
            }
        }
        if name == "inIpRange" {
            let ranges = match &last.expr {
                Expr::List(list) => list.elements.iter().filter_map(literal).collect::<Vec<_>>(),
                _ => literal(last).into_iter().collect(),
            };
            if let Some(wrong) = ranges.iter().find(|range| functions::ip_range(range).is_none()) {
                return self.wrong(at, format!("{wrong:?} is no range of addresses; write one like '10.0.0.0/8'"));
            }
        }
        if name == "extract"
            && let Some(template) = literal(last)
            && functions::extracted("", &template).is_none()
        {
            return self
                .wrong(at, format!("{template:?} is no template; it needs one name in braces, as in '/a/{{x}}/'"));
        }
        Ok(())
    }

    fn comprehension(&mut self, of: &mut ComprehensionExpr) -> Result<Type, CompileError> {
        let at = of.iter_range.id;
        let element = match self.part(&mut of.iter_range)? {
            Type::List(element) => *element,
            Type::Map(key, _) => *key,
            open if open.is_open() => Type::Dyn,
            other => {
                return self.wrong(at, format!("all, exists, map and filter go over a list or a map, not {other}"));
            }
        };
        // An element of an empty list can be anything.
        let element = if element == Type::Free { Type::Dyn } else { element };
        let initial = self.part(&mut of.accu_init)?;
        let depth = self.scope.len();
        self.scope.push((of.accu_var.clone(), initial.clone()));
        self.scope.push((of.iter_var.clone(), element));
        self.part(&mut of.loop_cond)?;
        let step = self.part(&mut of.loop_step)?;
        self.scope.truncate(depth);
        self.scope.push((of.accu_var.clone(), initial.joined(step)));
        let result = self.part(&mut of.result)?;
        self.scope.truncate(depth);
        Ok(result)
    }
}

/// Whether a function can be computed for a literal.
fn computes(name: &str, target: Option<IdedExpr>, argument: &IdedExpr) -> bool {
    let call = CallExpr { func_name: name.to_owned(), target: target.map(Box::new), args: vec![argument.clone()] };
    let call = IdedExpr { id: argument.id, expr: Expr::Call(call) };
    Value::resolve_val(&call, &Context::with_env(functions::environment())).is_ok()
}

/// The words of `a.b.c` or `a.b['c']`.
fn words(part: &IdedExpr) -> Option<Vec<Cow<'_, str>>> {
    match &part.expr {
        Expr::Ident(name) => Some(vec![Cow::Borrowed(name.as_str())]),
        Expr::Select(select) if !select.test => {
            let mut words = words(&select.operand)?;
            words.push(Cow::Borrowed(select.field.as_str()));
            Some(words)
        }
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }] => {
                let mut words = words(of)?;
                words.push(Cow::Borrowed(name.inner()));
                Some(words)
            }
            _ => None,
        },
        _ => None,
    }
}

/// The type of an operator's result; `None` if it does not take these.
fn operation(name: &str, types: &[Type]) -> Option<Type> {
    use Type as T;
    let is_open = types.iter().any(Type::is_open);
    match (name, types) {
        (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE, [of]) => T::Bool.fits(of).then_some(T::Bool),
        (operators::LOGICAL_AND | operators::LOGICAL_OR, of) => of.iter().all(|of| T::Bool.fits(of)).then_some(T::Bool),
        (operators::CONDITIONAL, [test, left, right]) => {
            (T::Bool.fits(test) && left.fits(right)).then(|| left.clone().joined(right.clone()))
        }
        (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => left.compares(right).then_some(T::Bool),
        (operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS, [left, right]) => {
            let ordered = |of: &T| {
                of.is_open()
                    || of.is_number()
                    || matches!(of, T::Bool | T::String | T::Bytes | T::Timestamp | T::Duration)
            };
            (ordered(left) && ordered(right) && left.compares(right)).then_some(T::Bool)
        }
        (operators::IN, [element, T::List(of)]) => element.compares(of).then_some(T::Bool),
        (operators::IN, [element, T::Map(key, _)]) => element.compares(key).then_some(T::Bool),
        (operators::IN, [_, of]) => of.is_open().then_some(T::Bool),
        (operators::INDEX, [T::List(of), index]) => {
            (index.is_open() || index.is_number()).then(|| if **of == T::Free { T::Dyn } else { (**of).clone() })
        }
        (operators::INDEX, [T::Map(key, value), index]) => index.compares(key).then(|| (**value).clone()),
        (operators::INDEX, [of, _]) => of.is_open().then_some(T::Dyn),
        (operators::NEGATE, [of @ (T::Int | T::Double)]) => Some(of.clone()),
        (operators::NEGATE, [of]) => of.is_open().then_some(T::Dyn),
        (operators::ADD, [T::Timestamp, T::Duration] | [T::Duration, T::Timestamp]) => Some(T::Timestamp),
        (operators::SUBSTRACT, [T::Timestamp, T::Timestamp]) => Some(T::Duration),
        (operators::SUBSTRACT, [T::Timestamp, T::Duration]) => Some(T::Timestamp),
        (operators::ADD, [T::List(left), T::List(right)]) => Some(T::list((**left).clone().joined((**right).clone()))),
        (operators::ADD, [left, right]) if left == right => {
            let adds = left.is_number() || matches!(left, T::String | T::Bytes | T::Duration);
            (adds || is_open).then(|| left.clone())
        }
        (operators::SUBSTRACT, [left, right]) if left == right => {
            (left.is_number() || *left == T::Duration || is_open).then(|| left.clone())
        }
        (operators::MULTIPLY | operators::DIVIDE, [left, right]) if left == right => {
            (left.is_number() || is_open).then(|| left.clone())
        }
        (operators::MODULO, [left, right]) if left == right => {
            (matches!(left, T::Int | T::Uint) || is_open).then(|| left.clone())
        }
        // Of a claim, and of what it is put together with, more is known at evaluation only.
        (operators::ADD | operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO, [..]) => {
            is_open.then_some(T::Dyn)
        }
        _ => None,
    }
}
