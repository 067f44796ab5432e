//! Conditions as a command line has them, in the spelling of gcloud.

use doorward_wire::google_api::Expr;

/// What `--condition` takes, for help.
pub(crate) const FORM: &str = "expression=CEL,title=TITLE,description=TEXT";

/// The names that a condition is made of.
const KEYS: [&str; 3] = ["expression", "title", "description"];

/// Reads `expression=…,title=…,description=…`, in any order, of which the expression must be there. A comma ends a value only where one
/// of the names and `=` follow it, so that expressions need no escapes.
pub(crate) fn condition(text: &str) -> Result<Expr, String> {
    let key_at = |place: usize| {
        let rest = &text[place..];
        KEYS.into_iter().find(|key| rest.strip_prefix(key).is_some_and(|rest| rest.starts_with('=')))
    };
    let mut starts: Vec<(usize, usize, &str)> = Vec::new();
    let places = std::iter::once((0, 0)).chain(text.match_indices(',').map(|(comma, _)| (comma, comma + 1)));
    for (before, start) in places {
        if let Some(key) = key_at(start) {
            starts.push((before, start + key.len() + 1, key));
        }
    }
    if starts.first().is_none_or(|(before, ..)| *before != 0) {
        return Err(format!("not a condition: write {FORM}, of which the expression must be there"));
    }
    let mut read = Expr::default();
    for (index, (_, start, key)) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(text.len(), |(before, ..)| *before);
        let place = match *key {
            "expression" => &mut read.expression,
            "title" => &mut read.title,
            _ => &mut read.description,
        };
        if !place.is_empty() {
            return Err(format!("{key} is there twice: write {FORM}"));
        }
        *place = text[*start..end].to_owned();
    }
    if read.expression.is_empty() { Err(format!("no expression: write {FORM}")) } else { Ok(read) }
}

/// Whether the title says nothing: there is none, or it is the beginning of the expression, as `apply` calls one without.
fn is_called_by_itself(condition: &Expr) -> bool {
    let words = condition.expression.split_whitespace().collect::<Vec<_>>().join(" ");
    match condition.title.strip_suffix('…') {
        Some(beginning) => words.starts_with(beginning),
        None => condition.title.is_empty() || condition.title == words,
    }
}

/// A condition on one line, for people.
pub(crate) fn shown(condition: Option<&Expr>) -> String {
    match condition {
        None => String::new(),
        Some(condition) if is_called_by_itself(condition) => condition.expression.clone(),
        Some(condition) => format!("{} ({})", condition.expression, condition.title),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_read_as_gcloud_reads_it_and_an_expression_needs_no_escapes() {
        #[rustfmt::skip]
        let cases = [
            ("expression=request.path == '/a'",                 Some(("request.path == '/a'", "", ""))),
            ("expression=x in ['a', 'b'],title=T",              Some(("x in ['a', 'b']", "T", ""))),
            ("title=T, and more,description=d,expression=a=b",  Some(("a=b", "T, and more", "d"))),
            ("request.path == '/a'",                            None),
            ("title=T",                                         None),
            ("expression=,title=T",                             None),
            ("expression=a,expression=b",                       None),
            ("",                                                None),
        ];
        for (text, expected) in cases {
            let read = condition(text).ok();
            let read = read.as_ref().map(|it| (it.expression.as_str(), it.title.as_str(), it.description.as_str()));
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn a_condition_is_shown_with_its_title() {
        let of = |text: &str| shown(Some(&condition(text).unwrap()));
        assert_eq!(
            (of("expression=a,title=T"), of("expression=a"), shown(None)),
            ("a (T)".into(), "a".into(), String::new())
        );
        assert_eq!(of("expression=a == 'b',title=a == 'b'"), "a == 'b'");
        assert_eq!(of("expression=a == 'b',title=a ==…"), "a == 'b'");
        assert_eq!(of("expression=a == 'b',title=c ==…"), "a == 'b' (c ==…)");
    }
}
