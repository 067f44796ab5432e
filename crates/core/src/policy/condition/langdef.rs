//! What the definition of the language says, section by section, of all that conditions may use.
//!
//! Spec: <https://github.com/google/cel-spec/blob/master/doc/langdef.md>

use serde_json::{Value as Json, json};

use super::*;

/// The result as JSON, or the error in words.
fn result(source: &str) -> Result<Json, String> {
    let expression = Expression::compile(source, &["x"]).map_err(|error| error.message)?;
    expression.evaluate(&[("x", &json!({"a": 1, "list": [1, 2, 3], "text": "é€"}))]).map_err(|error| error.to_string())
}

#[test]
fn what_the_definition_says_is_so() {
    #[rustfmt::skip]
    let cases = [
        // Syntax: what binds stronger, and from which side.
        ("1 + 2 * 3",                               json!(7)),
        ("8 - 4 - 2",                               json!(2)),
        ("-2 * -3",                                 json!(6)),
        ("!false && !!true",                        json!(true)),
        ("true || false && false",                  json!(true)),
        ("1 < 2 == true",                           json!(true)),
        ("false ? 1 : true ? 2 : 3",                json!(2)),
        ("1 + (2 > 1 ? 10 : 20)",                   json!(11)),
        // Literals.
        ("0x1F",                                    json!(31)),
        ("-0x10",                                   json!(-16)),
        ("-9223372036854775808",                    json!(i64::MIN)),
        ("1.5e3",                                   json!(1500.0)),
        ("'a' + \"b\"",                             json!("ab")),
        (r"'\x41\u00e9\U0001F600\101'",             json!("A\u{e9}\u{1f600}A")),
        (r"r'\n'",                                  json!("\\n")),
        (r"'a\tb\'c'",                              json!("a\tb'c")),
        ("'''a\n'b'''",                             json!("a\n'b")),
        ("[1, 'a', true]",                          json!([1, "a", true])),
        ("{'a': 1, 'b': [2]}",                      json!({"a": 1, "b": [2]})),
        ("null == null",                            json!(true)),
        // Logic: an error that decides nothing is none, on either side.
        ("true || 1 / 0 == 1",                      json!(true)),
        ("1 / 0 == 1 || true",                      json!(true)),
        ("false && 1 / 0 == 1",                     json!(false)),
        ("1 / 0 == 1 && false",                     json!(false)),
        ("true ? 1 : 1 / 0",                        json!(1)),
        // Equality: of numbers by value, of lists and maps by all that is in them.
        ("1 == 1.0",                                json!(true)),
        ("1u == 1",                                 json!(true)),
        ("[1, 2] == [1, 2] && [1, 2] != [2, 1]",    json!(true)),
        ("{'a': 1, 'b': 2} == {'b': 2, 'a': 1}",    json!(true)),
        ("'a' != 'A'",                              json!(true)),
        // Order: of texts by code points.
        ("'a' < 'b' && 'a' < 'aa' && 'Z' < 'a'",    json!(true)),
        ("'\u{e9}' > 'z'",                          json!(true)),
        ("1 < 1.5 && 2u > 1",                       json!(true)),
        ("false < true",                            json!(true)),
        // Arithmetic: division goes towards zero.
        ("7 / 2",                                   json!(3)),
        ("-7 / 2",                                  json!(-3)),
        ("-7 % 2",                                  json!(-1)),
        ("7 % -2",                                  json!(1)),
        ("1.0 / 4.0",                               json!(0.25)),
        ("[1] + [2, 3]",                            json!([1, 2, 3])),
        // In.
        ("2 in [1, 2] && !(3 in [1, 2])",           json!(true)),
        ("'a' in {'a': 1} && !('b' in {'a': 1})",   json!(true)),
        ("1 in []",                                 json!(false)),
        // Fields and indices.
        ("x.a == x['a']",                           json!(true)),
        ("x.list[2]",                               json!(3)),
        ("has(x.a) && !has(x.b)",                   json!(true)),
        // Size, of a text in code points.
        ("size(x.text)",                            json!(2)),
        ("'\u{1f600}'.size() == 1 && [1, 2].size() == 2 && size({'a': 1}) == 1", json!(true)),
        // Texts.
        ("'abc'.startsWith('') && 'abc'.endsWith('bc') && 'abc'.contains('b')", json!(true)),
        ("'abc'.matches('^a.c$') && 'xaby'.matches('ab')", json!(true)),
        // Conversions.
        ("int('-12') + int(3.9) + int(2u)",         json!(-7)),
        ("double('1.5') + double(1)",               json!(2.5)),
        ("string(1) + string(true) + string(1.5)",  json!("1true1.5")),
        ("uint(3) == 3u",                           json!(true)),
        ("bool('true') && !bool('false')",          json!(true)),
        ("type(1) == int && type('a') == string",   json!(true)),
        ("dyn(1) == 1",                             json!(true)),
        // Macros.
        ("[1, 2].all(v, v > 0) && [].all(v, false)", json!(true)),
        ("[1, 2].exists(v, v == 2) && ![].exists(v, true)", json!(true)),
        ("[1, 2, 2].exists_one(v, v == 1) && ![1, 2, 2].exists_one(v, v == 2)", json!(true)),
        ("[1, 2, 3].filter(v, v % 2 == 1)",         json!([1, 3])),
        ("[1, 2].map(v, v * 10)",                   json!([10, 20])),
        ("[1, 2, 3].map(v, v > 1, v * 10)",         json!([20, 30])),
        ("{'a': 1}.all(k, k == 'a')",               json!(true)),
        // An element that decides makes errors of the others none.
        ("[0, 1].exists(v, 1 / v == 1)",            json!(true)),
        ("[0, 1].all(v, 1 / v == 2)",               json!(false)),
        // Time.
        ("timestamp('2026-02-28T23:59:59Z') + duration('1s') == timestamp('2026-03-01T00:00:00Z')", json!(true)),
        ("timestamp('2026-01-01T00:00:00+01:00') == timestamp('2025-12-31T23:00:00Z')", json!(true)),
        ("timestamp('2026-03-01T00:00:00Z') - timestamp('2026-02-28T00:00:00Z') == duration('24h')", json!(true)),
        ("duration('90m').getHours() == 1 && duration('90m').getMinutes() == 90", json!(true)),
        ("timestamp('2026-01-04T10:00:00Z').getDayOfWeek()", json!(0)),
        ("timestamp('2026-03-01T10:00:00Z').getDayOfYear()", json!(59)),
        ("timestamp('2026-01-31T10:00:00Z').getDate() == 31 && timestamp('2026-01-31T10:00:00Z').getDayOfMonth() == 30", json!(true)),
        // The hour before the clocks go forward in Berlin, and the hour after.
        ("timestamp('2026-03-29T00:59:59Z').getHours('Europe/Berlin')", json!(1)),
        ("timestamp('2026-03-29T01:00:00Z').getHours('Europe/Berlin')", json!(3)),
        ("timestamp('2026-10-25T00:30:00Z').getHours('Europe/Berlin')", json!(2)),
        ("timestamp('2026-10-25T01:30:00Z').getHours('Europe/Berlin')", json!(2)),
        ("timestamp('2026-01-01T00:10:00Z').getHours('-00:30') == 23 && timestamp('2026-01-01T00:10:00Z').getMinutes('+05:30') == 40", json!(true)),
    ];
    let wrong: Vec<String> = cases
        .into_iter()
        .filter(|(source, expected)| result(source).as_ref() != Ok(expected))
        .map(|(source, expected)| format!("{source}: {:?}, not {expected}", result(source)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_definition_says_is_an_error_is_one() {
    let cases = [
        "9223372036854775807 + 1",
        "-9223372036854775808 - 1",
        "9223372036854775807 * 2",
        "1 / 0",
        "1 % 0",
        "0u - 1u",
        "9223372036854775808",
        "x.b",
        "x.list[3]",
        "x.list[-1]",
        "{'a': 1}['b']",
        "{'a': 1, 'a': 2}",
        "1 + 'a'",
        "1 + 1u",
        "1 + 1.0",
        "'a' && true",
        "1 ? 2 : 3",
        "int('a')",
        "int(1e30)",
        "uint(-1)",
        "timestamp('2026-13-01T00:00:00Z')",
        "duration('1')",
        "timestamp('2026-01-01T00:00:00Z').getHours('Nowhere/Else')",
        "[1, 0].all(v, 1 / v > 0)",
        "y",
        "x.nothing()",
        "'a'.matches('(')",
        "1 +",
        "1 = 1",
        "'a",
    ];
    for source in cases {
        assert!(result(source).is_err(), "{source}: {:?}", result(source));
    }
}
