//! What is checked when an expression is written.

use std::collections::{BTreeMap, BTreeSet};

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SourceInfo, operators};
use cel::parser::Parser;

use super::pattern::Pattern;
use super::{BYTES_LIMIT, CompileError, Position, functions};

/// The deepest brackets and chains of `?:`.
const BRACKETS_LIMIT: u16 = 32;

/// Where the parser runs, in bytes. It takes less than 1 KiB for each byte of a text.
const PARSER_STACK: usize = 16 * 1024 * 1024;

/// The deepest expression: a step for each operator, dot, bracket and call around another.
const DEPTH_LIMIT: usize = 64;

/// The most parts. A list of literals is the only expression that comes near.
const PARTS_LIMIT: usize = 2048;

/// How many comprehensions may go over something inside one another.
const NESTED_LOOPS_LIMIT: usize = 2;

/// An expression that was found right.
pub(super) struct Checked {
    pub(super) expression: IdedExpr,
    /// The variables that it uses.
    pub(super) variables: BTreeSet<String>,
    /// The attributes and strings that its text names.
    pub(super) words: BTreeSet<String>,
    /// The patterns that its text has, compiled.
    pub(super) patterns: BTreeMap<String, Pattern>,
    /// Where its parts stand.
    pub(super) places: Places,
}

/// Where the parts of a text stand.
pub(super) struct Places {
    source: String,
    offsets: SourceInfo,
}

impl Places {
    /// Where a part begins.
    pub(super) fn of(&self, id: u64) -> Option<Position> {
        let (start, _) = self.offsets.offset_for(id)?;
        let before = self.source.get(..usize::try_from(start).ok()?)?;
        let line = before.rsplit('\n').next().unwrap_or_default();
        Some(Position { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 })
    }
}

/// The function of `api`, which has attributes by name.
pub(super) const GET_ATTRIBUTE: &str = "getAttribute";

/// A function of a language of its own, called as `x.name()`, and the number of its arguments.
pub(super) type Extra<'a> = (&'a str, usize);

/// Parses an expression and checks every part of it.
pub(super) fn parse(source: &str, variables: &[&str]) -> Result<Checked, CompileError> {
    parse_with(source, variables, &[])
}

/// Parses an expression that may call these functions besides.
pub(super) fn parse_with(source: &str, variables: &[&str], extra: &[Extra<'_>]) -> Result<Checked, CompileError> {
    if source.trim().is_empty() {
        return Err(CompileError::new("an expression is needed", None));
    }
    if source.len() > BYTES_LIMIT {
        return Err(CompileError::too_long(BYTES_LIMIT));
    }
    // The parser's limit counts brackets, and not chains such as `1<1<1`, for which it calls itself as often. So it has a
    // stack that is large enough for any text of this length; a panic of it ends there, too.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("cel".to_owned()).stack_size(PARSER_STACK);
        let parsed = thread
            .spawn_scoped(scope, || parse_here(source, variables, extra))
            .ok()
            .and_then(|thread| thread.join().ok());
        parsed.unwrap_or_else(|| Err(CompileError::new("the expression cannot be parsed", None)))
    })
}

fn parse_here(source: &str, variables: &[&str], extra: &[Extra<'_>]) -> Result<Checked, CompileError> {
    // Knows the standard macros, and neither the optional syntax nor names in backticks.
    let parser = Parser::new().max_recursion_depth(BRACKETS_LIMIT).error_recovery_limit(1);
    let (expression, places) = parser.parse_with_source_info(source).map_err(first_error)?;
    let places = Places { source: source.to_owned(), offsets: places };
    let mut check = Check {
        places: &places,
        declared: variables,
        extra,
        scope: Vec::new(),
        loops: 0,
        parts: 0,
        found: Found::default(),
    };
    check.part(&expression, 1)?;
    let Found { variables, words, patterns } = check.found;
    Ok(Checked { expression, variables, words, patterns, places })
}

/// Checks a part by itself, in which these variables are known and no others: the variables that it uses.
pub(super) fn part(part: &IdedExpr, places: &Places, variables: &[&str]) -> Result<BTreeSet<String>, CompileError> {
    let found = Found::default();
    let mut check = Check { places, declared: variables, extra: &[], scope: Vec::new(), loops: 0, parts: 0, found };
    check.part(part, 1)?;
    Ok(check.found.variables)
}

/// The first of the parser's errors, in one short line.
fn first_error(errors: cel::ParseErrors) -> CompileError {
    let Some(error) = errors.errors.first() else { return CompileError::new("this is not an expression", None) };
    // The parser's own words for its limit are about its types.
    if error.msg.contains("Recursion limit") {
        return CompileError::new(TOO_DEEP, None);
    }
    let position = match (usize::try_from(error.pos.0), usize::try_from(error.pos.1)) {
        (Ok(line), Ok(column)) if line > 0 && column > 0 => Some(Position { line, column }),
        _ => None,
    };
    // What could stand there instead is half of the language.
    let message = error.msg.lines().next().unwrap_or_default();
    let message = message.split_once(" expecting ").map_or(message, |(found, _)| found);
    CompileError::new(message.chars().take(MESSAGE_LIMIT).collect::<String>(), position)
}

/// The longest message, in characters, of the parser: it quotes the text.
const MESSAGE_LIMIT: usize = 120;

const TOO_DEEP: &str = "the expression is nested too deeply";

#[derive(Default)]
struct Found {
    variables: BTreeSet<String>,
    words: BTreeSet<String>,
    patterns: BTreeMap<String, Pattern>,
}

struct Check<'a> {
    places: &'a Places,
    declared: &'a [&'a str],
    extra: &'a [Extra<'a>],
    /// The variables of the comprehensions around.
    scope: Vec<String>,
    loops: usize,
    parts: usize,
    found: Found,
}

impl Check<'_> {
    fn part(&mut self, part: &IdedExpr, depth: usize) -> Result<(), CompileError> {
        self.parts += 1;
        if self.parts > PARTS_LIMIT {
            return self.wrong(part, format!("an expression may have {PARTS_LIMIT} parts"));
        }
        if depth > DEPTH_LIMIT {
            return self.wrong(part, TOO_DEEP);
        }
        match &part.expr {
            Expr::Literal(LiteralValue::String(text)) => {
                self.found.words.insert(text.inner().to_owned());
                Ok(())
            }
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(part, name),
            Expr::Select(select) => {
                self.found.words.insert(select.field.clone());
                self.part(&select.operand, depth + 1)
            }
            Expr::Call(call) => self.call(part, call, depth),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.part(element, depth + 1)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.part(&entry.key, depth + 1)?;
                    self.part(&entry.value, depth + 1)
                }
                EntryExpr::StructField(_) => self.wrong(part, "messages are not part of this language"),
            }),
            Expr::Comprehension(comprehension) => self.comprehension(part, comprehension, depth),
            Expr::Struct(_) => self.wrong(part, "messages are not part of this language"),
            Expr::Unspecified => self.wrong(part, "this is not an expression"),
        }
    }

    fn name(&mut self, part: &IdedExpr, name: &str) -> Result<(), CompileError> {
        // What begins with `@` was written by a macro: it is no letter of the language.
        if name.starts_with('@') || self.scope.iter().any(|known| known == name) {
            return Ok(());
        }
        if self.declared.contains(&name) {
            self.found.variables.insert(name.to_owned());
            return Ok(());
        }
        if functions::TYPES.contains(&name) {
            return Ok(());
        }
        let known = self.declared.join(", ");
        let there = if known.is_empty() { "there are none here".to_owned() } else { format!("there is {known}") };
        self.wrong(part, format!("there is no variable {name}; {there}"))
    }

    fn call(&mut self, part: &IdedExpr, call: &CallExpr, depth: usize) -> Result<(), CompileError> {
        let of_api = call.func_name == GET_ATTRIBUTE && call.args.len() == 2 && self.declared.contains(&"api");
        let is_extra = call.target.is_some() && self.extra.contains(&(call.func_name.as_str(), call.args.len()));
        if written(&call.func_name) == call.func_name && !of_api && !is_extra {
            let refusal = functions::refusal(&call.func_name, call.target.is_some(), call.args.len());
            if let Some(refusal) = refusal {
                return self.wrong(part, refusal);
            }
        }
        if call.func_name == "matches"
            && let Some(IdedExpr { expr: Expr::Literal(LiteralValue::String(pattern)), .. }) = call.args.last()
        {
            let compiled = Pattern::compile(pattern.inner());
            let compiled = compiled.map_err(|message| CompileError::new(message, self.position(part)))?;
            self.found.patterns.insert(pattern.inner().to_owned(), compiled);
        }
        call.target.iter().try_for_each(|target| self.part(target, depth + 1))?;
        call.args.iter().try_for_each(|argument| self.part(argument, depth + 1))
    }

    fn comprehension(&mut self, part: &IdedExpr, of: &ComprehensionExpr, depth: usize) -> Result<(), CompileError> {
        self.part(&of.iter_range, depth + 1)?;
        self.part(&of.accu_init, depth + 1)?;
        // Would make a condition read as if it looked at the attribute of that name.
        if self.declared.contains(&of.iter_var.as_str()) {
            return self.wrong(part, format!("{} is a variable already", of.iter_var));
        }
        if self.loops == NESTED_LOOPS_LIMIT {
            return self.wrong(part, format!("only {NESTED_LOOPS_LIMIT} of all, exists, map and filter may be nested"));
        }
        self.loops += 1;
        self.scope.push(of.iter_var.clone());
        for inner in [&of.loop_cond, &of.loop_step, &of.result] {
            self.part(inner, depth + 1)?;
        }
        self.scope.pop();
        self.loops -= 1;
        Ok(())
    }

    fn wrong(&self, part: &IdedExpr, message: impl Into<String>) -> Result<(), CompileError> {
        Err(CompileError::new(message, self.position(part)))
    }

    fn position(&self, part: &IdedExpr) -> Option<Position> {
        self.places.of(part.id)
    }
}

/// An operator as it is written, from the library's name for it. A function's name is returned as it is.
pub(super) fn written(name: &str) -> &str {
    match name {
        operators::CONDITIONAL => "?:",
        operators::LOGICAL_AND => "&&",
        operators::LOGICAL_OR => "||",
        operators::LOGICAL_NOT => "!",
        operators::SUBSTRACT | operators::NEGATE => "-",
        operators::ADD => "+",
        operators::MULTIPLY => "*",
        operators::DIVIDE => "/",
        operators::MODULO => "%",
        operators::EQUALS => "==",
        operators::NOT_EQUALS => "!=",
        operators::GREATER_EQUALS => ">=",
        operators::LESS_EQUALS => "<=",
        operators::GREATER => ">",
        operators::LESS => "<",
        operators::INDEX => "[]",
        operators::IN => "in",
        operators::NOT_STRICTLY_FALSE => "a comprehension",
        "_._" => ".",
        other => other,
    }
}

/// The library's other names for the operators of arithmetic.
pub(super) fn spelled(name: &str) -> &str {
    match name {
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        "div" => "/",
        "rem" => "%",
        other => other,
    }
}
